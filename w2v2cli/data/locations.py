"""Names that resolve to files: models and language models, shipped, fetched or the user's own.

Models come from the Hugging Face hub (`hub`), into its own cache; LibriSpeech's language models go
to $W2V2_HOME/lm (`storage.home`). Their hashes are not known here; `downloads` describes what is
checked instead.
"""

from __future__ import annotations

import codecs
import difflib
import gzip
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from lm.decoding import DecodingWeights
from lm.language_model import LanguageModelError
from lm.ngram.arpa import ArpaError, unigrams
from lm.ngram.carried import ATTRIBUTES, read_carried
from lm.ngram.kenlm import binary_words, listed_words
from lm.text.pieces import MARK
from lm.text.vocabulary import ENGLISH, Vocabulary
from models.importers.labels import quick_outputs
from storage.home import home
from storage.pointers import BEGINNING, NOT_FETCHED
from w2v2cli.data.downloads import Wanted, fetch, offline
from w2v2cli.data.hub import (
    LANGUAGE_MODEL,
    WEIGHTS,
    OnProgress,
    Repository,
    cached_repository,
    fetch_language_model,
    fetch_repository,
    parse_repository,
    refuse_unknown_language,
    repository_of,
)
from w2v2cli.errors import UsageError, UserError

Family = Literal["demo", "librispeech"]
LmKind = Literal["arpa", "kenlm", "transformer"]

SHIPPED = Path(__file__).parents[1] / "shipped"
DEMO_MODEL = SHIPPED / "demo.safetensors"
DEMO_LM = SHIPPED / "demo-4gram.arpa.gz"
DEMO_TRANSFORMER = SHIPPED / "demo-transformer.safetensors"
DEMO_LEXICON = SHIPPED / "demo-lexicon.txt.gz"

LIBRISPEECH_LM = "https://www.openslr.org/resources/11/4-gram.arpa.gz"
# A .dict of the same name lies beside it.
LIBRISPEECH_TRANSFORMER = (
    "https://dl.fbaipublicfiles.com/wav2letter/sota/2019/lm/lm_librispeech_word_transformer.pt"
)

PUBLISHED = {  # name: repository on the hub
    "base": "facebook/wav2vec2-base",
    "base-100h": "facebook/wav2vec2-base-100h",
    "base-960h": "facebook/wav2vec2-base-960h",
    "large": "facebook/wav2vec2-large",
    "large-960h": "facebook/wav2vec2-large-960h",
    "large-lv60k": "facebook/wav2vec2-large-lv60",
    "large-lv60k-960h": "facebook/wav2vec2-large-960h-lv60",
    "large-lv60k-960h-self": "facebook/wav2vec2-large-960h-lv60-self",
}
OWN = "own"  # the language model that a model's folder carries
# Language models by full name: whose they are, and their kind. `4gram` and `transformer` mean those
# that belong to the model.
NAMED_LMS: dict[str, tuple[Family, LmKind]] = {
    "librispeech-4gram": ("librispeech", "arpa"),
    "librispeech-transformer": ("librispeech", "transformer"),
    "demo-4gram": ("demo", "arpa"),
    "demo-transformer": ("demo", "transformer"),
}
FETCHED_LMS = tuple(name for name, (owner, _) in NAMED_LMS.items() if owner == "librispeech")
LM_NAMES = ("none", "4gram", "transformer", OWN, *NAMED_LMS)
LONGEST_SYMBOL = 3  # characters of a symbol that is not a word piece
TRANSFORMERS = (".safetensors", ".pt")  # our own files, and fairseq's
SMALL_FILES = ("config.json", "preprocessor_config.json", "vocab.json")  # beside the weights
PRETRAINED = frozenset({"base", "large", "large-lv60k"})  # only these may lack a vocab.json
BEST = "best.safetensors"  # in a run's folder, the best checkpoint by validation
PATH_SUFFIXES = (".pt", ".bin", ".safetensors", ".arpa", ".gz", ".binary", ".klm")
ARPA_START, KENLM_START = b"\\data\\", b"mmap lm http://kheafield.com/code"


@dataclass(frozen=True)
class ModelLocation:
    """An acoustic model on disk."""

    name: str
    """Name or path that was asked for."""
    path: Path
    """A file, or a folder as Hugging Face has it."""
    family: Family | None
    """Whose language models belong to it; None for any model that is neither shipped nor named."""
    commit: str | None = None
    """Commit of the hub's repository; None for a model that is not in the hub's cache."""
    language: str | None = None
    """One of a model with an adapter for each; None for that of its main weights."""

    @property
    def title(self) -> str:
        """The name, with the language where one was asked for."""
        return self.name if self.language is None else f"{self.name} ({self.language})"


