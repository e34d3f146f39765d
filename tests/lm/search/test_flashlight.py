"""Beam searches against the enumeration of everything they could have found."""

import gzip
import itertools
import math
import random
import sys

import numpy as np
import pytest
from small_words import BIGRAMS, SMALL, random_emission

from lm.decoding import BeamOptions, DecodingWeights
from lm.language_model import LanguageModelError
from lm.ngram.kenlm import NgramLM
from lm.search.flashlight import FlashlightSearch
from lm.search.greedy import greedy_search
from lm.search.setup import SearchError
from lm.text.lexicon import Lexicon
from lm.text.pieces import MARK
from lm.text.vocabulary import CHARACTERS, Vocabulary

pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")

PHONES = Vocabulary.from_labels(("<pad>", "aa", "b"))
WIDE = BeamOptions(width=5000, threshold=1e6)

LETTERS = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-2\t<unk>
0\t<s>\t-0.4
-0.7\t</s>
-0.6\tA\t-0.2
-0.9\tB\t-0.3
-0.8\t|\t-0.1

\\2-grams:
-0.3\tA |
-0.2\tA B
-0.1\t| </s>

\\end\\
"""


@pytest.fixture
def arpa(tmp_path):
    path = tmp_path / "lm.arpa"
    path.write_text(BIGRAMS)
    return path


@pytest.fixture
def lexicon():
    return Lexicon.from_words(["A", "AB", "BA"], SMALL)


def only(search: FlashlightSearch, emission: np.ndarray):
    [[found]] = search(emission[None], [len(emission)])
    return found


def alignments(emission, weights) -> dict[str, float]:
    """Every collapsed text and the score of its best path, with sil_score for boundary frames.

    A boundary on the first frame is none: it goes on with the silence before the utterance.
    """
    best: dict[str, float] = {}
    frames = range(len(emission))
    for path in itertools.product(range(emission.shape[1]), repeat=len(emission)):
        score = float(
            emission[frames, path].sum(dtype=np.float64)
        ) + weights.sil_score * path.count(1)
        text = "".join(
            SMALL.symbols[s] for s, _ in itertools.groupby((1, *path)) if s != SMALL.blank
        )[1:]
        best[text] = max(best.get(text, -math.inf), score)
    return best


def by_enumeration(emission, lexicon, weights, lm_path) -> list[tuple[float, tuple[str, ...]]]:
    """(score, words) of all sequences of lexicon words that end in a boundary, best first."""
    spelled: dict[str, list[str]] = {}
    for word, spellings in lexicon.spellings.items():
        for spelling in spellings:
            spelled.setdefault("".join(SMALL.symbols[i] for i in spelling[:-1]), []).append(word)
    model = None if lm_path is None else NgramLM(lm_path, list(lexicon.spellings))
    totals: dict[tuple[str, ...], float] = {}
    for text, score in alignments(emission, weights).items():
        written = [letters for letters in text.split("|") if letters]
        if any(letters not in spelled for letters in written) or (
            written and not text.endswith("|")
        ):
            continue
        for words in itertools.product(*(spelled[letters] for letters in written)):
            total = (
                score
                + weights.word_score * len(words)
                + weights.lm_weight * language_score(model, words)
            )
            totals[words] = max(totals.get(words, -math.inf), total)
    return sorted(((score, words) for words, score in totals.items()), reverse=True)


def language_score(model, words) -> float:
    if model is None:
        return 0.0
    states, total = model.start(), 0.0
    for word in words:
        score, states = model.score(states, [model.words.index(word)])
        total += score[0]
    return total + model.finish(states)[0]


@pytest.mark.parametrize("seed", range(12))
def test_the_lexicon_search_finds_the_best_of_all_word_sequences(arpa, lexicon, seed):
    draw = random.Random(seed).uniform
    weights = DecodingWeights(lm_weight=0.9, word_score=draw(-1, 1), sil_score=draw(-0.5, 0.5))
    emission = random_emission(7, seed)
    found = only(FlashlightSearch.open(SMALL, weights, WIDE, lexicon, arpa), emission)
    score, words = by_enumeration(emission, lexicon, weights, arpa)[0]
    assert found.text.split() == list(words)
    assert found.score == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_homophones_and_second_spellings(arpa, tmp_path, seed):
    (tmp_path / "lexicon.txt").write_text("A\tA |\nAB\tA B |\nAB\tB B |\nBA\tA |\nBA\tB |\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    weights = DecodingWeights(lm_weight=1.5, word_score=0.5)
    emission = random_emission(7, seed)
    found = only(FlashlightSearch.open(SMALL, weights, WIDE, lexicon, arpa), emission)
    score, words = by_enumeration(emission, lexicon, weights, arpa)[0]
    assert (found.text.split(), found.score) == (list(words), pytest.approx(score, abs=1e-3))


@pytest.mark.parametrize("seed", range(4))
def test_without_a_language_model_the_n_best_are_the_n_best_of_all(lexicon, seed):
    weights = DecodingWeights(word_score=0.3)
    emission = random_emission(7, seed)
    search = FlashlightSearch.open(SMALL, weights, BeamOptions(5000, None, 1e6, nbest=6), lexicon)
    [found] = search(emission[None], [7])
    expected = by_enumeration(emission, lexicon, weights, None)[:6]
    assert [tuple(h.text.split()) for h in found] == [words for _, words in expected]
    assert [h.score for h in found] == pytest.approx([score for score, _ in expected], abs=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_the_lexicon_free_search_finds_the_best_of_all_texts(tmp_path, seed):
    (tmp_path / "letters.arpa").write_text(LETTERS)
    model = NgramLM(tmp_path / "letters.arpa", ["A", "B", "|"])
    weights = DecodingWeights(lm_weight=1.2, sil_score=-0.2)
    emission = random_emission(7, seed)
    found = only(
        FlashlightSearch.open(SMALL, weights, WIDE, None, tmp_path / "letters.arpa"), emission
    )
    texts = alignments(emission, weights).items()
    score, text = max(
        (score + weights.lm_weight * language_score(model, text), text) for text, score in texts
    )
    written = "".join(SMALL.symbols[i] for i in found.symbols)
    assert (written[1:] if written[:1] == "|" and found.frames[0] == 0 else written) == text
    assert found.score == pytest.approx(score, abs=1e-3)


@pytest.mark.parametrize("lm_weight", [0.0, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_hot_words_are_added_and_new_ones_spelled(arpa, lexicon, seed, lm_weight):
    hotwords = {"BB": 2.5, "A": -1.0, "BA": 0.7}
    weights, emission = DecodingWeights(lm_weight, 0.1), random_emission(7, seed)
    options = BeamOptions(5000, None, 1e6)
    found = only(FlashlightSearch.open(SMALL, weights, options, lexicon, arpa, hotwords), emission)
    every = Lexicon.from_words(["A", "AB", "BA", "BB"], SMALL)
    scored = by_enumeration(emission, every, weights, arpa)
    score, words = max(
        (score + sum(hotwords.get(word, 0.0) for word in words), words) for score, words in scored
    )
    assert (found.text.split(), found.score) == (list(words), pytest.approx(score, abs=1e-3))
    assert found.lm_score == pytest.approx(
        language_score(NgramLM(arpa, [*every.spellings]), words), abs=1e-3
    )


def test_the_parts_of_a_score_add_up(arpa, lexicon):
    weights = DecodingWeights(lm_weight=0.7, word_score=-0.4)
    emission = random_emission(30, 3)
    found = only(FlashlightSearch.open(SMALL, weights, WIDE, lexicon, arpa), emission)
    parts = (
        found.acoustic_score
        + weights.lm_weight * found.lm_score
        + weights.word_score * len(found.words)
    )
    assert found.score == pytest.approx(parts, abs=1e-3)
    model = NgramLM(arpa)
    assert found.lm_score == pytest.approx(language_score(model, found.text.split()), abs=1e-3)


@pytest.mark.parametrize("beam", [1, 50])
@pytest.mark.parametrize("seed", range(5))
def test_a_beam_without_a_language_model_is_the_best_path(seed, beam):
    vocabulary = Vocabulary.from_labels(CHARACTERS)
    emissions = np.stack([random_emission(60, seed, 32), random_emission(60, seed + 100, 32)])
    found = FlashlightSearch.open(vocabulary, DecodingWeights(), BeamOptions(beam))(
        emissions, [60, 41]
    )
    for [a], [b] in zip(found, greedy_search(emissions, [60, 41], vocabulary), strict=True):
        assert (a.text, a.symbols, a.frames, a.words) == (b.text, b.symbols, b.frames, b.words)
        assert a.acoustic_score == pytest.approx(b.acoustic_score, abs=1e-3)
        assert a.score == pytest.approx(b.score, abs=1e-3)


def saying(text: str, vocabulary: Vocabulary = SMALL) -> np.ndarray:
    """An emission that says `text`: a frame for each symbol, a blank after it."""
    ids = [i for word in text.split() for i in (*vocabulary.spell(word), vocabulary.word_boundary)]
    emission = np.full((2 * len(ids), len(vocabulary.symbols)), -6.0, np.float32)
    for place, i in enumerate(ids):
        emission[2 * place, i] = emission[2 * place + 1, vocabulary.blank] = -0.1
    return emission


def test_words_carry_times_and_confidence(arpa, lexicon):
    found = only(
        FlashlightSearch.open(SMALL, DecodingWeights(0.5, 0.0), WIDE, lexicon, arpa), saying("AB A")
    )
    assert [(w.text, w.start, w.end) for w in found.words] == [("AB", 0, 3), ("A", 6, 7)]
    assert [w.confidence for w in found.words] == pytest.approx([math.exp(-0.1)] * 2)
    assert (found.symbols, found.frames) == ((2, 3, 1, 2, 1), (0, 2, 4, 6, 8))


def test_phones_make_words_without_a_boundary(tmp_path):
    (tmp_path / "lexicon.txt").write_text("bob\tb aa b\nah\taa\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", PHONES)
    emission = np.full((8, 3), -6.0, np.float32)
    emission[range(8), [2, 2, 1, 2, 0, 1, 0, 0]] = -0.1
    found = only(FlashlightSearch.open(PHONES, DecodingWeights(0, 0), WIDE, lexicon), emission)
    assert [(w.text, w.start, w.end) for w in found.words] == [("bob", 0, 4), ("ah", 5, 6)]


def test_unknown_words_are_forbidden_until_they_are_allowed(arpa, lexicon):
    emission = saying("AB BB")
    forbidden = only(
        FlashlightSearch.open(SMALL, DecodingWeights(0.1, 0.0), WIDE, lexicon, arpa), emission
    )
    assert all(word.text in lexicon.spellings for word in forbidden.words)
    words = Lexicon.from_words(["AB", "ABBA"], SMALL)
    allowed = FlashlightSearch.open(
        SMALL, DecodingWeights(0.1, 0.0, unk_score=-0.5), WIDE, words, arpa
    )
    assert only(allowed, saying("AB")).text == "AB"
    assert all("<unk>" not in word.text for word in only(allowed, saying("A B AB")).words)


def test_the_other_knobs_reach_the_search(arpa, lexicon):
    emission = random_emission(40, 5)

    def score(**options) -> float:
        return only(
            FlashlightSearch.open(SMALL, DecodingWeights(), BeamOptions(**options), lexicon, arpa),
            emission,
        ).score

    full = score(width=5000, threshold=1e6)
    assert (
        score(width=5000, threshold=1e6, tokens=99) == full
    )  # more symbols than there are: all of them
    assert score(width=5000, threshold=1e6, tokens=1) < full
    assert score(width=1) < full
    assert score(width=5000, threshold=0.01) < full


def test_n_best_lists_are_distinct_and_in_order(arpa, lexicon):
    options = BeamOptions(width=100, threshold=1e6, nbest=4)
    search = FlashlightSearch.open(SMALL, DecodingWeights(0.5, 0.0), options, lexicon, arpa)
    [found] = search(random_emission(8, 1)[None], [8])
    assert len({h.text for h in found}) == len(found) == 4
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_batches_silence_and_nothing(arpa, lexicon):
    search = FlashlightSearch.open(SMALL, DecodingWeights(0.5, 0.0), WIDE, lexicon, arpa)
    batch = np.zeros((3, 12, 4), np.float32)
    batch[0, :10] = saying("AB A")
    batch[1, :, 1:] = -20
    batch[1, :, 0] = -1e-4
    words = [found.text for [found] in search(batch, [10, 12, 0])]
    assert words == ["AB A", "", ""]


def test_emissions_that_do_not_belong_are_refused(arpa, lexicon):
    search = FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, arpa)
    with pytest.raises(ValueError, match="over 4 symbols was expected"):
        search(np.zeros((1, 3, 32), np.float32), [3])
    with pytest.raises(ValueError, match="not a number from frame 0 on"):
        search(np.full((1, 3, 4), np.nan, np.float32), [3])


def test_gzip_is_read_as_it_is(arpa, lexicon, tmp_path):
    (tmp_path / "lm.arpa.gz").write_bytes(gzip.compress(BIGRAMS.encode()))
    emission = random_emission(20, 7)
    plain, zipped = (
        only(FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, path), emission)
        for path in (arpa, tmp_path / "lm.arpa.gz")
    )
    assert plain == zipped


def test_a_language_model_of_another_case_is_told(tmp_path, lexicon):
    head, grams, rest = BIGRAMS.partition("\n\\1-grams")
    lower = head + grams + rest.replace("A", "a").replace("B", "b")
    (tmp_path / "lower.arpa").write_text(lower)
    with pytest.raises(SearchError) as refused:
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, tmp_path / "lower.arpa")
    assert str(refused.value) == (
        f"{tmp_path}/lower.arpa knows 0 of the lexicon's 3 words (0%): not 'A', but 'a'. "
        "Bring language model and lexicon to one case."
    )


def test_a_language_model_of_other_words_is_told(arpa):
    other = Lexicon.from_words(["AAA", "BBB"], SMALL)
    with pytest.raises(
        SearchError, match=r"knows 0 of the lexicon's 2 words \(0%\): not 'AAA', 'BBB' for example"
    ):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, other, arpa)
    mixed = Lexicon.from_words(["A", "AB", "BA", "AAA"], SMALL)
    [warning] = FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, mixed, arpa).setup.warnings
    assert "knows 3 of the lexicon's 4 words (75%); it lacks 'AAA' for example" in warning


def test_words_that_the_alphabet_cannot_spell_are_told(arpa):
    lexicon = Lexicon.from_words(["A", "AB", "BA", "xyz", "été"], SMALL)
    [warning] = FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, arpa).setup.warnings
    assert (
        warning.startswith("2 of the lexicon's words (40.0%) cannot be spelled")
        and "'xyz', 'été'" in warning
    )
    with pytest.raises(
        SearchError, match=r"alphabet \(A B\) can spell none of the lexicon's 2 words, 'xyz', 'zz'"
    ):
        FlashlightSearch.open(
            SMALL, DecodingWeights(), WIDE, Lexicon.from_words(["xyz", "zz"], SMALL), arpa
        )
    with pytest.raises(SearchError, match="could spell 'AB': the letters differ in case"):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, Lexicon({}, ("ab",)), arpa)
    with pytest.raises(SearchError, match="The lexicon holds no word"):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, Lexicon({}), arpa)


def test_words_that_are_spelled_as_transcripts_are_told():
    lexicon = Lexicon.from_words(["A", "ab", "bà"], SMALL)
    [warning] = FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon).setup.warnings
    assert warning == (
        "2 of the language model's words are spelled as the model's transcripts are, 'ab' as "
        "'AB', 'bà' as 'BA' for example."
    )


PIECES = Vocabulary.from_labels(("<pad>", f"{MARK}A", "B"), units="pieces")
PIECE_MODEL = LETTERS.replace("|", "C").replace("A", f"{MARK}A")


@pytest.mark.parametrize("seed", range(4))
def test_a_model_of_pieces_searches_pieces(tmp_path, seed):
    """The best of all paths, each piece scored by the language model."""
    (tmp_path / "pieces.arpa").write_text(PIECE_MODEL)
    model = NgramLM(tmp_path / "pieces.arpa", [f"{MARK}A", "B"])
    weights = DecodingWeights(lm_weight=1.2)
    emission = np.random.default_rng(seed).normal(size=(6, 3)).astype(np.float32)
    emission -= np.logaddexp.reduce(emission, axis=1, keepdims=True)
    best = -np.inf, ()
    for path in itertools.product(range(3), repeat=6):
        runs = tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)
        [state], score = model.start(), sum(emission[t, s] for t, s in enumerate(path))
        for symbol in runs:
            [step], [state] = model.score([state], [symbol - 1])
            score += weights.lm_weight * step
        score += weights.lm_weight * model.finish([state])[0]
        best = max(best, (score, runs))
    found = only(
        FlashlightSearch.open(PIECES, weights, WIDE, None, tmp_path / "pieces.arpa"), emission
    )
    assert found.symbols == best[1] and found.score == pytest.approx(best[0], abs=1e-3)
    assert found.text == PIECES.text(best[1])


def test_a_word_model_without_a_lexicon_is_told(arpa):
    vocabulary = Vocabulary.from_labels(CHARACTERS)
    with pytest.raises(SearchError, match="Without a lexicon the language model is one of symbols"):
        FlashlightSearch.open(vocabulary, DecodingWeights(), WIDE, None, arpa)


def test_files_that_are_no_language_model(tmp_path, lexicon):
    with pytest.raises(LanguageModelError, match="There is no language model at"):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, tmp_path / "gone.arpa")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(SearchError, match="text cannot be read as an ARPA or KenLM file"):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, tmp_path / "text")
    (tmp_path / "cut.arpa.gz").write_bytes(gzip.compress(BIGRAMS.encode())[:-20])
    with pytest.raises(SearchError, match=r"cut\.arpa\.gz"):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon, tmp_path / "cut.arpa.gz")


def test_without_flashlight_the_user_hears_what_to_do(monkeypatch, lexicon):
    monkeypatch.setitem(sys.modules, "flashlight.lib.text", None)
    with pytest.raises(
        SearchError, match="flashlight-text, which is not installed .* use Python 3.10 to 3.12"
    ):
        FlashlightSearch.open(SMALL, DecodingWeights(), WIDE, lexicon)
