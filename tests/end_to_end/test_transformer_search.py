"""The command line with a word Transformer, hot words and every engine, on the demo model."""

import json
import sys
from pathlib import Path

import pytest
import torch
from calls import called

from lm.ngram.arpa import read_unigrams
from lm.transformer.checkpoint import TransformerCheckpoint, network_weights, save_transformer
from lm.transformer.config import tiny
from lm.transformer.dictionary import SPECIALS, Dictionary
from lm.transformer.network import TransformerNetwork
from w2v2cli.commands.transcribe_options import DEMO
from w2v2cli.data.locations import DEMO_LM

SHIPPED = Path(__file__).parents[2] / "w2v2cli" / "shipped"
FLASHLIGHT = sys.version_info < (3, 13)  # it has no build for later ones
CLIP = SHIPPED / "recordings" / "LJ002-0050.flac"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def w2v2(home, monkeypatch):
    """Calls of `w2v2` with a store of their own."""
    monkeypatch.setenv("W2V2_HOME", str(home))
    return called


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """A file with random weights and the words of the shipped 4-gram."""
    torch.manual_seed(0)
    words = [word for word in read_unigrams(DEMO_LM) if word not in (*SPECIALS, "<s>")]
    config = tiny(len(words) + len(SPECIALS))
    path = tmp_path_factory.mktemp("lm") / "lm.safetensors"
    weights = network_weights(TransformerNetwork(config).initialize())
    save_transformer(
        path, TransformerCheckpoint(config, Dictionary((*SPECIALS, *words)), weights, {})
    )
    return path


def test_the_engines_agree_on_a_recording(w2v2):
    texts = set()
    for engine in ("compiled", "batched", *(["flashlight"] if FLASHLIGHT else [])):
        result = w2v2("transcribe", CLIP, "--lm", "4gram", "--beam", 200, "--search", engine)
        assert result.returncode == 0 and result.stderr == f"{DEMO}\n"
        texts.add(result.stdout)
    assert len(texts) == 1


def test_a_transformer_in_the_first_pass_or_the_second(w2v2, transformer):
    fused = w2v2("transcribe", CLIP, "--lm", transformer, "--beam", 20, "--lm-cache-gb", 0.1)
    assert fused.returncode == 0 and fused.stdout.count("\n") == 1
    call = ("transcribe", CLIP, *"--lm 4gram --beam 50 --nbest 4 --format json".split())
    first = json.loads(w2v2(*call).stdout)["segments"][0]
    weights = "--rescore-nbest 4 --rescore-lm-weight 0.1 --rescore-word-score 0.5"
    again = w2v2(*call, "--rescore", transformer, *weights.split())
    assert again.returncode == 0, again.stderr
    second = json.loads(again.stdout)["segments"][0]
    rows = [{"text": " ".join(w["text"] for w in first["words"]), **first}, *first["alternatives"]]
    other = {row["text"]: row for row in second["alternatives"]} | {
        " ".join(w["text"] for w in second["words"]): second
    }
    assert {row["text"] for row in rows} == set(other)
    for row in rows:
        words = len(row["text"].split())
        found = other[row["text"]]
        assert found["acoustic_score"] == pytest.approx(row["acoustic_score"], abs=1e-2)
        assert found["score"] == pytest.approx(
            row["acoustic_score"] + 0.1 * found["lm_score"] + 0.5 * words, abs=2e-2
        )


def test_the_second_pass_is_tuned_as_eval_finds_it(w2v2, transformer):
    size = ["--beam", 20, "--rescore-nbest", 10, "--json"]
    tune = w2v2("tune-lm", "--rescore", transformer, "--trials", 12, *size)
    assert tune.returncode == 0, tune.stderr
    assert "These weights are not kept" in tune.stderr  # a miniature decides nothing
    found = json.loads(tune.stdout)
    assert {trial["kind"] for trial in found["list"]} == {"exact"}
    weights = "--rescore-lm-weight", found["lm_weight"], "--rescore-word-score", found["word_score"]
    result = w2v2("eval", "--split", "dev-other", "--rescore", transformer, *weights, *size)
    assert result.returncode == 0, result.stderr
    assert "as tuned on" not in result.stderr
    said = json.loads(result.stdout)
    taken = [10, found["lm_weight"], found["word_score"]]
    assert [said["rescore"][name] for name in ("nbest", "lm_weight", "word_score")] == taken
    assert said["results"][0]["wer"] == pytest.approx(found["rate"])


def test_hot_words_are_heard_in_any_case(w2v2, tmp_path):
    """The clip says `and they nominally held`; without hot words `they` is not found."""
    (tmp_path / "hot.txt").write_text("# what the speaker is known to say\nThey 9\n")
    plain = w2v2("transcribe", CLIP, "--lm", "4gram")
    hot = w2v2("transcribe", CLIP, "--lm", "4gram", "--hotwords", tmp_path / "hot.txt")
    assert hot.returncode == 0, hot.stderr
    assert " AND NOMINALLY HELD " in plain.stdout and " THEY NOMINALLY HELD " in hot.stdout


def test_the_papers_protocol_tunes_and_then_tests(w2v2):
    result = w2v2("eval", "--protocol", "paper", "--trials", 3, "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [row["lm"] for row in found["rows"]] == ["none", "4gram"]
    for row in found["rows"]:
        names = [result["data"] for result in row["results"]]
        assert names == ["dev-clean", "dev-other", "test-clean", "test-other"]
    none, ngram = found["rows"]
    assert none["tuned_wer"] is None and ngram["search"]["beam"] == 1500
    assert ngram["results"][0]["wer"] < none["results"][0]["wer"]
    assert "Tuning on dev-other, LM 4gram, beam 500, 3 trials." in result.stderr
    # It tunes for itself: what the miniature finds is never kept for other calls.
    plain = json.loads(w2v2("eval", "--split", "dev-other", "--json").stdout)["search"]
    assert (plain["lm_weight"], plain["word_score"]) == (2.0, -1.0)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--protocol", "papers"], "--protocol takes paper, got 'papers'"),
        (
            ["--protocol", "paper", "--split", "dev-other"],
            "--protocol paper decides on --split itself",
        ),
        (["--protocol", "paper", "--trials", "0"], "--trials must be at least 1, got 0"),
    ],
)
def test_wrong_calls_of_the_protocol(w2v2, options, told):
    result = w2v2("eval", *options)
    assert result.returncode == 2 and result.stdout == ""
    assert told in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--search", "compiled", "--lm", "LM"], "--search compiled cannot use a Transformer"),
        (["--rescore", "LM"], "--rescore needs hypotheses to score again"),
        (["--lm", "4gram", "--rescore", "gone.pt"], "There is no language model at gone.pt"),
        (["--lm", "4gram", "--lm-cache-gb", "0"], "--lm-cache-gb must be above 0, got 0"),
        (["--lm", "4gram", "--hotwords", "gone.txt"], "gone.txt cannot be read: No such file"),
        (["--hotwords", "gone.txt"], "--hotwords needs words to be found among"),
        (["--search", "batched"], "--search batched needs words"),
        (["--lm", "LM", "--lm-cache-gb", "1e-9"], "too little"),
    ],
)
def test_wrong_calls_get_a_sentence(w2v2, transformer, options, told):
    result = w2v2(
        "transcribe", CLIP, *(transformer if option == "LM" else option for option in options)
    )
    assert result.returncode in (1, 2) and result.stdout == ""
    sentence = result.stderr.removeprefix(f"{DEMO}\n")
    assert told in sentence and sentence.count("\n") == 1