@dataclass(frozen=True)
class LmLocation:
    """A language model on disk; both paths are None where none is used."""

    name: str
    """Name or path that was asked for."""
    path: Path | None
    """The file that holds it."""
    lexicon: Path | None
    """File of words and spellings; None spells the n-grams' own words by their characters."""
    kind: LmKind = "arpa"
    """Format of the file at `path`."""
    words: Path | None = None
    """File of the words that can be recognised, one a line, spelled by their characters."""
    weights: DecodingWeights | None = None
    """The weights that came with it."""
    note: str = ""
    """What to tell the user of it, if anything."""
    owner: Family | None = None
    """Whose it is; None for a file of the user's own."""
    symbols: bool = False
    """Whether its words are the acoustic model's symbols: characters, pieces or phones."""

    @property
    def listed(self) -> Path | None:
        """The file of the words that can be recognised; None where they are those of `path`."""
        return self.lexicon or self.words


def model_names() -> list[str]:
    """The names that `--model` knows."""
    return ["demo", *PUBLISHED]


def resolve_model(
    name: str,
    on_progress: OnProgress = lambda file, done, total: None,
    language: str | None = None,
) -> ModelLocation:
    """Find a model, fetching it if necessary.

    name: one of `model_names()`, a folder, a file, or a repository of the hub. `@revision` after a
    name or a repository takes that branch, tag or commit. A known name goes before a path of the
    same spelling (`./base` is the path), a path before a repository.
    language: one of a model with an adapter for each.

    Raises UsageError, with the nearest names, for an unknown one and for an unknown language,
    UserError (DownloadError included) where a model cannot be fetched.
    """
    found = located_model(name, language)
    if isinstance(found, ModelLocation):
        return found
    folder = fetch_repository(found, on_progress, language=language)
    known = _published_name(found)
    if known is None:
        return ModelLocation(name, folder, None, folder.name, language)
    name = known if found.revision is None else f"{known}@{found.revision}"
    return ModelLocation(name, folder, "librispeech", folder.name)


def located_model(name: str, language: str | None = None) -> ModelLocation | Repository:
    """Where a model's name leads: to files of this machine, or to a repository of the hub.

    Nothing is fetched. name, language: as in `resolve_model`, whose UsageError it raises.
    """
    if name == "demo":
        _refuse_language(name, language)
        return ModelLocation(name, _shipped(DEMO_MODEL), "demo")
    path = Path(name).expanduser()
    if name not in PUBLISHED and path.exists():
        if language is not None and path.is_dir():
            refuse_unknown_language(path, language)
        best = path / BEST  # a run's folder stands for its best checkpoint
        of_run = best.is_file() and not (path / "config.json").is_file()
        return ModelLocation(name, best if of_run else path, None, language=language)
    repository = named_repository(name)
    if repository is None:
        raise UsageError(_unknown("model", name, model_names(), "a repository of the hub, "))
    known = _published_name(repository)
    if known is not None:
        _refuse_language(known, language)
        if repository.revision is None and (kept := kept_folder(known)) is not None:
            return ModelLocation(known, kept, "librispeech")
    return repository


def _published_name(repository: Repository) -> str | None:
    return next((known for known in PUBLISHED if PUBLISHED[known] == repository.name), None)


def _refuse_language(name: str, language: str | None) -> None:
    if language is not None:
        raise UsageError(f"{name} has no adapters of languages: leave out --language {language}.")


def named_repository(name: str) -> Repository | None:
    """The repository that a name means: one of PUBLISHED, or `org/name`, each with `@revision`."""
    known = name.partition("@")[0]
    if known in PUBLISHED:
        return parse_repository(PUBLISHED[known] + name.removeprefix(known))
    return None if Path(name).suffix in PATH_SUFFIXES else parse_repository(name)


def kept_folder(name: str) -> Path | None:
    """The folder where an earlier version, or the user, put a published model; None without one.

    Such a folder serves when it has the weights and every small file that the model needs.
    """
    folder = home() / "models" / name
    needed = [file for file in SMALL_FILES if file != "vocab.json" or name not in PRETRAINED]
    has_weights = any((folder / file).is_file() for file in WEIGHTS)
    return folder if has_weights and all((folder / f).is_file() for f in needed) else None


def found_here(name: str) -> bool:
    """Whether a published model can be used without the network."""
    return (
        kept_folder(name) is not None or cached_repository(Repository(PUBLISHED[name])) is not None
    )


