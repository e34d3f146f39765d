import json
from dataclasses import dataclass

import pytest
import torch

from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition import devices
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.optimization import exact_float32
from w2v2cli.training.recipes import FINETUNING, LANGUAGE_MODELS, PRETRAINING
from w2v2cli.training.run_folder import check_settings, make_folder, settled
from w2v2cli.training.runs.vocabulary import KEPT, keep_vocabulary, vocabulary_of

CONFIG = FINETUNING["demo"]()


def test_a_continued_run_may_change_how_it_runs_but_not_what_it_computes(tmp_path):
    check_settings(tmp_path, CONFIG, write=True)
    check_settings(tmp_path, changed(CONFIG, {"save_every": 7, "compile": True}), write=True)
    with pytest.raises(UsageError, match="dropout was 0.0 and is 0.5"):
        check_settings(tmp_path, changed(CONFIG, {"dropout": 0.5}), write=True)


def test_other_settings_are_named_one_by_one(tmp_path):
    check_settings(tmp_path, CONFIG, write=True)
    other = changed(CONFIG, {"schedule.updates": 7, "mask.time_span": 5})
    with pytest.raises(UsageError) as refused:
        check_settings(tmp_path, other, write=True)
    was = CONFIG.schedule.updates
    assert f"schedule.updates was {was} and is 7; mask.time_span was" in str(refused.value)
    assert "{" not in str(refused.value)


def test_a_file_cannot_be_the_folder_of_a_run(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "run"):
        with pytest.raises(UserError, match="cannot be the folder of a run .*: name another by -o"):
            make_folder(folder)


@pytest.mark.parametrize("content", ["", '{"kind": "Fine', "[]"])
def test_damaged_settings_are_a_sentence_that_says_what_to_do(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(UserError, match="run.json is empty or damaged. Delete it"):
        check_settings(tmp_path, CONFIG, write=True)


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_damaged_vocabulary_is_a_sentence_that_says_what_to_do(tmp_path, content):
    (tmp_path / KEPT).write_text(content)
    with pytest.raises(UserError, match="vocabulary.json is empty or damaged. Delete it"):
        vocabulary_of(CONFIG, [], tmp_path)


def test_a_run_keeps_its_vocabulary(tmp_path):
    vocabulary = vocabulary_of(changed(CONFIG, {"units": "phones"}), [])
    keep_vocabulary(vocabulary, tmp_path)
    assert vocabulary_of(CONFIG, [], tmp_path).symbols == vocabulary.symbols


def test_a_run_from_before_exponential_decays_has_a_linear_one(tmp_path):
    for name, alike in (("paper-base-10h", True), ("base-10h", False)):
        config = FINETUNING[name]()
        folder = tmp_path / name
        folder.mkdir()
        check_settings(folder, config, write=True)
        settings = json.loads((folder / "run.json").read_text())
        del settings["schedule"]["decay"]
        (folder / "run.json").write_text(json.dumps(settings))
        if alike:
            check_settings(folder, config, write=True)
        else:
            check_settings(folder, changed(config, {"schedule.decay": "linear"}), write=True)
            with pytest.raises(UsageError, match="schedule.decay was linear and is exponential"):
                check_settings(folder, config, write=True)


ALONE = Collectives(Ranks(), torch.device("cpu"))


@pytest.fixture
def instructions(monkeypatch):
    """Say which instructions for bfloat16 the CPU has."""

    def have(*names):
        monkeypatch.setattr(devices, "bfloat16_instructions", lambda: names)

    return have


def test_auto_asks_the_device_once_and_a_run_keeps_what_it_began_with(tmp_path, instructions):
    notes = []
    instructions("avx512_bf16")
    begun = settled(CONFIG, tmp_path, ALONE, notes.append)
    check_settings(tmp_path, begun, write=True)
    assert begun.precision == json.loads((tmp_path / "run.json").read_text())["precision"] == "bf16"
    instructions()  # as after a move to another machine
    continued = settled(CONFIG, tmp_path, ALONE, notes.append)
    check_settings(tmp_path, continued, write=True)
    assert continued == begun
    assert settled(CONFIG, tmp_path / "other", ALONE, notes.append).precision == "fp32"
    assert notes == [
        "Precision: bf16 (auto, on cpu).",
        "Precision: bf16 (auto; this run began with it).",
        "Precision: fp32 (auto, on cpu).",
    ]
    asked = settled(changed(CONFIG, {"precision": "fp32"}), tmp_path, ALONE, notes.append)
    assert notes[3:] == ["Precision: fp32."]
    with pytest.raises(UsageError, match="precision was bf16 and is fp32"):
        check_settings(tmp_path, asked, write=True)


def test_all_ranks_take_the_precision_of_the_first(tmp_path, instructions):
    @dataclass(frozen=True)
    class Second(Collectives):
        def everyone(self, value):
            return ["bf16", value]

    instructions()
    notes = []
    second = Second(Ranks(rank=1, world=2), torch.device("cpu"))
    assert settled(CONFIG, tmp_path, second, notes.append).precision == "bf16" and notes == []


def test_damaged_settings_do_not_choose_a_precision(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match="run.json is empty or damaged. Delete it"):
        settled(CONFIG, tmp_path, ALONE, lambda sentence: None)


def test_every_recipe_but_the_tiny_language_models_asks_the_device():
    recipes = PRETRAINING | FINETUNING | LANGUAGE_MODELS
    taken = {name: recipe().precision for name, recipe in recipes.items()}
    assert taken.pop("tiny") == "fp32" and set(taken.values()) == {"auto"}


def test_float32_on_a_gpu_is_not_tf32(monkeypatch):
    before = torch.get_float32_matmul_precision()
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    try:
        torch.set_float32_matmul_precision("high")
        exact_float32()
        assert torch.get_float32_matmul_precision() == "highest"
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_float32_matmul_precision(before)
