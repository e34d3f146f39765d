import errno
import fcntl
import json
from dataclasses import dataclass

import pytest
import torch

from w2v2cli.errors import UsageError, UserError
from w2v2cli.processes import Ranks
from w2v2cli.recognition import devices
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import changed
from w2v2cli.training.metrics import LOG
from w2v2cli.training.optimization import exact_float32
from w2v2cli.training.recipes import FINETUNING, LANGUAGE_MODELS, PRETRAINING
from w2v2cli.training.run_folder import check_settings, locked, make_folder, settled
from w2v2cli.training.runs.vocabulary import KEPT, keep_vocabulary, vocabulary_of

CONFIG = FINETUNING["demo"]()


@pytest.fixture
def run(tmp_path):
    """The folder of a run that has had an update, its settings not yet written."""
    log_update(tmp_path)
    return tmp_path


def log_update(folder):
    (folder / LOG).write_text('{"update": 1}\n')


def test_settings_of_a_run_without_an_update_are_replaced(tmp_path):
    check_settings(tmp_path, CONFIG)
    check_settings(tmp_path, changed(CONFIG, {"dropout": 0.5}))
    (tmp_path / LOG).touch()
    check_settings(tmp_path, CONFIG)


@pytest.mark.parametrize("left", ["state-00000001-0123456789abcdef.pt", "best.safetensors"])
def test_a_folder_with_only_a_state_or_a_checkpoint_belongs_to_its_run(tmp_path, left):
    check_settings(tmp_path, CONFIG)
    (tmp_path / left).touch()
    with pytest.raises(UsageError, match="dropout was 0.0 and is 0.5"):
        check_settings(tmp_path, changed(CONFIG, {"dropout": 0.5}))


def test_a_continued_run_may_change_how_it_runs_but_not_what_it_computes(run):
    check_settings(run, CONFIG)
    check_settings(run, changed(CONFIG, {"save_every": 7, "compile": True}))
    with pytest.raises(UsageError, match="dropout was 0.0 and is 0.5"):
        check_settings(run, changed(CONFIG, {"dropout": 0.5}))


def part(name, digest, what=""):
    return {"name": name, "what": what, "digest": digest}


def test_a_run_refuses_other_corpora_and_another_start_in_a_sentence(run):
    parts = {"corpora": part("mine", "a", "20 recordings, 0.10 h"), "start": part("base.pt", "b")}
    check_settings(run, CONFIG, parts)
    moved = {**parts, "start": part("elsewhere/base.pt", "b")}
    assert check_settings(run, CONFIG, moved) is None
    other = {**parts, "corpora": part("yours", "c", "21 recordings, 0.11 h")}
    sentence = (
        r"a run trained on mine \(20 recordings, 0.10 h\), and this call names yours "
        r"\(21 recordings, 0.11 h\). Name another folder by -o\."
    )
    with pytest.raises(UsageError, match=sentence):
        check_settings(run, CONFIG, other)
    other = {**parts, "start": part("base.pt", "c")}
    with pytest.raises(UsageError, match="begun from base.pt, .* its content has changed"):
        check_settings(run, CONFIG, other)
    with pytest.raises(UsageError, match="begun from base.pt, and this call names random weights"):
        check_settings(run, CONFIG, {**parts, "start": part("random weights", "")})


def test_a_run_of_before_takes_down_its_parts_when_it_is_continued(run):
    check_settings(run, CONFIG)
    check_settings(run, CONFIG, {"corpora": part("mine", "a")})
    with pytest.raises(UsageError, match="trained on mine"):
        check_settings(run, CONFIG, {"corpora": part("yours", "b")})


