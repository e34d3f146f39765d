import errno
import os
import threading

import pytest
import torch
from torch import nn

from w2v2cli.training.checkpoints import StateError, StateFolder, StateWriter


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


def state_of(network, optimizer):
    return {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "best": [1.5]}


def test_a_state_written_meanwhile_has_the_bytes_of_one_that_was_waited_for(tmp_path, monkeypatch):
    """It changes as soon as it is begun; tied weights are one tensor in the file too."""
    network = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4))
    network[1].weight = network[0].weight
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)

    def update():
        network(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()

    update()
    waited_for = StateFolder(tmp_path / "one")
    waited_for.folder.mkdir()
    expected = waited_for.save(state_of(network, optimizer), 1)
    begun, save = threading.Event(), StateFolder.save

    def later(self, state, update):
        assert begun.wait(60)
        return save(self, state, update)

    monkeypatch.setattr(StateFolder, "save", later)
    meanwhile = StateFolder(tmp_path / "other")
    meanwhile.folder.mkdir()
    writer = StateWriter(meanwhile)
    writer.begin(state_of(network, optimizer), 1)
    assert not writer.ready
    update()
    begun.set()
    writer.finish()
    (found,) = meanwhile.found()
    assert found.name == expected.name and found.read_bytes() == expected.read_bytes()
    assert not torch.equal(meanwhile.load(never)["network"]["0.bias"], network[0].bias)


def test_what_fails_in_the_thread_is_raised_where_it_is_waited_for(tmp_path):
    writer = StateWriter(StateFolder(tmp_path / "missing"))
    writer.finish()  # nothing was begun
    writer.begin({"x": torch.zeros(1)}, 3)
    with pytest.raises(FileNotFoundError):
        writer.finish()
    writer.finish()
    assert writer.update == 3
