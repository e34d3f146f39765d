"""What is scored and how it is reported, by the units that the model writes."""

import io
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lm.decoding import DecodingWeights
from lm.text.normalizers import Normalizer
from lm.text.phones import phone_labels
from lm.text.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.data.corpora.catalogue import CorpusSplit
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition import devices, resolving
from w2v2cli.recognition.pipeline import Outcome
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.scoring.report import json_report, print_report
from w2v2cli.recognition.scoring.results import unwritable
from w2v2cli.recognition.scoring.rows import evaluation_of, scored_rows, settings_line
from w2v2cli.recognition.searching.rescoring import Rescoring
from w2v2cli.recognition.searching.spec import SearchSpec

OPTIONS = RecognitionOptions(ModelLocation("m", Path("m"), None), LmLocation("none", None, None))
SPOKEN = Utterance("a", Path("a.wav"), "SHE", "s1", phones=("h#", "sh", "ix", "q", "h#"))


def pipeline(spec: SearchSpec, *texts: str):
    """A pipeline that finds `texts`."""
    outcomes = [Outcome(Path("a.wav"), SimpleNamespace(text=text), seconds=1.5) for text in texts]
    return SimpleNamespace(
        pool=SimpleNamespace(spec=spec),
        transcribe=lambda paths, on_heard: iter(outcomes),
    )


def evaluated(pipeline, part: CorpusSplit):
    rows = scored_rows(pipeline, part, range(len(part.utterances)), "", Ranks())
    return evaluation_of(part, enumerate(rows))


def test_a_phone_model_is_scored_by_phones():
    part = CorpusSplit(
        "timit", (SPOKEN, Utterance("b", Path("b.wav"), None, "s2", phones=("zh", "aa")))
    )
    spec = SearchSpec(phone_labels(48), "greedy")
    result = evaluated(pipeline(spec, "sil sh ih sil", "sh ao b"), part)
    assert (result.unit, result.rate_name, result.words.rate) == (
        "phones",
        "PER",
        pytest.approx(1 / 6),
    )
    [row] = json_report([result], OPTIONS, 0)["results"]
    assert row["per"] == pytest.approx(1 / 6) and row["per_interval_95"] == [0, 0.5]
    assert row["phones"] == {"reference": 6, "substitutions": 0, "deletions": 0, "insertions": 1}
    assert not {"wer", "cer", "words", "characters"} & set(row)
    assert result.utterances[0].alignment.hypothesis == "sil sh ih sil"
    with redirect_stdout(io.StringIO()) as shown:
        print_report([result], OPTIONS, worst=1, seed=0)
    text = shown.getvalue()
    assert "PER %" in text and "16.67" in text and "WER" not in text and "CER" not in text
    shown = "b (1 error in 2 phones)\nREF: sh aa *\nHYP: sh aa b\n           I\n"
    assert shown in text


def test_other_models_and_phones_made_into_words_are_scored_by_words():
    part = CorpusSplit("timit", (SPOKEN,))
    for spec in (
        SearchSpec(CHARACTERS, "greedy"),
        SearchSpec(phone_labels(48), "flashlight", lexicon=Path("words")),
    ):
        result = evaluated(pipeline(spec, "SHE IS"), part)
        [row] = json_report([result], OPTIONS, 0)["results"]
        assert (result.unit, row["wer"], row["cer"], "per" in row) == ("words", 1.0, 1.0, False)


BASIC = {"name": "basic", "case": "lower", "language": "tr"}
CYRILLIC = ("<pad>", "|", *"абвгдежзийклмнопрстуфхцчшщъыьэюя")


def scored(reference, hypothesis, spec, normalizer=None):
    """The (word, character) errors of a hypothesis."""
    part = CorpusSplit("own", (Utterance("a", Path("a.wav"), reference),))
    found = pipeline(spec, hypothesis)
    [row] = scored_rows(found, part, [0], "", Ranks(), normalizer)
    return row.alignment.words.errors, row.alignment.characters.errors


