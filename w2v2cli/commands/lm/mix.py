"""`w2v2 lm mix`: several n-gram models made one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.lm.inputs import read_ngram_model, user_errors
from w2v2cli.commands.lm.text_options import TextFlags
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, refuse_overwriting

if TYPE_CHECKING:
    from lm.ngram.revision.trie import NgramTrie


@takes(TextFlags)
def mix(
    flags: TextFlags,
    lms: Annotated[
        list[Path], typer.Argument(metavar="ARPA", help="ARPA files, .gz if compressed.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="ARPA file to write; .gz compresses it.")
    ],
    weights: Annotated[
        list[float] | None,
        typer.Option(help="A weight for each model, in their order.", metavar="W..."),
    ] = None,
    on: Annotated[
        Path | None,
        typer.Option(
            help="A text whose perplexity decides the weights (.gz if compressed): held out from "
            "the texts of the models.",
            metavar="TEXT",
        ),
    ] = None,
) -> None:
    """Mix n-gram models into one: p(w|h) is the weighted sum of theirs, as SRILM's `-mix-lm`.

    The mixture holds every n-gram of the models, with that probability; backoffs are made anew, so
    that probabilities sum to one. A word that a model lacks has no probability by it. The options
    of the text are about --on; each of its lines is a sentence as it is, unless one says otherwise.
    The models are held in memory, at about 170 bytes an n-gram.

    Examples:

      w2v2 lm mix books.arpa.gz talks.arpa.gz --on held-out.txt -o mixed.arpa.gz

      w2v2 lm mix books.arpa.gz talks.arpa.gz --weights 0.7 0.3 -o mixed.arpa.gz
    """
    from lm.ngram.arpa import write_arpa
    from lm.ngram.revision.mixing import mix as mixed

    if len(lms) < 2:
        raise UsageError(f"A mixture is made of two models or more, got {len(lms)}.")
    if (weights is None) == (on is None):
        raise UsageError("Give either --weights, one for each model, or --on with a text.")
    if weights is not None and len(weights) != len(lms):
        raise UsageError(f"{len(lms)} models need {len(lms)} weights, got {len(weights)}.")
    if weights is not None and not (min(weights) >= 0 and 0 < sum(weights) < float("inf")):
        listed = " ".join(f"{weight:g}" for weight in weights)
        raise UsageError(f"--weights are 0 or more and not all 0, got {listed}.")
    if on is None and flags.given:
        raise UsageError("The options of the text are about --on: leave them out.")
    if on is not None and not on.is_file():
        raise UsageError(f"There is no text at {on}.")
    refuse_overwriting("--output", output, [*lms, on])
    models = [read_ngram_model(lm) for lm in lms]
    if on is not None:
        weights = _fitted(flags, lms, models, on)
    made = mixed(models, weights or ()).model()
    with user_errors(output, "written"):
        write_arpa(made, output)
    sizes = ", ".join(f"{len(level.words)} {n}-grams" for n, level in enumerate(made.orders, 1))
    say(f"{output}: {sizes}.")


def _of_another_case(
    models: Sequence[NgramTrie], sentences: Sequence[Sequence[str]], text: Path
) -> str | None:
    """The sentence where most words that no model has are known in another case, else None."""
    known = {word for model in models for word in model.vocabulary}
    unknown = [word for sentence in sentences for word in sentence if word not in known]
    for case, flag in ((str.upper, "upper"), (str.lower, "lower")):
        meant = [word for word in unknown if case(word) in known]
        if 2 * len(meant) > len(unknown):
            return (
                f"Warning: {len(meant)} of the {len(unknown)} words of {text} that no model has, "
                f"{meant[0]} for example, are known in {flag} case: "
                f"--normalizer none --case {flag}."
            )
    return None


def _fitted(
    flags: TextFlags, lms: Sequence[Path], models: Sequence[NgramTrie], text: Path
) -> list[float]:
    """The weights that make the text likeliest, told. Raises UserError."""
    from lm.ngram.revision.mixing import fit_weights
    from lm.text.reading import AS_IT_IS, ReadReport
    from lm.text.sentences import read_sentences

    with user_errors(text, "read"):
        report = ReadReport(flags.reading([text]) if flags.given else AS_IT_IS)
        sentences = list(read_sentences(text, report.reading, report))
        for line in report.lines() if flags.given else ():
            say(line)
        if not sentences:
            raise UserError(f"{text} holds no sentence.")
        if (told := _of_another_case(models, sentences, text)) is not None:
            say(told)
        found = fit_weights(models, sentences)
    if found.unknown:
        said = "word that no model has is" if found.unknown == 1 else "words that no model has are"
        say(f"{found.unknown} {said} left out of the perplexities.")
    for lm, weight, perplexity in zip(lms, found.values, found.perplexities, strict=True):
        lacking = " alone, as it lacks some of the words" if perplexity == float("inf") else ""
        say(f"{lm}: weight {weight:.4f}, perplexity of {text} {perplexity:.2f}{lacking}.")
    say(f"Weighted sum: perplexity {found.perplexity:.2f}.")
    return list(found.values)
