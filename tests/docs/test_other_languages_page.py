"""docs/other-languages.md: its commands run as written, on a few seconds of noise.

Only what takes time is made small: the corpora have a dozen recordings, a run one update, and a
tuning four trials.
"""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
import transformers
from typer.testing import CliRunner

from scripts import other_languages_trial as trial
from w2v2cli.app import app
from w2v2cli.data.corpora.readers import read_corpus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "other-languages.md").read_text(encoding="utf-8")
TRIAL = "python -m scripts.other_languages_trial"
SMALL = "--train 19 --held-out 4 --sentences 200"
XLSR = "facebook/wav2vec2-xls-r-300m"
LETTERS = {
    "turkish": "abcçdefgğhıijklmnoöprsştuüvyz",
    "russian": "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
}


def commands():
    """The commands of the page, in its order, without their outputs."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.M | re.S)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:]


def record_noise(folder, clip):
    """In place of espeak-ng: noise as long as the sentence."""
    draw = np.random.default_rng(len(clip.text))
    samples = 0.1 * draw.standard_normal(800 * len(clip.text))
    soundfile.write(folder / f"{clip.name}.wav", samples, 22_050)


def write_xlsr(folder):
    """A tiny pretrained checkpoint in the layout of XLS-R's repository."""
    config = transformers.Wav2Vec2Config(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        codevector_dim=16,
        proj_codevector_dim=16,
        num_codevectors_per_group=8,
        do_stable_layer_norm=True,
        feat_extract_norm="layer",
        conv_bias=True,
    )
    transformers.Wav2Vec2ForPreTraining(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty folder to work in, with noise for speech and a tiny XLS-R."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("W2V2_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(trial, "_record", record_noise)
    write_xlsr(tmp_path / XLSR)
    return tmp_path


def run(command):
    """Carry out a command of the page, made small."""
    if command.startswith(TRIAL):
        trial.main(shlex.split(command.removeprefix(TRIAL) + " " + SMALL))
        return
    if not command.startswith("w2v2 "):
        assert command.split()[0] in ("ls", "cat", "head"), command
        subprocess.run(command, shell=True, check=True, capture_output=True)
        return
    small = re.sub(r"--updates \d+", "--updates 1", command).partition(" | ")[0]
    assert "--updates" in command or " finetune " not in command
    if " tune-lm " in command:
        small += " --trials 4"
    result = CliRunner().invoke(app, shlex.split(small)[1:])
    assert result.exit_code == 0, f"{command}\n{result.output}\n{result.exception!r}"


def test_the_commands_run_as_written(desk):
    called = list(commands())
    assert len(called) > 10
    for command in called:
        run(command)


@pytest.mark.parametrize("language", LETTERS)
def test_the_trials_sentences(language):
    """Every letter is there, and no sentence of dev or test anywhere else."""
    parts = trial.divide(language, {"train": 300, "dev": 75, "test": 75}, 6000, seed=1)
    learned = {*parts["train"], *parts["text"]}
    assert len({*parts["dev"], *parts["test"]}) == 150
    assert not learned & {*parts["dev"], *parts["test"]}
    lower = "".join(parts["train"]).replace("I", "ı").replace("İ", "i").lower()
    assert set(LETTERS[language]) <= set(lower)
    assert [part for part in parts if any(c.isdigit() for c in "".join(parts[part]))] == ["train"]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
@pytest.mark.parametrize("language", LETTERS)
def test_the_trials_recordings(language, tmp_path):
    """The same 19 clips, in a folder for each part or in one with a list of speakers."""
    trial.main(f"{language} -o {tmp_path} --train 13 --held-out 3 --sentences 5".split())
    folders = [tmp_path] if language == "russian" else [tmp_path / part for part in trial.SPEAKERS]
    read = [read_corpus(folder) for folder in folders]
    assert [len(corpus) for corpus in read] == ([19] if language == "russian" else [13, 3, 3])
    if language == "russian":
        assert {u.speaker for u in read[0]} == {s for part in trial.SPEAKERS.values() for s in part}
    assert all(soundfile.info(u.path).duration > 0.5 for u in read[-1])
