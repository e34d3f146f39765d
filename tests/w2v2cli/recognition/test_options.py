"""What a user asks for, and which weights and beams count."""

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from lm.decoding import DecodingWeights
from lm.text.vocabulary import CHARACTERS
from w2v2cli.data.locations import resolve_lm, resolve_model
from w2v2cli.errors import UsageError
from w2v2cli.help import Help
from w2v2cli.recognition.options import (
    TESTING,
    TRANSCRIBING,
    TUNING,
    DecodingOptions,
    choices,
    without_effect,
    without_effect_in,
    without_effect_streamed,
    without_effect_written,
)
from w2v2cli.recognition.resolving import resolve
from w2v2cli.recognition.tuning.kept import keep_tuned, rescored
from w2v2cli.recognition.tuning.options import TuningOptions
from w2v2cli.recognition.tuning.session import untuned

ASKED = DecodingOptions(lm="4gram")


@pytest.fixture
def tuned(tmp_path, monkeypatch):
    """Weights that tuning stored for the shipped model and its 4-gram."""
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    model = resolve_model("demo")
    lm = resolve_lm("4gram", model)
    weights = DecodingWeights(1.25, 0.5, sil_score=-0.75)
    keep_tuned(model, lm, weights, {"data": "dev-other"})
    return model, lm


def test_every_option_has_its_help_and_its_default():
    hints = get_type_hints(DecodingOptions, include_extras=True)
    for field in fields(DecodingOptions):
        [about] = [item for item in get_args(hints[field.name]) if isinstance(item, Help)]
        assert about.text.endswith("."), field.name
    assert DecodingOptions() == DecodingOptions(model="demo", lm="none")
    assert choices(DecodingOptions)["precision"] == ("auto", "fp32", "bf16", "fp16")


@pytest.mark.parametrize(
    ("beams", "kind", "width"),
    [
        (TRANSCRIBING, "arpa", 500),
        (TESTING, "arpa", 1500),
        (TESTING, "kenlm", 1500),
        (TESTING, "transformer", 500),
        (TUNING, "arpa", 500),
        (TUNING, "transformer", 50),
    ],
)
def test_the_papers_beams_stand_where_none_is_named(beams, kind, width):
    assert beams.of(kind) == width


def test_a_beam_given_by_hand_counts_zero_included():
    assert resolve(replace(ASKED, beam=7), TESTING).beam.width == 7
    assert resolve(ASKED, TESTING).beam.width == 1500
    with pytest.raises(UsageError, match="--beam must be at least 1, got 0"):
        resolve(replace(ASKED, beam=0), TESTING)


def test_flashlight_merges_by_history_and_every_other_search_as_asked(tmp_path):
    assert resolve(ASKED).beam.recombine == "state"
    assert resolve(replace(ASKED, recombine="history")).beam.recombine == "history"
    assert resolve(replace(ASKED, search="flashlight")).beam.recombine == "history"
    lines = "\n".join(f"-1\t{symbol}" for symbol in ("<unk>", "<s>", "</s>", *CHARACTERS[4:]))
    arpa = tmp_path / "characters.arpa"
    arpa.write_text(f"\\data\\\nngram 1=31\n\n\\1-grams:\n{lines}\n\n\\end\\\n")
    characters = DecodingOptions(lm=str(arpa))
    assert resolve(characters).beam.recombine == "history"
    with pytest.raises(UsageError, match="--recombine state was asked for, and this language"):
        resolve(replace(characters, recombine="state"))


@pytest.mark.parametrize("option", [{"mbr": True}, {"skip_blank": 0.99}])
def test_what_only_the_compiled_search_can_do_is_refused_elsewhere(option):
    assert resolve(replace(ASKED, **option)).engine == "compiled"
    with pytest.raises(UsageError, match="is for --search compiled, and this call takes"):
        resolve(replace(ASKED, search="flashlight", **option))


def test_the_last_words_merge_where_a_transformer_is_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    asked = DecodingOptions(lm="transformer", lm_context=2)
    assert resolve(asked).beam.lm_context == 2
    for other, reason in (
        (replace(asked, lm="4gram"), "it is for a Transformer in the search."),
        (replace(asked, nbest=3), "a list of several hypotheses keeps all histories apart."),
        (
            replace(asked, rescore="4gram"),
            "a list of several hypotheses keeps all histories apart.",
        ),
        (replace(asked, lm="none"), "without --lm or --lexicon there is no beam search."),
    ):
        notes: list[str] = []
        assert resolve(other, note=notes.append).beam.lm_context is None
        assert f"Note: --lm-context has no effect: {reason}" in notes
    assert resolve(replace(asked, lm="4gram", search="batched")).beam.lm_context == 2
    with pytest.raises(UsageError, match="--lm-context must be at least 1, got 0"):
        resolve(replace(asked, lm_context=0))
    with pytest.raises(UsageError, match="by all of their words, and --lm-context by the last 2"):
        resolve(replace(asked, recombine="history"))


