"""`w2v2 lm`: language models made from text, and what is in one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from w2v2cli.commands.lm_train import train
from w2v2cli.console import say
from w2v2cli.errors import UsageError, UserError, exits

if TYPE_CHECKING:
    from lm.perplexity import KnowingModel

app = typer.Typer(help="Build and train language models, and look into them.", no_args_is_help=True)
app.command()(train)

TRANSFORMER_NAMES = (".safetensors", ".pt")
LmFile = Annotated[
    str,
    typer.Argument(
        help="An ARPA, KenLM or Transformer file (.safetensors, .pt), or 4gram or transformer for those that ship."
    ),
]


def split_prune(args: Sequence[str]) -> list[str]:
    """`--prune 0 0 1 1`, as `lmplz` takes it, becomes `--prune 0,0,1,1`: an option has one value here."""
    args = list(args)
    if args[:2] != ["lm", "build"] or "--prune" not in args:
        return args
    at = args.index("--prune") + 1
    end = at
    while end < len(args) and args[end].isdigit() and len(args[end]) < 4:
        end += 1
    return args if end - at < 2 else [*args[:at], ",".join(args[at:end]), *args[end:]]


@app.command()
def build(
    texts: Annotated[
        list[Path], typer.Argument(help="Text files, gzip by name, or folders of them.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The ARPA file to write, gzip by name.")
    ],
    order: Annotated[int, typer.Option(help="Words in the longest n-gram.")] = 4,
    prune: Annotated[
        str,
        typer.Option(help="For each order, occurrences up to which n-grams are left out: 0 0 1 1."),
    ] = "0",
    lexicon: Annotated[
        Path | None, typer.Option(help="Also write the words' spellings here.")
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            help="Split text into sentences and spell it as transcripts are; else a line is a sentence as it is."
        ),
    ] = True,
) -> None:
    """Estimate an n-gram model from text: modified Kneser-Ney, the same figures as KenLM's lmplz."""
    with exits():
        from lm.ngram.arpa import write_arpa
        from lm.ngram.kneser_ney import count_ngrams, estimate

        try:
            thresholds = [int(value) for value in prune.replace(",", " ").split()]
        except ValueError:
            raise UsageError(f"--prune takes whole numbers, got {prune!r}.") from None
        if order < 1:
            raise UsageError(f"--order must be at least 1, got {order}.")
        files = list(text_files(texts))
        try:
            model = estimate(count_ngrams(_sentences(files, normalize), order), thresholds, say)
            write_arpa(model, output)
            if lexicon is not None:
                _write_lexicon(model.vocabulary, lexicon)
        except ValueError as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(
                f"{error.filename or output} cannot be written or read: {error.strerror}."
            ) from None
        sizes = ", ".join(
            f"{len(level.words)} {n}-grams" for n, level in enumerate(model.orders, 1)
        )
        say(f"{output}: {sizes}.")


def text_files(texts: Sequence[Path]) -> Iterator[Path]:
    """The texts named, those of folders in alphabetic order; UserError for what is not there."""
    for path in texts:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.name.endswith((".txt", ".txt.gz")))
            if not found:
                raise UserError(f"The folder {path} holds no .txt or .txt.gz.")
            yield from found
        elif path.is_file():
            yield path
        else:
            raise UserError(f"There is no text at {path}.")


def _sentences(files: Sequence[Path], normalize: bool) -> Iterator[list[str]]:
    import gzip

    from lm.text.normalization import normalize_text, sentences

    for path in files:
        try:
            opened = (
                gzip.open(path, "rt", encoding="utf-8")
                if path.suffix == ".gz"
                else path.open(encoding="utf-8")
            )
            with opened as file:
                if not normalize:
                    for line in file:
                        yield line.split()
                    continue
                text = file.read()
        except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is no whole UTF-8 text: {error}.") from None
        for sentence in sentences(text):
            if words := normalize_text(sentence).split():
                yield words


