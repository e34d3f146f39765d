"""Stages of training follow each other, and go on where they were stopped."""

import json
from types import SimpleNamespace

import pytest

import w2v2
from scripts.train_demo import STAGES, Stage, train
from w2v2cli.data.locations import SHIPPED
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING

TRAIN, VALID = (str(SHIPPED / "corpus" / name) for name in ("test-other", "dev-other"))


@pytest.fixture
def calls(monkeypatch):
    """What `w2v2.finetune` is asked for; it leaves weights, and is stopped where `stop` says."""
    found = SimpleNamespace(made=[], stop=set())

    def finetune(corpora, *, output, model, **others):
        found.made.append((output.name, corpora, model))
        output.mkdir(parents=True, exist_ok=True)
        (output / "best.safetensors").touch()
        finished = output.name not in found.stop
        return SimpleNamespace(
            finished=finished, stopped_by=None if finished else "SIGTERM", update=7, score=0.5
        )

    monkeypatch.setattr(w2v2, "finetune", finetune)
    return found


def test_each_stage_starts_from_the_best_of_the_last(tmp_path, calls):
    assert train(tmp_path, ["people"], ["made"], "dev", "demo")
    best = [str(tmp_path / stage.name / "best.safetensors") for stage in STAGES]
    assert calls.made == [
        ("real", ["people"], "demo"),
        ("varied", ["people", "made"], best[0]),
        ("last", ["people"], best[1]),
    ]


def test_a_stage_that_was_stopped_goes_on_and_one_that_ended_does_not(tmp_path, calls, capsys):
    calls.stop = {"varied"}
    assert not train(tmp_path, ["people"], [], "dev", "demo")
    assert "Stopped by SIGTERM at update 7." in capsys.readouterr().out
    calls.stop, calls.made = set(), []
    assert train(tmp_path, ["people"], [], "dev", "demo")
    assert [name for name, *_ in calls.made] == ["varied", "last"]


def test_all_settings_are_those_of_a_run():
    for stage in STAGES:
        config = changed(FINETUNING["demo"](), stage.all_settings(0.1))
        assert config.schedule.updates == round(stage.updates * 0.1)
        assert config.schedule.peak == stage.peak


def test_two_stages_train_a_tiny_network(tmp_path):
    quick = {"batch_seconds": 20.0, "precision": "fp32"}
    stages = [Stage("a", 2, 1e-4, settings=quick), Stage("b", 1, 1e-4, settings=quick)]
    assert train(tmp_path, [TRAIN], [], VALID, "tiny-config", stages=stages)
    assert json.loads((tmp_path / "b" / "ended.json").read_text())["wer"] > 0
    log = (tmp_path / "a" / "log.jsonl").read_bytes()
    assert train(tmp_path, [TRAIN], [], VALID, "tiny-config", stages=stages)
    assert (tmp_path / "a" / "log.jsonl").read_bytes() == log
