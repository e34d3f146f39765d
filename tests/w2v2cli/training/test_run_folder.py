import json

import pytest

from w2v2cli.errors import UsageError, UserError
from w2v2cli.training.config import changed
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.run_folder import check_settings
from w2v2cli.training.runs.vocabulary import KEPT, keep_vocabulary, vocabulary_of

CONFIG = FINETUNING["demo"]()


def test_a_continued_run_may_change_how_it_runs_but_not_what_it_computes(tmp_path):
    check_settings(tmp_path, CONFIG, write=True)
    check_settings(tmp_path, changed(CONFIG, {"save_every": 7, "compile": True}), write=True)
    with pytest.raises(UsageError, match="dropout was 0.0 and is 0.5"):
        check_settings(tmp_path, changed(CONFIG, {"dropout": 0.5}), write=True)


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
            with pytest.raises(UsageError, match="'decay': 'linear'.* and is .*'exponential'"):
                check_settings(folder, config, write=True)
