"""The Transformer as a language model: cached, batched or evicted, the scores are the same."""

import copy
import math

import numpy as np
import pytest
import torch

from lm.language_model import LanguageModelError
from lm.rescoring import sentence_scores
from lm.transformer.config import tiny
from lm.transformer.dictionary import END, SPECIALS, UNKNOWN, Dictionary
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork

WORDS = 1500
DICTIONARY = Dictionary((*SPECIALS, *(f"W{i}" for i in range(WORDS - 4))))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads would wait for each other longer than such small tensors take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return TransformerNetwork(tiny(WORDS)).initialize()


@pytest.fixture
def sentences():
    rng = np.random.default_rng(0)
    return [rng.integers(0, WORDS - 4, length).tolist() for length in (7, 0, 1, 20, 12, 62, 12, 3)]


def full(network, sentence):
    """log p of each word and of the end, from one forward over sentence and vocabulary."""
    tokens = torch.tensor([[END, *(word + 4 for word in sentence), END]])
    with torch.no_grad():
        log_probs = network.softmax.log_probs(network(tokens[:, :-1])[0])
    return log_probs.gather(1, tokens[0, 1:, None]).squeeze(1).double().numpy()


def step(model, sentences, order=None):
    """The same, word by word, all sentences that have one in one call."""
    states, found = model.start(len(sentences)), [[] for _ in sentences]
    for place in range(max(map(len, sentences)) + 1):
        rows = [row for row, sentence in enumerate(sentences) if len(sentence) > place]
        scores, after = model.score(
            [states[row] for row in rows], [sentences[row][place] for row in rows]
        )
        for row, score, state in zip(rows, scores, after, strict=True):
            found[row].append(score)
            states[row] = state
        ends = [row for row, sentence in enumerate(sentences) if len(sentence) == place]
        for row, score in zip(ends, model.finish([states[row] for row in ends]), strict=True):
            found[row].append(score)
    return [np.array(scores) for scores in found]


def test_word_by_word_equals_the_whole_sentence(network, sentences):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    for scores, sentence in zip(step(model, sentences), sentences, strict=True):
        assert scores == pytest.approx(full(network, sentence), abs=1e-4)


def test_rows_of_different_lengths_share_a_forward(network, sentences):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    states = model.start(len(sentences))
    for place in range(20):  # histories of all lengths, no forward of a row with another
        for row, sentence in enumerate(sentences):
            if place < len(sentence):
                states[row] = model.score([states[row]], [sentence[place]])[1][0]
    before = model.forwards
    ends = model.finish(states)
    assert model.forwards == before + 1
    expected = [full(network, sentence[:20])[-1] for sentence in sentences]
    assert ends == pytest.approx(expected, abs=1e-4)


def test_whole_sentences_at_once(network, sentences):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    for scores, sentence in zip(model.score_sentences(sentences), sentences, strict=True):
        assert scores == pytest.approx(full(network, sentence), abs=1e-4)
    assert model.score_sentences([]) == []


