"""Where a network runs, and in which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from w2v2cli.errors import UsageError
from w2v2cli.processes import bfloat16_instructions

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Chosen = Literal["fp32", "bf16", "fp16"]
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}  # names in torch


def dtype_named(precision: str) -> torch.dtype:
    """The torch type of `fp32`, `bf16` or `fp16`."""
    import torch

    dtype: torch.dtype = getattr(torch, DTYPES[precision])
    return dtype


def resolve_device(name: str) -> torch.device:
    """`auto` is the first GPU, else the CPU. Raises UsageError for a device that is not there."""
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device takes auto, cpu, cuda or cuda:N, got {name!r}.")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"--device {name}: this machine shows {torch.cuda.device_count()} GPUs; "
            "try --device cpu."
        )
    return device


def resolve_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The type that a network transcribes in; see `chosen_precision` for `auto`.

    Raises UsageError for float16 on a CPU.
    """
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a GPU; on a CPU take fp32 or bf16.")
    return dtype_named(chosen_precision(device) if name == "auto" else name)


def resolve_feature_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The type that states are computed in: `auto` is fp32 on a CPU, for their digits count.

    Raises UsageError for float16 on a CPU.
    """
    exact = name == "auto" and device.type == "cpu"
    return resolve_precision("fp32" if exact else name, device)


def precision_taken(name: Precision, device: str) -> Chosen:
    """The precision that a network transcribes in on a device of this name: never `auto`.

    Raises UsageError for a device that is not there.
    """
    return chosen_precision(resolve_device(device)) if name == "auto" else name


def resolve_lm_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The type of a Transformer language model: `auto` is bf16 on a GPU that has it, else fp32.

    Raises UsageError for float16 on a CPU.
    """
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--lm-precision fp16 needs a GPU; on a CPU take fp32 or bf16.")
    if name == "auto":
        gpu = device.type != "cpu"  # on a CPU nobody has compared the words
        name = "bf16" if gpu and chosen_precision(device) == "bf16" else "fp32"
    return dtype_named(name)


def chosen_precision(device: torch.device) -> Chosen:
    """What `auto` stands for: the fastest precision that the device's hardware has.

    A GPU takes bf16 where it has it in hardware (torch emulates it, slowly, on those before
    Ampere), else fp16, for which training scales its loss. A CPU takes bf16 where it has
    instructions for it, else fp32: `benchmarks.precision` finds as many word errors in both, though
    one word in 25 of a best path is another.
    """
    import torch

    if device.type == "cpu":
        return "bf16" if bfloat16_instructions() else "fp32"
    with torch.cuda.device(device):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp16"
