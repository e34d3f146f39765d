"""Hashes of models by their content."""

import pytest

from w2v2cli.recognition.tuning.fingerprints import model_hash


def test_weights_in_several_files_count(tmp_path):
    hashes = set()
    for content in (b"one", b"two"):
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "model.safetensors.index.json").write_text("{}")
        (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"same")
        (tmp_path / "model-00002-of-00002.safetensors").write_bytes(content)
        hashes.add(model_hash(tmp_path))
    assert len(hashes) == 2


def test_files_that_a_recogniser_does_not_read_do_not_count(tmp_path):
    for name in ("config.json", "vocab.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    before = model_hash(tmp_path)
    (tmp_path / "README.md").write_text("words")
    (tmp_path / "pytorch_model.bin").write_bytes(b"the same weights in the other format")
    assert model_hash(tmp_path) == before
    (tmp_path / "vocab.json").write_text("[]")
    assert model_hash(tmp_path) != before


@pytest.mark.parametrize(
    "name",
    ["preprocessor_config.json", "processor_config.json", "tokenizer_config.json", "vocab.json"],
)
def test_every_file_that_decides_what_is_heard_counts(tmp_path, name):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / name).write_text('{"do_normalize": true}')
    before = model_hash(tmp_path)
    (tmp_path / name).write_text('{"do_normalize": false}')
    assert model_hash(tmp_path) != before
