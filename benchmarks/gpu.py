"""What a GPU does with w2v2, in one call of less than ten minutes.

    python -m benchmarks.gpu [-o gpu-benchmark] [--sections NAME...]

Measures updates of pretraining and fine-tuning of BASE and LARGE in bfloat16, with and without
torch.compile, beside transformers; emissions at several batch sizes, beside transformers; every
engine of the beam search, the batched one with Triton's kernels and without them; and the word
Transformer. Prints a table for each, and writes all of them to OUTPUT.json and OUTPUT.md, from
which docs/benchmarks.md is filled in.

Each section is a process with a time budget of its own. What it measured before it fails, or is
ended because its time is over, is kept, and its last line says why it is not whole. Without a GPU
all runs on the CPU with tiny networks, whose figures say nothing; the output says so.

MFU: operations of the network alone (three times the forward pass) a second, over those of a large
matrix product on the same device in the same precision. Idle: the share of the time in which no
kernel ran, by torch's profiler over updates that are queued without waiting.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.training import (
    measured,
    network_flops,
    our_finetuning,
    our_pretraining,
    peak_flops,
    their_config,
    their_finetuning,
    their_pretraining,
    waited,
)
from models.config import SAMPLE_RATE, Wav2Vec2Config, base, large, tiny
from models.inference import prepare_for_inference
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.locations import DEMO_LEXICON, DEMO_LM

Row = dict[str, object]
# Wide enough for the channel masks that transformers is given.
SMALL = replace(tiny(), width=128)
QUEUED = 4  # updates that the profiler looks at together


@dataclass(frozen=True)
class Section:
    """One process that prints a line of JSON for each row."""

    name: str
    seconds: float
    """Its budget."""
    command: Sequence[str]
    """Arguments of Python."""


def sections(cuda: bool) -> list[Section]:
    """Return all sections for this machine; their budgets sum to less than ten minutes."""
    own = ["-m", "benchmarks.gpu", "--measure"]
    search = ["-m", "benchmarks.search", "--json", "--inputs", "simulated", "--repeats", "1"]
    search += ["--lm", str(DEMO_LM), "--lexicon", str(DEMO_LEXICON), "--thresholds", "50"]
    words = ["-m", "benchmarks.transformer_lm", "--json"]
    if cuda:
        search += ["--device", "cuda", "--utterances", "20", "--beams", "50", "500"]
        words += ["--device", "cuda", "--utterances", "2", "--peer-histories", "10"]
    else:
        search += ["--utterances", "2", "--beams", "20"]
        words += ["--preset", "tiny", "--utterances", "1", "--beam", "10", "--peer-histories", "2"]
    budgets = {
        "pretraining base": 75,
        "pretraining large": 85,
        "fine-tuning base": 65,
        "fine-tuning large": 75,
        "emissions": 75,
    }
    return [
        *(Section(name, budget, [*own, name]) for name, budget in budgets.items()),
        Section("beam search", 120, search),
        Section("word Transformer", 90, words),
    ]


def run_section(section: Section) -> list[Row]:
    """Run a section; return its rows, the last of which says so where it failed or was ended."""
    rows: list[Row] = []
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [sys.executable, *section.command], stdout=out, stderr=errors, start_new_session=True
        )
        failure = ""
        try:
            if process.wait(section.seconds):
                failure = f"It ended with code {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # with the processes that it started
            process.wait()
            failure = f"Its {section.seconds:g} s were over"
        out.seek(0)
        for line in out.read().splitlines():
            try:
                found = json.loads(line)
            except json.JSONDecodeError:  # a note, or a line cut short
                continue
            if isinstance(found, dict):
                rows += _flat(found)
        if failure:
            errors.seek(0)
            said = errors.read().strip().splitlines()[-1:]
            rows.append({"failure": ": ".join([failure, *said])})
    return rows


def _flat(found: Row) -> list[Row]:
    """One row for each of the `rows` inside of a row, if it has them; lists are left out."""
    outer = {name: value for name, value in found.items() if not isinstance(value, list)}
    inner = found.get("rows")
    rows = inner if isinstance(inner, list) else [{}]
    flat = [{**outer, **row} for row in rows]
    return [{k: v for k, v in row.items() if not isinstance(v, list)} for row in flat]


def updates(name: str, device: torch.device, repeats: int = 5) -> Iterator[Row]:
    """Yield a row for each contender of a section of updates, `pretraining large` for one."""
    kind, size = name.split()
    cuda = device.type == "cuda"
    config = replace({"base": base, "large": large}[size]() if cuda else SMALL, layer_drop=0.0)
    if kind == "fine-tuning":
        config = replace(
            config, dropout=0.0, attention_dropout=0.0, feature_dropout=0.0, activation_dropout=0.1
        )
    utterances, seconds = ({"base": 6, "large": 5}[size], 15.6) if cuda else (2, 1.0)
    torch.manual_seed(0)
    waveforms = (torch.randn(utterances, int(seconds * SAMPLE_RATE)) * 0.1).to(device)
    ours = our_pretraining if kind == "pretraining" else our_finetuning
    theirs = their_pretraining if kind == "pretraining" else their_finetuning
    dtype = torch.bfloat16
    batch, samples = waveforms.shape
    flops = network_flops(config, batch, samples, frozen_encoder=kind == "fine-tuning")
    peak = peak_flops(device, dtype) if cuda else None
    contenders: dict[str, Callable[[], Callable[[], None]]] = {
        "w2v2": lambda: ours(config, waveforms, dtype, False),
        "transformers": lambda: theirs(config, waveforms, dtype),
        "w2v2 compiled": lambda: ours(config, waveforms, dtype, True),
    }
    for contender, make in contenders.items():
        if contender.endswith("compiled") and not cuda:
            continue  # takes a compiler, and minutes
        row = _measured_update(make(), device, repeats)
        taken = row["seconds"]
        yield {
            "contender": contender,
            "batch": f"{utterances} x {seconds:g} s",
            **row,
            "times_real_time": utterances * seconds / taken,
            "mfu": None if peak is None else flops / taken / peak,
        }
        gc.collect()


def _measured_update(
    update: Callable[[], None], device: torch.device, repeats: int
) -> dict[str, float]:
    """Seconds, peak memory and idle share of an update; the last two on a GPU only."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = statistics.median(measured({"": update}, device, repeats)[""])
    row = {"seconds": seconds}
    if device.type == "cuda":
        row["memory_gb"] = torch.cuda.max_memory_allocated(device) / 1e9
        row["idle"] = idle_share(update, device)
    return row


