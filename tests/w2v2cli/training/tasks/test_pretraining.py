"""What pretraining warns of; that it trains is in tests/end_to_end."""

import pytest

from w2v2cli.training.config import changed
from w2v2cli.training.recipes import PRETRAINING
from w2v2cli.training.tasks.pretraining import Pretraining, build


@pytest.fixture
def task():
    run = changed(PRETRAINING["small"](), {"schedule.updates": 3000, "model": "tiny"})
    return Pretraining(run, validation=None)


def metrics(update, accuracy=0.3, code_perplexity=10.0):
    return {"update": update, "accuracy": accuracy, "code_perplexity": code_perplexity}


def test_a_collapsed_codebook_is_told(task):
    assert task.watch(metrics(5)) is None
    word, sentence = task.watch(metrics(6, code_perplexity=2.1))
    assert word == "collapse" and "2.1 of 16 entries are in use" in sentence


def test_an_accuracy_that_stays_at_chance_is_told_once_it_should_have_left(task):
    for update in range(1, 1000):
        assert task.watch(metrics(update, accuracy=0.011)) is None
    word, sentence = task.watch(metrics(1000, accuracy=0.011))
    assert word == "chance" and "1.10% of cases, chance is 0.99%" in sentence


def test_an_accuracy_above_chance_is_fine(task):
    assert all(task.watch(metrics(update, accuracy=0.05)) is None for update in range(1, 3000))


def test_entries_are_drawn_around_zero_where_the_run_says_so():
    recipe = PRETRAINING["small"]()
    centred = build(changed(recipe, {"model": "tiny"})).quantizer.codebook
    positive = build(
        changed(recipe, {"model": "tiny", "centred_codebook": False})
    ).quantizer.codebook
    assert centred.min() < -0.9 and abs(centred.mean()) < 0.1
    assert positive.min() >= 0 and abs(positive.mean() - 0.5) < 0.1
