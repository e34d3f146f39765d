"""What the program keeps for itself, damaged: made again, or refused in a sentence.

Automata and lexicons of the search (as `scripts.fuzz_caches`, which damages them 500 times each and
also without their checksums), emissions of a tuning, its weights, remembered hashes, the record of
an output folder, and the settings, log and states of a run. A silent change is another result than
that of before.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, judged
from benchmarks.torture.inputs.damage import json_damaged
from benchmarks.torture.inputs.recordings import formats, small_model
from scripts.fuzz_caches import ENGINES, files, found, how_it_ends, mutated

Draw = random.Random
Case = Callable[[Draw, Path], Outcome]
ENDS = {"rebuilt": "well", "no word depends on it": "well", "a sentence": "told"}


def searches(folder: Path) -> Case:
    """Searches whose automaton or lexicon is damaged."""
    import torch

    torch.set_num_threads(1)
    base = files(folder)
    expected = {engine: found(replace(base, engine=engine)) for engine in ENGINES}
    kept = {path.name: path.read_bytes() for path in (folder / "cache").iterdir()}

    def run(draw: Draw, place: Path) -> Outcome:
        engine = draw.choice((ENGINES[0], *ENGINES))
        cache = place / "cache"
        cache.mkdir()
        for name, content in kept.items():
            (cache / name).write_bytes(content)
        path = cache / draw.choice(sorted(kept))
        path.write_bytes(mutated(kept[path.name], draw))
        spec = replace(base, engine=engine, cache=cache)
        end = how_it_ends(spec, expected[engine], path, kept[path.name])
        return Outcome(ENDS.get(end, "changed" if end == "other words" else "traceback"), end)

    return run


def emissions(folder: Path) -> Case:
    """Emissions of a tuning."""
    from w2v2cli.recognition.tuning.emission_cache import (
        FRAMES,
        INDEX,
        keep_emissions,
        read_emissions,
    )

    rows = [[np.full((5, 4), -1.0, np.float32)], [np.full((3, 4), -2.0, np.float32)] * 2]
    keep_emissions(folder / "kept", iter(rows), 4)
    whole = {name: (folder / "kept" / name).read_bytes() for name in (FRAMES, INDEX)}

    def run(draw: Draw, place: Path) -> Outcome:
        spoilt = draw.choice((FRAMES, INDEX, INDEX))
        for name, content in whole.items():
            if name == spoilt:
                as_json = name == INDEX and draw.random() < 0.6
                damaged = json_damaged(json.loads(content), draw) if as_json else None
                content = mutated(content, draw) if damaged is None else damaged
            (place / name).write_bytes(content)

        def call() -> Outcome:
            read = read_emissions(place)
            if read is not None:
                found = [array for i in range(len(read.segments)) for array in read.of(i)]
                expected = [array for row in rows for array in row]
                same = len(found) == len(expected) and all(map(np.array_equal, found, expected))
                if not same:
                    return Outcome("changed", "other emissions")
            return Outcome("well")

        return judged(call, ())

    return run


def by_commands(folder: Path) -> Case:
    """Files that commands find: tuned weights, the record of an output folder, hashes, a run."""
    model, recording = small_model(folder / "model.safetensors"), folder / "a.wav"
    recording.write_bytes(formats()[0].whole)
    entry = {"model": "0" * 64, "lm": "0" * 64, "search": "beam", "lexicon": None}
    tuned = {"tuned": [entry | {"lm_weight": 1.0, "word_score": 0.0, "sil_score": 0.0}]}
    record = {"folder": "", "transcripts": {"a.txt": {"path": str(recording), "size": 1}}}
    settings = {"kind": "finetune", "updates": 10, "schedule": {"peak_lr": 1e-4}, "seed": 1}
    log = [{"update": i, "loss": 1.0 / i, "lr": 1e-4} for i in range(1, 5)]

    def transcribe(draw: Draw, place: Path) -> Outcome:
        beside = place / "model.safetensors"
        beside.write_bytes(model.read_bytes())
        (place / "tuned.json").write_bytes(json_damaged(tuned, draw))
        options = ("--model", str(beside), "--lm", "4gram", "--device", "cpu")
        return commanded("transcribe", str(recording), *options)

    def skip(draw: Draw, place: Path) -> Outcome:
        args = ("transcribe", str(recording), "--model", str(model), "--output-dir", str(place))
        first = commanded(*args, "--skip-existing")
        for path in place.rglob("*.json"):
            path.write_bytes(json_damaged(json.loads(path.read_bytes()) or record, draw))
        second = commanded(*args, "--skip-existing")
        return first if first.end != "well" else second

    def run_folder(draw: Draw, place: Path) -> Outcome:
        rows = [json.dumps(row).encode() for row in log]
        rows[draw.randrange(len(rows))] = json_damaged(log[0], draw)
        (place / "run.json").write_bytes(
            json_damaged(settings, draw) if draw.random() < 0.5 else json.dumps(settings).encode()
        )
        (place / "log.jsonl").write_bytes(b"\n".join(rows) + b"\n")
        return commanded("plot", str(place), "--output", str(place / "plot.png"))

    def run(draw: Draw, place: Path) -> Outcome:
        return draw.choice((transcribe, skip, run_folder))(draw, place)

    return run


def open_caches(folder: Path) -> Run:
    """Every cache, whole."""
    makers = {"searches": searches, "emissions": emissions, "commands": by_commands}
    runs: dict[str, Any] = {}
    for name, make in makers.items():
        (folder / name).mkdir()
        runs[name] = make(folder / name)

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("caches", number)
        name = "commands" if number % 20 == 0 else draw.choice(("searches", "emissions"))
        outcome: Outcome = runs[name](draw, place)
        return outcome

    return run


KINDS = (Kind("caches", 500, open_caches),)
