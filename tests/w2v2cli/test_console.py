"""Numbers in sentences."""

import pytest

from w2v2cli.console import counted


@pytest.mark.parametrize(
    ("number", "told"), [(0, "0 files are"), (1, "1 file is"), (2, "2 files are")]
)
def test_one_is_one(number, told):
    assert counted(number, "file", "is", "are") == told
    assert counted(number, "file") == " ".join(told.split()[:2])
