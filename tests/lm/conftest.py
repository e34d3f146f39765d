"""What the tests of language models share."""

import pytest

from lm.ngram.arpa import write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate

LINES = ("the cat sat", "the cat ran on", "a dog sat on the cat", "on and on the dog ran")


@pytest.fixture
def arpa(tmp_path):
    """A trigram model of eight words in an ARPA file, estimated by us."""
    path = tmp_path / "lm.arpa"
    write_arpa(estimate(count_ngrams([line.split() for line in LINES * 3], 3)), path)
    return path
