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
    return dtype_named(chosen_precision(device, training=False) if name == "auto" else name)


def precision_taken(name: Precision, device: str) -> Chosen:
    """The precision that a network transcribes in on a device of this name: never `auto`.

    Raises UsageError for a device that is not there.
    """
    return chosen_precision(resolve_device(device), training=False) if name == "auto" else name


def resolve_lm_precision(name: Precision, device: torch.device) -> torch.dtype:
    """The type of a Transformer language model: `auto` is bf16 on a GPU that has it, else fp32.

    Raises UsageError for float16 on a CPU.
    """
    if name == "fp16" and device.type == "cpu":
        raise UsageError("--lm-precision fp16 needs a GPU; on a CPU take fp32 or bf16.")
    if name == "auto":
        name = chosen_precision(device, training=False)
        name = "bf16" if name == "bf16" else "fp32"
    return dtype_named(name)


def chosen_precision(device: torch.device, *, training: bool) -> Chosen:
    """What `auto` stands for: the fastest precision that the device's hardware has.

    A GPU takes bf16 where it has it in hardware (torch emulates it, slowly, on those before
    Ampere), else fp16, for which training scales its loss. A CPU trains in bf16 where it has
    instructions for it, else in fp32. It transcribes in fp32: in bf16 words would depend on the
    processor, and `benchmarks.precision` does not rule out a loss everywhere.
    """
    import torch

    if device.type == "cpu":
        return "bf16" if training and bfloat16_instructions() else "fp32"
    with torch.cuda.device(device):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp16"
