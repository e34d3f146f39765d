"""Which segments wait for each other, and what each is told of the one before."""

from concurrent.futures import Future

import numpy as np
import pytest

from lm.hypothesis import Hypothesis, Word
from lm.search.context import ALONE, Context, Entry
from w2v2cli.recognition.searching.chains import Chains
from w2v2cli.recognition.searching.processes import SearchFailed
from w2v2cli.recognition.searching.spec import SearchSpec
from w2v2cli.recognition.segments import Segment


class Searching:
    """A search that notes what it was asked for, and finds one word in each segment."""

    def __init__(self, engine="compiled", fails=()):
        self.spec = SearchSpec(("<pad>", "|", "A"), engine)
        self.fails, self.asked = fails, {}
        self.running = 0

    def submit(self, emission, weights=None, context=None):
        assert weights is None
        number = int(emission[0, 0])
        self.asked[number] = context
        future = Future()
        if number in self.fails:
            future.set_exception(SearchFailed("No search today."))
        else:
            words = (Word(f"W{number}", 0, 1, 1.0),)
            future.set_result([Hypothesis(words, (), (), 0.0, 0.0, -float(number))])
        return future


def segment(number: int, ends: bool) -> Segment:
    return Segment(number, np.full((1, 3), number, np.float32), ends)


def searched(pool, ends):
    """The contexts that segments of one recording were searched with."""
    with Chains(pool) as chains:
        take = chains.begin()
        taken = [take(segment(i, end)) for i, end in enumerate(ends)]
        for i, (given, future) in enumerate(taken):
            assert given.start == i
            if i not in pool.fails:
                assert future.result(timeout=10)[0].words[0].text == f"W{i}"
    return [pool.asked[i] for i in range(len(ends))]


def test_a_segment_goes_on_from_the_one_before():
    contexts = searched(Searching(), [False, False, True])
    assert contexts == [
        Context(goes_on=True),
        Context((Entry(("W0",)),), goes_on=True),
        Context((Entry(("W0", "W1")),), goes_on=False),
    ]


def test_a_sentence_of_its_own_is_told_nothing():
    assert searched(Searching(), [True, True]) == [None, None]
    assert searched(Searching(), [False, True, True, False, True])[2] is None
    assert searched(Searching(), [False, True, False, True])[2] == Context(goes_on=True)


def test_flashlight_begins_every_segment_with_a_sentence():
    assert searched(Searching("flashlight"), [False, False, True]) == [None] * 3


def test_what_fails_fails_alone_and_nothing_waits_for_ever():
    pool = Searching(fails=[1])
    with Chains(pool) as chains:
        take = chains.begin()
        taken = [take(segment(i, False))[1] for i in range(3)]
        with pytest.raises(SearchFailed, match="No search today"):
            taken[1].result(timeout=10)
        assert taken[2].result(timeout=10)
    assert pool.asked[2].entries[-1].words[-1:] != ("W1",)


def test_recordings_know_nothing_of_each_other():
    pool = Searching()
    with Chains(pool) as chains:
        first, second = chains.begin(), chains.begin()
        first(segment(0, False))
        _, future = second(segment(1, False))
        future.result(timeout=10)
    assert pool.asked[1] == Context(ALONE.entries, goes_on=True)
