"""How `lm build`, `train` and `score` read their texts, by their options."""

import pytest
from typer.testing import CliRunner

from lm.ngram.arpa import read_unigrams
from lm.text.normalizers import Normalizer
from lm.text.reading import AS_IT_IS
from storage.tensors import save_tensors
from w2v2cli.app import app
from w2v2cli.commands.lm.text_options import TextFlags

TURKISH = "Çağrı, eve geldi.\nIşık 2 kez yandı!\nGidelim mi?\n"


def run(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TURKISH)
    return path


def model_that_spells(tmp_path, letters, normalizer):
    """A checkpoint, of which only the outputs are read."""
    path = tmp_path / "model.safetensors"
    metadata = {"units": "characters", "normalizer": normalizer.metadata}
    header = {"format_version": 1, "labels": ["<pad>", "|", *letters], "metadata": metadata}
    save_tensors(path, {}, {"w2v2": header})
    return path


def built(tmp_path, text, *options):
    """The words of a model that is built with some options, and what is told."""
    arpa = tmp_path / "lm.arpa"
    result = run("lm", "build", text, "-o", arpa, "--order", 2, *options)
    assert result.exit_code == 0, result.stderr
    return sorted(word for word in read_unigrams(arpa) if word[0] != "<"), result.stderr


def test_a_text_is_spelled_in_its_own_alphabet(tmp_path, text):
    words, told = built(tmp_path, text, "--language", "tr")
    assert words == sorted("çağrı eve geldi gidelim mi".split())
    assert "Read each line as a sentence (text.txt), normaliser basic tr: 2 sentences" in told
    assert "1 sentence is left out for 1 digits" in told
    assert "The normaliser basic tr changed 3 of 3 sentences: punctuation " in told
    words, told = built(tmp_path, text)
    assert "give --language tr or az" in told


def test_a_model_lends_its_normaliser_and_its_digits(tmp_path, text):
    letters = "çağrıevgldişk2znymiç"
    model = model_that_spells(tmp_path, dict.fromkeys(letters), Normalizer("basic", "lower", "tr"))
    words, told = built(tmp_path, text, "--normalizer", model)
    assert {"2", "ışık", "kez"} <= set(words) and "left out" not in told
    model = model_that_spells(tmp_path, "ABC", Normalizer())
    words, _ = built(tmp_path, text, "--normalizer", model)
    assert {"CAGRI", "ISIK", "TWO"} <= set(words)


def test_short_options_say_what_they_said_before(tmp_path, text):
    words, told = built(tmp_path, text, "--no-normalize")
    assert {"Çağrı,", "2", "mi?"} <= set(words) and "changed" not in told
    words, told = built(tmp_path, text, "--normalize")
    assert {"CAGRI", "TWO"} <= set(words) and "running text" in told


def test_scoring_takes_lines_as_they_are_and_options_when_given(tmp_path, text):
    arpa = tmp_path / "lm.arpa"
    run("lm", "build", text, "-o", arpa, "--order", 2, "--language", "tr")
    plain = run("lm", "score", arpa, text)
    assert plain.exit_code == 0, plain.output
    assert plain.stdout.splitlines()[1].endswith("\tIşık 2 kez yandı!") and plain.stderr == ""
    spelled = run("lm", "score", arpa, text, "--normalizer", "basic", "--language", "tr")
    rows = [line.split("\t") for line in spelled.stdout.splitlines()[:2]]
    assert [row[1:] for row in rows] == [["0", "çağrı eve geldi"], ["0", "gidelim mi"]]
    assert "1 sentence is left out for 1 digits" in spelled.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--normalizer", "bsic"],
            "--normalizer takes english, basic, none or a model, got 'bsic'",
        ),
        (["--normalizer", "english", "--case", "lower"], "case lower needs basic or none"),
        (["--no-normalize", "--case", "lower"], "--no-normalize decides on the other options"),
        (["--normalizer", "demo", "--language", "tr"], "are those of the model demo"),
    ],
)
def test_settings_that_contradict_each_other(tmp_path, text, options, message):
    result = run("lm", "build", text, "-o", tmp_path / "lm.arpa", *options)
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_options_a_text_is_looked_at(text):
    assert not TextFlags().given and TextFlags(sentences="lines").given
    reading = TextFlags().reading([text])
    assert (reading.normalizer, reading.lines) == (Normalizer("basic", "lower"), None)
    assert TextFlags(normalize=False).reading([text]) == AS_IT_IS
