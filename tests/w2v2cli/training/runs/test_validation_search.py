"""The search that a fine-tuning run validates with: which language model, and how many cores."""

from contextlib import contextmanager

import pytest

from lm.text.normalizers import Normalizer
from lm.text.vocabulary import CHARACTERS, Vocabulary
from w2v2cli import processes
from w2v2cli.data import locations
from w2v2cli.errors import UsageError
from w2v2cli.processes import Ranks
from w2v2cli.training.run_folder import Callbacks
from w2v2cli.training.runs import finetune as job

ENGLISH = Vocabulary.from_labels(CHARACTERS)
RUSSIAN = Vocabulary.from_labels(("<pad>", "|", *"абвгд"), normalizer=Normalizer("basic", "lower"))


@pytest.fixture
def opened(monkeypatch, tmp_path):
    """The options of each search that is opened, and what was told."""
    opened, notes = [], []

    @contextmanager
    def open_search(options, labels, metadata, warn):
        opened.append(options)
        yield "the search"

    def fetched(on_progress):
        on_progress("4-gram.arpa.gz", 0, 1_000_000)
        on_progress("4-gram.arpa.gz", 10, 1_000_000)
        return tmp_path / "4-gram.arpa.gz"

    monkeypatch.setattr(job, "open_search", open_search)
    monkeypatch.setattr(locations, "_librispeech_lm", fetched)
    monkeypatch.setattr(processes, "usable_cores", lambda: 8)
    return opened, notes, Callbacks(lambda progress: None, notes.append, notes.append)


def searched(callbacks, model, vocabulary, ranks=Ranks(), lm="4gram"):  # noqa: B008
    with job._Validation(lm, None).searches(model, vocabulary, ranks, callbacks) as pool:
        return pool


@pytest.mark.parametrize("model", ["base-config", "base", "runs/base/best.safetensors"])
def test_english_takes_librispeechs_whatever_it_starts_from(opened, model):
    options, notes, callbacks = opened
    assert searched(callbacks, model, ENGLISH) == "the search"
    [found] = options
    assert found.lm.path.name == "4-gram.arpa.gz"
    assert (found.weights.lm_weight, found.weights.word_score, found.beam.width) == (2, -1, 50)
    assert notes == ["Fetching 4-gram.arpa.gz (1.0 MB)."]


@pytest.mark.parametrize("model", ["demo", "demo-config"])
def test_the_demo_keeps_its_own(opened, model):
    options, _, callbacks = opened
    searched(callbacks, model, ENGLISH)
    assert options[0].lm.path == locations.DEMO_LM


@pytest.mark.parametrize("model", ["base-config", "demo-config", "base-960h"])
def test_another_alphabet_is_refused_before_the_training(opened, model):
    options, _, callbacks = opened
    with pytest.raises(UsageError, match=r"writes another alphabet: .*w2v2 lm build"):
        searched(callbacks, model, RUSSIAN)
    assert options == []


def test_the_ranks_of_a_machine_divide_its_cores(opened):
    options, notes, callbacks = opened
    searched(callbacks, "base-config", ENGLISH)
    searched(callbacks, "base-config", ENGLISH, Ranks(3, 4, 1, 2))
    searched(callbacks, "base-config", ENGLISH, Ranks(1, 16, 1, 16))
    assert [found.workers for found in options] == [8, 4, 1]
    assert len(notes) == 1  # the first rank alone tells of the download


def test_the_best_path_needs_no_search(opened):
    assert searched(opened[2], "base-config", RUSSIAN, lm="none") is None