def idle_share(update: Callable[[], None], device: torch.device) -> float:
    """Share of the time of a few updates in which a GPU runs nothing; all of it without one."""
    kinds = torch.profiler.ProfilerActivity
    waited(device)
    with torch.profiler.profile(
        activities=[kinds.CUDA if device.type == "cuda" else kinds.CPU]
    ) as profile:
        began = time.perf_counter()
        for _ in range(QUEUED):
            update()
        waited(device)
        wall = time.perf_counter() - began
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    return max(0.0, 1 - busy / wall)


def emissions(device: torch.device, repeats: int = 5) -> Iterator[Row]:
    """Yield a row for each network, contender and batch size: waveforms to log-probabilities."""
    cuda = device.type == "cuda"
    networks: dict[str, Wav2Vec2Config] = {"BASE": base(), "LARGE": large()}
    sizes, seconds = ((1, 8, 32), 15.0) if cuda else ((1, 2), 1.0)
    for name, config in networks.items() if cuda else [("tiny", SMALL)]:
        for contender, make in (("w2v2", _our_emissions), ("transformers", _their_emissions)):
            forward = make(config, device)
            for size in sizes:
                waveforms = torch.randn(size, int(seconds * SAMPLE_RATE)) * 0.1
                row = _measured_forward(forward, waveforms, device, repeats)
                yield {
                    "network": name,
                    "contender": contender,
                    "batch": f"{size} x {seconds:g} s",
                    **row,
                    "times_real_time": size * seconds / row["seconds"],
                }
            gc.collect()


def _measured_forward(
    forward: Callable[[Tensor], Tensor], waveforms: Tensor, device: torch.device, repeats: int
) -> dict[str, float]:
    def run() -> None:
        with torch.inference_mode():
            forward(waveforms)

    return _measured_update(run, device, repeats)


def _our_emissions(config: Wav2Vec2Config, device: torch.device) -> Callable[[Tensor], Tensor]:
    network = prepare_for_inference(Wav2Vec2ForCTC(config, 32), device, torch.bfloat16)

    def forward(waveforms: Tensor) -> Tensor:
        lengths = torch.full((len(waveforms),), waveforms.shape[1])
        logits, _ = network(waveforms.to(device), lengths)
        return logits.float().log_softmax(-1).cpu()

    return forward


def _their_emissions(config: Wav2Vec2Config, device: torch.device) -> Callable[[Tensor], Tensor]:
    from transformers import Wav2Vec2ForCTC as Theirs

    network: Any = Theirs(their_config(config))
    network.to(device).eval()

    def forward(waveforms: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            logits: Tensor = network(waveforms.to(device)).logits
        return logits.float().log_softmax(-1).cpu()

    return forward


def machine(device: torch.device) -> Row:
    """Return what the figures were measured on."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda if cuda else None,
        "memory_gb": torch.cuda.get_device_properties(device).total_memory / 1e9 if cuda else None,
        "note": "" if cuda else "No GPU: tiny networks on the CPU, whose figures say nothing.",
    }


def markdown(found: Mapping[str, list[Row]], about: Row) -> str:
    """Lay all sections out as tables."""
    lines = ["# Measured by benchmarks.gpu", ""]
    lines += [f"{about['device']}, torch {about['torch']}, CUDA {about['cuda']}. {about['note']}"]
    for name, rows in found.items():
        lines += ["", f"## {name}", ""]
        failures = [str(row["failure"]) for row in rows if "failure" in row]
        rows = [row for row in rows if "failure" not in row]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        if rows:
            lines += [_line(columns), _line(["---"] * len(columns))]
            lines += [_line([_shown(row.get(column)) for column in columns]) for row in rows]
        for failure in failures:
            lines += ["", f"Not whole: {failure}"]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "/")


def measure(name: str, device: torch.device) -> None:
    """Print the rows of one of the sections that this file measures, each when it is known."""
    warnings.simplefilter("ignore")
    for row in emissions(device) if name == "emissions" else updates(name, device):
        print(json.dumps(row), flush=True)


def main() -> None:
    """Run all sections one after the other."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    every = {section.name: section for section in sections(device.type == "cuda")}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-benchmark"))
    parser.add_argument("--sections", nargs="+", choices=list(every), default=list(every))
    parser.add_argument("--measure", choices=list(every), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        measure(args.measure, device)
        return
    about, found = machine(device), {}
    for name in args.sections:
        print(f"{name}: up to {every[name].seconds:g} s", file=sys.stderr, flush=True)
        found[name] = run_section(every[name])
        kept = json.dumps({"machine": about, "sections": found}, indent=1)
        args.output.with_suffix(".json").write_text(kept + "\n", encoding="utf-8")
        args.output.with_suffix(".md").write_text(markdown(found, about), encoding="utf-8")
    print(markdown(found, about), end="")


if __name__ == "__main__":
    main()
