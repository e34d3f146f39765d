import itertools
import math
import random

import pytest

from lm.ngram.arpa import ArpaError, read_counts, read_ngrams, read_unigrams, write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate


def text(seed: int = 0, sentences: int = 400) -> list[list[str]]:
    draw = random.Random(seed)
    words, weights = [f"w{i}" for i in range(60)], [1 / (i + 1) for i in range(60)]
    return [draw.choices(words, weights, k=draw.randint(1, 12)) for _ in range(sentences)]


def test_a_bigram_model_by_hand():
    """Sentences `a b`, `a b` and `a c`, worked out on paper.

    The unigrams use the fallback discounts 0.5, 1, 1.5.
    """
    model = estimate(
        count_ngrams([["a", "b"], ["a", "b"], ["a", "c"]], 2), warn=lambda sentence: None
    )
    ids = {word: i for i, word in enumerate(model.vocabulary)}
    # Distinct words before: a 1 (<s>), b 1 (a), c 1 (a), </s> 2 (b, c); sum 5.
    # Discounts: 0.5 · 3 + 1 = 2.5.
    uniform = 2.5 / 5 / 5  # γ / (<unk>, a, b, c, </s>)
    unigram = {"a": 0.5 / 5 + uniform, "</s>": 1 / 5 + uniform, "<unk>": uniform}
    for word, expected in unigram.items():
        assert 10 ** model.orders[0].log_prob[ids[word]] == pytest.approx(expected)
    # Of the five pairs two occur once, two twice, one three times: Y = 2 / (2 + 2·2) = 1/3.
    # The discount of 1 is 1 - 2Y·2/2 = 1/3, that of 2 is 2 - 3Y·1/2 = 3/2.
    # After a: b twice, c once.
    pairs = {
        tuple(model.vocabulary[i] for i in row): k for k, row in enumerate(model.orders[1].words)
    }
    left = (3 / 2 + 1 / 3) / 3
    expected = (2 - 3 / 2) / 3 + left * (0.5 / 5 + uniform)
    assert 10 ** model.orders[1].log_prob[pairs["a", "b"]] == pytest.approx(expected)
    assert 10 ** model.orders[0].backoff[ids["a"]] == pytest.approx(left)


@pytest.mark.parametrize("prune", [(), (0, 0, 1), (0, 1, 2)], ids=str)
def test_probabilities_of_all_words_sum_to_one_after_any_history(tmp_path, prune):
    kenlm = pytest.importorskip("kenlm", reason="kenlm does not compile for this Python")
    path = tmp_path / "a.arpa"
    write_arpa(estimate(count_ngrams(text(), 3), prune, lambda sentence: None), path)
    model = kenlm.Model(str(path))
    words = [*read_unigrams(path), "</s>", "<unk>"]
    for history in (["w0", "w1"], ["w59", "w58"], ["never", "w3"], []):
        state, after = kenlm.State(), kenlm.State()
        model.BeginSentenceWrite(state)
        for word in history:
            model.BaseScore(state, word, after)
            state, after = after, kenlm.State()
        total = sum(10 ** model.BaseScore(state, word, after) for word in words)
        assert total == pytest.approx(1, abs=1e-4)


def test_the_fallback_is_named():
    told = []
    estimate(count_ngrams([["a", "b"]], 2), warn=told.append)
    assert (
        told[0].startswith("Too few 1-grams to estimate discounts from")
        and "fallback 0.5 1.0 1.5" in told[0]
    )


@pytest.mark.parametrize(
    ("sentences", "order", "prune", "message"),
    [
        ([], 2, (), "no word in the text"),
        ([["a", "<s>"]], 2, (), "holds '<s>' as a word"),
        ([["a"]], 0, (), "--order must be at least 1, got 0"),
        ([["a"]], 2, (0, 0, 1), "has 3 thresholds for a model of order 2"),
        ([["a"]], 2, (1,), "must begin with 0"),
        ([["a"]], 3, (0, 2, 1), "must not fall"),
    ],
)
def test_what_cannot_be_estimated(sentences, order, prune, message):
    with pytest.raises(ValueError, match=message):
        estimate(count_ngrams(sentences, order), prune)


@pytest.mark.parametrize("name", ["a.arpa", "a.arpa.gz"])
def test_arpa_files_read_back_as_written(tmp_path, name):
    model = estimate(count_ngrams(text(), 3), warn=lambda sentence: None)
    write_arpa(model, tmp_path / name)
    assert read_counts(tmp_path / name) == [len(order.words) for order in model.orders]
    read = list(read_ngrams(tmp_path / name))
    flat = itertools.chain.from_iterable(
        zip(o.log_prob, o.backoff, strict=True) for o in model.orders
    )
    for (log_prob, _, backoff), (expected, expected_backoff) in zip(read, flat, strict=True):
        assert math.isclose(log_prob, expected, abs_tol=1e-5) and math.isclose(
            backoff, expected_backoff, abs_tol=1e-5
        )
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t[: len(t) // 2], "promises|cut short|counts are wrong"),
        (lambda t: t.replace("\\end\\", ""), "does not end with"),
        (lambda t: t.replace("ngram 1=", "ngram 1=9"), "promises 9"),
        (lambda t: "hello", "is not an ARPA file"),
        (lambda t: t.replace("ngram 2=", "ngram two="), "has a wrong line in its header"),
    ],
)
def test_broken_arpa_files_are_refused(tmp_path, change, message):
    path = tmp_path / "a.arpa"
    write_arpa(estimate(count_ngrams(text(), 2), warn=lambda sentence: None), path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ArpaError, match=message):
        list(read_ngrams(path))
