"""A table of numbers beside a dictionary."""

import numpy as np
import pytest

from lm.transformer.number_table import NumberTable


@pytest.mark.parametrize("highest", [3000, 2**62])
def test_it_holds_what_a_dictionary_holds(highest):
    draw, table, expected = np.random.default_rng(0), NumberTable(), {}
    for size in (0, 1, 10, 500, 1500, 3):
        keys = np.unique(draw.integers(0, highest, size))
        new = keys[[int(key) not in expected for key in keys]]
        values = draw.integers(0, 10**9, len(new))
        table.add(new, values)
        expected |= dict(zip(new.tolist(), values.tolist(), strict=True))
        asked = draw.permutation(np.array([*expected, *draw.integers(0, highest, 50)], np.int64))
        assert table.find(asked).tolist() == [expected.get(int(key), -1) for key in asked]
        assert len(table) == len(expected)
    table.clear()
    assert len(table) == 0 and table.find(keys).tolist() == [-1] * len(keys)
