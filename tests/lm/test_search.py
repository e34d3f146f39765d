"""Searches against the enumeration of everything they could have found."""

import itertools
import math
import random

import numpy as np
import pytest

from lm.flashlight_search import FlashlightSearch, SearchError
from lm.greedy import greedy_search
from lm.hypothesis import BeamOptions, DecodingWeights
from lm.lexicon import Lexicon
from lm.vocabulary import CHARACTERS, SpellingError, Vocabulary

pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))
WIDE = BeamOptions(beam=5000, beam_threshold=1e6, nbest=1)

ARPA = """\\data\\
ngram 1=6
ngram 2=5

\\1-grams:
-1.5\t<unk>
0\t<s>\t-0.4
-0.7\t</s>
-0.6\tA\t-0.2
-0.9\tAB\t-0.3
-1.1\tBA\t-0.1

\\2-grams:
-0.3\t<s> A
-0.5\tA BA
-0.2\tAB A
-0.9\tA </s>
-0.8\tBA </s>

\\end\\
"""


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(ARPA)
    return path


def random_emission(frames: int, seed: int, symbols: int = 4) -> np.ndarray:
    logits = np.random.default_rng(seed).normal(0, 2, (frames, symbols))
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


def collapsed(path) -> str:
    symbols = [symbol for symbol, _ in itertools.groupby(path)]
    return "".join(SMALL.symbols[s] for s in symbols if s != SMALL.blank)


