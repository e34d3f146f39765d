"""BASE with random weights, from audio files to emissions, beside transformers.

    python -m benchmarks.emissions RECORDINGS... [--repeats 3]

Both read the same 32 recordings of 5 to 20 s in one run. The peer is what its documentation shows:
`Wav2Vec2ForCTC` behind the feature extractor, files in the order given, one at a time (a batch of
BASE would pad, and padding changes its results). Prints medians and ratios.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch
from rich.console import Console
from rich.table import Table

from models.checkpoint import Checkpoint
from models.importers.huggingface import read_huggingface
from models.importers.labels import STANDARD
from w2v2cli.data.audio import find_recordings, probe, read_audio
from w2v2cli.data.batching import batches_by_length
from w2v2cli.recognition.acoustic_model import AcousticModel

FILES, SHORTEST, LONGEST = 32, 5.0, 20.0  # recordings; seconds of each


def choose(inputs: list[Path]) -> list[Path]:
    """Return the first 32 recordings of 5 to 20 s."""
    chosen = [
        path for path in find_recordings(inputs) if SHORTEST <= probe(path).seconds <= LONGEST
    ]
    if len(chosen) < FILES:
        raise SystemExit(
            f"{len(chosen)} recordings of {SHORTEST:g} to {LONGEST:g} s, {FILES} are needed"
        )
    return chosen[:FILES]


def peer(folder: Path, files: list[Path], bf16: bool) -> Callable[[], list[np.ndarray]]:
    """Return a run of transformers, as its documentation shows it."""
    from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

    model = Wav2Vec2ForCTC.from_pretrained(folder).eval()
    extractor = Wav2Vec2FeatureExtractor(do_normalize=False)

    def run() -> list[np.ndarray]:
        found = []
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for path in files:
                samples, rate = soundfile.read(path, dtype="float32")
                values = extractor(samples, sampling_rate=rate, return_tensors="pt").input_values
                found.append(model(values).logits[0].float().log_softmax(-1).numpy())
        return found

    return run


def ours(
    checkpoint: Checkpoint, files: list[Path], precision: str
) -> Callable[[], list[np.ndarray]]:
    """Return a run of our model, in batches by length like those of the pipeline."""
    model = AcousticModel.load(checkpoint, "cpu", precision)  # type: ignore[arg-type]

    def run() -> list[np.ndarray]:
        waveforms = [read_audio(path) for path in files]
        found: list[np.ndarray] = [np.zeros(0)] * len(files)
        for indices in batches_by_length(
            [len(w) for w in waveforms], int(model.batch_seconds * 16_000)
        ):
            for i, emission in zip(
                indices, model.log_probs([waveforms[i] for i in indices]), strict=True
            ):
                found[i] = emission
        return found

    return run


def measure(name: str, folder: Path, files: list[Path], repeats: int) -> None:
    """Run one contender and print its median seconds and its peak memory in MB.

    It has this process to itself, so that the peak is its own.
    """
    contenders = {
        "transformers fp32": lambda: peer(folder, files, bf16=False),
        "transformers bf16": lambda: peer(folder, files, bf16=True),
        "w2v2 fp32": lambda: ours(read_huggingface(folder), files, "fp32"),
        "w2v2 bf16": lambda: ours(read_huggingface(folder), files, "bf16"),
    }
    run = contenders[name]()
    emissions = run()  # the first one warms up
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    np.savez(folder / f"{name}.npz", *emissions)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(statistics.median(seconds), peak)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "recordings",
        type=Path,
        nargs="*",
        default=[Path("../shared/data/ljspeech")],
        help="files and folders",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("/tmp/w2v2-benchmark"),
        help="where the random model is written",
    )
    args = parser.parse_args()
    files = choose(args.recordings)
    if args.contender:
        return measure(args.contender, args.folder, files, args.repeats)
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    torch.manual_seed(0)
    Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=32)).save_pretrained(args.folder)
    vocabulary = {label: i for i, label in enumerate(STANDARD)}
    (args.folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (args.folder / "preprocessor_config.json").write_text('{"do_normalize": false}')
    audio = sum(probe(path).seconds for path in files)
    table = Table(
        title=f"BASE, {FILES} recordings, {audio:.0f} s, {torch.get_num_threads()} threads"
    )
    for column in ("", "seconds", "× real time", "ratio", "peak MB", "largest difference"):
        table.add_column(column, justify="left" if not column else "right")
    baseline, reference = None, None
    for name in ("transformers fp32", "w2v2 fp32", "transformers bf16", "w2v2 bf16"):
        command = [sys.executable, "-m", "benchmarks.emissions", *map(str, args.recordings)]
        command += ["--contender", name, "--repeats", str(args.repeats)]
        command += ["--folder", str(args.folder)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        seconds, peak = float(output[-2]), float(output[-1])
        with np.load(args.folder / f"{name}.npz") as kept:
            emissions = [kept[key] for key in kept.files]
        baseline, reference = baseline or seconds, reference or emissions
        apart = max(float(np.abs(a - b).max()) for a, b in zip(emissions, reference, strict=True))
        table.add_row(
            name,
            f"{seconds:.2f}",
            f"{audio / seconds:.1f}",
            f"{baseline / seconds:.2f}",
            f"{peak:.0f}",
            f"{apart:.1e}",
        )
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
