"""Models of every format, damaged: read, built, and run for half a second.

Formats: our own file, fairseq's `.pt` (of zip, and of older PyTorch), a folder of transformers, a
state dict of torchaudio, and pickles made of chance. No format has a checksum over its weights, so
other numbers in them are no silent change. One is that the labels which the search reads quickly
are not those of the whole checkpoint.
"""

from __future__ import annotations

import json
import pickle
import random
import shutil
import struct
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, judged
from benchmarks.torture.inputs.damage import (
    cut,
    flipped,
    json_damaged,
    lying,
    reshaped,
    spoilt,
    strange,
)
from benchmarks.torture.inputs.recordings import small_model
from models.checkpoint import Checkpoint, load_checkpoint
from models.importers.huggingface_writing import write_huggingface

BY_COMMAND = 10  # of so many cases one goes through `model info`
DTYPES = ("F32", "F16", "BF16", "F64", "I64", "I8", "BOOL", "F8_E4M3", "X", "")
SIZES = (0, 1, -1, 2**20, 2**40, 2**62, 2**64, 10**30)
Draw = random.Random


def open_checkpoints(folder: Path) -> Run:
    """A small model in every format."""
    whole = small_model(folder / "model.safetensors")
    checkpoint = load_checkpoint(whole)
    write_huggingface(checkpoint, folder / "hf")
    content = fairseq_content(checkpoint)
    makers = (
        lambda draw, place: own(whole.read_bytes(), draw, place),
        lambda draw, place: transformers(folder / "hf", draw, place),
        lambda draw, place: fairseq(content, draw, place),
        lambda draw, place: of_chance(draw, place),
    )
    load(whole)  # imports take seconds, which are not the first case's
    commanded("model", "info", str(whole))

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("checkpoints", number)
        path = draw.choice((*makers[:3], *makers))(draw, place)
        if number % BY_COMMAND == 0:
            return commanded("model", "info", str(path))
        return load(path)

    return run


def load(path: Path) -> Outcome:
    """Read a model as the commands do, and run what can be built."""
    from models.checkpoint import CheckpointError, build_ctc
    from models.importers.labels import quick_outputs
    from models.importers.reader import read_model

    def call() -> Outcome:
        checkpoint = read_model(path)
        quick = quick_outputs(path)
        if quick is not None and quick[0] != checkpoint.labels:
            return Outcome("changed", f"labels {quick[0]} for the search, {checkpoint.labels}")
        with torch.inference_mode():
            build_ctc(checkpoint)(torch.zeros(1, 8000), torch.tensor([8000]))
        return Outcome("well")

    return judged(call, (CheckpointError,))


def own(whole: bytes, draw: Draw, place: Path) -> Path:
    """Our own file, or any in safetensors, with another header or other bytes."""
    path = place / "model.safetensors"
    path.write_bytes(safetensors_damaged(whole, draw))
    return path


def safetensors_damaged(whole: bytes, draw: Draw) -> bytes:
    """A file in safetensors with a header of another shape, or with other bytes."""
    (size,) = struct.unpack("<Q", whole[:8])
    header, body = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    chance = draw.random()
    if chance < 0.3:
        return draw.choice((flipped, cut, spoilt, lambda w, d: lying(w, d, 16)))(whole, draw)
    if chance < 0.55 and "w2v2" in header.get("__metadata__", ()):  # JSON inside JSON
        key = draw.choice(list(header["__metadata__"]))
        settings = json_damaged(json.loads(header["__metadata__"][key]), draw)
        header["__metadata__"][key] = settings.decode(errors="replace")
        text = json.dumps(header).encode()
    elif chance < 0.8:
        tensor = header[draw.choice([name for name in header if name != "__metadata__"])]
        absurd = {
            "shape": [draw.choice(SIZES) for _ in range(draw.randrange(5))],
            "dtype": draw.choice(DTYPES),
            "data_offsets": sorted(draw.choice(SIZES) for _ in range(2)),
        }
        part = draw.choice(list(absurd))
        tensor[part] = draw.choice((absurd[part], strange(draw)))
        text = json.dumps(header).encode(errors="surrogatepass")
    else:
        text = json_damaged(header, draw)
    lie = draw.random() < 0.1
    length = draw.choice((0, 1, 2**40, 2**64 - 1)) if lie else len(text)
    return struct.pack("<Q", length) + text + body


