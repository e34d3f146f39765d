"""`w2v2 lm info` and `w2v2 lm score` on both kinds of language model."""

import gzip
import math
from collections import Counter

import pytest
import torch
from small_words import TWO_WORDS
from typer.testing import CliRunner

from lm.ngram.arpa import read_counts
from lm.rescoring import sentence_scores
from lm.transformer.checkpoint import TransformerCheckpoint, network_weights, save_transformer
from lm.transformer.config import tiny
from lm.transformer.dictionary import SPECIALS, Dictionary
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork
from w2v2cli.app import app


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("A B\n\nA XX\nB\n")
    return path


@pytest.fixture
def transformer(tmp_path):
    torch.manual_seed(0)
    dictionary = Dictionary((*SPECIALS, "A", "B", *(f"W{i}" for i in range(200))))
    network = TransformerNetwork(tiny(len(dictionary))).initialize()
    path = tmp_path / "lm.safetensors"
    save_transformer(
        path, TransformerCheckpoint(network.config, dictionary, network_weights(network))
    )
    return path, TransformerLM(network, dictionary, ["A", "B", "XX"], cache_gb=1.0)


def test_score_with_an_ngram_model(tmp_path, text):
    pytest.importorskip("kenlm")
    arpa = tmp_path / "lm.arpa"
    arpa.write_text(TWO_WORDS)
    result = run("lm", "score", arpa, text)
    assert result.exit_code == 0, result.output
    everything = -1.8 - 2.7 - 2.3
    assert result.stdout.splitlines() == [
        "-1.8000\t0\tA B",
        "-2.7000\t1\tA XX",
        "-2.3000\t0\tB",
        "",
        "3 sentences, 5 words, 1 unknown (20.0%)",
        f"perplexity per word: {10 ** (-everything / 8):.2f} with unknown words, "
        f"{10 ** (-(everything + 1.7) / 7):.2f} without",
    ]


def test_score_with_a_transformer(transformer, text):
    path, model = transformer
    result = run("lm", "score", path, text, "--device", "cpu")
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()[:3]]
    expected = [
        sentence_scores(model, [words])[0] / math.log(10) for words in ([0, 1], [0, 2], [1])
    ]
    assert [float(row[0]) for row in rows] == pytest.approx(expected, abs=1e-3)
    assert [row[1:] for row in rows] == [["0", "A B"], ["1", "A XX"], ["0", "B"]]


def test_info_of_a_transformer(transformer):
    path, model = transformer
    result = run("lm", "info", path)
    assert result.exit_code == 0, result.output
    weights = sum(weight.numel() for weight in model.network.parameters()) / 1e6
    assert result.stdout.splitlines()[1:] == [
        f"a word Transformer: 2 blocks, d=64, FFN 128, 4 heads, relu, {weights:.1f} M parameters",
        "words: 202, and <unk> for all others",
        "softmax: bands to 100, 206, by 4, tied to the input's",
        "longest history: 64 words",
    ]


def test_mistakes_are_sentences(tmp_path, transformer, text):
    path, _ = transformer
    cases = [
        (("lm", "score", path, tmp_path / "none.txt"), 2, "There is no text at"),
        (("lm", "score", tmp_path / "none.pt", text), 2, "There is no language model at"),
        (("lm", "score", path, text, "--device", "cuba"), 2, "cuba"),
    ]
    (tmp_path / "empty.txt").write_text("\n")
    cases.append((("lm", "score", path, tmp_path / "empty.txt"), 1, "holds no sentence"))
    (tmp_path / "latin.txt").write_bytes(b"\xff\n")
    cases.append((("lm", "score", path, tmp_path / "latin.txt"), 1, "is not a complete UTF-8 text"))
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:500])
    cases.append(
        (
            ("lm", "info", tmp_path / "cut.safetensors"),
            1,
            "is damaged or not a language model of w2v2",
        )
    )
    (tmp_path / "other.pt").write_bytes(b"nothing")
    cases.append(
        (("lm", "score", tmp_path / "other.pt", text), 1, "needs its dictionary beside it")
    )
    for args, code, sentence in cases:
        result = run(*args)
        assert (result.exit_code, sentence in result.output) == (code, True), result.output


