"""ARPA files of many kinds: both of our readers and KenLM take or refuse the same ones."""

import itertools
import re

import numpy as np
import pytest
import torch

from lm.language_model import LanguageModelError
from lm.native.library import is_built
from lm.ngram.arpa import ArpaError
from lm.ngram.arpa_automaton import read_automaton
from lm.ngram.arrays import NgramTensors
from lm.ngram.automaton import CompiledNgramLM, automaton_file
from lm.ngram.kenlm import NgramLM

MODEL = """\\data\\
ngram 1=5
ngram 2=5
ngram 3=3

\\1-grams:
-1.2\t<unk>
-99\t<s>\t-0.3
-1.1\t</s>
-0.5\ta\t-0.25
-0.7\tb\t-0.125

\\2-grams:
-0.3\t<s> a\t-0.1
-0.4\ta b\t-0.2
-0.6\tb a\t-0.4
-0.9\tb </s>
-0.8\ta a\t-0.3

\\3-grams:
-0.2\t<s> a b
-0.35\ta b a
-0.15\tb a </s>

\\end\\
"""
WORDS = ["a", "b", "never", "<unk>"]


def without(line: str):
    """The model without an n-gram."""
    order = len(line.split("\t")[1].split())

    def change(text: str) -> str:
        count = int(re.search(f"ngram {order}=(\\d+)", text)[1])
        text = text.replace(f"ngram {order}={count}", f"ngram {order}={count - 1}")
        assert line in text
        return "".join(kept for kept in text.splitlines(True) if kept.rstrip("\n") != line)

    return change


def swap(old: str, new: str, count: int = 1):
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, count)

    return change


def empty_highest(text: str) -> str:
    before, after = text.split("\\3-grams:\n")
    return before.replace("ngram 3=3", "ngram 3=0") + "\\3-grams:\n\n\\end\\\n"


def longer_empty(text: str) -> str:
    text = text.replace("ngram 3=3\n", "ngram 3=3\nngram 4=0\nngram 5=0\n")
    return text.replace("\\end\\", "\\4-grams:\n\n\\5-grams:\n\n\\end\\")


TAKEN = {
    "as it is": lambda text: text,
    "a byte order mark": lambda text: f"\ufeff{text}",
    "other line ends": swap("\n", "\r\n", 99),
    "comments before": lambda text: "# made by hand\n\n#\n" + text,
    "blank lines between": swap("-0.5\ta", "\n \t\n-0.5\ta"),
    "spaces at the ends": swap("-0.3\t<s> a\t-0.1", "-0.3\t<s> a\t-0.1 "),
    "no unknown word": without("-1.2\t<unk>"),
    "capital <UNK>": swap("<unk>", "<UNK>"),
    "exponents": swap("-0.35\ta b a", "-3.5e-1\ta b a"),
    "no digits before the point": swap("-0.35\ta b a", "-.35\ta b a"),
    "log of nothing": swap("-0.35\ta b a", "-inf\ta b a"),
    "a positive backoff": swap("-0.4\ta b\t-0.2", "-0.4\ta b\t0.2"),
    "no backoff where one is usual": swap("-0.4\ta b\t-0.2", "-0.4\ta b"),
    "no highest n-grams": empty_highest,
    "no n-grams of two orders": longer_empty,
    "no bigram that ends a trigram": without("-0.9\tb </s>"),
}
REFUSED = {
    "no </s>": (
        lambda text: without("-1.1\t</s>")(
            without("-0.9\tb </s>")(without("-0.15\tb a </s>")(text))
        ),
        "has no </s> in its unigrams",
    ),
    "no <s>": (
        lambda text: without("-99\t<s>\t-0.3")(
            without("-0.3\t<s> a\t-0.1")(without("-0.2\t<s> a b")(text))
        ),
        "has no <s> in its unigrams",
    ),
    "no context": (without("-0.4\ta b\t-0.2"), "'a b a'.* not the context of its last word"),
    "no word": (without("-0.5\ta\t-0.25"), "'a'.* not (among its 1-grams|in its unigrams)"),
    "a bigram twice": (swap("a a\t-0.3", "b a\t-0.3"), "twice"),
    "a word twice": (swap("-0.7\tb", "-0.7\ta"), "twice"),
    "two unknown words": (swap("-0.7\tb", "-0.7\t<UNK>"), "twice"),
    "above certain": (swap("-0.35\ta b a", "0.35\ta b a"), "log-probability above 0"),
    "not a number": (swap("-0.35\ta b a", "nan\ta b a"), "promises 3 3-grams"),
    "digits of Python": (swap("-0.35\ta b a", "-0_3\ta b a"), "promises 3 3-grams"),
    "a word too few": (swap("-0.35\ta b a", "-0.35\ta b"), "promises 3 3-grams"),
    "a word too many": (swap("-0.35\ta b a", "-0.35\ta b a b"), "promises 3 3-grams"),
    "an n-gram too few": (swap("ngram 3=3", "ngram 3=4"), "promises 4 3-grams"),
    "an n-gram too many": (swap("ngram 3=3", "ngram 3=2"), "\\\\end\\\\"),
    "no end": (swap("\\end\\\n", ""), "cut short"),
}


def walks(read, score, finish):
    """Scores of all sentences of up to three words, by (state, word) -> (score, state)."""
    found = []
    for length in range(4):
        for sentence in itertools.product(range(len(WORDS)), repeat=length):
            state, total = read(), 0.0
            for word in sentence:
                one, state = score(state, word)
                total += one
            found.append(total + finish(state))
    return found


def by_verbs(model):
    def score(state, word):
        (one,), (after,) = model.score([state], [word])
        return float(one), after

    return walks(lambda: model.start()[0], score, lambda state: float(model.finish([state])[0]))


def by_tensors(automaton):
    model = NgramTensors(automaton, WORDS, torch.device("cpu"))

    def score(state, word):
        one, after = model.score(state, torch.tensor([word]))
        return one.item(), after

    return walks(lambda: model.start(1), score, lambda state: model.finish(state).item())


@pytest.mark.skipif(not is_built(), reason="the compiled part was not built")
@pytest.mark.parametrize("name", TAKEN)
def test_what_is_taken_scores_alike(tmp_path, name):
    path = tmp_path / "a.arpa"
    path.write_bytes(TAKEN[name](MODEL).encode())
    ours = by_tensors(read_automaton(path))
    compiled = by_verbs(CompiledNgramLM(automaton_file(path, tmp_path / "cache"), WORDS))
    np.testing.assert_allclose(ours, compiled, atol=1e-5)
    pytest.importorskip("kenlm", reason="kenlm has no build for this Python")
    if name in ("spaces at the ends", "a byte order mark"):  # KenLM refuses these
        return
    np.testing.assert_allclose(ours, by_verbs(NgramLM(path, WORDS)), atol=1e-5)


@pytest.mark.parametrize(("change", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_by_all(tmp_path, change, told):
    path = tmp_path / "a.arpa"
    path.write_text(change(MODEL))
    with pytest.raises(LanguageModelError, match=told) as refused:
        read_automaton(path)
    assert str(path) in str(refused.value)
    if is_built():
        with pytest.raises(ArpaError, match=told) as refused:
            automaton_file(path, tmp_path / "cache")
        assert str(path) in str(refused.value)
