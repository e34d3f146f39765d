"""One frame of the batched search: what makes it fit for a GPU, checked without one."""

import pytest
import torch
from small_words import SMALL, TRIGRAMS, random_emission
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import FixedNgramTensors
from lm.search.batched import trie
from lm.search.batched.search import BatchedSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

BEAM, UTTERANCES, FRAMES = 50, 4, 3
MOST_OPERATIONS = 210  # of a frame; there were 375 before the shapes were fixed
MOST_IN_LISTS = 250
OF_PHRASES = 12  # more, where there are phrases
MOST_BYTES = 15_000  # read and written of a hypothesis on a frame


class Counted(TorchDispatchMode):
    """Counts operations that are no views, and the bytes that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operations, self.bytes = 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        if not any(r.alias_info is not None and not r.alias_info.is_write for r in returns):
            self.operations += 1
            self.bytes += _bytes((args, kwargs, found))
        return found


def _bytes(values) -> int:
    """Of all tensors in nested tuples; a table counts as what can be read of it at most."""
    if isinstance(values, torch.Tensor):
        return min(values.nbytes, 8 * UTTERANCES * BEAM * 40)
    if isinstance(values, dict):
        values = tuple(values.values())
    return sum(map(_bytes, values)) if isinstance(values, (tuple, list)) else 0


@pytest.fixture(params=["letters", "letters by history", "phrases", "phones, any word", "in lists"])
def step(request, tmp_path, monkeypatch):
    """What searches a frame."""
    if request.param == "in lists":
        monkeypatch.setattr(trie, "MEMORY", 0)
    return made_step(request.param, tmp_path)


def made_step(kind, tmp_path):
    """What searches a frame, over an n-gram; with homophones where it is over phones."""
    (tmp_path / "lm.arpa").write_text(TRIGRAMS)
    vocabulary, unknown = SMALL, -torch.inf
    lines = "A\tA |\nAB\tA B |\nBA\tB A |\n"
    if "phones" in kind:
        vocabulary, unknown = Vocabulary.from_labels(("<pad>", "aa", "b")), -2.0
        lines = "A\taa\nAB\taa b\nBA\taa\n"
    (tmp_path / "lexicon.txt").write_text(lines)
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", vocabulary)
    weights = DecodingWeights(1.0, 0.1, unknown)
    way = "history" if "history" in kind else "state"
    options = BeamOptions(BEAM, recombine=way)
    hotwords = {"A": 1.0} | ({"A BA": 2.0} if kind == "phrases" else {})
    setup = prepare(vocabulary, lexicon, hotwords=hotwords)
    automaton = read_automaton(tmp_path / "lm.arpa")
    model = FixedNgramTensors(automaton, setup.words, torch.device("cpu"))
    search = BatchedSearch(setup, model, weights, options)
    frames = [random_emission(FRAMES, seed, len(vocabulary.symbols)) for seed in range(UTTERANCES)]
    search(frames, [FRAMES] * UTTERANCES)  # which leaves the step that it used
    return search.loop.step


def test_a_frame_never_waits_for_the_device(step):
    """No shape depends on the data, and no value is read: the step runs on tensors without any."""
    assert step.states.lm.fixed
    with FakeTensorMode(allow_non_fake_inputs=True):
        work = step.memory(UTTERANCES, FRAMES)
        step(work)
    assert work.beam.plain.shape == (UTTERANCES, BEAM)


def test_a_frame_takes_few_operations_and_bytes(step):
    work = step.memory(UTTERANCES, FRAMES)
    with torch.no_grad(), Counted() as counted:
        step(work)
    most = MOST_OPERATIONS if isinstance(step.trie, trie.Trie) else MOST_IN_LISTS
    assert counted.operations <= most + (OF_PHRASES if step.states.has_phrases else 0)
    assert counted.bytes <= MOST_BYTES * UTTERANCES * BEAM


def test_a_frame_writes_where_it_was_told_to(step):
    """A recorded graph reads the same memory on the next frame."""
    work = step.memory(UTTERANCES, FRAMES)
    before = [tensor.data_ptr() for tensor in (*work.beam, work.trace, work.frame, work.lost)]
    work.lengths.fill_(FRAMES)
    step(work.first(2))
    after = [tensor.data_ptr() for tensor in (*work.beam, work.trace, work.frame, work.lost)]
    assert before == after
    assert work.frame.tolist() == [1]
