"""What the commands of `w2v2 lm` read: texts and language models by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from w2v2cli.errors import UsageError, UserError
from w2v2cli.help import Help

if TYPE_CHECKING:
    from lm.text.normalizers import NormalizerName
    from lm.text.reading import Reading
    from w2v2cli.data.locations import LmKind, LmLocation

TRANSFORMER_NAMES = (".safetensors", ".pt")
ARPA_NAMES = (".arpa", ".arpa.gz")
NORMALIZERS = ("english", "basic", "none")  # the normalisers' names; every other is a model's
TEXT = "Text"  # heading of --help

Texts = Annotated[
    list[Path],
    typer.Argument(help="Texts: any UTF-8 files, or folders of .txt and .txt.gz.", metavar="TEXT"),
]
LmFile = Annotated[
    str,
    typer.Argument(
        metavar="LM",
        help="A file: .arpa[.gz], KenLM binary, or Transformer (.safetensors, or fairseq's .pt "
        "with its dictionary beside it); 4gram or transformer, the models that ship; or "
        "librispeech-4gram or librispeech-transformer, which are fetched.",
    ),
]


@dataclass(frozen=True)
class TextFlags:
    """How texts are read: what a sentence is, and how it is spelled."""

    normalizer: Annotated[
        str | None,
        Help(
            "How the text is spelled: english (A to Z, numbers in words), basic (any language: "
            "Unicode NFC, one case, no punctuation), none, or as a model's transcripts are: its "
            "name or file. Default: english where the letters are A to Z, else basic.",
            TEXT,
        ),
    ] = None
    case: Annotated[
        Literal["upper", "lower", "keep"] | None,
        Help("Case of the letters. Default: lower for basic, keep for none.", TEXT),
    ] = None
    language: Annotated[
        str, Help("Language tag; tr and az have letter cases of their own.", TEXT)
    ] = ""
    sentences: Annotated[
        Literal["auto", "lines", "running"],
        Help(
            "lines: each line is a sentence; running: text that is cut at full stops and blank "
            "lines; auto: as the beginning of each text looks.",
            TEXT,
        ),
    ] = "auto"
    normalize: Annotated[
        bool | None,
        Help(
            "--no-normalize is short for --normalizer none --sentences lines, --normalize for "
            "--normalizer english --sentences running.",
            TEXT,
            flag="--normalize/--no-normalize",
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether any of these options was given."""
        return self != type(self)()

    def reading(self, files: Sequence[Path]) -> Reading:
        """How these texts are read. Raises UsageError, UserError and TextError."""
        from lm.text.normalizers import Normalizer, NormalizerError
        from lm.text.reading import AS_IT_IS, Reading, chosen_normalizer
        from lm.text.sentences import sample_lines
        from w2v2cli.data.locations import resolve_model, vocabulary_in

        lines = None if self.sentences == "auto" else self.sentences == "lines"
        if self.normalize is not None:
            if replace(self, normalize=None).given:
                flag = "--normalize" if self.normalize else "--no-normalize"
                raise UsageError(f"{flag} decides on the other options of the text: leave it out.")
            return Reading(Normalizer(), lines=False) if self.normalize else AS_IT_IS
        name = self.normalizer
        if name is not None and name not in NORMALIZERS:
            if self.case is not None or self.language:
                raise UsageError(
                    f"--case and --language are those of the model {name}: leave them out."
                )
            try:
                vocabulary = vocabulary_in(resolve_model(name))
            except UsageError as error:
                raise UsageError(
                    f"--normalizer takes english, basic, none or a model, got {name!r}: {error}"
                ) from None
            return Reading(vocabulary.normalizer, lines, frozenset("".join(vocabulary.letters)))
        try:
            sample = sample_lines(files) if name is None else ()
            return Reading(
                chosen_normalizer(sample, cast("NormalizerName", name), self.case, self.language),
                lines,
            )
        except NormalizerError as error:
            raise UsageError(str(error)) from None


def lm_location(name: str) -> LmLocation:
    """A language model given by path or by name. Raises UsageError, UserError."""
    from w2v2cli.commands.reporting import fetching
    from w2v2cli.data.locations import NAMED_LMS, LmLocation, named_lm

    full = f"demo-{name}" if name in ("4gram", "transformer") else name
    if full in NAMED_LMS:
        with fetching() as on_fetch:
            return named_lm(full, on_fetch)
    file = Path(name)
    if not file.is_file():
        raise UsageError(f"There is no language model at {name}.")
    kind: LmKind = "kenlm"
    if file.suffix in TRANSFORMER_NAMES:
        kind = "transformer"
    elif file.name.endswith(ARPA_NAMES):
        kind = "arpa"
    return LmLocation(name, file, None, kind)


@contextmanager
def user_errors(file: Path, verb: str) -> Iterator[None]:
    """Turn the errors of `lm` and of the disk into UserError.

    file, verb: named where the disk does not name a file: "FILE cannot be VERB: reason."
    """
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{error.filename or file} cannot be {verb}: {reason}.") from None