def test_without_tuning_the_papers_weights_count(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    notes = []
    assert resolve(ASKED, note=notes.append).weights == DecodingWeights(2.0, -1.0)
    transformer = resolve(replace(ASKED, lm="transformer"), note=notes.append)
    assert transformer.weights == DecodingWeights(0.87, -1.0)
    assert notes == []


def test_tuned_weights_count_where_none_is_given(tuned):
    notes = []
    found = resolve(ASKED, note=notes.append).weights
    assert (found.lm_weight, found.word_score, found.sil_score) == (1.25, 0.5, -0.75)
    [note] = notes
    values = "LM weight 1.25, word score 0.5 and silence score -0.75"
    assert note.startswith(f"Note: {values}, as tuned on dev-other (")
    assert note.endswith("--lm-weight, --word-score and --sil-score override them.")


def test_a_weight_given_alone_keeps_the_other_tuned_one_and_says_so(tuned):
    notes = []
    found = resolve(replace(ASKED, lm_weight=3.0), note=notes.append).weights
    assert (found.lm_weight, found.word_score) == (3.0, 0.5)
    assert notes[0].startswith("Note: word score 0.5 and silence score -0.75, as tuned on")
    assert notes[0].endswith("--word-score and --sil-score override them.")


def test_a_tuned_silence_score_that_counts_alone_is_told(tuned):
    notes = []
    found = resolve(replace(ASKED, lm_weight=3.0, word_score=0.0), note=notes.append).weights
    assert found.sil_score == -0.75
    assert notes[0].startswith("Note: silence score -0.75, as tuned on dev-other")


def test_a_silence_score_of_zero_given_by_hand_counts(tuned):
    assert resolve(replace(ASKED, sil_score=0.0)).weights.sil_score == 0.0
    assert resolve(ASKED).weights.sil_score == -0.75


def test_all_weights_given_need_no_note(tuned):
    notes = []
    given = replace(ASKED, lm_weight=0.0, word_score=0.0, sil_score=0.0)
    assert resolve(given, note=notes.append).weights == DecodingWeights(0.0, 0.0)
    assert notes == []


def test_the_weights_of_the_language_model_that_a_folder_carries(tmp_path, monkeypatch):
    """alpha weighs natural logarithms and ours log10; beta and the unknown word's offset follow."""
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    folder = tmp_path / "language_model"
    folder.mkdir()
    (folder / "lm.arpa").write_text("\\data\\\n")
    (folder / "attrs.json").write_text('{"alpha": 0.5, "beta": 1.5, "unk_score_offset": -10.0}')
    asked, notes = DecodingOptions(model=str(tmp_path), lm="own"), []
    found = resolve(asked, note=notes.append).weights
    assert (found.lm_weight, found.word_score) == (pytest.approx(math.log(10) / 2), 1.5)
    assert found.unk_score == pytest.approx(1.5 - 5 * math.log(10))
    values = "LM weight 1.15129 and word score 1.5, as language_model/attrs.json has it"
    assert notes == [f"Note: {values}; --lm-weight and --word-score override them."]
    notes.clear()
    given = replace(asked, lm_weight=2.0, word_score=0.0, unk_score=-math.inf)
    assert resolve(given, note=notes.append).weights == DecodingWeights(2.0, 0.0) and not notes
    with pytest.raises(UsageError, match="--unk-score must be a number"):
        resolve(replace(asked, unk_score=math.nan))


def test_a_second_pass_has_weights_of_its_own(tuned):
    model, first = tuned
    second = resolve_lm("transformer", model)
    kept = DecodingWeights(0.4, 0.1)
    keep_tuned(model, second, kept, {"data": "dev-other"}, rescored(first))
    notes = []
    found = resolve(replace(ASKED, rescore="transformer"), note=notes.append)
    assert found.weights.lm_weight == 1.25
    assert found.rescore.weights == kept
    assert notes[1].endswith("--rescore-lm-weight and --rescore-word-score override them.")


WRONG = [
    (
        {"search": "fast"},
        "--search takes auto, greedy, compiled, flashlight or batched, got 'fast'",
    ),
    ({"precision": "fp61"}, "--precision takes auto, fp32, bf16 or fp16, got 'fp61'"),
    ({"search": "greedy", "lm": "4gram"}, "--search greedy uses no language model or lexicon"),
    ({"search": "greedy", "nbest": 2}, "--search greedy finds one hypothesis, --nbest asks for 2"),
    (
        {"search": "flashlight", "recombine": "state"},
        "--search flashlight tells hypotheses apart by their words: leave out --recombine state",
    ),
    (
        {"lm": "4gram", "recombine": "words"},
        "--recombine takes state or history, got 'words'",
    ),
    ({"hotwords": Path("words.txt")}, "--hotwords needs words to be found among"),
    ({"hotwords_floor": 0.5}, "--hotwords-floor is the logarithm of a probability, so at most 0"),
    ({"hotwords_floor": float("nan")}, "--hotwords-floor is the logarithm of a probability"),
    ({"lm_weight": 2.0}, "--lm-weight needs words to be found among: name a language model"),
    ({"sil_score": 0.0}, "--sil-score needs words to be found among"),
    ({"lm": "4gram", "rescore": "none"}, "--rescore takes a language model, got 'none'"),
    ({"rescore": "transformer"}, "--rescore needs hypotheses to score again"),
    ({"lm": "4gram", "rescore": "transformer", "mbr": True}, "--mbr weighs what the first search"),
    ({"lm": "4gram", "rescore_nbest": 0}, "--rescore-nbest must be at least 1, got 0"),
    ({"lm_cache_gb": 0.0}, "--lm-cache-gb must be above 0, got 0"),
    ({"batch_seconds": -1.0}, "--batch-seconds cannot be negative, got -1"),
    ({"workers": -1}, "--workers cannot be negative, got -1"),
]


@pytest.mark.parametrize(("given", "sentence"), WRONG)
def test_wrong_options_are_refused_in_a_sentence(given, sentence):
    with pytest.raises(UsageError) as refused:
        DecodingOptions(**given)
    assert str(refused.value).startswith(sentence)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({}, None),
        ({"beam": 50, "lm": "4gram"}, None),
        ({"beam": 50, "search": "flashlight"}, None),
        (
            {"beam": 50, "nbest": 3},
            "Note: --beam, --nbest have no effect: without --lm or --lexicon there is no beam "
            "search.",
        ),
        (
            {"lm_weight": 1.0, "lexicon": Path("words.txt")},
            "Note: --lm-weight has no effect: without --lm there is no language model.",
        ),
        ({"mbr_scale": 0.5, "lm": "4gram"}, "Note: --mbr-scale has no effect: it is for --mbr."),
        (
            {"rescore_nbest": 5, "lm": "4gram"},
            "Note: --rescore-nbest has no effect: without --rescore there is no second pass.",
        ),
    ],
)
def test_options_without_effect_are_told(given, line):
    assert without_effect(DecodingOptions(**given)) == ([] if line is None else [line])