def transformers(whole: Path, draw: Draw, place: Path) -> Path:
    """A folder of transformers with one file damaged, missing or added."""
    folder = place / "hf"
    shutil.copytree(whole, folder)
    names = sorted(path.name for path in whole.iterdir())
    name = draw.choice([*names, "config.json", "vocab.json", "added_tokens.json"])
    path = folder / name
    extra = draw.choice((None, None, "processor_config.json", "model.safetensors.index.json"))
    if extra is not None:
        path = folder / extra
        if extra.endswith("index.json"):
            (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    if path.suffix == ".safetensors":
        path.write_bytes(safetensors_damaged(path.read_bytes(), draw))
    elif path.exists() and draw.random() < 0.05:
        path.unlink()
    else:
        other = {"weight_map": {"lm_head.weight": "model-1.safetensors"}, "feature_extractor": {}}
        content = json.loads(path.read_bytes()) if path.exists() else other
        path.write_bytes(json_damaged(content, draw))
    return folder


def fairseq_content(checkpoint: Checkpoint) -> dict[str, Any]:
    """What fairseq stores of a fine-tuned model."""
    from models.importers.fairseq import KEYS, NETWORK
    from models.importers.key_table import to_theirs

    config = checkpoint.config
    weights = to_theirs(checkpoint.weights, KEYS)
    named = {
        (f"w2v_encoder.{name}" if name.startswith("proj.") else f"{NETWORK}{name}"): tensor
        for name, tensor in weights.items()
    }
    settings = {
        "conv_feature_layers": str(list(config.conv_layers)),
        "encoder_embed_dim": config.width,
        "encoder_ffn_embed_dim": config.ffn_width,
        "encoder_layers": config.num_layers,
        "encoder_attention_heads": config.num_heads,
        "conv_pos": config.position_kernel,
        "conv_pos_groups": config.position_groups,
    }
    return {"model": named, "args": Namespace(w2v_args=settings, normalize=False), "cfg": None}


def fairseq(content: dict[str, Any], draw: Draw, place: Path) -> Path:
    """fairseq's file with objects of another shape or depth, absurd tensors, or other bytes."""
    path, chance = place / "model.pt", draw.random()
    content = dict(content)
    if chance < 0.3:
        key = draw.choice(list(content))
        whole = vars(content[key]) if key == "args" else content[key]
        content[key] = reshaped(whole, draw) if whole else strange(draw)
    elif chance < 0.45:
        content["args"] = {"w2v_args": reshaped(vars(content["args"])["w2v_args"], draw)}
    elif chance < 0.65:
        name = draw.choice(list(content["model"]))
        content["model"] = content["model"] | {name: absurd_tensor(draw)}
    if draw.random() < 0.2:
        (place / "dict.ltr.txt").write_bytes(dictionary(draw))
    torch.save(content, path, _use_new_zipfile_serialization=draw.random() < 0.5)
    if chance > 0.65:
        path.write_bytes(draw.choice((flipped, cut, spoilt))(path.read_bytes(), draw))
    return path


def dictionary(draw: Draw) -> bytes:
    """fairseq's list of letters, whole or not."""
    lines = b"".join(b"%c 1\n" % letter for letter in b"|ETAONIHSRDLUMWCFGYPBVK'XJQZ")
    return draw.choice(
        (lines, flipped(lines, draw), cut(lines, draw), b"\xff\xfe\0", b"", b"\n \n")
    )


def absurd_tensor(draw: Draw) -> torch.Tensor:
    """A tensor of a few bytes that claims to be large, or of an unusual type."""
    return draw.choice(
        (
            torch.zeros(1).expand(2**40),
            torch.zeros(1).expand(2**20, 2**20, 2**10),
            torch.zeros(()),
            torch.zeros(0),
            torch.zeros(0, 2**40),
            torch.zeros(2, 2, dtype=torch.complex64),
            torch.zeros(3, dtype=torch.int8),
            torch.zeros(2, 2).to_sparse(),
            torch.zeros(1, device="meta"),
        )
    )


def of_chance(draw: Draw, place: Path) -> Path:
    """A pickle of opcodes that are drawn by chance, or one that is absurdly deep or large."""
    path = place / "model.pt"
    depth = draw.choice((50, 900, 100_000))
    opcodes = b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu]}\x80\x81\x85\x86\x87\x88\x8a\x8b\x95"
    content = draw.choice(
        (
            b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b".",  # lists in lists
            b"\x80\x02" + b"}K\0" * depth + b"K\0s" + b"s" * (depth - 1) + b".",  # dicts
            b"\x80\x02" + bytes(draw.choice(opcodes) for _ in range(draw.randrange(1, 40))) + b".",
            b"\x80\x02\x8b\xff\xff\xff\x7f.",
            b"\x80\x04\x95" + b"\xff" * 8 + b".",
            b"\x80\x02X\xff\xff\xff\x7fabc.",
            b"\x80\x02I" + b"9" * 5000 + b"\n.",
            draw.randbytes(draw.choice((0, 1, 2, 10, 1000))),
            pickle.dumps({"model": {"a": draw.choice((1, "a", None, []))}}),
            pickle.dumps({"encoder.feature_projection.projection.weight": strange(draw)}),
        )
    )
    path.write_bytes(content)
    return path


KINDS = (Kind("checkpoints", 500, open_checkpoints),)