@pytest.mark.parametrize(
    ("reference", "hypothesis", "spec", "wrong_words"),
    [
        ("Çağrı", "cagri", SearchSpec(("<pad>", "|", *"çağrıc"), "greedy"), 1),
        ("Işık, İzmir!", "ışık izmir", SearchSpec(CHARACTERS, "greedy"), 0),
        ("Işık!", "ışık", SearchSpec(CHARACTERS, "greedy", metadata={"normalizer": BASIC}), 0),
        ("Işık!", "işik", SearchSpec(CHARACTERS, "greedy", metadata={"normalizer": BASIC}), 1),
        ("Привет, мир", "совсем другое", SearchSpec(CYRILLIC, "greedy"), 2),
        ("Привет, мир", "привет мир", SearchSpec(CYRILLIC, "greedy"), 0),
        ("it’s 2", "IT'S TWO", SearchSpec(CHARACTERS, "greedy"), 0),
    ],
)
def test_the_models_own_normaliser_spells_both(reference, hypothesis, spec, wrong_words):
    words, characters = scored(reference, hypothesis, spec)
    assert words == wrong_words and bool(characters) == bool(wrong_words)


def test_another_normaliser_can_be_asked_for():
    spec = SearchSpec(CHARACTERS, "greedy")
    assert scored("Çağrı", "CAGRI", spec)[0] == 0
    assert scored("Çağrı", "CAGRI", spec, "basic") == (1, 3)
    assert scored("A, b", "a b", spec, "none") == (1, 2)
    lines = {
        settings_line(OPTIONS),
        settings_line(OPTIONS, "basic"),
        settings_line(OPTIONS, "none"),
    }
    assert len(lines) == 3


def test_references_of_which_nothing_is_left_are_an_error():
    with pytest.raises(UserError, match="own: the english normaliser leaves nothing"):
        scored("Привет, мир", "", SearchSpec(CHARACTERS, "greedy"))


def test_there_must_be_something_to_compare_with():
    phones = SearchSpec(phone_labels(39), "greedy")
    with pytest.raises(
        UserError, match="timit: 1 utterance has no phones to compare with, c first"
    ):
        evaluated(pipeline(phones), CorpusSplit("timit", (Utterance("c", Path("c.wav"), "SHE"),)))
    with pytest.raises(
        UserError, match="timit: 1 utterance has no transcript to compare with, c first"
    ):
        silent = CorpusSplit("timit", (Utterance("c", Path("c.wav"), None, phones=("sh",)),))
        evaluated(pipeline(SearchSpec(CHARACTERS, "greedy")), silent)
    other = CorpusSplit("timit", (Utterance("c", Path("c.wav"), None, phones=("a:",)),))
    with pytest.raises(UserError, match="timit, c: 'a:' is none of TIMIT's 39 phones"):
        evaluated(pipeline(phones), other)
    own = SearchSpec(("<pad>", "a:", "b"), "greedy")
    assert evaluated(pipeline(own, "a:"), other).words.errors == 0


def test_rows_are_kept_only_for_the_very_same_settings():
    lm = LmLocation("4gram", Path("lm.arpa"), None)
    plain = replace(OPTIONS, lm=lm, search="compiled")
    second = Rescoring(
        LmLocation("t", Path("t.pt"), None, "transformer"), DecodingWeights(0.9, -1.0)
    )
    others = [
        replace(plain, hotwords={"NAME": 3.0}),
        replace(plain, rescore=second),
        replace(plain, rescore=replace(second, weights=DecodingWeights(0.8, -1.0))),
        replace(plain, rescore=replace(second, first_pass_weight=0.5)),
        replace(plain, weights=DecodingWeights(1.0, -1.0)),
        replace(plain, beam=replace(plain.beam, recombine="history")),
    ]
    assert len({settings_line(options) for options in (plain, *others)}) == 1 + len(others)


def test_rows_are_kept_for_the_precision_that_was_taken(monkeypatch):
    auto = replace(OPTIONS, device="cpu", precision="auto")
    for taken in ("bf16", "fp32"):
        chosen = {"auto": taken}
        monkeypatch.setattr(
            devices, "chosen_precision", lambda device, chosen=chosen: chosen["auto"]
        )
        line = settings_line(auto)
        assert line == settings_line(replace(auto, precision=taken))
        assert f"precision {taken}" in line


