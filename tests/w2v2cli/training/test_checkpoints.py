import errno
import os

import pytest
import torch

from w2v2cli.training.checkpoints import StateError, StateFolder


def never(sentence):
    raise AssertionError(sentence)


def test_a_state_comes_back_as_it_was_and_the_last_few_are_kept(tmp_path):
    states = StateFolder(tmp_path, keep=2)
    for update in (5, 10, 15):
        states.save({"x": torch.full((3,), float(update)), "update": update}, update)
    assert [path.name[:14] for path in states.found()] == ["state-00000015", "state-00000010"]
    state = states.load(never)
    assert state["update"] == 15 and torch.equal(state["x"], torch.full((3,), 15.0))
    assert StateFolder(tmp_path / "empty").load(never) is None


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_state_is_passed_over_in_a_sentence(tmp_path, damage):
    states = StateFolder(tmp_path)
    states.save({"update": 1}, 1)
    newest = states.save({"update": 2, "x": torch.zeros(1000)}, 2)
    content = bytearray(newest.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        del content[-100:]
    newest.write_bytes(content)
    told = []
    assert states.load(told.append)["update"] == 1
    assert len(told) == 1 and newest.name in told[0]
    states.found()[1].write_bytes(b"")
    with pytest.raises(StateError, match="All 2 states"):
        states.load(told.append)


def test_a_full_disk_leaves_the_old_state_and_no_litter(tmp_path, monkeypatch):
    states = StateFolder(tmp_path)
    states.save({"update": 1}, 1)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        states.save({"update": 2}, 2)
    assert [path.name[:14] for path in tmp_path.iterdir()] == ["state-00000001"]


def test_what_a_killed_process_left_is_swept_up(tmp_path):
    (tmp_path / ".state-00000003.pt.0a1b2c3d.part").write_bytes(b"half")
    (tmp_path / "state-00000003.pt").write_bytes(b"whole, but not named yet")
    StateFolder(tmp_path).tidy()
    assert list(tmp_path.iterdir()) == []
