"""A clone without its large files: every kind of file says so, in place of `damaged`."""

import json

import pytest
from calls import called

from w2v2cli.data.locations import SHIPPED

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 377667514\n"
CLIP = SHIPPED / "recordings" / "LJ002-0050.flac"


@pytest.mark.parametrize(
    "call",
    [
        "transcribe pointer.flac",
        "transcribe pointer.mp3",
        "transcribe CLIP --model pointer.safetensors",
        "transcribe CLIP --model pointer.pt",
        "transcribe CLIP --model pointer",
        "transcribe CLIP --lm pointer.arpa",
        "transcribe CLIP --lm pointer.safetensors",
        "transcribe CLIP --lm pointer.pt",
        "model info pointer.safetensors",
        "lm info pointer.arpa",
    ],
)
def test_a_pointer_of_git_lfs_is_told(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    for name in ("flac", "mp3", "safetensors", "pt", "arpa"):
        (tmp_path / f"pointer.{name}").write_text(POINTER)
    folder = tmp_path / "pointer"
    folder.mkdir()
    (folder / "model.safetensors").write_text(POINTER)
    (tmp_path / "dict.txt").write_text("A 1\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "wav2vec2", "vocab_size": 32}))
    (folder / "vocab.json").write_text(
        json.dumps({letter: i for i, letter in enumerate(["<pad>", "|", *"ABCDEFGHIJKLMNOP"])})
    )
    result = called(*call.replace("CLIP", str(CLIP)).split())
    assert result.returncode in (1, 2)
    assert "is a Git LFS pointer to a file that was not fetched: run `git lfs pull`" in (
        result.stderr
    )


def test_a_config_without_a_type_is_told(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    result = called("model", "info", tmp_path)
    assert "its config.json names no model_type" in result.stderr
