"""Tensor files: what is written is read back by others, and damage is an error of its own."""

import errno
import json
import resource
from contextlib import contextmanager

import pytest
import safetensors
import safetensors.torch
import torch

from storage.tensors import (
    DTYPES,
    TensorFileError,
    has_header,
    load_tensors,
    save_tensors,
    weights_mismatch,
)

HEADER = {"labels": ["a", "ä"], "size": 3, "none": None}


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return {
        "matrix": torch.randn(3, 4),
        "turned": torch.randn(4, 3).T,
        "vector": torch.randn(5),
        "counts": torch.arange(6).reshape(2, 3),
        "empty": torch.zeros(0, 2),
    }


def test_tensors_and_header_come_back_and_others_read_them_too(tmp_path, weights):
    path = tmp_path / "a.safetensors"
    save_tensors(path, weights, {"ours": HEADER, "format": "pt"})
    header, found = load_tensors(path, "ours")
    assert header == HEADER and found.keys() == weights.keys()
    theirs = safetensors.torch.load_file(path)
    for name, tensor in weights.items():
        assert torch.equal(found[name], tensor) and torch.equal(theirs[name], tensor)
    with safetensors.safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "pt"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_byte_is_the_one_that_the_library_writes(tmp_path, dtype):
    torch.manual_seed(0)
    tensors = {
        "b": torch.randn(3, 4).mul(9).to(dtype),
        "ä": torch.randn(5).to(dtype),
        "a": torch.zeros(0, 2, dtype=dtype),
        "scalar": torch.tensor(3.0).to(dtype),
        "other": torch.arange(3, dtype=torch.int16),
    }
    save_tensors(tmp_path / "ours", tensors, {"format": "pt"})
    theirs = safetensors.torch.save(tensors, metadata={"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == theirs


def test_half_stores_matrices_of_floats_in_float16_and_leaves_the_rest(tmp_path, weights):
    save_tensors(tmp_path / "a.safetensors", weights, {}, half=True)
    _, found = load_tensors(tmp_path / "a.safetensors", "ours")
    halves = {name for name, tensor in found.items() if tensor.dtype == torch.float16}
    assert halves == {"matrix", "turned", "empty"}
    torch.testing.assert_close(found["turned"].float(), weights["turned"], atol=2e-3, rtol=0)
    assert torch.equal(found["vector"], weights["vector"])
    assert weights["matrix"].dtype == torch.float32


def test_permissions_follow_the_umask(tmp_path, weights):
    save_tensors(tmp_path / "ours", weights, {})
    (tmp_path / "theirs").write_text("")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_header_is_told_from_other_files(tmp_path, weights):
    path = tmp_path / "a.safetensors"
    save_tensors(path, weights, {"ours": HEADER})
    assert has_header(path, "ours") and not has_header(path, "theirs")
    assert load_tensors(path, "theirs")[0] is None
    others = [tmp_path / name for name in ("b.safetensors", "c.txt", "d.safetensors", "gone")]
    others[0].write_text("text")
    others[1].write_bytes(path.read_bytes())
    others[2].mkdir()
    assert not any(has_header(other, "ours") for other in others)


def changed(content: bytes, kind: str) -> bytes:
    length = int.from_bytes(content[:8], "little")
    if kind == "cut in the tensors":
        return content[:-1]
    if kind == "cut in the header":
        return content[: length // 2]
    if kind == "longer":
        return content + b"x"
    if kind == "a header that is not JSON":
        header = json.loads(content[8 : 8 + length])
        header["__metadata__"]["ours"] = "{"
        text = json.dumps(header).encode()
        return len(text).to_bytes(8, "little") + text + content[8 + length :]
    return {"empty": b"", "text": b"hello, this is a text", "zeros": bytes(1000)}[kind]


KINDS = [
    "cut in the tensors", "cut in the header", "longer", "a header that is not JSON", "empty",
    "text", "zeros",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_an_error_in_one_line(tmp_path, weights, kind):
    path = tmp_path / "a.safetensors"
    save_tensors(path, weights, {"ours": HEADER})
    path.write_bytes(changed(path.read_bytes(), kind))
    with pytest.raises(TensorFileError) as caught:
        load_tensors(path, "ours")
    assert str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_an_oserror(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("gone", "folder"):
        with pytest.raises(OSError):
            load_tensors(tmp_path / name, "ours")


@contextmanager
def files_of_a_thousand_bytes():
    """Hold only around the call: pytest's own output may be a file that is larger."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_file_that_grows_too_large_is_an_oserror_with_its_name(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_text("old")
    with files_of_a_thousand_bytes(), pytest.raises(OSError) as caught:
        save_tensors(path, {"a": torch.zeros(1000, 1000)}, {})
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(path))
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_the_differences_between_two_sets_of_weights_are_named():
    one, other = torch.zeros(3), torch.zeros(4)
    assert weights_mismatch({"a": one}, {"a": torch.ones(3)}) is None
    assert weights_mismatch({"b": one, "c": one}, {"a": one, "b": other}) == (
        "1 missing: a; 1 unknown: c; 1 misshapen: b (3,) instead of (4,)"
    )
    many = {f"w{i}": one for i in range(10)}
    assert weights_mismatch({}, many) == ("10 missing: w0, w1, w2, w3, w4, w5, w6, w7 and 2 more")
