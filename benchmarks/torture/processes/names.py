"""Names, ids and texts that would colour a terminal, write elsewhere, or become code in a page.

Each case gives one hostile string to a command as the name of a file or folder, as an id, as a
speaker, as a text, or as what a network hears. No control character may reach the terminal, no file
may be written beside the outputs, no tag may stand in a page, and there may be no traceback.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.torture.cases import CONTROL, Kind, Outcome, Run, command, draw_of, judged, sentence
from benchmarks.torture.inputs.recordings import small_model

RATE = 16_000
TAG = "<script>alert(1)</script>"
STRINGS = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[H",
    "\x9b31m",
    "bell\x07 back\x08\x08",
    "over\rwritten",
    "two\nlines",
    "tab\tbed",
    TAG,
    "'\"><img src=x onerror=alert(1)>",
    "[/b]",
    "[bold red]x",
    "[link=file:///etc/passwd]x[/link]",
    "-o",
    "--output-dir=elsewhere",
    "../outside",
    "../../outside",
    "/tmp/kills-outside",
    "a/../../outside",
    "..",
    ".",
    "~root",
    "$(touch outside)",
    "%s%n%d{0}{name}",
    "\u202egnp.txt",
    "\ufeffbom",
    "CON",
    " ",
    "a" * 240,
    "é" * 120,
    "\udcff\udcfe",
    "nul\x00nul",
    "*?[a-z]",
    "x" * 5000,
)
TAGS = (TAG, "<img src=x")
HEARD, BIAS = "E", "output.bias"  # a symbol of the small model, and the bias of its output layer
PLACES = ("file", "folder", "id", "speaker", "text", "heard")
CASES = [(string, place) for string in STRINGS for place in PLACES]
random.Random(0).shuffle(CASES)  # a share of them is of all kinds
CALLS = 3  # of a case


def open_names(folder: Path) -> Run:
    """A model, and a recording of noise."""
    model = small_model(folder / "model.safetensors")
    samples = np.random.default_rng(0).standard_normal(RATE // 4) * 0.1
    soundfile.write(folder / "noise.wav", samples, RATE)

    def run(number: int, place: Path) -> Outcome:
        string, where = CASES[number]
        inside = place / "a" / "b"
        inside.mkdir(parents=True)
        made = corpus_with(string, where, folder / "noise.wav", inside)
        if made is None:
            return Outcome("well", "no file system has such a name")
        calls = lines(made, inside, hearing(string, inside) if where == "heard" else model)
        for line in draw_of("names", number).sample(calls, CALLS):
            outcome = judged(lambda line=line: called(line, inside), ())  # type: ignore[misc]
            if outcome.end not in ("well", "told"):
                return Outcome(outcome.end, f"{where} {string[:20]!r}: {line[0]}: {outcome.detail}")
        beside = sorted(path.name for path in (*place.iterdir(), *(place / "a").iterdir()))
        if beside != ["a", "b"]:
            return Outcome("changed", f"{where} {string[:20]!r}: wrote {beside}")
        return Outcome("well", f"{where} {string[:20]!r}")

    return run


def hearing(string: str, place: Path) -> Path:
    """A network that hears one symbol alone, which is the string."""
    import torch

    from models.checkpoint import load_checkpoint, save_checkpoint

    path = small_model(place / "model.safetensors")
    known = load_checkpoint(path)
    labels = tuple(string if label == HEARD else label for label in known.labels or ())
    weights = known.weights | {BIAS: 100.0 * torch.eye(len(labels))[labels.index(string)]}
    save_checkpoint(path, replace(known, labels=labels, weights=weights))
    return path


def corpus_with(string: str, where: str, noise: Path, inside: Path) -> Path | None:
    """A corpus in which the string is a name, an id, a speaker or a text; None where none can."""
    if where == "heard":
        return corpus_with("one", "file", noise, inside)
    if where in ("file", "folder"):
        folder = inside / string if where == "folder" else inside / "corpus"
        name = f"{string}.wav" if where == "file" else "one.wav"
        if "/" in string or string in (".", ".."):
            return None
        try:
            folder.mkdir()
            shutil.copy(noise, folder / name)
            (folder / name).with_suffix(".txt").write_text("ONE\n")
        except (OSError, ValueError):
            return None
        return folder
    row = {"audio_filepath": str(noise), "duration": 0.25, "text": "ONE", "id": "one"}
    row["speaker"] = "somebody"
    manifest = inside / "corpus.jsonl"
    manifest.write_text(json.dumps(row | {where: string}) + "\n")
    return manifest


def lines(made: Path, inside: Path, model: Path) -> list[list[str]]:
    """The calls of a case."""
    use = ["--model", str(model), "--device", "cpu"]
    found = [
        ["eval", "--data", str(made), "--output", str(inside / "rows.jsonl"), *use],
        ["data", "scan", str(made), "-o", str(inside / "scan.jsonl")],
        ["data", "shard", str(made), "-o", str(inside / "shards"), "--jobs", "1"],
        ["features", str(made), "-o", str(inside / "features"), *use],
    ]
    page = ["--lm", "none", "--worst", "3", "--report", str(inside / "report.html")]
    found.insert(0, ["eval", "--data", str(made), *page, *use])
    if made.is_dir():
        page = ["--output-dir", str(inside / "pages"), "--format", "html"]
        found.insert(0, ["transcribe", str(made), *use, *page])
        out = ["--output-dir", str(inside / "texts"), "--format", "json"]
        found += [
            ["transcribe", str(made), *use, *more]
            for more in (["--names"], ["--format", "jsonl"], out)
        ]
        found.append(["transcribe", str(made / "not there"), *use])
    return found


def called(line: list[str], inside: Path) -> Outcome:
    """Run a command and look at what it prints."""
    code, out, err = command(*line)
    for name, text in (("stdout", out), ("stderr", err)):
        if raw := CONTROL.search(text):
            return Outcome("changed", f"{raw[0]!r} on {name}: {text[:200]!r}")
    for page in inside.rglob("*.html"):
        if tag := next((tag for tag in TAGS if tag in page.read_text(errors="replace")), None):
            return Outcome("changed", f"{tag} in {page.name}")
    if code == 0:
        return Outcome("well")
    last = [row for row in err.splitlines() if row.strip()][-1:]
    return sentence(last[0]) if last else Outcome("changed", f"exit code {code} without a word")


KINDS = (Kind("names", len(CASES), open_names, seconds=60.0, room=None),)
