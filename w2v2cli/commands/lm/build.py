"""`w2v2 lm build`: an n-gram model estimated from text."""

from __future__ import annotations

import errno
import gzip
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.flags import takes
from w2v2cli.commands.lm.inputs import Texts, user_errors
from w2v2cli.commands.lm.sizes import bytes_of, shown, usual_memory
from w2v2cli.commands.lm.text_options import TextFlags
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, refuse_overwriting

if TYPE_CHECKING:
    from lm.ngram.estimation import Estimated, Request

UNZIPPED = 3  # bytes of text for each byte of a gzip file
BYTES_OF_A_WORD = 5.4  # with the space after it

LimitVocab = Annotated[
    str | None,
    typer.Option(
        help="Words of the model: a number N for the N most frequent ones, or a file of "
        "words between spaces or line ends. Other words are unknown: their n-grams are left "
        "out, and <unk> gets the probability. Default: all words.",
        metavar="N|FILE",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Most memory to take, as 4GB or 500MB; what does not fit goes to --tmp. "
        "Default: 4GB, or half of the machine's where that is less.",
        metavar="SIZE",
    ),
]
Tmp = Annotated[
    Path | None,
    typer.Option(
        help="Folder for temporary files, gone when the command ends. Default: the system's.",
        metavar="DIR",
    ),
]


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
    limit_vocab: LimitVocab = None,
    memory: Memory = None,
    tmp: Tmp = None,
    lexicon: Annotated[
        Path | None,
        typer.Option(
            help="Also write the model's words and their spelling in letters to this file, "
            "for the option --lexicon of transcribe."
        ),
    ] = None,
) -> None:
    """Estimate an n-gram model from text: interpolated modified Kneser-Ney, as KenLM's lmplz.

    The figures are those of lmplz, but for blank lines, which lmplz counts as empty sentences.
    Text is read piece by piece; counts that do not fit into --memory are sorted on disk.

    Examples:

      w2v2 lm build --order 4 --prune 0 0 1 1 text.txt -o lm.arpa.gz

      w2v2 lm build --memory 8GB --tmp /scratch --limit-vocab 200000 books/ -o lm.arpa.gz
    """
    from lm.ngram.estimation import Request
    from lm.ngram.kneser_ney import prune_thresholds

    if order < 1:
        raise UsageError(f"--order must be at least 1, got {order}.")
    try:
        thresholds = prune_thresholds(prune or (), order)
    except ValueError as error:
        raise UsageError(str(error)) from error
    size = usual_memory() if memory is None else bytes_of(memory, "--memory")
    words = None if limit_vocab is None else _words(limit_vocab)
    _check_targets(output, lexicon, texts)
    folder = _temporary(tmp)
    request = Request(order, thresholds, words, size, folder)
    with user_errors(output, "written or read"):
        made = _estimated(flags, texts, output, request)
        if lexicon is not None:
            _write_lexicon(made.vocabulary, lexicon)
    sizes = ", ".join(f"{size} {n}-grams" for n, size in enumerate(made.sizes, 1))
    say(f"{output}: {sizes}.")


def _estimated(
    flags: TextFlags, texts: Sequence[Path], output: Path, request: Request
) -> Estimated:
    """Read the texts and write the model. Raises ValueError, OSError."""
    from lm.native.library import is_built
    from lm.ngram.estimation import estimate_arpa, estimate_in_memory
    from lm.text.blocks import sentence_blocks
    from lm.text.reading import ReadReport
    from lm.text.sentences import text_files

    files = list(text_files(texts))
    report = ReadReport(flags.reading(files))
    blocks = (b for file in files for b in sentence_blocks(file, report.reading, report))
    if not is_built():
        say(
            "The compiled part of w2v2 is missing: counts are held in memory, whatever --memory "
            "says."
        )
    else:
        _tell_size(files, request)

    def told(words: int, sentences: int) -> None:
        report.words, report.sentences = words, sentences
        for line in report.lines():
            say(line)

    estimate = estimate_arpa if is_built() else estimate_in_memory
    return estimate(blocks, output, request, told, say)


def _tell_size(files: Sequence[Path], request: Request) -> None:
    """Say how large temporary files may become, where counts may not fit into the memory."""
    from lm.ngram.estimation import largest_files

    words = sum(
        file.stat().st_size * (UNZIPPED if file.suffix == ".gz" else 1) for file in files
    ) / BYTES_OF_A_WORD  # fmt: skip
    most = largest_files(round(words), request.order)
    if most > request.memory:
        free = shutil.disk_usage(request.folder).free
        say(
            f"About {words / 1e6:.0f} M words: what does not fit into {shown(request.memory)} of "
            f"memory goes to {request.folder}, at most {shown(most)}; {shown(free)} are free there."
        )


def _words(limit: str) -> int | list[str]:
    """The words of --limit-vocab: how many, or which. Raises UsageError, UserError."""
    if limit.isdecimal() and limit.isascii():
        if int(limit) == 0:
            raise UsageError("--limit-vocab takes a number of words above 0, got 0.")
        return int(limit)
    file = Path(limit)
    if not file.is_file():
        raise UsageError(
            f"--limit-vocab takes a number of words or a file of words, and {limit} is neither."
        )
    with user_errors(file, "read"):
        try:
            words = file.read_text(encoding="utf-8-sig").split()
        except UnicodeDecodeError as error:
            raise UserError(f"{file} is not a UTF-8 text: {error}.") from None
    if not words:
        raise UserError(f"{file} holds no word.")
    return words


def _temporary(folder: Path | None) -> Path:
    """The folder for temporary files. Raises UsageError, UserError where nothing can be there."""
    if folder is not None and not folder.is_dir():
        raise UsageError(f"--tmp takes a folder, and there is none at {folder}.")
    place = folder or Path(tempfile.gettempdir())
    with user_errors(place, "written"), tempfile.TemporaryFile(dir=place):
        return place


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

    words = sorted(vocabulary)
    content = "".join(f"{word}\t{' '.join(word)} |\n" for word in words).encode()
    write_whole(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
