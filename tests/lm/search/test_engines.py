"""What holds for every engine alike."""

import numpy as np
import pytest

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arrays import read_automaton
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))


def arpa_of(path, scores):
    """A unigram model in a file."""
    lines = "\n".join(f"{score:.3f}\t{word}" for word, score in scores.items())
    path.write_text(
        f"\\data\\\nngram 1={len(scores) + 3}\n\n\\1-grams:\n-9\t<unk>\n0\t<s>\n-1\t</s>\n"
        f"{lines}\n\n\\end\\\n"
    )
    return path


@pytest.mark.parametrize("count", [8, 40])
def test_every_homophone_is_found(tmp_path, count):
    """The likeliest of them stands last in the lexicon."""
    scores = {f"A{i}": 0.05 * i - 3 for i in range(count)}
    (tmp_path / "lexicon.txt").write_text("".join(f"{word}\tA |\n" for word in scores))
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    arpa = arpa_of(tmp_path / "lm.arpa", scores)
    weights, options = DecodingWeights(1.0, 0.0), BeamOptions(500, nbest=count)
    emission = np.full((3, 4), -6.0, np.float32)
    emission[range(3), [2, 1, 0]] = -0.1
    for search in (
        CompiledSearch(SMALL, weights, options, lexicon, arpa, tmp_path / "cache"),
        BatchedSearch(SMALL, lexicon, read_automaton(arpa), weights, options),
    ):
        [found] = search(emission[None], [3])
        assert [h.text for h in found] == list(reversed(scores))
        assert [h.lm_score + 1 for h in found] == pytest.approx(sorted(scores.values())[::-1])
