"""The README's figures are computed or stand in docs/benchmarks.md; what it prints is printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import w2v2
from models.config import PRESETS
from models.pretraining import Wav2Vec2ForPretraining
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.locations import PRETRAINED, model_names

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def table(heading):
    """The rows of the first table under a heading, as cells."""
    section = README.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def preset(model):
    """The architecture behind a published name."""
    return next(name for name in ("demo", "base", "large-lv60k", "large") if model.startswith(name))


def test_it_is_a_door_not_a_manual():
    assert len(README.splitlines()) <= 160


def test_the_table_of_models_has_every_name():
    assert [row[0].strip("`") for row in table("Models")] == model_names()


@pytest.mark.parametrize("row", table("Models"), ids=lambda row: row[0].strip("`"))
def test_parameters_and_sizes_of_models(row):
    name = row[0].strip("`")
    config = PRESETS[preset(name)]()
    with torch.device("meta"):
        network = (
            Wav2Vec2ForPretraining(config) if name in PRETRAINED else Wav2Vec2ForCTC(config, 32)
        )
    count = sum(weights.numel() for weights in network.parameters())
    assert row[1] == f"{count / 1e6:.1f} M"
    assert row[6] == ("ships" if name == "demo" else f"{4 * count / 1e6:.0f} MB")


def test_figures_of_speed_are_those_of_the_benchmarks():
    measured = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for what, peer, ours, ratio, _ in table("Speed beside peers"):
        theirs = re.findall(r"\d+\.\d+", peer)[-1]
        own = re.findall(r"\d+\.\d+", ours)[-1]
        assert f"| {theirs} |" in measured and f"| {own} |" in measured, what
        quotient = float(own) / float(theirs)
        assert float(ratio) == pytest.approx(max(quotient, 1 / quotient), abs=0.06), what


def printed(code):
    """What Python prints when it runs code in the root of the repository."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def block_after(text):
    """The indented block that follows a text of the README, without its indentation."""
    lines = README.split(text)[1].lstrip("\n").splitlines()
    block = [line[4:] for line in lines[: lines.index("")] if line.startswith("    ")]
    return "\n".join(block) + "\n"


def test_the_python_block_prints_what_it_says():
    code = README.split("```python\n")[1].split("```")[0]
    number = r"\d+\.\d+"
    found, expected = printed(code), block_after(code + "```")
    assert re.sub(number, "#", found) == re.sub(number, "#", expected)
    said = [float(value) for value in re.findall(number, expected)]
    # The last digits of a confidence are the processor's, whose bfloat16 moves them.
    assert [float(value) for value in re.findall(number, found)] == pytest.approx(said, abs=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_words_shown_do_not_depend_on_the_processor(precision):
    block = README.split("```python\n")[1].split("```")[0]
    recording = ROOT / re.findall(r'"(.*\.flac)"', block)[0]
    options = {"device": "cpu", "precision": precision, "workers": 1}
    with w2v2.load("demo", lm="4gram", beam=1500, **options) as model:
        transcript = model.transcribe(recording)
    assert block_after(block + "```").splitlines()[0] == transcript.text


def test_the_demo_prints_what_it_says():
    shown = block_after("prints beside it what was said:\n")
    call, words, _, truth = shown.splitlines()
    arguments = shlex.split(call.removeprefix("+ w2v2 "))
    assert call.startswith("+ w2v2 transcribe ")
    code = f"import sys; sys.argv[1:] = {arguments}; from w2v2cli.app import main; main()"
    assert printed(code) == f"{words}\n"
    transcripts = ROOT / "w2v2cli" / "shipped" / "recordings" / "transcripts.tsv"
    assert f"\t{truth}\n" in transcripts.read_text(encoding="utf-8")