def resolve_lm(
    name: str,
    model: ModelLocation,
    lexicon: Path | None = None,
    on_progress: OnProgress = lambda file, done, total: None,
    vocabulary: Vocabulary | None = None,
) -> LmLocation:
    """Find a language model for a model, fetching it if necessary.

    name: one of LM_NAMES, or a file. `4gram` and `transformer` are those that ship, for the model
    that ships; LibriSpeech's, for the published models and for every other one that writes A to Z.
    lexicon: replaces the one that belongs to the language model.
    vocabulary: the model's, where it is known; else it is read from the model's files if needed.

    Raises UsageError, with the nearest names, for an unknown one, for a file that is not a
    language model, and for a name that has none for this model's alphabet; UserError where one
    cannot be fetched, or the model cannot be read.
    """
    if lexicon is not None and lexicon.is_dir():
        raise UsageError(f"{lexicon} is a folder: --lexicon takes a file.")
    if lexicon is not None and not lexicon.is_file():
        raise UsageError(f"There is no lexicon at {lexicon}.")
    if name == "none":
        return LmLocation(name, None, lexicon)
    if name == OWN:
        return _own_lm(model, lexicon, on_progress)
    if name not in LM_NAMES:
        found = _lm_in(Path(name).expanduser(), name, lexicon)
        if found.kind != "transformer" and lexicon is None:
            found = replace(found, symbols=_over_symbols(found, model, vocabulary))
        return found
    owner, _, what = name.rpartition("-")
    if model.family is None and (lexicon is None or not owner):
        _check_alphabet(name, model, vocabulary)
    found = named_lm(f"{owner or model.family or 'librispeech'}-{what}", on_progress)
    return replace(found, name=name, lexicon=lexicon or found.lexicon)


def named_lm(name: str, on_progress: OnProgress = lambda file, done, total: None) -> LmLocation:
    """One of NAMED_LMS, fetched if necessary. Raises UserError where it cannot be fetched."""
    owner, kind = NAMED_LMS[name]
    if owner == "demo":
        path = _shipped(DEMO_TRANSFORMER if kind == "transformer" else DEMO_LM)
        return LmLocation(name, path, _shipped(DEMO_LEXICON), kind, owner=owner)
    fetched = _librispeech_transformer if kind == "transformer" else _librispeech_lm
    return LmLocation(name, fetched(on_progress), None, kind, owner=owner)


def _check_alphabet(name: str, model: ModelLocation, vocabulary: Vocabulary | None) -> None:
    """Refuse an English language model, before it is fetched, for a model that cannot write it.

    `4gram` and `transformer` are taken for an alphabet that is A to Z and the apostrophe; their
    full names for any that has these letters.
    """
    vocabulary = vocabulary or vocabulary_in(model)
    letters = {letter.upper() for letter in vocabulary.letters}
    fits = letters >= ENGLISH if name in NAMED_LMS else letters == ENGLISH
    if vocabulary.units == "pieces":
        fits = vocabulary.normalizer.name == "english"
    if vocabulary.units == "phones" or not fits:
        made = "w2v2 lm train" if name.endswith("transformer") else "w2v2 lm build"
        raise UsageError(
            f"--lm {name} is English and {model.name} writes another alphabet: make a language "
            f"model of its language ({made}) and give its file to --lm, or give --lm none."
        )


def _over_symbols(lm: LmLocation, model: ModelLocation, vocabulary: Vocabulary | None) -> bool:
    """Whether an n-gram model is one of the acoustic model's symbols, not of words.

    Raises UsageError for a binary file of KenLM that does not list its words.
    """
    assert lm.path is not None
    words = unigrams if lm.kind == "arpa" else listed_words  # an ARPA file is read up to a word
    try:
        if any(len(word) > LONGEST_SYMBOL and MARK not in word for word in words(lm.path)):
            return False  # as every model of words has some, the acoustic model is seldom read
        return (vocabulary or vocabulary_in(model)).are_symbols(words(lm.path))
    except ArpaError as error:
        raise UserError(str(error)) from error
    except LanguageModelError as error:
        raise UsageError(str(error)) from error


def vocabulary_in(model: ModelLocation) -> Vocabulary:
    """The vocabulary in a model's files. Raises UserError."""
    try:
        outputs = quick_outputs(model.path, model.language)
        if outputs is None:
            from models.importers.reader import read_model

            checkpoint = read_model(model.path, model.language)
            if checkpoint.labels is None:
                raise UserError(
                    f"{model.path} is only pretrained: "
                    "it has no output layer to transcribe with (w2v2 finetune)."
                )
            outputs = checkpoint.labels, checkpoint.metadata
        return Vocabulary.from_metadata(*outputs)
    except ValueError as error:
        raise UserError(str(error)) from error


