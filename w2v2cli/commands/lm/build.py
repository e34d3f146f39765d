"""`w2v2 lm build`: an n-gram model estimated from text."""

from __future__ import annotations

import errno
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.lm.inputs import Texts, user_errors
from w2v2cli.commands.lm.text_options import TextFlags
from w2v2cli.console import say
from w2v2cli.errors import UsageError, refuse_overwriting


@takes(TextFlags)
def build(
    flags: TextFlags,
    texts: Texts,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="ARPA file to write; .gz compresses it.")
    ],
    order: Annotated[int, typer.Option(help="Words in the longest n-grams.", metavar="N")] = 4,
    prune: Annotated[
        list[int] | None,
        typer.Option(
            help="Drop n-grams seen N times or less, one N per order, as lmplz: `0 0 1 1`. "
            "The last N holds for higher orders too; the first must be 0. Default: keep all.",
            metavar="N...",
        ),
    ] = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            help="Also write the model's words and their spelling in letters to this file, "
            "for the option --lexicon of transcribe."
        ),
    ] = None,
) -> None:
    """Estimate an n-gram model from text: interpolated modified Kneser-Ney, as KenLM's lmplz.

    The figures are those of lmplz, but for blank lines, which lmplz counts as empty sentences. Text
    and counts are held in memory.

    Example:

      w2v2 lm build --order 4 --prune 0 0 1 1 text.txt -o lm.arpa.gz
    """
    from lm.ngram.arpa import write_arpa
    from lm.ngram.kneser_ney import count_ngrams, estimate, prune_thresholds
    from lm.text.reading import ReadReport
    from lm.text.sentences import read_sentences, text_files

    if order < 1:
        raise UsageError(f"--order must be at least 1, got {order}.")
    try:
        thresholds = prune_thresholds(prune or (), order)
    except ValueError as error:
        raise UsageError(str(error)) from error
    _check_targets(output, lexicon, texts)
    with user_errors(output, "written or read"):
        files = list(text_files(texts))
        report = ReadReport(flags.reading(files))
        sentences = (s for file in files for s in read_sentences(file, report.reading, report))
        counts = count_ngrams(sentences, order)
        for line in report.lines():
            say(line)
        model = estimate(counts, thresholds, say)
        write_arpa(model, output)
        if lexicon is not None:
            _write_lexicon(model.vocabulary, lexicon)
    sizes = ", ".join(f"{len(level.words)} {n}-grams" for n, level in enumerate(model.orders, 1))
    say(f"{output}: {sizes}.")


def _check_targets(output: Path, lexicon: Path | None, texts: Sequence[Path]) -> None:
    """Refuse files that cannot be written, or are read, before the work, which may take hours."""
    if lexicon is not None and lexicon.absolute() == output.absolute():
        raise UsageError(f"--lexicon and --output name one file, {output}: name two.")
    refuse_overwriting("--output", output, texts)
    refuse_overwriting("--lexicon", lexicon, texts)
    for target in filter(None, (output, lexicon)):
        with user_errors(target, "written"):
            _make_room(target)


def _make_room(target: Path) -> None:
    """Make the folder of a file to be. Raises OSError where the file itself is a folder."""
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder", str(target))
    target.parent.mkdir(parents=True, exist_ok=True)


def _write_lexicon(vocabulary: Sequence[str], path: Path) -> None:
    from storage.whole import write_whole

    words = sorted(word for word in vocabulary if not word.startswith("<"))
    content = "".join(f"{word}\t{' '.join(word)} |\n" for word in words).encode()
    write_whole(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