@pytest.mark.parametrize(
    ("given", "engine", "transformer", "lines"),
    [
        ({"lattice_beam": 5.0, "posterior_scale": 0.5}, "compiled", False, []),
        ({"lm_precision": "bf16", "lm_cache_gb": 1.0}, "batched", True, []),
        (
            {"lattice_beam": 5.0, "posterior_scale": 0.5},
            "batched",
            True,
            [
                "Note: --lattice-beam, --posterior-scale have no effect: only --search compiled "
                "keeps a lattice."
            ],
        ),
        (
            {"lm_cache_gb": 1.0},
            "compiled",
            False,
            ["Note: --lm-cache-gb has no effect: no language model is a Transformer."],
        ),
    ],
)
def test_options_without_effect_in_the_search_that_runs_are_told(given, engine, transformer, lines):
    assert without_effect_in(DecodingOptions(lm="4gram", **given), engine, transformer) == lines


def test_a_call_tells_of_the_options_that_its_search_ignores():
    said = []
    resolve(
        DecodingOptions(lm="4gram", search="batched", posterior_scale=0.5, lm_cache_gb=1.0),
        note=said.append,
    )
    assert [line for line in said if "no effect" in line] == [
        "Note: --posterior-scale has no effect: only --search compiled keeps a lattice.",
        "Note: --lm-cache-gb has no effect: no language model is a Transformer.",
    ]


@pytest.mark.parametrize(
    ("given", "engine", "lines"),
    [
        ({"beam": 50, "recombine": "state", "hotwords": Path("hot.txt")}, "compiled", []),
        (
            {"skip_blank": 0.999, "recombine": "history"},
            "compiled",
            [
                "Note: --skip-blank has no effect: a stream is searched frame by frame.",
                "Note: --recombine has no effect: in a stream hypotheses are told apart by state.",
            ],
        ),
        (
            {"lattice_beam": 5.0, "mbr": True, "mbr_scale": 0.5},
            "compiled",
            [
                "Note: --lattice-beam, --mbr, --mbr-scale have no effect: of a stream no lattice "
                "is kept."
            ],
        ),
        (
            {"workers": 2},
            "greedy",
            [
                "Note: --workers has no effect: a stream is searched window by window in this "
                "process."
            ],
        ),
    ],
)
def test_options_without_effect_on_a_stream_are_told(given, engine, lines):
    assert without_effect_streamed(DecodingOptions(lm="4gram", **given), engine) == lines


