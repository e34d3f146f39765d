"""Phrases of several words among the hot words, against the scores of all there is."""

import random

import numpy as np
import pytest
from random_searches import ALL, words_of
from small_words import SMALL, TRIGRAMS, enumerated, random_emission, said

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.search import phrases
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.context import EXITS, Context, carried, resolved
from lm.search.flashlight import FlashlightSearch
from lm.search.hotwords import HotwordsError, bonus_of, in_the_alphabets_case, read_hotwords
from lm.search.phrases import PhraseAutomaton
from lm.search.setup import SearchError, prepare
from lm.text.lexicon import Lexicon

WORDS = ["A", "AB", "BA"]


def drawn(draw: random.Random) -> dict[str, float]:
    """Random phrases of one to three words, some within others."""
    phrases = [" ".join(draw.choices(WORDS, k=draw.randint(1, 3))) for _ in range(5)]
    return {phrase: draw.uniform(-2, 6) for phrase in phrases} | {"A BA": 3.0}


@pytest.fixture
def search(tmp_path):
    """A function that makes a compiled search that drops nothing."""
    (tmp_path / "lm.arpa").write_text(TRIGRAMS)

    def made(hotwords, nbest=1, recombine="state", beam=ALL, **more):
        lexicon = Lexicon.from_words(WORDS, SMALL)
        options = BeamOptions(beam, None, float(ALL), nbest, recombine, **more)
        weights = DecodingWeights(1.1, -0.3)
        arpa = tmp_path / "lm.arpa"
        return CompiledSearch.open(SMALL, weights, options, lexicon, arpa, tmp_path, hotwords)

    return made


def all_scores(emission, hotwords, folder) -> dict[tuple[str, ...], float]:
    """The score of every sequence of words, by enumeration."""
    model = CompiledNgramLM(automaton_file(folder / "lm.arpa", folder), [*WORDS, "<unk>"])
    spellings = {word: [word] for word in WORDS}
    plain = enumerated(emission, DecodingWeights(1.1, -0.3), spellings, model)
    return {words: score + bonus_of(words, hotwords) for words, score in plain.items()}


@pytest.mark.parametrize("nbest", [1, 5])
@pytest.mark.parametrize("recombine", ["state", "history"])
@pytest.mark.parametrize("seed", range(10))
def test_the_best_words_are_those_of_the_enumeration(seed, recombine, nbest, search, tmp_path):
    hotwords = drawn(random.Random(seed))
    emission = random_emission(7, seed)
    found = search(hotwords, nbest, recombine)(emission[None], [7])[0]
    scores = all_scores(emission, hotwords, tmp_path)
    best = sorted(scores.values(), reverse=True)[:nbest]
    np.testing.assert_allclose([one.score for one in found], best, atol=1e-4)
    for one in found:
        assert scores[words_of(one)] == pytest.approx(one.score, abs=1e-4)


def test_the_words_of_fewest_errors_have_the_bonuses_of_their_phrases(search, tmp_path):
    changed = 0
    for seed in range(20):
        hotwords, emission = drawn(random.Random(seed)), random_emission(7, seed)
        made = search(hotwords, mbr=True, mbr_scale=0.3, lattice_beam=float(ALL))
        scores = all_scores(emission, hotwords, tmp_path)
        best = made(emission[None], [7])[0][0]
        assert scores[words_of(best)] == pytest.approx(best.score, abs=1e-4), seed
        changed += best.score < max(scores.values()) - 1e-3
    assert changed > 3


@pytest.mark.parametrize("with_lm", [True, False])
def test_flashlight_finds_them_too(with_lm, tmp_path):
    pytest.importorskip("flashlight")
    arpa = tmp_path / "lm.arpa"
    arpa.write_text(TRIGRAMS)
    lexicon, weights = Lexicon.from_words(WORDS, SMALL), DecodingWeights(1.1, -0.3)
    options = BeamOptions(ALL, None, float(ALL), 4, "history")
    for seed in range(10):
        hotwords, emission = drawn(random.Random(seed)), random_emission(7, seed)[None]
        lm = arpa if with_lm else None
        peer = FlashlightSearch.open(SMALL, weights, options, lexicon, lm, hotwords)
        ours = CompiledSearch.open(SMALL, weights, options, lexicon, lm, tmp_path, hotwords)
        pairs = zip(peer(emission, [7])[0], ours(emission, [7])[0], strict=True)
        for found, expected in pairs:
            assert words_of(found) == words_of(expected)
            assert found.score == pytest.approx(expected.score, abs=1e-3)
            assert found.lm_score == pytest.approx(expected.lm_score, abs=1e-3)


def test_words_of_fewest_errors_may_end_a_phrase_that_began_before_a_cut(search, tmp_path):
    across = 0
    for seed in range(20):
        hotwords = drawn(random.Random(seed))
        made = search(hotwords, mbr=True, mbr_scale=0.3, lattice_beam=float(ALL))
        first, second = random_emission(3, seed), random_emission(5, seed + 50)
        first[-1] = [-80, 0, -80, -80]
        acoustic = enumerated(second, DecodingWeights(0, 0), {w: [w] for w in WORDS}, None)
        model = CompiledNgramLM(automaton_file(tmp_path / "lm.arpa", tmp_path), [*WORDS, "<unk>"])
        context = Context(goes_on=True)
        found = made(first[None], [3], None, [context])[0]
        then = Context(carried(context, found, EXITS))
        best = made(second[None], [5], None, [then])[0][0]
        before, words = words_of(found[best.entry]), words_of(best)
        expected = found[best.entry].acoustic_score + acoustic[words]
        expected += 1.1 * said(model, before + words) - 0.3 * len(before + words)
        expected += bonus_of(before + words, hotwords)
        total = found[best.entry].score + best.score
        assert total == pytest.approx(expected, abs=1e-4), seed
        apart = bonus_of(before, hotwords) + bonus_of(words, hotwords)
        across += bonus_of(before + words, hotwords) != pytest.approx(apart)
    assert across > 3


