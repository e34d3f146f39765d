"""Hypotheses merged by their last words, against all that can be said on a few frames."""

import math
import random

import numpy as np
import pytest
from random_searches import ALL, SPELLINGS, Case
from small_words import SMALL

from lm.decoding import BeamOptions, DecodingWeights
from lm.language_model import LanguageModel
from lm.search.batched.search import BatchedSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon

WORDS = [*SPELLINGS, "<unk>"]
BOUNDARY = 1


class Remembering:
    """A language model that never forgets: each history has scores of its own."""

    log_base = math.e
    words = WORDS

    def start(self, count=1):
        return [()] * count

    def score(self, states, words):
        after = [(*state, word) for state, word in zip(states, words, strict=True)]
        return np.array([self.drawn(history) for history in after]), after

    def finish(self, states):
        return np.array([self.drawn((*state, -1)) for state in states])

    def drawn(self, history) -> float:
        return random.Random(repr(history)).uniform(-4, 0)

    def said(self, words) -> float:
        """log p of a sentence."""
        history = [WORDS.index(word) for word in words]
        ends = range(1, len(history) + 1)
        return sum(self.drawn(tuple(history[:end])) for end in ends) + self.drawn((*history, -1))


def dynamic(lm: Remembering, emission, weights, context):
    """The words found and their score, where the better of two with one future goes on.

    Its future is told by the letters of the word that has begun, the last symbol and the last
    `context` words; None: all of them.
    """
    beam = {((), "", BOUNDARY): (0.0, ())}  # last words, letters, last symbol -> score, words
    for frame in emission.tolist():
        grown: dict = {}
        for (_, letters, last), (score, words) in beam.items():
            for symbol, heard in enumerate(frame):
                total = score + heard + weights.sil_score * (symbol == BOUNDARY)
                for after, more in grow(letters, last, symbol):
                    said = (*words, more) if more else words
                    if more:
                        history = tuple(WORDS.index(word) for word in said)
                        total_said = total + weights.word_score
                        total_said += weights.lm_weight * lm.drawn(history)
                    else:
                        total_said = total
                    key = (said if context is None else said[-context:], after, symbol)
                    if total_said > grown.get(key, (-math.inf,))[0]:
                        grown[key] = total_said, said
        beam = grown
    ended = [
        (score + weights.lm_weight * lm.drawn((*(WORDS.index(w) for w in words), -1)), words)
        for (_, letters, _), (score, words) in beam.items()
        if not letters
    ]
    return max(ended)


def grow(letters: str, last: int, symbol: int):
    """Yield the letters after a symbol, and the word that it ended, else an empty string."""
    name = SMALL.symbols[symbol]
    if symbol in (last, SMALL.blank) or (symbol == BOUNDARY and not letters):
        yield letters, ""
    elif symbol == BOUNDARY:
        yield from (("", word) for word, texts in SPELLINGS.items() if letters in texts)
    elif any(text.startswith(letters + name) for texts in SPELLINGS.values() for text in texts):
        yield letters + name, ""


def searching(case: Case, lm, context, beam=ALL, **more) -> BatchedSearch:
    options = BeamOptions(beam, None, float(ALL), lm_context=context, **more)
    return BatchedSearch(prepare(SMALL, case.lexicon), lm, case.weights, options)


def test_remembering_is_a_language_model():
    lm: LanguageModel = Remembering()
    scores, states = lm.score(lm.start(2), [0, 1])
    assert len(set(states)) == 2
    assert scores[0] + lm.finish(states)[0] == pytest.approx(Remembering().said(["A"]))


@pytest.mark.parametrize("context", [1, 2, 3])
def test_the_better_one_of_the_same_last_words_goes_on_with_all_of_its_history(tmp_path, context):
    """Scores are those of whole histories; what is merged is what a plain program merges."""
    lm, lossy = Remembering(), 0
    for seed in range(15):
        case = Case(seed, tmp_path)
        emission = case.emission(case.draw.randint(5, 9))
        [[found]] = searching(case, lm, context)(emission[None], [len(emission)])
        score, words = dynamic(lm, emission, case.weights, context)
        assert found.score == pytest.approx(score, abs=1e-3), seed
        if case.weights.lm_weight > 0.1:  # else words of one spelling tie
            assert tuple(word.text for word in found.words) == words, seed
        assert found.lm_score == pytest.approx(
            lm.said([word.text for word in found.words]), abs=1e-3
        )
        [[whole]] = searching(case, lm, None)(emission[None], [len(emission)])
        best, _ = dynamic(lm, emission, case.weights, None)
        assert whole.score == pytest.approx(best, abs=1e-3)
        assert whole.score >= found.score - 1e-3
        lossy += found.score < whole.score - 1e-3
    assert lossy > 0 or context > 1  # two words and more lose nothing in so few frames


def test_as_many_words_as_an_ngram_looks_at_lose_nothing(tmp_path):
    for seed in range(100, 130):
        case = Case(seed, tmp_path)
        emission = case.emission(6)
        expected = max(case.enumerated(emission).values())
        setup = prepare(SMALL, case.lexicon, hotwords=case.hotwords)
        options = BeamOptions(ALL, None, float(ALL), lm_context=2)  # of models of order 1 to 3
        [[found]] = BatchedSearch(setup, case.model, case.weights, options)(emission[None], [6])
        assert found.score == pytest.approx(expected, abs=1e-3), seed


def test_more_words_than_are_spoken_merge_as_by_history(tmp_path):
    """Narrow beams too, where what is dropped depends on what was merged."""
    lm = Remembering()
    for seed in range(200, 215):
        case = Case(seed, tmp_path)
        emission, beam = case.emission(14), case.draw.randint(2, 20)
        (ours,), (theirs,) = (
            search(emission[None], [14])
            for search in (
                searching(case, lm, 20, beam),
                searching(case, lm, None, beam, recombine="history"),
            )
        )
        assert [(h.text, h.score) for h in ours] == [(h.text, h.score) for h in theirs]


def test_a_phrase_that_has_begun_keeps_its_words_apart(tmp_path):
    """`A AB A` is favoured: by the last word alone, `A AB` and `AB AB` would be one."""
    (tmp_path / "lexicon.txt").write_text("A\tA |\nAB\tA B |\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    setup = prepare(SMALL, lexicon, hotwords={"A AB A": 6.0})
    weights = DecodingWeights(0.0, -0.2)
    for seed in range(10):
        logits = np.random.default_rng(seed).normal(0, 1.5, (12, 4))
        emission = (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)
        (ours,), (theirs,) = (
            BatchedSearch(setup, None, weights, BeamOptions(ALL, None, float(ALL), **options))(
                emission[None], [12]
            )
            for options in ({"lm_context": 1}, {"recombine": "history"})
        )
        assert ours[0].score == pytest.approx(theirs[0].score, abs=1e-4)


def test_a_list_keeps_all_histories_apart(tmp_path):
    lm = Remembering()
    for seed in range(300, 305):
        case = Case(seed, tmp_path)
        emission = case.emission(8)
        (ours,), (theirs,) = (
            searching(case, lm, context, nbest=5)(emission[None], [8]) for context in (1, None)
        )
        assert ours == theirs


def test_no_words_and_all_words_are_refused():
    with pytest.raises(ValueError, match="--lm-context must be at least 1, got 0"):
        BeamOptions(lm_context=0)
    with pytest.raises(ValueError, match="leave out one of them"):
        BeamOptions(recombine="history", lm_context=3)