def best_by_enumeration(emission, words, weights, lm_path):
    """The highest-scoring (score, words) over every path whose words all end in a boundary and are in the lexicon."""
    import kenlm

    model = kenlm.Model(str(lm_path))
    best = (-math.inf, ())
    acoustic: dict[str, float] = {}
    for path in itertools.product(range(4), repeat=len(emission)):
        text = collapsed(path)
        score = float(emission[range(len(emission)), path].sum(dtype=np.float64))
        acoustic[text] = max(acoustic.get(text, -math.inf), score)
    for text, score in acoustic.items():
        said = [word for word in text.split("|") if word]
        if any(word not in words for word in said) or (said and not text.endswith("|")):
            continue
        language = model.score(" ".join(said), bos=True, eos=True)
        total = score + weights.lm_weight * language + weights.word_score * len(said)
        best = max(best, (total, tuple(said)))
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_lexicon_search_finds_the_best_of_all_word_sequences(arpa, seed):
    lexicon = Lexicon.from_words(["A", "AB", "BA"], SMALL)
    weights = DecodingWeights(lm_weight=0.9, word_score=random.Random(seed).uniform(-1, 1))
    search = FlashlightSearch(SMALL, weights, WIDE, lexicon, arpa)
    emission = random_emission(7, seed)
    [found] = search(emission[None], [7])[0]
    score, words = best_by_enumeration(emission, {"A", "AB", "BA"}, weights, arpa)
    assert found.text.split() == list(words)
    assert found.score == pytest.approx(score, abs=1e-3)
    parts = found.acoustic_score + weights.lm_weight * found.lm_score + weights.word_score * len(words)
    assert found.score == pytest.approx(parts, abs=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_beam_1_without_a_language_model_is_the_best_path(seed):
    vocabulary = Vocabulary.from_labels(CHARACTERS)
    emissions = np.stack([random_emission(60, seed, 32), random_emission(60, seed + 100, 32)])
    weights, options = DecodingWeights(word_score=0.0), BeamOptions(beam=1, beam_threshold=1e6)
    beam = FlashlightSearch(vocabulary, weights, options)(emissions, [60, 41])
    greedy = greedy_search(emissions, [60, 41], vocabulary)
    for [a], [b] in zip(beam, greedy, strict=True):
        assert (a.text, a.symbols, a.frames, a.words) == (b.text, b.symbols, b.frames, b.words)
        assert a.acoustic_score == pytest.approx(b.acoustic_score, abs=1e-3)


def spelled(text: str, vocabulary: Vocabulary, hold: int = 2) -> np.ndarray:
    """An emission that says `text`: each symbol for one frame, then blanks."""
    ids = [i for word in text.split() for i in (*vocabulary.spell(word), vocabulary.word_boundary)]
    emission = np.full((len(ids) * hold, len(vocabulary.symbols)), -6.0, np.float32)
    for place, i in enumerate(ids):
        emission[place * hold, i] = -0.1
        emission[place * hold + 1 : (place + 1) * hold, vocabulary.blank] = -0.1
    return emission


def test_words_carry_times_and_confidence(arpa):
    lexicon = Lexicon.from_words(["A", "AB", "BA"], SMALL)
    [found] = FlashlightSearch(SMALL, DecodingWeights(0.5, 0.0), WIDE, lexicon, arpa)(spelled("AB A", SMALL)[None], [10])[0]
    assert [(w.text, w.start, w.end) for w in found.words] == [("AB", 0, 3), ("A", 6, 7)]
    assert all(w.confidence == pytest.approx(math.exp(-0.1), abs=1e-4) for w in found.words)
    assert found.frames == (0, 2, 4, 6, 8)


def test_n_best_lists_are_distinct_and_in_order(arpa):
    lexicon = Lexicon.from_words(["A", "AB", "BA"], SMALL)
    options = BeamOptions(beam=100, beam_threshold=1e6, nbest=4)
    found = FlashlightSearch(SMALL, DecodingWeights(0.5, 0.0), options, lexicon, arpa)(random_emission(8, 1)[None], [8])[0]
    assert len({h.text for h in found}) == len(found) == 4
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_an_utterance_without_frames_says_nothing(arpa):
    lexicon = Lexicon.from_words(["A"], SMALL)
    assert FlashlightSearch(SMALL, DecodingWeights(), WIDE, lexicon, arpa)(np.zeros((1, 0, 4), np.float32), [0])[0][0].text == ""


def test_greedy_times_and_words():
    path = [0, 2, 2, 0, 3, 1, 1, 0, 2, 1]
    emission = np.full((1, 12, 4), -5.0, np.float32)
    emission[0, range(10), path] = -0.2
    [found] = greedy_search(emission, [10], SMALL)[0]
    assert [(w.text, w.start, w.end) for w in found.words] == [("AB", 1, 5), ("A", 8, 9)]
    assert found.symbols == (2, 3, 1, 2, 1)


def test_a_language_model_of_another_case_is_told(tmp_path):
    path = tmp_path / "lower.arpa"
    path.write_text(ARPA.replace("AB", "ab").replace("BA", "ba").replace("A", "a").replace("ngrams", "grams"))
    path.write_text(ARPA.replace("\tA\t", "\ta\t").replace("\tAB\t", "\tab\t").replace("\tBA\t", "\tba\t")
                    .replace("<s> A", "<s> a").replace("A BA", "a ba").replace("AB A", "ab a")
                    .replace("\tA <", "\ta <").replace("\tBA <", "\tba <"))  # fmt: skip
    lexicon = Lexicon.from_words(["A", "AB", "BA"], SMALL)
    with pytest.raises(SearchError, match="knows no word of the lexicon, not even 'A'.*upper case"):
        FlashlightSearch(SMALL, DecodingWeights(), WIDE, lexicon, path)


def test_a_lexicon_that_does_not_match_is_told(arpa):
    with pytest.raises(SearchError, match=r"alphabet \(A B\) can spell no word of the lexicon, not even 'xyz'"):
        FlashlightSearch(SMALL, DecodingWeights(), WIDE, Lexicon.from_words(["xyz"], SMALL), arpa)
    words = ["A", "AAA", "BBB", "BAB", "ABA", "xyz"]
    search = FlashlightSearch(SMALL, DecodingWeights(), WIDE, Lexicon.from_words(words, SMALL), arpa)
    assert any("does not know 80% of the lexicon's words" in warning for warning in search.warnings)
    assert any("1 words cannot be spelled" in warning and "xyz" in warning for warning in search.warnings)


def test_files_that_are_no_language_model(tmp_path):
    lexicon = Lexicon.from_words(["A"], SMALL)
    with pytest.raises(SearchError, match="There is no language model at"):
        FlashlightSearch(SMALL, DecodingWeights(), WIDE, lexicon, tmp_path / "gone.arpa")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(SearchError, match="cannot be read as a KenLM model"):
        FlashlightSearch(SMALL, DecodingWeights(), WIDE, lexicon, tmp_path / "text")


def test_lexicon_files(tmp_path):
    (tmp_path / "lexicon.txt").write_text("AB\tA B |\nAB\tA A B |\nBA B A\nC\tC |\n\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    assert lexicon.spellings == {"AB": ((2, 3, 1), (2, 2, 3, 1)), "BA": ((3, 2, 1),)}
    assert lexicon.unspellable == ("C",)
    (tmp_path / "bad.txt").write_text("AB\tA B |\nword\n")
    with pytest.raises(ValueError, match="line 2: the word 'word' has no spelling"):
        Lexicon.read(tmp_path / "bad.txt", SMALL)


@pytest.mark.parametrize(
    ("labels", "blank", "boundary"),
    [
        (CHARACTERS, 0, 4),
        (("-", "|", "E", "T"), 0, 1),
        (("a", "b", "|", "[UNK]", "[PAD]"), 4, 2),
        (("<blank>", "aa", "ae"), 0, None),
    ],
)
def test_special_symbols_are_found_by_their_names(labels, blank, boundary):
    vocabulary = Vocabulary.from_labels(labels)
    assert (vocabulary.blank, vocabulary.word_boundary) == (blank, boundary)


def test_vocabularies_that_make_no_sense():
    with pytest.raises(ValueError, match="None of the 2 labels is a blank"):
        Vocabulary.from_labels(("a", "b"))
    with pytest.raises(ValueError, match="'a' stands in it twice"):
        Vocabulary.from_labels(("<pad>", "a", "a"))
    with pytest.raises(SpellingError, match="no 'É' to spell 'CAFÉ' with"):
        Vocabulary.from_labels(CHARACTERS).spell("CAFÉ")