def test_eviction_changes_nothing(network, sentences):
    width, blocks = network.config.width, network.config.blocks
    row = 4 * (2 * blocks + 1) * width + 4 * len(network.config.bands)
    plenty, little = (
        TransformerLM(network, DICTIONARY, cache_gb=1.0),
        TransformerLM(network, DICTIONARY, cache_gb=65 * row / 1e9),
    )
    for one, other in zip(step(plenty, sentences), step(little, sentences), strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    halves = [
        sentence[: len(sentence) // 2] for sentence in sentences
    ]  # histories of long ago, asked for their ends
    for one, other in zip(step(plenty, halves), step(little, halves), strict=True):
        assert other == pytest.approx(one, abs=1e-5)
    assert plenty._pool.evicted == 0 and plenty.shortage() is None
    assert little._pool.evicted > 50
    assert little._pool.rows <= little._pool.capacity == 65
    histories = {
        tuple(sentence[:end]) for sentence in sentences for end in range(len(sentence) + 1)
    }
    again = little.rows - plenty.rows
    assert plenty.rows == len(histories) and again > 0
    assert little.shortage() == (
        f"The language model's cache of {65 * row / 1e9:.3g} GB (--lm-cache-gb) was too little: "
        f"{again} of {little.rows} histories were computed again."
    )
    assert little.shortage() is None  # told once


def test_a_history_is_computed_once(network):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    start = model.start()[0]
    scores, states = model.score([start] * 6, [5, 9, 5, 5, 700, 9])
    assert (model.rows, model.forwards) == (1, 1)
    assert states[0] == states[2] == states[3] != states[1] == states[5]
    assert scores[0] == scores[2] == scores[3]
    model.score(states, [1, 2, 3, 3, 4, 2])
    assert (model.rows, model.forwards) == (4, 2)
    again, same = model.score([start] * 2, [700, 5])
    assert (again.tolist(), same) == ([scores[4], scores[0]], [states[4], states[0]])
    assert (model.rows, model.forwards) == (4, 2)


def test_probabilities_of_all_continuations_sum_to_one(network):
    model = TransformerLM(
        network, DICTIONARY, words=[*DICTIONARY.words, "NOBODY KNOWS"], cache_gb=1.0
    )
    states = model.score(model.start(2), [3, 1400])[1]
    for state in states:
        scores, _ = model.score([state] * WORDS, [*range(WORDS - 4), WORDS - 4, 0, 0, 0])
        # <s> and <pad> are outputs of the network too, and no word stands for them.
        rest = model._tree.log_prob[model._scored([state] * 2, np.array([0, 1]))]
        end = model.finish([state])
        logs = np.concatenate([scores[: WORDS - 3], rest, end])
        assert np.exp(logs).sum() == pytest.approx(1, abs=1e-5)
    assert model.lookahead(states)[:, : WORDS - 3] == pytest.approx(
        np.stack([model.score([state] * (WORDS - 3), range(WORDS - 3))[0] for state in states]),
        abs=1e-4,
    )
    assert model.lookahead([]).shape == (0, WORDS - 3)


def test_an_unknown_word_is_unk_with_its_own_probability(network):
    model = TransformerLM(network, DICTIONARY, words=["W7", "STRANGE", "OTHER"], cache_gb=1.0)
    scores, states = model.score(model.start(3), [0, 1, 2])
    with torch.no_grad():
        log_probs = network.softmax.log_probs(network(torch.tensor([[END]]))[0])[0]
    assert scores == pytest.approx(log_probs[[11, UNKNOWN, UNKNOWN]].tolist(), abs=1e-4)
    assert states[1] == states[2] != states[0]
    assert [model.knows(word) for word in ("W7", "STRANGE", "<unk>", "</s>")] == [
        True,
        False,
        False,
        False,
    ]
    assert model.log_base == math.e


def test_a_history_longer_than_the_network_reads(network):
    """Only its last words count from there: 32 of 64 positions."""
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    sentence = list(range(100, 200))
    found = step(model, [sentence])[0]
    assert found[:64] == pytest.approx(full(network, sentence)[:64], abs=1e-4)
    # After 64 words the history is the last 32 of them, and grows again up to 63.
    assert found[64:96] == pytest.approx(full(network, sentence[32:96])[32:64], abs=1e-4)
    assert found[96:] == pytest.approx(full(network, sentence[64:])[32:], abs=1e-4)
    assert model.score_sentences([sentence])[0] == pytest.approx(found, abs=1e-5)
    assert sentence_scores(model, [sentence])[0] == pytest.approx(found.sum(), abs=1e-4)


def test_what_is_forgotten_is_computed_again(network, sentences):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    expected = step(model, sentences)
    kept = model.score(model.start(), [sentences[0][0]])[1]
    model.retain(kept)
    assert (len(model._tree), model._pool.rows) == (2, 2)
    score, state = model.score(kept, [sentences[0][1]])
    assert score == pytest.approx([expected[0][1]], abs=1e-5)
    model.retain()
    assert (len(model._tree), model._pool.rows) == (1, 1)
    for one, other in zip(step(model, sentences), expected, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_random_use_equals_the_full_forward(network):
    """States picked at random, a tight cache, histories forgotten in between."""
    rng = np.random.default_rng(5)
    model = TransformerLM(network, DICTIONARY, cache_gb=4 * 400 * 70 / 1e9)
    alive = {model.start()[0]: []}
    for turn in range(40):
        picked = rng.choice(list(alive), 12)
        words = rng.choice([0, 50, 97, 500, 1000, 1490], 12)
        scores, states = model.score(picked.tolist(), words.tolist())
        for parent, word, score, state in zip(picked, words, scores, states, strict=True):
            history = [*alive[parent], int(word)]
            assert alive.setdefault(state, history) == history
            if turn % 10 == 0:
                assert score == pytest.approx(full(network, history)[-2], abs=1e-4)
        if turn % 15 == 14:
            chosen = rng.choice(list(alive), 5).tolist()
            model.retain(chosen)
            alive = {state: alive[state] for state in (*chosen, model.start()[0])}


def test_expected_histories_go_with_a_forward_that_must_run(network):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    _, states = model.score(model.start(3), [1, 2, 3])
    model.expect(states)
    assert (model.forwards, model.rows) == (1, 1)  # nothing at once
    first, _ = model.score(states[:1], [9])
    assert (model.forwards, model.rows) == (2, 4)
    others, after = model.score(states[1:], [9, 9])
    assert (model.forwards, model.rows) == (2, 4)
    expected = [full(network, [word, 9])[1] for word in (1, 2, 3)]
    assert [*first, *others] == pytest.approx(expected, abs=1e-4)
    model.expect(after)
    model.retain()  # numbers are given anew: nothing is expected of the old ones
    _, state = model.score(model.start(), [4])
    model.score(state, [4])
    assert (model.forwards, model.rows) == (3, 5)


def test_expected_histories_give_way_where_there_is_no_room(network):
    row = 4 * (2 * network.config.blocks + 1) * network.config.width + 4 * len(network.config.bands)
    model = TransformerLM(network, DICTIONARY, cache_gb=65 * row / 1e9)
    sentence = list(range(60))
    _, fans = model.score(model.start(20), range(200, 220))
    state, found = model.start(), []
    for word in sentence:
        model.expect(fans)
        score, state = model.score(state, [word])
        found.append(score[0])
    assert found == pytest.approx(full(network, sentence)[:-1], abs=1e-4)
    assert model.score(fans, [7] * 20)[0] == pytest.approx(
        [full(network, [w, 7])[1] for w in range(200, 220)], abs=1e-4
    )


def test_half_precision_comes_near(network, sentences):
    half = TransformerLM(copy.deepcopy(network).to(torch.bfloat16), DICTIONARY, cache_gb=1.0)
    for scores, sentence in zip(step(half, sentences), sentences, strict=True):
        assert scores.dtype == np.float64
        assert np.abs(scores - full(network, sentence)).mean() < 0.1


def test_a_cache_without_room_for_one_history_is_refused(network):
    with pytest.raises(
        LanguageModelError,
        match=r"--lm-cache-gb 1e-06 is too little: one history of 64 words takes",
    ):
        TransformerLM(network, DICTIONARY, cache_gb=1e-6)


def test_nothing_asked_nothing_done(network):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    scores, states = model.score([], [])
    assert (scores.tolist(), states, model.finish([]).tolist(), model.forwards) == ([], [], [], 0)


def test_the_ends_that_make_the_tree_of_histories_grow_are_scored(network):
    model = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    room = model._tree.room  # of which the root has one
    words = list(range(room // 2 + 10))
    _, states = model.score(model.start(len(words)), words)
    ends = model.finish(states)
    assert model._tree.room > room
    assert np.isfinite(ends).all()
    again = TransformerLM(network, DICTIONARY, cache_gb=1.0)
    _, some = again.score(again.start(3), words[-3:])
    assert again.finish(some) == pytest.approx(ends[-3:], abs=1e-5)
