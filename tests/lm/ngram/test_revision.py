"""Models pruned by entropy and mixed, against enumeration of all words after all contexts."""

import itertools
import math
import random

import numpy as np
import pytest

from lm.language_model import LanguageModelError
from lm.ngram.arpa import read_ngrams, write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate
from lm.ngram.revision.mixing import fit_weights, mix
from lm.ngram.revision.pruning import context_log_probs, prune_by_entropy, relative_entropy
from lm.ngram.revision.trie import read_trie


def text(seed: int, words: int, sentences: int = 120) -> list[list[str]]:
    draw = random.Random(seed)
    names, weights = [f"w{i}" for i in range(words)], [1 / (i + 1) for i in range(words)]
    return [draw.choices(names, weights, k=draw.randint(1, 8)) for _ in range(sentences)]


@pytest.fixture
def paths(tmp_path):
    """Two models of different words and orders."""
    for name, seed, words, order in (("a", 1, 9, 3), ("b", 2, 6, 2)):
        counts = count_ngrams(text(seed, words), order)
        write_arpa(estimate(counts, warn=lambda _: None), tmp_path / f"{name}.arpa")
    return tmp_path / "a.arpa", tmp_path / "b.arpa"


class Plain:
    """A backoff model as ARPA files define it, word by word."""

    def __init__(self, grams: dict[tuple[str, ...], tuple[float, float]]) -> None:
        self.grams = grams
        self.words = [gram[0] for gram in grams if len(gram) == 1 and gram[0] != "<s>"]

    @classmethod
    def read(cls, path):
        return cls({words: (log_prob, backoff) for log_prob, words, backoff in read_ngrams(path)})

    def log_prob(self, history, word):
        """log10 p; None for a word that the model lacks."""
        if (word,) not in self.grams:
            return None
        history = tuple(w if (w,) in self.grams else "<unk>" for w in history)
        total = 0.0
        while (*history, word) not in self.grams:
            total += self.grams.get(history, (0, 0))[1]
            history = history[1:]
        return total + self.grams[(*history, word)][0]

    def total(self, history):
        return sum(10 ** self.log_prob(history, word) for word in self.words)

    def contexts(self):
        return [(), *(g for g in self.grams if g[-1] != "</s>" and "<unk>" not in g)]

    def without(self, gram):
        """The model without one n-gram, the backoff of its context made anew by enumeration."""
        grams = {other: figures for other, figures in self.grams.items() if other != gram}
        context = gram[:-1]
        seen = [g[-1] for g in grams if len(g) == len(gram) and g[:-1] == context]
        left = 1 - sum(10 ** grams[(*context, word)][0] for word in seen)
        below = 1 - sum(10 ** self.log_prob(context[1:], word) for word in seen)
        grams[context] = (grams[context][0], math.log10(left / below))
        return Plain(grams)


def test_a_trie_scores_as_the_file_says(paths):
    for path in paths:
        plain, trie = Plain.read(path), read_trie(path)
        numbers = {word: i for i, word in enumerate(trie.vocabulary)}
        for length in range(4):
            for history in itertools.product([*plain.words[:4], "<s>"], repeat=length):
                state = np.zeros(1, np.int64)
                for word in history:
                    state = trie.score(state, np.array([numbers[word]]))[1]
                for word in plain.words:
                    found = trie.score(state, np.array([numbers[word]]))[0]
                    assert found[0] == pytest.approx(plain.log_prob(history, word), abs=1e-9)


def test_written_again_a_trie_is_the_same_model(paths, tmp_path):
    write_arpa(read_trie(paths[0]).model(), tmp_path / "again.arpa")
    assert Plain.read(tmp_path / "again.arpa").grams == Plain.read(paths[0]).grams


def context_probability(plain, context):
    """By the chain rule; <s> is as likely as </s>."""
    total = 0.0
    for i, word in enumerate(context):
        total += plain.log_prob(context[:i], "</s>" if word == "<s>" else word)
    return 10**total