@pytest.mark.parametrize("blank", ["\n", " \t\n\n", "\n" * 9])
def test_blank_lines_are_not_sentences(tmp_path, blank):
    """lmplz counts each of them as an empty sentence, training and scoring never did."""
    lines = ["the cat sat\n", "the cat ran on\n", "a dog sat on the cat\n"] * 3
    (tmp_path / "plain.txt").write_text("".join(lines))
    (tmp_path / "blank.txt").write_text(blank + blank.join(lines) + blank)
    for name in ("plain", "blank"):
        text, arpa = tmp_path / f"{name}.txt", tmp_path / f"{name}.arpa"
        result = run("lm", "build", text, "-o", arpa, "--order", 2, "--no-normalize")
        assert result.exit_code == 0, result.output
    assert (tmp_path / "blank.arpa").read_text() == (tmp_path / "plain.arpa").read_text()


def test_prune_takes_a_threshold_for_each_order(tmp_path):
    (tmp_path / "text.txt").write_text("A B C\nA B C\nA B D\nB C A\nC A B D\n" * 2)
    text, arpa = tmp_path / "text.txt", tmp_path / "lm.arpa"
    options = ["-o", arpa, "--order", 3, "--no-normalize"]
    sizes = []
    for prune in (["0", "0", "2"], ["0", "2"], ["0"], []):
        prune = ["--prune", *prune] if prune else []
        result = run("lm", "build", *options, *prune, "--", text)
        assert result.exit_code == 0, result.output
        sizes.append(read_counts(arpa))
        again = run("lm", "build", text, *prune, *options)
        assert (again.exit_code, read_counts(arpa)) == (0, sizes[-1])
    words = [f"<s> {line} </s>".split() for line in text.read_text().splitlines()]
    seen = [
        Counter(tuple(w[i : i + n]) for w in words for i in range(len(w) - n + 1)) for n in (2, 3)
    ]
    often = [sum(count > 2 for count in counts.values()) for counts in seen]
    assert sizes == [
        [7, len(seen[0]), often[1]],
        [7, often[0], often[1]],
        [7, len(seen[0]), len(seen[1])],
        [7, len(seen[0]), len(seen[1])],
    ]


@pytest.mark.parametrize(
    ("prune", "sentence"),
    [
        (["0", "0", "1", "1"], "--prune has 4 thresholds for a model of order 3."),
        (["1"], "--prune must begin with 0, since single words are never pruned; got 1."),
        (["0", "2", "1"], "--prune thresholds must not fall from one order to the next"),
        (["few"], "Invalid value for '--prune'"),
    ],
)
def test_impossible_thresholds_are_refused_before_the_text_is_read(tmp_path, prune, sentence):
    # Typer wraps its own messages in a box, whose width is the terminal's.
    result = run("lm", "build", tmp_path, "-o", tmp_path / "a", "--order", "3", "--prune", *prune)
    assert result.exit_code == 2
    assert sentence in " ".join(result.output.replace("│", " ").split())


def test_what_is_no_language_model_or_a_part_of_one_is_refused(tmp_path, text, capfd):
    (tmp_path / "lm.arpa").write_text(TWO_WORDS)
    with gzip.open(tmp_path / "lm.arpa.gz", "wt") as file:
        file.write(TWO_WORDS)
    for name in ("lm.arpa", "lm.arpa.gz"):
        assert run("lm", "info", tmp_path / name).exit_code == 0
    (tmp_path / "cut.arpa").write_text(TWO_WORDS[:-8])
    with gzip.open(tmp_path / "cut.arpa.gz", "wt") as file:
        file.write(TWO_WORDS[:-8])
    (tmp_path / "damaged.arpa.gz").write_bytes((tmp_path / "lm.arpa.gz").read_bytes()[:-20])
    for name in ("cut.arpa", "cut.arpa.gz", "damaged.arpa.gz"):
        result = run("lm", "info", tmp_path / name)
        assert (result.exit_code, result.stdout) == (1, "") and "is cut short" in result.stderr
    for command in (["info", text], ["score", text, text]):
        result = run("lm", *command)
        assert result.exit_code == 1 and "cannot be read as an ARPA or KenLM file" in result.stderr
        assert "Byte" not in result.stderr and result.stderr.count("\n") == 1
    assert capfd.readouterr() == ("", "")  # KenLM writes to the file descriptor itself
    result = run("lm", "score", tmp_path / "lm.arpa", text, "--device", "gpu")
    assert result.exit_code == 2 and "--device takes auto, cpu, cuda" in result.stderr


def test_a_place_that_cannot_be_written_is_refused_before_the_text_is_counted(tmp_path, text):
    for output in (tmp_path, text / "lm.arpa"):
        result = run("lm", "build", text, "-o", output)
        assert result.exit_code == 1 and "cannot be written: " in result.stderr
        assert "discounts" not in result.stderr
    assert run("lm", "build", text, "-o", tmp_path / "new" / "lm.arpa").exit_code == 0
    assert read_counts(tmp_path / "new" / "lm.arpa")[0] == 6
