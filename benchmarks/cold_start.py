"""The steps of one `w2v2 transcribe` of a 10 s file, from the start of the process to the words.

    python -m benchmarks.cold_start [--repeats 5]

Each run is a new process that does what the command does and reads the clock between its steps. The
search process reads its files while the main one imports torch, so the third step is only the rest
of the search's set-up.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.table import Table

STEPS = """
import time; began = time.perf_counter()
from pathlib import Path
from w2v2cli.recognition.options import DecodingOptions
from w2v2cli.recognition.resolving import resolve
settings = resolve(DecodingOptions(
    lm="4gram", beam=1500, lm_weight=2.0, word_score=-1.0, sil_score=0.0, device="cpu"
))
from models.importers.labels import quick_labels
from w2v2cli.recognition.searching.processes import SearchPool
with SearchPool(settings.search_spec(quick_labels(settings.model.path))) as pool:
    import torch
    from models.importers.reader import read_model
    from w2v2cli.recognition.acoustic_model import AcousticModel
    from w2v2cli.data.audio import read_audio
    imported = time.perf_counter()
    model = AcousticModel.load(read_model(settings.model.path), "cpu", "auto")
    loaded = time.perf_counter()
    pool.wait_until_ready()
    ready = time.perf_counter()
    [emission] = model.log_probs([read_audio(Path({path!r}))])
    forward = time.perf_counter()
    pool.submit(emission).result()
    found = time.perf_counter()
print(imported - began, loaded - imported, ready - loaded, forward - ready, found - forward)
"""
NAMES = (
    "import",
    "model",
    "language model and lexicon (rest of the set-up)",
    "audio and forward",
    "search, beam 1500",
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    shipped = Path(__file__).parents[1] / "w2v2cli" / "shipped" / "recordings"
    samples = np.concatenate([soundfile.read(path)[0] for path in sorted(shipped.glob("*.flac"))])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ten.wav"
        soundfile.write(path, samples[: 10 * 16_000], 16_000)
        runs, walls = [], []
        for _ in range(args.repeats):
            out = subprocess.run(
                [sys.executable, "-c", STEPS.format(path=str(path))],
                check=True,
                capture_output=True,
            )
            runs.append([float(value) for value in out.stdout.split()])
            began = time.perf_counter()
            command = [sys.executable, "-m", "w2v2cli", "transcribe", str(path)]
            command += ["--lm", "4gram", "--beam", "1500"]
            subprocess.run(command, check=True, capture_output=True)
            walls.append(time.perf_counter() - began)
    table = Table(title=f"w2v2 transcribe of 10 s, median of {args.repeats}")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    for name, values in zip(NAMES, zip(*runs, strict=True), strict=True):
        table.add_row(name, f"{statistics.median(values):.2f}")
    table.add_row("the whole command", f"{statistics.median(walls):.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
