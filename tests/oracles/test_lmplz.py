"""KenLM's lmplz and `lm build` on one text: equal n-grams, probabilities and backoffs."""

import pytest

from lm.ngram.arpa import read_ngrams, write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate

MODELS = [
    ("order4", "text.txt", 4, ()),
    ("order4-prune-0-0-1-1", "text.txt", 4, (0, 0, 1, 1)),
    ("order2-prune-0-2", "text.txt", 2, (0, 2)),
    ("tiny-order3-fallback", "tiny.txt", 3, ()),
]


@pytest.mark.parametrize(
    ("name", "text", "order", "prune"), MODELS, ids=[model[0] for model in MODELS]
)
def test_estimates_equal_those_of_lmplz(shared_data, tmp_path, name, text, order, prune):
    lines = (shared_data / "lmplz" / text).read_text().splitlines()
    model = estimate(count_ngrams((line.split() for line in lines), order), prune)
    write_arpa(model, tmp_path / "ours.arpa")
    ours = {words: scores for *scores, words in _rows(tmp_path / "ours.arpa")}
    theirs = {words: scores for *scores, words in _rows(shared_data / "lmplz" / f"{name}.arpa.gz")}
    assert ours.keys() == theirs.keys()
    for words, expected in theirs.items():
        assert ours[words] == pytest.approx(expected, abs=1e-4), words


def _rows(path):
    for log_prob, words, backoff in read_ngrams(path):
        yield log_prob, backoff, words
