"""Rounds of races: lots in any order, from any number of processes."""

import numpy as np

from lm.weights.racing import Race
from lm.weights.rounds import Lot, Round


def one_by_one(order, rival, errors, alpha):
    """A race without lots: the errors before it ends, and how it ends."""
    race = Race([rival[utterance] for utterance in order], alpha)
    seen = {}
    for utterance in order:
        seen[utterance] = errors[utterance]
        if race.add(errors[utterance]):
            return seen, "stopped"
    return seen, "exact"


def test_lots_of_any_size_in_any_order_make_the_race_of_single_utterances():
    generator = np.random.default_rng(0)
    ends = set()
    for _ in range(60):
        count = int(generator.integers(1, 80))
        order = generator.permutation(count).tolist()
        rival = generator.poisson(1.0, count).tolist()
        rates = (1.0, 1.4, 0.9)
        errors = {i: generator.poisson(rate, count).tolist() for i, rate in enumerate(rates)}
        expected = {i: one_by_one(order, rival, errors[i], 0.05) for i in errors}
        expected[0] = (dict(zip(order, (errors[0][u] for u in order), strict=True)), "exact")
        cuts = sorted({0, count, *generator.integers(0, count, 5).tolist()})
        lots = [
            Lot(first, {i: [errors[i][u] for u in order[first:last]] for i in errors})
            for first, last in zip(cuts, cuts[1:], strict=False)
        ]
        races = {i: Race([rival[u] for u in order], 0.05) if i else None for i in errors}
        found = Round(order, races)
        known = []
        for lot in generator.permutation(len(lots)).tolist():  # as several processes end them
            known = sorted([*known, lots[lot]], key=lambda each: each.first)
            found.add(each for each in known if each.first >= found.position)
        assert found.position == count and not found.running
        for i in errors:
            assert (found.errors(i), found.runners[i].end) == expected[i]
            ends.add(expected[i][1])
    assert ends == {"exact", "stopped"}


def test_a_lot_lacks_a_trial_that_had_ended_before_it():
    order, rival = list(range(30)), [0] * 30
    found = Round(order, {4: Race(rival, 0.05), 7: None})
    found.add([Lot(0, {4: [3, 0], 7: [0, 1]})])
    assert found.running == [7] and found.position == 2
    found.add([Lot(2, {7: [0] * 28})])
    assert found.running == []
    assert found.errors(4) == {0: 3} and sum(found.errors(7).values()) == 1
