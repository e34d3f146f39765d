"""N-grams left out where that changes a model least: entropy pruning (Stolcke, 1998).

An n-gram (h, w) that is left out costs the relative entropy between the model before and after,

    D = -P(h) · { p(w|h) · [ln p(w|h') + ln a' - ln p(w|h)] + rest · [ln a' - ln a] }

with h' the next shorter context, a and a' the backoff of h before and after, and rest the
probability of all words that back off after h. P(h) is the probability of the context by the model
itself, where <s> is as likely as </s>. Leaving it out multiplies the model's perplexity on its own
text by e^D. Each n-gram is judged as if it were the only one that is left out, as by SRILM's
`ngram -prune`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lm.ngram.kneser_ney import BOS, EOS, BackoffModel
from lm.ngram.revision.trie import NgramTrie, backoffs, masses


def prune_by_entropy(trie: NgramTrie, threshold: float) -> BackoffModel:
    """The model without the n-grams that raise its perplexity by less than `threshold`, relative.

    Single words stay, and so does an n-gram that is the context of one that stays. The backoffs
    are made anew, so that probabilities sum to one.
    """
    keep = np.ones(len(trie.parent), bool)
    costs = context_log_probs(trie)
    for n in range(trie.order, 1, -1):
        nodes = trie.nodes(n)
        cost = relative_entropy(trie, n, costs)
        needed = np.zeros(len(trie.parent), bool)
        if n < trie.order:
            above = trie.nodes(n + 1)
            needed[trie.parent[above][keep[above]]] = True
        keep[nodes] = needed[nodes] | (np.expm1(cost) >= threshold)
    return replace(trie, backoff=backoffs(trie, keep)).model(keep)


def context_log_probs(trie: NgramTrie) -> np.ndarray:
    """(N,) ln P of each n-gram as a context: the product of its words' probabilities."""
    log_prob = trie.log_prob * np.log(10)
    result = np.zeros(len(trie.parent))
    result[trie.nodes(1)] = log_prob[trie.nodes(1)]
    # Single words are nodes in the order of their numbers.
    result[1 + trie.number(BOS)] = log_prob[1 + trie.number(EOS)]
    for n in range(2, trie.order + 1):
        nodes = trie.nodes(n)
        result[nodes] = result[trie.parent[nodes]] + log_prob[nodes]
    return result


def relative_entropy(trie: NgramTrie, n: int, contexts: np.ndarray) -> np.ndarray:
    """(M,) D of each n-gram of n words, left out alone, in nats.

    contexts: what `context_log_probs` gives.
    """
    nodes = trie.nodes(n)
    parents = trie.parent[nodes]
    own = trie.log_prob[nodes] * np.log(10)
    lower = trie.score(trie.suffix[parents], trie.word[nodes])[0] * np.log(10)
    left, below = (mass[parents] for mass in masses(trie, n))
    after = np.log(left + np.exp(own)) - np.log(below + np.exp(lower))
    change = after - (np.log(left) - np.log(below))
    gain = np.where(np.isfinite(own), np.exp(own) * (lower + after - own), 0.0)
    return -np.exp(contexts[parents]) * (gain + left * change)