@pytest.mark.parametrize("seed", range(6))
def test_a_phrase_may_lie_across_a_cut(seed, search):
    made = search(drawn(random.Random(seed)))
    first, second = random_emission(5, seed), random_emission(6, seed + 50)
    first[-1] = [-80, 0, -80, -80]
    [whole] = made(np.concatenate([first, second])[None], [11])[0]
    context = Context(goes_on=True)
    pieces = [made(first[None], [5], None, [context])[0]]
    then = Context(carried(context, pieces[0], EXITS))
    pieces.append(made(second[None], [6], None, [then])[0])
    best = [found[0] for found in resolved(pieces)]
    assert sum(one.score for one in best) == pytest.approx(whole.score, abs=1e-4)
    assert words_of(best[0]) + words_of(best[1]) == words_of(whole)


def test_the_bonus_of_a_phrase_that_does_not_go_on_is_taken_back(search):
    emission = np.log(np.full((4, 4), 0.02))
    for frame, symbol in enumerate((2, 0, 1, 1)):  # A, and then nothing
        emission[frame, symbol] = np.log(0.94)
    emission = emission.astype(np.float32)
    plain = search({})(emission[None], [4])[0][0]
    found = search({"A BA BA": 1.0})(emission[None], [4])[0][0]
    assert words_of(found) == words_of(plain) == ("A",)
    assert found.score == pytest.approx(plain.score, abs=1e-5)


def test_phrases_of_new_words_are_spelled_and_found(search):
    made = search({"BB AAB": 50.0})
    assert {"BB", "AAB"} <= set(made.setup.words)
    emission = random_emission(12, 1)
    assert " BB AAB " in f" {made(emission[None], [12])[0][0].text} "


def test_a_phrase_that_cannot_be_spelled_is_named(search):
    made = search({"A CAB": 5.0, "A BA": 1.0})
    assert list(made.setup.warnings) == [
        "The hot word 'CAB' cannot be spelled in the model's alphabet."
    ]
    assert made(random_emission(6, 1)[None], [6])[0]


def test_the_bonus_of_words_counts_every_phrase_in_them():
    hotwords = {"A": 1.0, "A B": 10.0, "B A B": 100.0, "C": -5.0}
    assert bonus_of("A B A B C".split(), hotwords) == 1 + 10 + 1 + 10 + 100 - 5
    assert bonus_of([], hotwords) == bonus_of(["A"], {}) == 0.0


def test_lines_hold_phrases_and_weights(tmp_path):
    path = tmp_path / "hot.txt"
    path.write_text("kubernetes\nnew york 7.5 # a town\nnew  haven\nroute 66 4\nYork -1\n\n")
    assert read_hotwords(path) == {
        "kubernetes": 5.0,
        "new york": 7.5,
        "new haven": 5.0,
        "route 66": 4.0,
        "York": -1.0,
    }
    spelled = in_the_alphabets_case({"a Ba": 2.0, "x": 1.0}, SMALL)
    assert spelled == {"A BA": 2.0, "x": 1.0}
    path.write_text("new york inf\n")
    with pytest.raises(HotwordsError, match="line 1: the weight of 'new york' must be finite"):
        read_hotwords(path)


@pytest.mark.parametrize("seed", range(20))
def test_tables_are_the_automaton(seed):
    draw = random.Random(seed)
    drawn_phrases = [
        (draw.choices(range(5), k=draw.randint(1, 5)), draw.uniform(-3, 5)) for _ in "12345"
    ]
    automaton = PhraseAutomaton(drawn_phrases)
    tables, node, row = automaton.tables(7), 0, 0
    for word in draw.choices(range(7), k=60):
        node, bonus = automaton.after(node, word)
        assert bonus == tables.bonus[row, tables.column[word]] <= automaton.most + 1e-9
        row = int(tables.after[row, tables.column[word]])
        assert automaton.end(node) == tables.end[row]


def test_words_add_up_to_the_bonuses_of_the_phrases_in_them():
    for seed in range(30):
        draw = random.Random(seed)
        texts = {
            " ".join(draw.choices("ABC", k=draw.randint(1, 4))): draw.gauss(0, 3) for _ in "12"
        }
        automaton = PhraseAutomaton([(list(map(ord, t.split())), b) for t, b in texts.items()])
        said = draw.choices("ABCD", k=12)
        expected = pytest.approx(bonus_of(said, texts), abs=1e-5)
        assert automaton.bonus(list(map(ord, said))) == expected
        cut = automaton.bonus(list(map(ord, said[:5])), goes_on=True)
        rest = automaton.bonus(list(map(ord, said[5:])), list(map(ord, said[:5])))
        assert cut + rest == expected


def test_phrases_too_many_for_tables_are_refused(monkeypatch):
    monkeypatch.setattr(phrases, "MEMORY", 20)
    setup = prepare(SMALL, Lexicon.from_words(WORDS, SMALL), hotwords={"A BA": 1.0})
    with pytest.raises(SearchError, match="2 different words, take 0.0 GB in --search batched"):
        BatchedSearch(setup, None, DecodingWeights(), BeamOptions(5))
