"""What the tests of several engines share."""

import pytest
from small_words import TRIGRAMS


@pytest.fixture
def arpa(tmp_path):
    """The file of a small model, `small_words.TRIGRAMS`."""
    path = tmp_path / "lm.arpa"
    path.write_text(TRIGRAMS)
    return path
