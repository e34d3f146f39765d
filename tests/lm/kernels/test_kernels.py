"""Triton's kernels without a GPU: interpreted they answer as PyTorch does, and they compile.

More cases, with their number:

    TRITON_INTERPRET=1 python interpreted.py 100    in this folder
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lm.kernels import choice
from lm.kernels.choice import for_ngrams, for_search

MOST = {"letters": 100, "letters by history": 105, "phrases": 110, "phones, any word": 120}
"""Operations of a frame, launches among them: see `test_frame` for those without kernels."""


@pytest.fixture(scope="module")
def told():
    """What the interpreted kernels answered."""
    pytest.importorskip("triton", reason="Triton is not installed on this platform.")
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    program = [sys.executable, str(Path(__file__).with_name("interpreted.py")), "1"]
    ran = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-3000:]
    return json.loads(ran.stdout)


def test_each_kernel_answers_as_pytorch_does(told):
    assert told["pairs"] == 1800 and told["rows"] > 24
    assert told["differences"] == []
    assert all(count > 10 for count in told["launches"].values()) and len(told["launches"]) == 4


def test_a_frame_takes_fewer_operations(told):
    with_kernels, without = told["operations"], told["without"]
    for name, most in MOST.items():
        assert with_kernels[name] <= most and with_kernels[name] < 0.6 * without[name], name


SIGNATURES = {
    "_look_up": "states:*i64 words:*i64 arcs:*i64 shorter:*i32 backoff:*fp32 scores:*fp64 "
    "after:*i64 count:i32 last_slot:i64 last_state:i32 probes:i32",
    "_distinct": "scores:*fp64 by_score:*i64 keys:*i64 table:*i32 places:*i64 best:*fp64 "
    "numbers:*i64 count:i32 slots:i32 most:i32",
    "_grown": "frame:*fp64 frame_stride:i32 plain:*fp64 last:*i64 node:*i64 language:*fp64 "
    "promise:*fp32 bonus:*fp32 column:*i64 scores:*fp64 width:i32 columns:i32 symbols:i32 "
    "silence:i32",
    "_inside": "index:*i64 fields:*i64 field_stride:i32 row_stride:i32 symbols:*i64 child:*i32 "
    "out:*i64 out_field:i32 out_row:i32 count:i32 columns:i32 silence:i32",
}
CONSTANTS = {"ORDER": 4, "FAVOURED": True, "FIELDS": 6, "BLOCK": 256}


@pytest.mark.parametrize("name", SIGNATURES)
def test_each_kernel_compiles_for_a_gpu(name, tmp_path, monkeypatch):
    """For an H100, with the assembler that is in Triton's wheel; no GPU is needed."""
    triton = pytest.importorskip("triton", reason="Triton is not installed on this platform.")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from lm.kernels import beam, ngrams

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(ngrams if name == "_look_up" else beam, name)
    types = dict(part.split(":") for part in SIGNATURES[name].split())
    fixed = {place: argument for place, argument in enumerate(kernel.arg_names)}
    source = ASTSource(
        fn=kernel,
        signature={argument: types.get(argument, "constexpr") for argument in kernel.arg_names},
        constexprs={
            (place,): CONSTANTS[argument]
            for place, argument in fixed.items()
            if argument in CONSTANTS
        },
    )
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    assert made.asm["cubin"]


def test_on_a_cpu_pytorchs_operations_are_taken():
    cpu = torch.device("cpu")
    assert for_search(cpu) is None and for_ngrams(cpu) is None


def test_on_a_gpu_they_run_only_where_they_are_asked_for_and_triton_works(monkeypatch):
    pytest.importorskip("triton", reason="Triton is not installed on this platform.")
    gpu = torch.device("cuda")
    monkeypatch.setenv("CC", "cc")
    choice._installed.cache_clear()
    for value in ("0", "", None):
        if value is None:
            monkeypatch.delenv("W2V2_KERNELS")
        else:
            monkeypatch.setenv("W2V2_KERNELS", value)
        assert for_search(gpu) is None and for_ngrams(gpu) is None
    monkeypatch.setenv("W2V2_KERNELS", "1")
    assert for_search(gpu) is not None and for_ngrams(gpu) is not None
    assert for_search(torch.device("cpu")) is None
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", "")
    choice._installed.cache_clear()
    assert for_search(gpu) is None
    choice._installed.cache_clear()