@pytest.mark.parametrize("which", [0, 1])
def test_the_cost_of_an_ngram_is_the_relative_entropy_by_enumeration(paths, which):
    plain, trie = Plain.read(paths[which]), read_trie(paths[which])
    costs = context_log_probs(trie)
    for n in range(2, trie.order + 1):
        nodes = np.arange(trie.begins[n], trie.begins[n + 1])
        found = relative_entropy(trie, n, costs)
        step = max(1, len(nodes) // 40)
        for node, cost in list(zip(nodes, found, strict=True))[::step]:
            gram = tuple(trie.vocabulary[w] for w in trie.words_of(np.array([node]), n)[0])
            context, after = gram[:-1], plain.without(gram)
            expected = context_probability(plain, context) * sum(
                10 ** plain.log_prob(context, word)
                * (plain.log_prob(context, word) - after.log_prob(context, word))
                for word in plain.words
            )  # fmt: skip
            # Figures of the file have seven digits, and a mass is one less their sum.
            assert cost == pytest.approx(expected * math.log(10), abs=2e-7, rel=1e-3), gram


def test_the_perplexity_changes_as_predicted(paths):
    """On the text that the model itself would write, after the context of the n-gram."""
    plain, trie = Plain.read(paths[1]), read_trie(paths[1])
    cost = relative_entropy(trie, 2, context_log_probs(trie))
    worst = trie.begins[2] + int(np.argmax(cost))
    gram = tuple(trie.vocabulary[w] for w in trie.words_of(np.array([worst]), 2)[0])
    after = plain.without(gram)

    def entropy(model):  # of each word of the text, in nats
        return -sum(
            context_probability(plain, (context,))
            * 10 ** plain.log_prob((context,), word)
            * model.log_prob((context,), word) * math.log(10)
            for context in ("<s>", *(w for w in plain.words if w not in ("</s>", "<unk>")))
            for word in plain.words
        )  # fmt: skip

    measured = math.exp(entropy(after) - entropy(plain)) - 1
    assert measured == pytest.approx(math.expm1(cost.max()), rel=1e-3)
    assert measured > 1e-3


@pytest.mark.parametrize("threshold", [0, 1e-4, 1e-3, 1e-2, 10])
def test_a_pruned_model_is_whole_and_smaller(paths, tmp_path, threshold):
    before = read_trie(paths[0])
    write_arpa(prune_by_entropy(before, threshold), tmp_path / "pruned.arpa")
    plain, full = Plain.read(tmp_path / "pruned.arpa"), Plain.read(paths[0])
    assert plain.grams.keys() <= full.grams.keys()
    for gram, (log_prob, _) in plain.grams.items():
        assert log_prob == pytest.approx(full.grams[gram][0], abs=1e-6)
        assert gram[:-1] == () or gram[:-1] in plain.grams
    for context in full.contexts():
        assert plain.total(context) == pytest.approx(1, abs=1e-5)
    left = [sum(len(gram) == n for gram in plain.grams) for n in (1, 2, 3)]
    assert left[0] == before.begins[2] - 1
    if threshold == 10:
        assert left[1:] == [0, 0]
    elif threshold:
        dropped = relative_entropy(before, 3, context_log_probs(before))
        assert left[2] == (np.expm1(dropped) >= threshold).sum()


@pytest.mark.parametrize("weights", [(0.3, 0.7), (3, 1), (1, 0), (0, 2)])
def test_a_mixture_has_the_weighted_sum_at_every_ngram(paths, tmp_path, weights):
    a, b = map(Plain.read, paths)
    write_arpa(mix([read_trie(path) for path in paths], weights).model(), tmp_path / "m.arpa")
    mixed = Plain.read(tmp_path / "m.arpa")
    shares = [weight / sum(weights) for weight in weights]
    used = [model for model, share in zip((a, b), shares, strict=True) if share]
    assert mixed.grams.keys() == set().union(*(model.grams for model in used))
    for gram, (log_prob, _) in mixed.grams.items():
        if gram == ("<s>",):
            continue
        parts = [model.log_prob(gram[:-1], gram[-1]) for model in (a, b)]
        expected = sum(
            share * 10**part for share, part in zip(shares, parts, strict=True) if part is not None
        )
        assert 10**log_prob == pytest.approx(expected, rel=1e-5), gram
    for context in mixed.contexts():
        assert mixed.total(context) == pytest.approx(1, abs=1e-5)


def perplexity(plain, sentences):
    scores = [
        plain.log_prob(("<s>", *sentence[:i]), word)
        for sentence in sentences
        for i, word in enumerate([*sentence, "</s>"])
    ]
    return 10 ** (-sum(scores) / len(scores))


def test_weights_fit_a_text(paths, tmp_path):
    short = {f"w{i}" for i in range(6)}
    sentences = [*(s for s in text(1, 9) if short.issuperset(s)), *text(7, 6, 30)]
    models = [read_trie(path) for path in paths]
    fitted = fit_weights(models, sentences)
    assert sum(fitted.values) == pytest.approx(1) and fitted.unknown == 0
    a, b = map(Plain.read, paths)
    assert fitted.perplexities == pytest.approx(
        [perplexity(a, sentences), perplexity(b, sentences)]
    )

    def summed(weight):
        return perplexity(Mixed((a, b), (weight, 1 - weight)), sentences)

    assert fitted.perplexity == pytest.approx(summed(fitted.values[0]), rel=1e-6)
    best = min(summed(weight / 200) for weight in range(1, 200))
    assert fitted.perplexity <= best + 1e-6
    write_arpa(mix(models, fitted.values).model(), tmp_path / "m.arpa")
    measured = perplexity(Plain.read(tmp_path / "m.arpa"), sentences)
    assert 0.1 < fitted.values[0] < 0.9 and measured < min(fitted.perplexities)


def test_a_model_that_does_not_help_gets_next_to_no_weight(paths):
    fitted = fit_weights([read_trie(path) for path in paths], text(7, 6, 100))
    assert fitted.values[0] < 1e-3
    assert fitted.perplexity <= min(fitted.perplexities) * (1 + 1e-5)


class Mixed:
    """The weighted sum at every word."""

    def __init__(self, models, weights):
        self.models, self.weights = models, weights

    def log_prob(self, history, word):
        pairs = zip(self.models, self.weights, strict=True)
        return math.log10(sum(w * 10 ** model.log_prob(history, word) for model, w in pairs))


def test_unknown_words_are_left_out_of_the_fit_and_counted(paths):
    models = [read_trie(path) for path in paths]
    fitted = fit_weights(models, [["w8", "w1"], ["never", "w0"]])
    assert (fitted.words, fitted.unknown) == (5, 1)
    assert fitted.perplexities[1] == math.inf and math.isfinite(fitted.perplexity)
    with pytest.raises(ValueError, match="No model has a word of the text"):
        fit_weights(models, [])


@pytest.mark.parametrize("weights", [(1,), (1, -1), (0, 0), (1, math.nan), (math.inf, 1)])
def test_impossible_weights_are_refused(paths, weights):
    with pytest.raises(ValueError, match="models need 2|Weights are 0 or more"):
        mix([read_trie(path) for path in paths], weights)


def test_a_text_of_unknown_words_alone_fits_no_weights(paths):
    """Its sentences end, which every model knows; that tells nothing of their words."""
    with pytest.raises(ValueError, match="No model has a word of the text"):
        fit_weights([read_trie(path) for path in paths], [["W0"], ["zyzzyva", "W1"]])


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("\tw0 w1\t", "\tw0 w2\t", "twice"),
        ("\tw0\t", "\tw77\t", "which is not in its unigrams"),
        ("\t</s>\t", "\tend\t", "unigrams"),
        ("\\end\\", "", "cut short"),
    ],
)
def test_broken_models_are_refused(paths, old, new, told):
    paths[0].write_text(paths[0].read_text().replace(old, new))
    with pytest.raises(LanguageModelError, match=told):
        read_trie(paths[0])


def test_unk_in_capitals_is_unk_in_longer_ngrams_too(paths):
    path = paths[1]
    old = path.read_text()
    gram = next(line for line in old.splitlines() if "\tw0 w1" in line)
    path.write_text(old.replace(gram, gram.replace("w0 w1", "w0 <UNK>")))
    trie = read_trie(path)
    context = trie.child(np.zeros(1, np.int64), np.array([trie.number("w0")]))
    [found] = trie.child(context, np.array([trie.number("<unk>")]))
    assert trie.log_prob[found] == float(gram.split("\t")[0])
