"""`w2v2 lm prune`: an n-gram model without the n-grams that matter least."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.lm.inputs import read_ngram_model, user_errors
from w2v2cli.console import say
from w2v2cli.errors import UsageError, exits, refuse_overwriting


def prune(
    lm: Annotated[Path, typer.Argument(metavar="ARPA", help="An ARPA file, .gz if compressed.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="ARPA file to write; .gz compresses it.")
    ],
    entropy: Annotated[
        float,
        typer.Option(
            help="Leave out each n-gram whose absence raises the model's perplexity by less than "
            "this share: 1e-9 a few, 1e-8 many, 1e-7 most.",
            metavar="THRESHOLD",
        ),
    ],
) -> None:
    """Make an n-gram model smaller by relative entropy (Stolcke, 1998), as SRILM's `ngram -prune`.

    Single words stay, and so do the contexts of n-grams that stay. The backoffs are made anew, so
    that probabilities sum to one. The model is held in memory, at about 170 bytes an n-gram.

    Example:

      w2v2 lm prune lm.arpa.gz --entropy 1e-8 -o small.arpa.gz
    """
    with exits():
        _prune(lm, output, entropy)


def _prune(lm: Path, output: Path, threshold: float) -> None:
    from lm.ngram.arpa import write_arpa
    from lm.ngram.revision.pruning import prune_by_entropy

    if not 0 <= threshold < math.inf:
        raise UsageError(f"--entropy must be 0 or more, got {threshold:g}.")
    refuse_overwriting("--output", output, [lm])
    trie = read_ngram_model(lm)
    pruned = prune_by_entropy(trie, threshold)
    with user_errors(output, "written"):
        write_arpa(pruned, output)
    sizes = ", ".join(
        f"{len(level.words)} of {trie.begins[n + 1] - trie.begins[n]} {n}-grams"
        for n, level in enumerate(pruned.orders, 1)
    )
    say(f"{output}: {sizes}.")
