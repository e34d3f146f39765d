"""The report on an evaluation: its numbers are the evaluation's, its texts are only text."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from browsing.reading import EVIL, Reading

from lm.text.normalizers import Normalizer
from w2v2cli.recognition.pages.evaluation import Subject, evaluation_page
from w2v2cli.recognition.pages.utterances import Told
from w2v2cli.recognition.scoring.comparing import Beside, compared
from w2v2cli.recognition.scoring.error_rate import align
from w2v2cli.recognition.scoring.report import json_results
from w2v2cli.recognition.scoring.results import Evaluation, Failure, Scored

NONE = Normalizer.named("none")
SAID = ["a b c", "d e f g", "h i", "a b c d e f", "x"]
HEARD = ["a b x", "d e f g", "h j i", "b c d e q", ""]
OTHER = ["a b c", "d e f", "h i", "a b c d e f", "x"]


def evaluation(said=SAID, heard=HEARD, name="the corpus") -> Evaluation:
    scored = tuple(
        Scored(f"u{number}", f"s{number % 2}", align(one, other, NONE), 1.5 * number)
        for number, (one, other) in enumerate(zip(said, heard, strict=True))
    )
    return Evaluation(name, None, scored, (), 15.0, normalizer="none")


def beside(tmp_path: Path, texts=OTHER, **more) -> Beside:
    path = tmp_path / "other.jsonl"
    rows = ({"id": f"u{n}", "hypothesis": text, **more} for n, text in enumerate(texts))
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Beside.read(path, {"the corpus": [f"u{n}" for n in range(len(SAID))]})


def cells(page: str, first: str) -> list[str]:
    """The cells of the first row of a table that begins with `first`."""
    return next(row for row in Reading(page).rows if row[0] == first)


def test_the_numbers_are_those_of_the_json_report():
    result = evaluation()
    [told] = json_results([result], seed=7)
    page = evaluation_page([result], Subject("m", "settings", 7))
    low, high = told["wer_interval_95"]
    expected = [
        "the corpus",
        str(told["utterances"]),
        str(told["words"]["reference"]),
        f"{told['wer'] * 100:.2f}",
        f"{low * 100:.1f} to {high * 100:.1f}",
    ]
    assert cells(page, "the corpus")[:5] == expected
    for speaker, rate in told["speakers"].items():
        assert cells(page, speaker)[3] == f"{rate * 100:.2f}"


def test_every_error_is_marked_in_the_texts_and_counted_in_the_tables():
    page = evaluation_page([evaluation()], Subject("m", "settings", 0))
    article = page.split("<article")[1]  # 2 errors in 6 words comes first
    assert '<del>a</del> b c d e <span class="swap"><del>f</del><ins>q</ins></span>' in article
    assert "2 errors in 6 words · 4.5 s · speaker s1" in article
    assert cells(page, "c")[:3] == ["c", "x", "1"]
    assert page.count("<article") == len(SAID)


def test_two_systems_stand_side_by_side(tmp_path):
    result = evaluation()
    [found] = compared([result], beside(tmp_path), "m", seed=0)
    page = evaluation_page([result], Subject("m", "settings", 0, [found]))
    low, high = found.difference.interval
    assert cells(page.split('id="compared"')[1], "the corpus") == [
        "the corpus",
        "5",
        "31.25",
        "6.25",
        "-25.00",
        f"{low * 100:+.2f} to {high * 100:+.2f}",
        f"{found.difference.p_value:.4f}",
    ]
    assert found.difference.points == pytest.approx((1 - 5) / 16)
    assert "".join(Reading(page).text).count(found.difference.sentence()) == 1
    assert "A: 2 errors in 6 words · B: 0 errors" in page


def test_a_failure_is_told_and_not_counted():
    result = replace(evaluation(), failures=(Failure("u9", "u9.wav is an empty file."),))
    page = evaluation_page([result], Subject("m", "settings", 0))
    assert "<bdi>u9</bdi>: u9.wav is an empty file." in page
    nothing = replace(result, utterances=())
    assert "No utterance was transcribed." in evaluation_page(
        [nothing], Subject("m", "settings", 0)
    )


@pytest.mark.parametrize("text", [*EVIL, "\x1b[31m\x07", "שלום"])
def test_no_text_becomes_a_tag_or_an_attribute(text, tmp_path):
    def made(text: str) -> str:
        words = f"{text} and {text}"
        result = evaluation([words, words], [words, "and"], name=text)
        utterances = tuple(
            replace(one, id=f"{text}{n}", speaker=f"{text}{n}")
            for n, one in enumerate(result.utterances)
        )
        failures = (Failure(text, text),)
        result = replace(result, utterances=utterances, failures=failures, note=text)
        told = {(text, f"{text}0"): Told(without=text)}
        return evaluation_page([result], Subject(text, text, 0, (), told))

    tags = [tag for tag, _ in Reading(made(text)).tags]
    plain = [tag for tag, _ in Reading(made("x " * len(text.split()))).tags]
    assert set(tags) == set(plain) and tags.count("script") == 1
    assert "\x1b" not in made(text)
    assert not any(
        name.startswith("on") for _, attributes in Reading(made(text)).tags for name in attributes
    )


def test_another_corpus_of_the_same_ids_is_not_taken(tmp_path):
    read = beside(tmp_path, data="the corpus")
    rows = (tmp_path / "other.jsonl").read_text()
    other = "".join(
        f"{json.dumps({'id': f'u{n}', 'hypothesis': 'q', 'data': 'else'})}\n" for n in range(3)
    )
    (tmp_path / "other.jsonl").write_text(other + rows)
    again = Beside.read(tmp_path / "other.jsonl", {"the corpus": ["u0"], "a third": ["u0"]})
    assert again.by_corpus == read.by_corpus
    assert again.evaluated(evaluation(name="a third")) is None
