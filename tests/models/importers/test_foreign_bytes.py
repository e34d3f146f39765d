"""Files of others that hold another thing than they should: one sentence for each kind."""

import json
import re
from argparse import Namespace

import pytest
import torch

from models.checkpoint import CheckpointError
from models.importers.reader import read_model
from storage.tensors import TensorFileError, load_tensors

DEEP = "[" * 100_000
ABSURD = {
    "a string": "text",
    "nothing": None,
    "a terabyte": torch.zeros(1).expand(2**38),
    "a sparse tensor": torch.zeros(2, 2).to_sparse(),
    "no memory": torch.zeros(2, 2, device="meta"),
    "complex numbers": torch.zeros(2, dtype=torch.complex64),
}


@pytest.mark.parametrize("value", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("layout", ["fairseq", "torchaudio"])
def test_a_weight_that_is_none(value, layout, tmp_path):
    path = tmp_path / "model.pt"
    weights = {"encoder.feature_projection.projection.weight": value, "mask_emb": torch.zeros(4)}
    torch.save({"model": weights, "args": Namespace()} if layout == "fairseq" else weights, path)
    with pytest.raises(CheckpointError, match="encoder|named tensors") as raised:
        read_model(path)
    assert str(path) in str(raised.value) and str(raised.value).endswith(".")


def test_weights_without_names(tmp_path):
    torch.save({"model": {1: torch.zeros(2)}, "args": Namespace()}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="something other than named tensors"):
        read_model(tmp_path / "model.pt")


def test_letters_that_are_not_text(tmp_path):
    weights = {"w2v_encoder.proj.bias": torch.zeros(5), "mask_emb": torch.zeros(4)}
    torch.save({"model": weights, "args": Namespace()}, tmp_path / "model.pt")
    (tmp_path / "dict.ltr.txt").write_bytes(b"\xff\xfe|\x00 1")
    with pytest.raises(CheckpointError, match=re.escape("dict.ltr.txt is not UTF-8")):
        read_model(tmp_path / "model.pt")


@pytest.mark.parametrize("text", [DEEP, "9" * 5000, '{"vocab_size": "\\ud800"}'])
@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "vocab.json"])
def test_a_folder_with_json_that_python_does_not_read(text, name, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    weights = {"lm_head.weight": torch.zeros(32, 768), "lm_head.bias": torch.zeros(32)}
    torch.save(weights, tmp_path / "pytorch_model.bin")
    (tmp_path / name).write_text(text)
    with pytest.raises(CheckpointError, match=f"{name} is not JSON: (its|it) .*[.]$"):
        read_model(tmp_path)


def test_a_header_of_lists_in_lists(tmp_path):
    header = json.dumps({"__metadata__": {"w2v2": DEEP}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(TensorFileError, match="nested too deeply"):
        load_tensors(path, "w2v2")