def test_a_run_may_be_extended_but_not_shortened(run):
    parts = {"corpora": part("mine", "a")}
    check_settings(run, changed(CONFIG, {"schedule.updates": 40}), parts)
    longer = changed(CONFIG, {"schedule.updates": 60})
    told = check_settings(run, longer, parts)
    assert told is not None and "was made for 40 updates and goes on to 60" in told
    assert check_settings(run, longer, parts) is None
    with pytest.raises(UsageError, match="schedule.updates was 60 and is 40"):
        check_settings(run, changed(CONFIG, {"schedule.updates": 40}), parts)
    with pytest.raises(UsageError, match="trained on mine"):
        check_settings(run, longer, {"corpora": part("yours", "b")})


def test_a_second_process_in_a_folder_is_refused_and_a_file_system_without_locks_is_told(
    tmp_path, monkeypatch
):
    told = []
    refused = pytest.raises(UserError, match="Another process is training")
    with locked(tmp_path), refused, locked(tmp_path):
        pass

    def flock(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(tmp_path, told.append):
        pass
    assert told == [
        f"The file system of {tmp_path} has no locks (No locks available): see to it that no other "
        "process trains there."
    ]


def test_other_settings_are_named_one_by_one(run):
    check_settings(run, CONFIG)
    other = changed(CONFIG, {"schedule.updates": 7, "mask.time_span": 5})
    with pytest.raises(UsageError) as refused:
        check_settings(run, other)
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
def test_damaged_settings_are_a_sentence_that_says_what_to_do(run, content):
    (run / "run.json").write_text(content)
    with pytest.raises(UserError, match="run.json is empty or damaged. Delete it"):
        check_settings(run, CONFIG)


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
        log_update(folder)
        check_settings(folder, config)
        settings = json.loads((folder / "run.json").read_text())
        del settings["schedule"]["decay"]
        (folder / "run.json").write_text(json.dumps(settings))
        if alike:
            check_settings(folder, config)
        else:
            check_settings(folder, changed(config, {"schedule.decay": "linear"}))
            with pytest.raises(UsageError, match="schedule.decay was linear and is exponential"):
                check_settings(folder, config)


ALONE = Collectives(Ranks(), torch.device("cpu"))


@pytest.fixture
def instructions(monkeypatch):
    """Say which instructions for bfloat16 the CPU has."""

    def have(*names):
        monkeypatch.setattr(devices, "bfloat16_instructions", lambda: names)

    return have


def test_auto_asks_the_device_once_and_a_run_keeps_what_it_began_with(run, instructions):
    notes = []
    instructions("avx512_bf16")
    begun = settled(CONFIG, run, ALONE, notes.append)
    check_settings(run, begun)
    assert begun.precision == json.loads((run / "run.json").read_text())["precision"] == "bf16"
    instructions()  # as after a move to another machine
    continued = settled(CONFIG, run, ALONE, notes.append)
    check_settings(run, continued)
    assert continued == begun
    assert settled(CONFIG, run / "other", ALONE, notes.append).precision == "fp32"
    assert notes == [
        "Precision: bf16 (auto, on cpu).",
        "Precision: bf16 (auto; this run began with it).",
        "Precision: fp32 (auto, on cpu).",
    ]
    asked = settled(changed(CONFIG, {"precision": "fp32"}), run, ALONE, notes.append)
    assert notes[3:] == ["Precision: fp32."]
    with pytest.raises(UsageError, match="precision was bf16 and is fp32"):
        check_settings(run, asked)


def test_all_ranks_take_the_precision_of_the_first(tmp_path, instructions):
    @dataclass(frozen=True)
    class Second(Collectives):
        def from_first(self, make):
            return "bf16", " (auto, on cpu)"

    instructions()
    notes = []
    second = Second(Ranks(rank=1, world=2), torch.device("cpu"))
    assert settled(CONFIG, tmp_path, second, notes.append).precision == "bf16" and notes == []


def test_damaged_settings_do_not_choose_a_precision(run):
    (run / "run.json").write_text("{")
    with pytest.raises(UserError, match="run.json is empty or damaged. Delete it"):
        settled(CONFIG, run, ALONE, lambda sentence: None)


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
