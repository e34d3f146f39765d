"""`w2v2 doctor`: what this machine has, what is missing, and the one line that mends it."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from w2v2cli.errors import exits

FREE_GB = 5.0  # below, a published model and the LibriSpeech 4-gram may not fit


@dataclass(frozen=True)
class Finding:
    """One thing looked at."""

    what: str
    found: str
    fine: bool = True
    mend: str = ""
    """The line that mends it."""


def doctor(as_json: Annotated[bool, typer.Option("--json", help="A JSON list in place of lines.")] = False) -> None:
    """Versions, devices, precisions, files; exit code 1 when something needed is missing."""
    with exits():
        findings = [*_packages(), *_devices(), *_files()]
        if as_json:
            typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        else:
            for finding in findings:
                mend = f"  ->  {finding.mend}" if finding.mend else ""
                typer.echo(f"{'ok ' if finding.fine else 'NO '} {finding.what + ':':<18} {finding.found}{mend}")
        if not all(finding.fine for finding in findings):
            raise SystemExit(1)


def _packages() -> list[Finding]:
    from importlib.metadata import PackageNotFoundError, version

    python = ".".join(map(str, sys.version_info[:3]))
    findings = [Finding("python", python, (3, 10) <= sys.version_info[:2] <= (3, 13), "")]
    for name in ("torch", "torchaudio", "soundfile", "kenlm", "flashlight-text", "jiwer", "safetensors"):
        try:
            findings.append(Finding(name, version(name)))
        except PackageNotFoundError:
            if name == "flashlight-text" and sys.version_info >= (3, 13):
                findings.append(Finding(name, "has no build for this Python; beam search needs Python 3.10 to 3.12"))
            else:
                findings.append(Finding(name, "missing", False, f"pip install {name}"))
    return findings


def _devices() -> list[Finding]:
    import torch

    findings = []
    flags = [name for name in ("avx512_bf16", "amx_bf16") if _cpu_has(name)]
    bf16 = f"bf16 in hardware ({', '.join(flags)})" if flags else "bf16 in software, slower than fp32"
    findings.append(Finding("cpu", f"{torch.get_num_threads()} threads; {bf16}"))
    if not torch.cuda.is_available():
        findings.append(Finding("cuda", "no GPU that torch can use; everything runs on the CPU"))
    for index in range(torch.cuda.device_count()):
        name, (major, minor) = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        bf16 = "fp16, bf16" if torch.cuda.is_bf16_supported() else "fp16, no bf16"
        findings.append(Finding(f"cuda:{index}", f"{name}, {memory:.0f} GiB, capability {major}.{minor}, {bf16}"))
    return findings


def _cpu_has(flag: str) -> bool:
    from pathlib import Path

    info = Path("/proc/cpuinfo")
    return info.is_file() and flag in info.read_text()


def _files() -> list[Finding]:
    import shutil

    import soundfile

    from w2v2cli.data.store import DEMO_LEXICON, DEMO_LM, DEMO_MODEL, home

    missing = [path.name for path in (DEMO_MODEL, DEMO_LM, DEMO_LEXICON) if not path.is_file()]
    shipped = f"missing: {', '.join(missing)}" if missing else "model, 4-gram and lexicon are here"
    folder = home()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    mend = "" if free >= FREE_GB else "set W2V2_HOME to a disk with more room"
    return [
        Finding("audio formats", ", ".join(sorted(set(soundfile.available_formats()) & {"WAV", "FLAC", "OGG", "MP3", "AIFF"}))),
        Finding("shipped files", shipped, not missing, "pip install --force-reinstall --no-deps w2v2" if missing else ""),
        Finding("W2V2_HOME", f"{folder}, {free:.0f} GB free", True, mend),
    ]