def _own_lm(model: ModelLocation, lexicon: Path | None, on_progress: OnProgress) -> LmLocation:
    """The language model in a model's folder, with its words and its weights."""
    folder: Path | None = model.path / LANGUAGE_MODEL
    if (name := repository_of(model.path / "config.json")) is not None:
        folder = fetch_language_model(Repository(name, model.path.name), on_progress)
    if folder is None or not folder.is_dir():
        raise UsageError(
            f"{model.name} carries no language model: it has no folder {LANGUAGE_MODEL}. "
            "Name a file (--lm), or none."
        )
    try:
        carried = read_carried(folder)
        weights = carried.weights
    except ValueError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}.") from None
    words = None if lexicon is not None else carried.unigrams
    kind: LmKind = "arpa" if _lists_words(carried.path) else "kenlm"
    if kind == "kenlm" and lexicon is None and words is None and not binary_words(carried.path):
        raise UsageError(
            f"{carried.path} does not list its words as an ARPA file does, and unigrams.txt beside "
            "it is empty: give them by --lexicon."
        )
    note = ""
    if not carried.score_boundary:
        note = (
            f"Note: {folder / ATTRIBUTES} sets score_boundary to false; w2v2 scores the begin and "
            "the end of a sentence nevertheless."
        )
    return LmLocation(OWN, carried.path, lexicon, kind, words, weights, note)


def _lm_in(path: Path, name: str, lexicon: Path | None) -> LmLocation:
    """A language model in a file of the user's own."""
    if not path.is_file():
        raise UsageError(_unknown("language model", name, LM_NAMES))
    if path.suffix in TRANSFORMERS:
        return LmLocation(name, path, lexicon, "transformer")
    if _lists_words(path):
        return LmLocation(name, path, lexicon, "arpa")
    return LmLocation(name, path, lexicon, "kenlm")


def _lists_words(path: Path) -> bool:
    """True for an ARPA file, False for KenLM's binary; UsageError for anything else."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from None
    if start.startswith(BEGINNING):
        raise UsageError(f"{path} {NOT_FETCHED}.")
    if not start.startswith((ARPA_START, KENLM_START)):
        raise UsageError(f"{path} is neither an ARPA file nor a KenLM binary.")
    return start.startswith(ARPA_START)


def _unknown(what: str, name: str, names: Sequence[str], more: str = "") -> str:
    """The message for a name or path that leads nowhere; `more` ends the list of the names."""
    if os.sep in name or Path(name).suffix in PATH_SUFFIXES:
        return f"There is no {what} at {name}."
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    return f"There is no {what} {name!r}; " + (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"there are {', '.join(names)}, {more}or a path."
    )


def _shipped(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"The file {path.name} that ships with w2v2 is missing: install w2v2 again."
        )
    return path


def _librispeech_lm(on_progress: OnProgress) -> Path:
    """The LibriSpeech 4-gram, without a lexicon: OpenSLR's spells words in phones, not letters."""
    url = os.environ.get("W2V2_LIBRISPEECH_LM") or LIBRISPEECH_LM
    root, _, file = url.rpartition("/")
    path = home() / "lm" / file
    if not path.is_file() and offline():
        raise UserError(
            "The LibriSpeech 4-gram is not on this machine and the network is off: "
            f"fetch {url} and put it at {path}."
        )
    return _get(root, path.parent, file, on_progress)


def _get(root: str, folder: Path, file: str, on_progress: OnProgress) -> Path:
    return fetch(
        Wanted(f"{root}/{file}", folder / file), lambda done, total: on_progress(file, done, total)
    )


def _librispeech_transformer(on_progress: OnProgress) -> Path:
    """The word Transformer of the paper's best results (Table 2), its dictionary beside it."""
    url = os.environ.get("W2V2_LIBRISPEECH_TRANSFORMER") or LIBRISPEECH_TRANSFORMER
    root, _, file = url.rpartition("/")
    folder = home() / "lm"
    names = (file, str(Path(file).with_suffix(".dict")))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and offline():
        raise UserError(
            "The LibriSpeech Transformer is incomplete on this machine and the network is off: "
            f"fetch {', '.join(missing)} from {root} and put it into {folder}."
        )
    for name in names:
        _get(root, folder, name, on_progress)
    return folder / file
