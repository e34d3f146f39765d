"""Pickled files: their data is read, their code never runs, and damage is one sentence."""

import os
import pickle
import random
import sys
import types
from argparse import Namespace
from collections import OrderedDict

import pytest
import torch

from storage.pickles import STAND_INS, PickleError, load_pickle, plain


class Code:
    """Would make a file when it is unpickled."""

    mark = ""

    def __reduce__(self):
        return os.system, (f"touch {Code.mark}",)


class Unknown:
    """Of a class that is not on the list."""


def written(content, path, kind):
    if kind == "bare":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.mark.parametrize("kind", ["zip", "old"])
def test_tensors_and_plain_containers_come_back(tmp_path, kind):
    content = {
        "weights": OrderedDict(a=torch.arange(6.0).view(2, 3)),
        "args": Namespace(lr=[0.1], name="x"),
        "plain": [1, "zwei", None, (3.0, True), {4}],
    }
    found = load_pickle(written(content, tmp_path / "a.pt", kind))
    assert torch.equal(found["weights"]["a"], content["weights"]["a"])
    assert found["args"] == content["args"] and found["plain"] == content["plain"]


@pytest.mark.parametrize("kind", ["zip", "old", "bare"])
@pytest.mark.parametrize("wrap", [lambda c: c, lambda c: {"a": [c]}], ids=["alone", "inside"])
def test_code_is_refused_and_does_not_run(tmp_path, kind, wrap):
    Code.mark = tmp_path / "it_ran"
    path = written(wrap(Code()), tmp_path / "a.pt", kind)
    with pytest.raises(PickleError, match="asks to run .*system|safely") as caught:
        load_pickle(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert not Code.mark.exists()
    if kind == "bare":
        pickle.loads(path.read_bytes())  # what others do with such a file
        assert Code.mark.exists()


def test_a_class_that_is_not_on_the_list_is_refused(tmp_path):
    path = written({"a": Unknown()}, tmp_path / "a.pt", "zip")
    with pytest.raises(PickleError, match="Unknown"):
        load_pickle(path)


@pytest.mark.parametrize("name", STAND_INS)
def test_a_stand_in_keeps_the_state_and_runs_none_of_the_class(tmp_path, monkeypatch, name):
    """Objects of a class that is importable here, too: ours stands in for it all the same."""
    module, _, short = name.rpartition(".")
    ran = []
    theirs = type(short, (), {"__setstate__": lambda self, state: ran.append(state)})
    theirs.__module__, theirs.__qualname__ = module, short
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:end]), types.ModuleType("theirs"))
    setattr(sys.modules[module], short, theirs)
    value = theirs.__new__(theirs)
    value.__dict__.update(_content={"a": 1})
    found = load_pickle(written([value], tmp_path / "a.pt", "zip"))
    assert type(found[0]) is not theirs and plain(found) == [{"a": 1}] and ran == []


def test_plain_takes_configuration_objects_apart():
    assert plain(Namespace(a=Namespace(b=(1, {"c": Namespace()})))) == {"a": {"b": [1, {"c": {}}]}}


def test_a_file_that_cannot_be_read_is_said_to_be_that(tmp_path):
    for path, reason in ((tmp_path / "gone.pt", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(PickleError, match=f"cannot be read: {reason}"):
            load_pickle(path)


@pytest.mark.parametrize("kind", ["zip", "old", "bare"])
@pytest.mark.filterwarnings("ignore")  # torch warns of some of what it then refuses
def test_damage_of_any_kind_is_one_sentence(tmp_path, kind):
    path = written({"a": torch.arange(50.0), "b": ["c", {"d": 1}]}, tmp_path / "a.pt", kind)
    whole, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole[: draw.choice([len(whole), draw.randrange(len(whole))])])
        for _ in range(draw.randrange(1, 6)):
            if damaged:
                damaged[draw.randrange(min(len(damaged), 400))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            load_pickle(path)
        except PickleError as error:
            refused += 1
            assert str(path) in str(error) and "\n" not in str(error)
    assert refused > 50
