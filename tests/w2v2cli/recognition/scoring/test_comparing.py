"""Files of texts scored and compared: what `w2v2 score` computes."""

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from lm.text.normalizers import Normalizer
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.comparing import differences, score_texts
from w2v2cli.recognition.scoring.error_rate import matched_pairs
from w2v2cli.recognition.scoring.texts import paired, read_texts

BASIC = Normalizer.named("basic")


def put(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


FORMS = {
    "a.trn": ("Hello, world! (s1-u1)", "(s1-u2)"),
    "a.jsonl": ('{"id": "s1-u1", "text": "Hello, world!"}', '{"id": "s1-u2", "text": ""}'),
    "a.tsv": ("s1-u1\tHello, world!", "s1-u2\t"),
    "b.tsv": ("id\tseconds\ttext", "s1-u1\t1.0\tHello, world!", "s1-u2\t2.0\t"),
    "s1.trans.txt": ("s1-u1 Hello, world!", "s1-u2"),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_gives_the_same_texts(tmp_path, name):
    found = read_texts(put(tmp_path / name, *FORMS[name]), "reference")
    assert found.by_name == {"s1-u1": "Hello, world!", "s1-u2": ""} and not found.numbered


def test_lines_without_names_pair_in_their_order(tmp_path):
    spoken = read_texts(put(tmp_path / "r.txt", "hello world", "good bye"), "reference")
    heard = read_texts(put(tmp_path / "h.txt", "hello word", "good bye"), "hypothesis")
    result = score_texts(spoken, heard, BASIC)
    assert (result.words.errors, result.words.reference) == (1, 4)
    short = read_texts(put(tmp_path / "s.txt", "hello"), "hypothesis")
    with pytest.raises(UserError, match=r"r\.txt has 2 lines and .*s\.txt 1"):
        paired(spoken, short)
    named = read_texts(put(tmp_path / "n.trn", "hello (a)"), "hypothesis")
    with pytest.raises(UserError, match=r"n\.trn names its utterances and .*r\.txt does not"):
        paired(spoken, named)


def test_the_fields_of_an_evaluation_and_the_paths_of_transcripts(tmp_path):
    row = {"id": "u1", "reference": "A B", "hypothesis": "A C", "data": "x"}
    kept = put(tmp_path / "kept.jsonl", json.dumps(row))
    assert read_texts(kept, "reference").by_name == {"u1": "A B"}
    assert read_texts(kept, "hypothesis").by_name == {"u1": "A C"}
    heard = put(tmp_path / "t.jsonl", json.dumps({"recording": "in/u1.flac", "text": "a b"}))
    result = score_texts(
        read_texts(kept, "reference"), read_texts(heard, "hypothesis"), BASIC
    )  # by the stem, which is unique
    assert result.words.errors == 0 and result.utterances[0].id == "u1"


def test_what_one_side_lacks_is_named_and_what_does_not_pair_refused(tmp_path):
    spoken = read_texts(put(tmp_path / "r.trn", "a b (u1)", "c d (u2)"), "reference")
    heard = read_texts(put(tmp_path / "h.trn", "a b (u1)", "e (u3)"), "hypothesis")
    notes: list[str] = []
    result = score_texts(spoken, heard, BASIC, notes.append)
    assert [failure.id for failure in result.failures] == ["u2"]
    assert notes == [f"{heard.path} has 1 utterance that {spoken.path} lacks: left out."]
    other = read_texts(put(tmp_path / "o.trn", "a (v1)", "b (v2)"), "hypothesis")
    with pytest.raises(UserError, match="no utterance in common: 'u1' and 'v1' come first"):
        score_texts(spoken, other, BASIC)
    twice = put(tmp_path / "twice.trn", "a (u1)", "b (u1)")
    with pytest.raises(UserError, match="names u1 twice"):
        read_texts(twice, "reference")
    with pytest.raises(UserError, match="leaves nothing of any reference"):
        score_texts(
            read_texts(put(tmp_path / "p.trn", "привет (u1)"), "reference"),
            heard,
            Normalizer.named("english"),
        )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{", "line 1 is not JSON"),
        ("[" * 100_000, "line 1 is not JSON"),
        ('{"id": "a"}', "line 1 should be an object with id or"),
        ("[1]", "line 1 should be an object with id or"),
        ('{"id": "a", "error": "It is silent."}', "line 1 has no text: It is silent."),
        ('{\n"results": []\n}', "is one value of JSON over several lines"),
    ],
)
def test_lines_that_are_no_texts(tmp_path, line, sentence):
    with pytest.raises(UserError, match=sentence):
        read_texts(put(tmp_path / "a.jsonl", line), "reference")


def test_the_p_value_is_that_of_all_exchanges():
    draw = np.random.default_rng(3)
    first, second = draw.integers(0, 5, 9), draw.integers(0, 4, 9)
    gaps = first - second
    sums = [abs(int(np.dot(signs, gaps))) for signs in product((-1, 1), repeat=9)]
    exact = np.mean([total >= abs(int(gaps.sum())) for total in sums])
    assert matched_pairs(list(first), list(second)) == pytest.approx(exact, abs=0.02)
    assert matched_pairs([1, 2], [1, 2]) == 1.0


def test_a_difference_is_that_of_the_second_from_the_first(tmp_path):
    lines = [f"one two three four ({n})" for n in range(40)]
    worse = [line.replace("four", "for") for line in lines]
    spoken = read_texts(put(tmp_path / "r.trn", *lines), "reference")
    results = [
        score_texts(spoken, read_texts(put(tmp_path / name, *texts), "hypothesis"), BASIC)
        for name, texts in (("a.trn", lines), ("b.trn", worse))
    ]
    [found] = differences(results, 0)
    assert (found.points, found.interval, found.utterances) == (0.25, (0.25, 0.25), 40)
    assert found.p_value < 0.001 and "b.trn has 25.00 points of WER more than" in found.sentence()
    assert "may be chance" not in found.sentence()
    [none] = differences([results[0], results[0]], 0)
    assert none.p_value == 1.0
    assert (
        none.sentence().endswith("a.trn (95%: +0.00 to +0.00, p = 1.0000, 40 utterances).")
        and "has as many errors as" in none.sentence()
    )
    chance = replace(found, p_value=0.2)
    assert chance.sentence().endswith(": this may be chance.")
