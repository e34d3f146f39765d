"""Pieces of a recording searched one after another, against a search over the whole."""

import itertools
import random

import numpy as np
import pytest
from small_words import SMALL

from lm.decoding import BeamOptions, DecodingWeights
from lm.hypothesis import NOTHING, Hypothesis
from lm.ngram.arpa_automaton import read_automaton
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.context import ALONE, EXITS, REMEMBERED, Context, Entry, carried, resolved, settled
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon

WORDS = ("A", "BA")
ALL = 10**6  # a beam and a threshold that drop nothing


def random_trigram(path, draw: random.Random):
    """A trigram over two words, which most histories change."""
    firsts, lasts = ["<s>", *WORDS], [*WORDS, "</s>"]
    pairs = [pair for pair in itertools.product(firsts, lasts) if draw.random() < 0.7]
    triples = [
        (*pair, last)
        for pair, last in itertools.product(pairs, lasts)
        if pair[1] != "</s>" and draw.random() < 0.6
    ]
    grams = [[(word,) for word in ("<unk>", "<s>", "</s>", *WORDS)], pairs, triples]
    lines = ["\\data\\", *(f"ngram {n}={len(some)}" for n, some in enumerate(grams, 1))]
    for n, some in enumerate(grams, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram in some:
            backoff = f"\t{draw.uniform(-1, 0):.4f}" if n < 3 else ""
            lines.append(f"{draw.uniform(-3, 0):.4f}\t{' '.join(gram)}{backoff}")
    path.write_text("\n".join([*lines, "", "\\end\\", ""]))
    return path


def emission(draw: random.Random, frames: int, paused: bool) -> np.ndarray:
    """(T, V) random log-probabilities; with `paused` the last frame is surely a boundary."""
    logits = np.random.default_rng(draw.randrange(10**6)).normal(0, 1.5, (frames, 4))
    if paused:
        logits[-1] = [-80, 0, -80, -80]
    return (logits - np.log(np.exp(logits).sum(1, keepdims=True))).astype(np.float32)


@pytest.fixture
def searches(tmp_path):
    """A function that makes the searches over a random model: compiled, and by tensors."""

    def made(draw: random.Random, nbest: int = 1, recombine="state"):
        arpa = random_trigram(tmp_path / "lm.arpa", draw)
        lexicon = Lexicon.from_words(WORDS, SMALL)
        weights = DecodingWeights(draw.uniform(0.5, 3), draw.uniform(-1, 1))
        options = BeamOptions(ALL, None, float(ALL), nbest, recombine)
        compiled = CompiledSearch.open(SMALL, weights, options, lexicon, arpa, tmp_path)
        setup = prepare(SMALL, lexicon)
        return compiled, BatchedSearch(setup, read_automaton(arpa), weights, options)

    return made


def one(search, frames, context=ALONE):
    """What a search finds in one utterance."""
    return search(frames[None], [len(frames)], None, [context])[0]


def texts(hypotheses) -> list[str]:
    return [hypothesis.text for hypothesis in hypotheses]


@pytest.mark.parametrize("recombine", ["state", "history"])
@pytest.mark.parametrize("seed", range(25))
def test_pieces_are_searched_as_the_whole_is(seed, recombine, searches):
    draw = random.Random(seed)
    compiled, _ = searches(draw, recombine=recombine)
    count = draw.randint(2, 4)
    parts = [emission(draw, draw.randint(1, 5), i < count - 1) for i in range(count)]
    whole = one(compiled, np.concatenate(parts))[0]
    context, pieces = Context(goes_on=True), []
    for i, part in enumerate(parts):
        pieces.append(one(compiled, part, Context(context.entries, i < count - 1)))
        context = Context(carried(context, pieces[-1], EXITS))
    best = [found[0] for found in resolved(pieces)]
    assert " ".join(text for text in texts(best) if text) == whole.text
    for name in ("score", "acoustic_score", "lm_score"):
        parted = sum(getattr(hypothesis, name) for hypothesis in best)
        assert parted == pytest.approx(getattr(whole, name), abs=1e-4)


def test_pieces_that_begin_anew_are_not_searched_as_the_whole_is(searches):
    different = 0
    for seed in range(25):
        draw = random.Random(seed)
        compiled, _ = searches(draw)
        parts = [emission(draw, 5, True), emission(draw, 5, False)]
        alone = sum(one(compiled, part)[0].score for part in parts)
        different += abs(alone - one(compiled, np.concatenate(parts))[0].score) > 1e-3
    assert different > 20


@pytest.mark.parametrize("goes_on", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_tensors_begin_and_end_as_the_compiled_search_does(seed, goes_on, searches):
    draw = random.Random(seed)
    compiled, batched = searches(draw)
    contexts = [
        Context((Entry(tuple(draw.choices((*WORDS, "strange"), k=draw.randint(0, 3)))),), goes_on)
        for _ in range(3)
    ]
    lengths = [draw.randint(1, 6) for _ in contexts]
    frames = np.stack([emission(draw, 6, False) for _ in contexts])
    ours = batched(frames, lengths, None, contexts)
    for a, b in zip(ours, compiled(frames, lengths, None, contexts), strict=True):
        assert a[0].text == b[0].text
        assert a[0].score == pytest.approx(b[0].score, abs=1e-4)
        assert a[0].lm_score == pytest.approx(b[0].lm_score, abs=1e-4)


def test_the_language_model_goes_on_from_the_words_before(searches):
    compiled, _ = searches(random.Random(3))
    frames = emission(random.Random(1), 9, True)
    found = one(compiled, frames, Context((Entry(("BA", "A")),), True))[0]
    model = compiled._model
    _, states = model.score(model.start(), [WORDS.index("BA")])
    _, states = model.score(states, [WORDS.index("A")])
    total = 0.0
    for word in found.text.split():
        scores, states = model.score(states, [WORDS.index(word)])
        total += float(scores[0])
    assert found.words
    assert found.lm_score == pytest.approx(total, abs=1e-5)  # no end of a sentence


def test_a_list_of_the_best_has_one_beginning_and_different_words(searches):
    compiled, _ = searches(random.Random(5), nbest=6)
    frames = emission(random.Random(6), 6, False)
    entries = Entry(("A",), 0.0), Entry(("BA",), 50.0)
    for goes_on in (True, False):
        found = one(compiled, frames, Context(entries, goes_on))
        assert found == one(compiled, frames, Context(entries[:1], goes_on))
        assert len(set(texts(found))) == len(found) > 1


def test_a_later_entry_wins_where_it_was_better_before(searches):
    compiled, _ = searches(random.Random(7))
    frames = emission(random.Random(8), 6, False)
    entries = Entry(("A",), 0.0), Entry(("BA",), 50.0)
    [found] = one(compiled, frames, Context(entries))
    assert found.entry == 1
    alone = one(compiled, frames, Context(entries[1:]))[0]
    assert found.score == pytest.approx(alone.score)  # of these frames alone
    [entry] = carried(Context(entries), [found], EXITS)
    assert entry == Entry(("BA", *found.text.split()), 0.0)


def test_only_the_latest_words_are_carried():
    words = tuple(map(str, range(100)))
    [entry] = carried(Context((Entry(words),)), [NOTHING], EXITS)
    assert entry.words == words[-REMEMBERED:]


@pytest.mark.parametrize("seed", range(20))
def test_settled_pieces_are_those_that_no_continuation_changes(seed):
    """Against every hypothesis of the next piece, which begins in any that was carried."""
    draw, exits = random.Random(seed), 3

    def piece(before: int) -> list[Hypothesis]:
        return [
            Hypothesis((), (), (), 0.0, 0.0, -float(i), entry=draw.randrange(before))
            for i in range(draw.randint(1, 4))
        ]

    pieces = [piece(1)]
    for _ in range(4):
        pieces.append(piece(min(len(pieces[-1]), exits)))
    for heard in range(1, len(pieces) + 1):
        known = pieces[:heard]
        ends = [[Hypothesis((), (), (), 0.0, 0.0, 0.0, entry=i)] for i in range(exits)]
        ways = [resolved([*known, end]) for end in ends[: len(known[-1])]]
        same = [all(way[i][0] is ways[0][i][0] for way in ways) for i in range(heard)]
        assert settled(known, exits, ended=False) == (same + [False]).index(False)
        assert settled(known, exits, ended=True) == heard