def test_auto_takes_the_engine_that_is_there(monkeypatch):
    arpa, binary = (LmLocation("lm", Path("lm"), Path("words"), kind) for kind in ("arpa", "kenlm"))
    transformer = LmLocation("lm", Path("lm"), None, "transformer")

    def engine(lm) -> str:
        return replace(OPTIONS, lm=lm, device="cpu").engine

    assert engine(OPTIONS.lm) == "greedy"
    assert [engine(lm) for lm in (arpa, binary, transformer)] == [
        "compiled",
        "flashlight",
        "batched",
    ]
    assert replace(OPTIONS, lm=arpa, device="cuda").engine == "compiled"  # measured on none yet
    monkeypatch.setattr(resolving, "is_built", lambda: False)
    monkeypatch.setattr(resolving, "find_spec", lambda name: name)
    assert engine(arpa) == "flashlight"
    monkeypatch.setattr(resolving, "find_spec", lambda name: None)
    assert [engine(lm) for lm in (arpa, binary)] == ["batched", "flashlight"]


def test_there_is_no_rate_of_nothing():
    nothing = evaluation_of(CorpusSplit("mine", (SPOKEN,)), [])
    [row] = json_report([nothing], OPTIONS, 0)["results"]
    assert (row["wer"], row["wer_interval_95"], row["cer"]) == (None, None, None)
    with redirect_stdout(io.StringIO()) as printed:
        print_report([nothing], OPTIONS, 5, 0)
    assert "0.00" not in printed.getvalue() and "0.0 to" not in printed.getvalue()


def test_a_table_in_a_file_holds_the_whole_name_of_a_corpus():
    name = "corpora/of/several/languages/russian/parts/test.jsonl"
    result = evaluated(
        pipeline(SearchSpec(CHARACTERS, "greedy"), "SHE IS"), CorpusSplit(name, (SPOKEN,))
    )
    with redirect_stdout(io.StringIO()) as printed:
        print_report([result], OPTIONS, 0, 0)
    cells = [line.split("│")[1].strip() for line in printed.getvalue().splitlines() if "│" in line]
    assert "".join(cells) == name and "…" not in printed.getvalue()


def test_references_that_the_model_cannot_write_are_counted_and_named():
    """Their errors say nothing about the model, and a rate alone would hide them."""
    labels = ("<pad>", "|", *"abcçdefgğhıijklmnoöprsştuüvyz")
    turkish = Vocabulary.from_labels(labels, normalizer=Normalizer("basic", "lower", "tr"))
    texts = {"a": "IĞDIR'DA 17 kedi, 2 köpek", "b": "Çağrı", "c": None, "d": "1923"}
    part = CorpusSplit(
        "mine", tuple(Utterance(name, Path(name), text) for name, text in texts.items()), None
    )
    line = unwritable(part, turkish)
    assert line is not None and line.startswith("mine: 4 words in 2 references have characters")
    assert """('1' 2, '2' 2, "'" 1, '7' 1, '9' 1, '3' 1), ığdır'da in a first""" in line
    assert unwritable(part, turkish, "basic") == line
    assert unwritable(part, turkish, "english") is None  # both sides are spelled anew
    assert unwritable(replace(part, utterances=part.utterances[1:3]), turkish) is None


@pytest.mark.parametrize("normalizer", [Normalizer(), Normalizer("basic", "upper")])
def test_a_model_of_small_letters_can_write_capitals_that_are_compared_in_one_case(normalizer):
    labels = tuple(label.lower() for label in CHARACTERS)
    small = Vocabulary.from_labels(labels, normalizer=normalizer)
    part = CorpusSplit("c", (Utterance("a", Path("a.wav"), "HELLO there"),))
    assert unwritable(part, small) is None
    kept = Vocabulary.from_labels(labels, normalizer=Normalizer("basic", "keep"))
    assert "'H' 1" in (unwritable(part, kept) or "")
