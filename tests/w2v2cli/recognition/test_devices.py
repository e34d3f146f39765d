"""What `auto` becomes on devices that this machine need not have."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from models.checkpoint import Checkpoint
from models.config import tiny
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.locations import LmLocation, ModelLocation
from w2v2cli.errors import UsageError
from w2v2cli.recognition import devices, recognizer
from w2v2cli.recognition.devices import (
    chosen_precision,
    precision_taken,
    resolve_feature_precision,
    resolve_lm_precision,
    resolve_precision,
)
from w2v2cli.recognition.resolving import RecognitionOptions

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("instructions", "precision"),
    [((), "fp32"), (("avx512_bf16",), "bf16"), (("avx512_bf16", "amx_bf16"), "bf16")],
)
def test_a_cpu_takes_bf16_where_it_has_instructions(monkeypatch, instructions, precision):
    monkeypatch.setattr(devices, "bfloat16_instructions", lambda: instructions)
    assert chosen_precision(CPU) == precision
    assert resolve_precision("auto", CPU) == getattr(torch, devices.DTYPES[precision])
    assert precision_taken("auto", "cpu") == precision
    assert precision_taken("fp32", "cpu") == "fp32" and precision_taken("bf16", "cpu") == "bf16"
    assert resolve_feature_precision("auto", CPU) == torch.float32
    assert resolve_feature_precision("bf16", CPU) == torch.bfloat16
    assert resolve_lm_precision("auto", CPU) == torch.float32
    assert resolve_precision("bf16", CPU) == torch.bfloat16
    with pytest.raises(UsageError, match="fp16 needs a GPU"):
        resolve_precision("fp16", CPU)


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_that_emulates_bf16_takes_fp16(monkeypatch, native, precision):
    monkeypatch.setattr(devices, "bfloat16_instructions", lambda: ("amx_bf16",))
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    monkeypatch.setattr(
        torch.cuda,
        "is_bf16_supported",
        lambda including_emulation=True: including_emulation or native,
    )
    assert chosen_precision(GPU) == precision
    assert resolve_precision("auto", GPU) == getattr(torch, devices.DTYPES[precision])
    assert resolve_precision("fp32", GPU) == torch.float32


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("auto", "The acoustic model runs in float32 on cpu (--precision auto)."),
        ("bf16", "The acoustic model runs in bfloat16 on cpu."),
    ],
)
def test_the_precision_that_was_taken_is_told(monkeypatch, asked, told):
    said = []
    monkeypatch.setattr(devices, "bfloat16_instructions", tuple)
    monkeypatch.setattr(recognizer, "detail", said.append)
    nothing = ModelLocation("m", Path("m"), None), LmLocation("none", None, None)
    options = RecognitionOptions(*nothing, device="cpu", precision=asked)
    weights = dict(Wav2Vec2ForCTC(tiny(), 3).state_dict())
    model = recognizer.load_acoustic_model(options, Checkpoint(tiny(), weights, tuple("-AB")))
    assert said == [told] and model.dtype == next(model.network.parameters()).dtype
