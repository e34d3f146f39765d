"""Emissions kept on disk."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from storage.whole import whole_folder
from w2v2cli.recognition.tuning import emission_cache
from w2v2cli.recognition.tuning.emission_cache import CacheError, keep_emissions, read_emissions


@pytest.fixture
def corpus():
    generator = np.random.default_rng(0)
    draw = [[7], [], [4, 0], [11]]  # frames of each segment of each utterance
    return [
        [np.log(generator.dirichlet(np.ones(5), n)).astype(np.float32) for n in lengths]
        for lengths in draw
    ]


def test_what_is_kept_comes_back_within_the_rounding_of_float16(tmp_path, corpus):
    keep_emissions(tmp_path / "kept", iter(corpus), 5)
    kept = read_emissions(tmp_path / "kept")
    assert isinstance(kept.frames, np.memmap) and len(kept.segments) == 4
    for utterance, segments in enumerate(corpus):
        found = kept.of(utterance)
        assert [f.shape for f in found] == [s.shape for s in segments]
        for a, b in zip(found, segments, strict=True):
            np.testing.assert_allclose(a, b, rtol=2**-11)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_damage_is_noticed(tmp_path, corpus):
    keep_emissions(tmp_path / "kept", iter(corpus), 5)
    path = tmp_path / "kept" / "emissions.f16"
    data = bytearray(path.read_bytes())
    data[17] ^= 1
    path.write_bytes(data)
    assert read_emissions(tmp_path / "kept") is None
    keep_emissions(tmp_path / "kept", iter(corpus), 5)
    assert read_emissions(tmp_path / "kept") is not None
    assert read_emissions(tmp_path / "nothing") is None


@pytest.mark.parametrize("name", ["symbols", "segments", "sha256", "index"])
@pytest.mark.parametrize("value", [0, -1, 10**30, [[[0, 1]]], None, "5"])
def test_damage_to_the_index_is_noticed(name, value, tmp_path, corpus):
    keep_emissions(tmp_path / "kept", iter(corpus), 5)
    path = tmp_path / "kept" / "index.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    assert read_emissions(tmp_path / "kept") is None


def test_a_full_disk_is_a_sentence(tmp_path, corpus, monkeypatch):
    @contextmanager
    def on_a_full_disk(folder):
        with whole_folder(folder) as beside:
            (beside / "emissions.f16").symlink_to("/dev/full")
            yield beside

    monkeypatch.setattr(emission_cache, "whole_folder", on_a_full_disk)
    with pytest.raises(
        CacheError, match=r"the disk is full: make room, or name another folder in \$W2V2_HOME"
    ):
        keep_emissions(tmp_path / "kept", iter(corpus), 5)
    assert not list(tmp_path.iterdir())
