"""Commands that are killed at a random moment and called again.

A case kills one job, at a share of an unkilled job's time on the processor that is drawn from the
case's number. Then nothing of it may be left but what the same call goes on with: no process, no
temporary file, no semaphore or shared memory with a name. The same call is made again, and its
files have to be those of the unkilled job, name by name and byte by byte; of logs and records of
times, what does not depend on the clock.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.torture.cases import Kind, Outcome, Run, draw_of
from benchmarks.torture.processes.hub import hub_of
from benchmarks.torture.processes.jobs import Job, leavings, names_of, ran, start
from benchmarks.torture.processes.material import make

KILLS = 20
SECONDS = 600.0  # of a case on a busy machine
TRAINING = "--batch-seconds 4 --precision fp32 --updates 10 --log-every 5 --device cpu"
TRAINING += " --set save_every=2 --set validate_every=5"
SEARCH = "--model {inputs}/model.safetensors --lm {inputs}/lm.arpa --beam 10 --workers 1"
SEARCH += " --lm-weight 1 --word-score 0 --device cpu"
LINES = {
    "pretrain": "pretrain {inputs}/corpus -o out --valid {inputs}/valid --recipe small "
    + TRAINING
    + " --set model=tiny --set shortest_seconds=0.5 --set crop_seconds=0.7"
    + " --set objective.distractors=5 --loader-workers {workers}",
    "finetune": "finetune {inputs}/corpus -o out --valid {inputs}/valid --model tiny-config "
    + TRAINING
    + " --loader-workers {workers}",
    "lm train": "lm train {inputs}/text.txt --valid {inputs}/valid.txt -o out --recipe tiny "
    "--no-normalize --batch-words 512 --updates 16 --log-every 8 --device cpu --set save_every=3",
    "lm build": "lm build {inputs}/text.txt -o out/lm.arpa --order 4",
    "tune-lm": "tune-lm --data {inputs}/corpus --trials 4 --study out --json "
    "--model {inputs}/model.safetensors --lm {inputs}/lm.arpa --beam 10 --workers 1 --device cpu",
    "eval": f"eval --data {{inputs}}/corpus --output out/rows.jsonl --skip-existing {SEARCH}",
    "transcribe": "transcribe {inputs}/corpus --output-dir out --format json --skip-existing "
    + SEARCH,
    "data shard": "data shard {inputs}/corpus -o out --shard-hours 0.001 --jobs {workers}",
    "fetch": "fetch org/name",
}
WORKERS = 10  # of so many cases one has processes that read
UNCLOCKED = ("loss", "update", "epoch", "learning_rate", "wer", "accuracy")


@dataclass(frozen=True)
class Whole:
    """An unkilled job."""

    seconds: float
    """Of a processor."""
    files: dict[str, object]
    """What it left, by path."""
    code: int
    shown: str
    """On stdout."""


def arguments(name: str, inputs: Path, number: int) -> list[str]:
    """The call of a case."""
    workers = 2 if number % WORKERS == 0 else int(name == "data shard")
    return LINES[name].format(inputs=inputs, workers=workers).split()


def files_of(place: Path) -> dict[str, object]:
    """The files of a job by path, as far as the clock does not decide them."""
    found: dict[str, object] = {}
    for root in ("out", "home", "hub"):
        for path in sorted((place / root).rglob("*")):
            if path.is_file() and ".locks" not in path.parts and path.name != ".lock":
                found[str(path.relative_to(place))] = content_of(path)
    return found


def content_of(path: Path) -> object:
    """What is compared of a file."""
    if path.suffix in (".sqlite", ".html", ".tag") or path.name == "settings.json":
        return "there"
    if path.name == "log.jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: row.get(key) for key in UNCLOCKED} for row in rows]
    if path.name == "rows.jsonl":  # those made before the kill come first
        return sorted(
            re.sub(r'"wall_seconds": [^,]*', "", line) for line in text(path).splitlines()
        )
    if path.suffix == ".json":
        return re.sub(r'("(?:time|mtime|made|date|seconds)[a-z_]*": )[^,}\n]*', r"\1", text(path))
    return path.read_bytes()


def text(path: Path) -> str:
    """A file as text."""
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def shown(job: Job) -> str:
    """What a job wrote to stdout, less the name of its folder and times."""
    printed = text(job.place / "stdout").replace(str(job.place), "")
    if "real time" in printed:  # the table of eval, whose errors are in its rows
        return ""
    return re.sub(r'"(seconds|study)[a-z_]*": [^,}]*', "", printed)


def whole(line: list[str], place: Path, variables: Mapping[str, str]) -> Whole:
    """Run an unkilled job."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "out").mkdir()
    job = ran(line, place, variables_of(variables, place))
    if job.code:
        raise RuntimeError(f"{line} ended with {job.code}: {job.errors}")
    return Whole(job.seconds, files_of(place), job.code or 0, shown(job))


def variables_of(variables: Mapping[str, str], place: Path) -> dict[str, str]:
    """The environment of a job; the hub's cache is its own."""
    return {"HF_HOME": str(place / "hub"), **variables}


def open_kills(name: str, folder: Path) -> Run:
    """What a command reads, and what it leaves where nobody kills it."""
    make(folder)
    variables = hub_of(folder) if name == "fetch" else {}
    wholes: dict[int, Whole] = {}

    def run(number: int, place: Path) -> Outcome:
        workers = int(number % WORKERS == 0)
        line = arguments(name, folder, number)
        if workers not in wholes:
            # In the place of the case: some files hold paths.
            wholes[workers] = whole(line, place, variables)
            shutil.rmtree(place)
            place.mkdir()
        (place / "out").mkdir()
        return killed(name, number, line, place, wholes[workers], variables)

    return run


def killed(
    name: str,
    number: int,
    line: list[str],
    place: Path,
    expected: Whole,
    variables: Mapping[str, str],
) -> Outcome:
    """Kill a job, call it again, and judge what there is."""
    share = draw_of(f"kill {name}", number).uniform(0, 1)
    variables = variables_of(variables, place)
    job = start(line, place, variables)
    job.wait(lambda job: job.seconds >= share * expected.seconds)
    names, early = names_of(job.pid), job.code is None
    job.kill()
    left = leavings(job, names)
    again = ran(line, place, variables)
    detail = f"killed after {share:.2f} of its time" if early else "over before its kill"
    if again.code != expected.code:
        last = again.errors.strip().splitlines()[-1:]
        end = "traceback" if "Traceback" in again.errors else "changed"
        return Outcome(end, f"{detail}; the same call ended with {again.code}: {last}", left)
    left += leavings(again, set())
    found = Whole(0.0, files_of(place), 0, shown(again))
    if difference := different(expected, found):
        return Outcome("changed", f"{detail}; {difference}", left)
    return Outcome("well", detail, left)


def different(expected: Whole, found: Whole) -> str:
    """Where two jobs differ; empty where they do not."""
    lost = sorted(expected.files.keys() - found.files.keys())
    more = sorted(found.files.keys() - expected.files.keys())
    if lost or more:
        return f"lost {lost[:3]}, more {more[:3]}"
    other = [name for name, content in expected.files.items() if found.files[name] != content]
    if other:
        return f"other content: {other[:3]}"
    return "" if found.shown == expected.shown else f"stdout: {found.shown[:100]!r}"


def opening(name: str) -> Callable[[Path], Run]:
    """How the kind of a command begins."""
    return partial(open_kills, name)


KINDS = tuple(
    Kind(f"kill {name}", KILLS, opening(name), seconds=SECONDS, room=None) for name in LINES
)
