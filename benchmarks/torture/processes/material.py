"""Small inputs of commands: noise with texts, a network of no use, a text, a language model."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.torture.inputs.recordings import small_model
from benchmarks.torture.processes.jobs import ran

RATE = 16_000
WORDS = "THE CAT SAT ON A MAT AND DOG RAN TO HIS OLD RED HOUSE BY BLUE SEA".split()


def imported() -> None:
    """Import what the jobs need, so that none of them does."""

    import w2v2cli.app
    import w2v2cli.commands.transcribe
    import w2v2cli.recognition.evaluating
    import w2v2cli.recognition.transcribing
    import w2v2cli.recognition.tuning.session
    import w2v2cli.training.runs.finetune
    import w2v2cli.training.runs.language_model
    import w2v2cli.training.runs.pretrain  # noqa: F401


def sentences(count: int, seed: int) -> list[str]:
    """Sentences in which most words say which comes next."""
    draw = random.Random(seed)
    found = []
    for _ in range(count):
        at, line = draw.randrange(len(WORDS)), []
        for _ in range(draw.randrange(3, 9)):
            line.append(WORDS[at])
            at = draw.randrange(len(WORDS)) if draw.random() < 0.2 else (at + 1) % len(WORDS)
        found.append(" ".join(line))
    return found


def corpus(folder: Path, count: int, seconds: float = 1.0, split: str = "train") -> Path:
    """Recordings of noise with a text each, whose names are those of a part of a corpus."""
    from w2v2cli.data.corpora.held_out import split_of

    folder.mkdir(parents=True)
    draw = np.random.default_rng(len(folder.name))
    names = [name for name in (f"u{i}" for i in range(30 * count)) if split_of(name) == split]
    for name, text in zip(names[:count], sentences(count, 1), strict=True):
        samples = draw.standard_normal(int(seconds * RATE * draw.uniform(0.8, 1))) * 0.1
        soundfile.write(folder / f"{name}.wav", samples, RATE)
        (folder / f"{name}.txt").write_text(" ".join(text.split()[:3]) + "\n")
    return folder


def make(folder: Path) -> None:
    """Make all of them in a folder."""
    imported()
    corpus(folder / "corpus", 16)
    corpus(folder / "valid", 4, split="dev")
    small_model(folder / "model.safetensors")
    (folder / "text.txt").write_text("\n".join(sentences(3000, 2)) + "\n")
    (folder / "valid.txt").write_text("\n".join(sentences(60, 3)) + "\n")
    job = ran(["lm", "build", str(folder / "text.txt"), "-o", str(folder / "lm.arpa")], folder)
    if job.code:
        raise RuntimeError(job.errors)