def arpa(path, words) -> Path:
    lines = "\n".join(f"-1\t{word}" for word in words)
    path.write_text(
        f"\\data\\\nngram 1={len(words) + 3}\n\n"
        f"\\1-grams:\n-3\t<unk>\n0\t<s>\n-1\t</s>\n{lines}\n\n\\end\\\n"
    )
    return path


def test_two_language_models_have_their_weights(tmp_path):
    other = str(arpa(tmp_path / "other.arpa", ["ONE"]))
    asked = DecodingOptions(lm=["4gram", other], lm_weight=[1.5, -0.25], word_score=0.5)
    assert asked.lms == ("4gram", other)
    found = resolve(asked)
    assert found.weights == DecodingWeights(1.5, 0.5, second_lm_weight=-0.25)
    assert (found.engine, found.second_words) == ("compiled", True)
    spec = found.search_spec(CHARACTERS)
    assert (spec.second, spec.second_transformer) == (Path(other), False)
    assert replace(found, search="batched").engine == "batched"
    with_transformer = resolve(replace(asked, lm=(other, "transformer")))
    assert with_transformer.engine == "batched"
    assert with_transformer.search_spec(CHARACTERS).second_transformer
    # One value is one, however it is given.
    assert DecodingOptions(lm=["4gram"], lm_weight=(2.0,)) == replace(ASKED, lm_weight=2.0)


TWICE = {"lm": ("4gram", "4gram"), "lm_weight": (1.0, 1.0)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lm_weight": None}, "Two language models need a weight each"),
        ({"lm_weight": 2.0}, "Two language models need a weight each"),
        ({"lm_weight": (0.0, 1.0)}, "above 0 for the first of two language models, got 0"),
        ({"lm": "4gram"}, "--lm-weight was given 2 times, and --lm once"),
        ({"lm": ("4gram", "none")}, "--lm none leaves no language model"),
        ({"lm": ("4gram",) * 3}, "--lm can be given once or twice, got 3"),
        ({"search": "flashlight"}, "--search flashlight takes one language model, not two"),
        ({"search": "greedy"}, "--search greedy uses no language model"),
        ({"lm": ("transformer", "transformer")}, "one must be an n-gram"),
        (
            {"lm": ("4gram", "transformer"), "search": "compiled"},
            "--search compiled takes one language model, not a Transformer beside another: leave "
            "it out, or give --search batched",
        ),
    ],
)
def test_two_language_models_that_do_not_go_together_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        resolve(DecodingOptions(**{**TWICE, **given})).engine  # noqa: B018 - it refuses


OVER = {"lm": "4gram", "rescore": "4gram", "rescore_over": "lattice"}


def test_a_second_pass_over_lattices(tmp_path):
    found = resolve(DecodingOptions(**OVER))
    assert (found.rescore.over, found.rescore.what) == ("lattice", "lattices")
    assert without_effect(DecodingOptions(**OVER, rescore_nbest=7)) == [
        "Note: --rescore-nbest has no effect: over a lattice no list is scored again."
    ]
    with pytest.raises(UsageError, match="lattice is for --search compiled, and this call"):
        resolve(DecodingOptions(**OVER, search="batched"))
    with pytest.raises(UsageError, match="tuned over lists"):
        untuned(DecodingOptions(**OVER), TuningOptions())
    with pytest.raises(UsageError, match="weights of one language model are tuned"):
        untuned(DecodingOptions(lm=("4gram", "4gram")), TuningOptions())


@pytest.mark.parametrize(
    ("given", "engine", "lines"),
    [
        ({}, "compiled", []),
        (
            {"lattice_beam": 5.0, "posterior_scale": 0.5},
            "compiled",
            [
                "Note: --lattice-beam, --posterior-scale have no effect: "
                "there are no confidences or lattices in txt."
            ],
        ),
        (
            {"lattice_beam": 5.0, "posterior_scale": 0.5, "mbr": True},
            "compiled",
            ["Note: --posterior-scale has no effect: there are no confidences or lattices in txt."],
        ),
        ({"lattice_beam": 5.0}, "batched", []),  # told for another reason
    ],
)
def test_options_about_what_is_not_written_are_told(given, engine, lines):
    assert without_effect_written(DecodingOptions(lm="4gram", **given), engine, "txt") == lines