def _write_lexicon(vocabulary: Sequence[str], path: Path) -> None:
    import gzip

    from w2v2cli.recognition.output import write_bytes

    words = sorted(word for word in vocabulary if not word.startswith("<"))
    content = "".join(f"{word}\t{' '.join(word)} |\n" for word in words).encode()
    write_bytes(path, gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


@app.command()
def info(path: LmFile) -> None:
    """Say what a language model holds."""
    with exits():
        from lm.ngram.arpa import ArpaError, has_unknown, read_counts

        file = _lm_file(path)
        typer.echo(f"{file}: {file.stat().st_size / 1e6:.1f} MB")
        if file.suffix in TRANSFORMER_NAMES:
            for line in _described(file):
                typer.echo(line)
            return
        if not file.name.endswith((".arpa", ".arpa.gz")):
            try:
                import kenlm
            except ImportError:
                raise UserError(
                    f"{file} is no ARPA file by name, and reading KenLM's own needs Python 3.10 to 3.12."
                ) from None
            try:
                typer.echo(f"a KenLM file of order {kenlm.Model(str(file)).order}")
            except OSError as error:
                raise UserError(
                    f"{file} is neither ARPA by name nor a KenLM file: {error}."
                ) from None
            return
        try:
            for n, count in enumerate(read_counts(file), 1):
                typer.echo(f"{n}-grams: {count}")
            typer.echo(
                f"unknown words: {'have a probability' if has_unknown(file) else 'have none (no <unk>)'}"
            )
        except ArpaError as error:
            raise UserError(str(error)) from error


@app.command()
def score(
    path: LmFile,
    text: Annotated[Path, typer.Argument(help="A text file, gzip by name.")],
    normalize: Annotated[
        bool,
        typer.Option(
            help="Split text into sentences and spell it as transcripts are; else a line is a sentence as it is."
        ),
    ] = False,
    upper: Annotated[
        bool, typer.Option(help="Spell the words of a Transformer of fairseq's (.pt) in capitals.")
    ] = True,
    device: Annotated[
        str, typer.Option(help="Of a Transformer: auto, cpu, cuda or cuda:N.")
    ] = "auto",
) -> None:
    """Print log10 p, unknown words and text of each sentence, then the perplexity of all.

    A sentence's end counts as a word of it; an unknown word counts as <unk>.
    """
    with exits():
        from lm.perplexity import Perplexity, score_text
        from lm.text.sentences import read_sentences

        file = _lm_file(path)
        if not text.is_file():
            raise UsageError(f"There is no text at {text}.")
        try:
            words = sorted(
                {
                    word
                    for sentence in read_sentences(text, normalize=normalize)
                    for word in sentence
                }
            )
            model = _open(file, words, upper, device)
            total = Perplexity()
            scored = score_text(model, read_sentences(text, normalize=normalize))
            for sentence, one in zip(
                read_sentences(text, normalize=normalize), scored, strict=True
            ):
                typer.echo(
                    f"{one.log_prob / math.log(10):.4f}\t{one.unknown}\t{' '.join(sentence)}"
                )
                total += one
        except ValueError as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(f"{error.filename or text} cannot be read: {error.strerror}.") from None
        if not total.sentences:
            raise UserError(f"{text} holds no sentence.")
        share = f"{total.unknown} unknown ({total.unknown / max(1, total.words):.1%})"
        typer.echo(f"\n{total.sentences} sentences, {total.words} words, {share}")
        typer.echo(
            f"perplexity per word: {total.including:.2f} with unknown words, {total.excluding:.2f} without"
        )


def _lm_file(name: str) -> Path:
    from w2v2cli.data.locations import resolve_lm, resolve_model

    location = resolve_lm(name, resolve_model("demo")) if name in ("4gram", "transformer") else None
    file = Path(name) if location is None or location.path is None else location.path
    if not file.is_file():
        raise UsageError(f"There is no language model at {file}.")
    return file


def _open(file: Path, words: Sequence[str], upper: bool, device: str) -> KnowingModel:
    """A model that was told of `words`."""
    if file.suffix not in TRANSFORMER_NAMES:
        return _open_ngram(file, words)
    from lm.transformer.model import open_transformer_lm
    from w2v2cli.recognition.devices import resolve_device

    return open_transformer_lm(file, words, device=resolve_device(device), upper=upper, warn=say)


def _open_ngram(file: Path, words: Sequence[str]) -> KnowingModel:
    """By KenLM, or where Python is too new for it by our own automaton."""
    from lm.native.library import is_built
    from lm.ngram.automaton import open_automaton
    from lm.ngram.kenlm import NgramLM, is_arpa
    from storage.home import home

    try:
        return NgramLM(file, words)
    except ImportError:
        if not is_arpa(file) or not is_built():
            raise UserError(
                f"Scoring with {file} needs kenlm, which Python 3.10 to 3.12 have."
            ) from None
    model, told = open_automaton(file, home() / "search", words)
    for sentence in told:
        say(f"Warning: {sentence}")
    return model


def _described(file: Path) -> Iterator[str]:
    from lm.transformer.checkpoint import build_transformer
    from lm.transformer.fairseq import read_transformer

    try:
        checkpoint = read_transformer(file, warn=say)
        build_transformer(checkpoint)
    except ValueError as error:
        raise UserError(str(error)) from error
    config = checkpoint.config
    yield (
        f"a word Transformer: {config.blocks} blocks, d={config.width}, FFN {config.inner}, {config.heads} heads, "
        f"{config.activation}, {checkpoint.parameters / 1e6:.1f} M parameters"
    )
    yield f"words: {len(checkpoint.dictionary.words)}, and <unk> for all others"
    bands = ", ".join(map(str, config.bands))
    ties = ", tied to the input's" if config.tie_words else ""
    yield (
        f"softmax: bands to {bands}, by {config.factor:g}{ties}"
        if config.cutoffs
        else f"softmax: plain{ties}"
    )
    yield f"longest history: {config.positions} words"
