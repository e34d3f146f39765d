"""Names that resolve to files: models and language models, shipped, fetched or the user's own.

Fetched files lie in `home()`: models/NAME/ as their repository has them, and lm/. Their hashes are not
known here; `downloads` says what is checked instead.
"""

from __future__ import annotations

import difflib
import gzip
import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from storage.home import home
from w2v2cli.data.downloads import NotThere, Wanted, fetch
from w2v2cli.errors import UsageError, UserError

Family = Literal["demo", "librispeech"]
LmKind = Literal["arpa", "kenlm", "transformer"]
Tell = Callable[[str, int, int | None], None]  # file name, bytes on disk, bytes in all

SHIPPED = Path(__file__).parents[1] / "shipped"
DEMO_MODEL = SHIPPED / "demo.safetensors"
DEMO_LM = SHIPPED / "demo-4gram.arpa.gz"
DEMO_TRANSFORMER = SHIPPED / "demo-transformer.safetensors"
DEMO_LEXICON = SHIPPED / "demo-lexicon.txt.gz"

HUGGING_FACE = "https://huggingface.co"
LIBRISPEECH_LM = "https://www.openslr.org/resources/11/4-gram.arpa.gz"
LIBRISPEECH_TRANSFORMER = "https://dl.fbaipublicfiles.com/wav2letter/sota/2019/lm/lm_librispeech_word_transformer.pt"  # and .dict

# Name: repository of the published model, and whether it recognises or is only pretrained.
PUBLISHED = {
    "base": "facebook/wav2vec2-base",
    "base-100h": "facebook/wav2vec2-base-100h",
    "base-960h": "facebook/wav2vec2-base-960h",
    "large": "facebook/wav2vec2-large",
    "large-960h": "facebook/wav2vec2-large-960h",
    "large-lv60k": "facebook/wav2vec2-large-lv60",
    "large-lv60k-960h": "facebook/wav2vec2-large-960h-lv60",
    "large-lv60k-960h-self": "facebook/wav2vec2-large-960h-lv60-self",
}
LM_NAMES = ("none", "4gram", "transformer")
TRANSFORMERS = (".safetensors", ".pt")  # files of ours, and fairseq's
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has
SMALL_FILES = ("config.json", "preprocessor_config.json", "vocab.json")
PRETRAINED = frozenset({"base", "large", "large-lv60k"})  # they may have no vocab.json
ARPA_START, KENLM_START = b"\\data\\", b"mmap lm http://kheafield.com/code"


@dataclass(frozen=True)
class ModelLocation:
    """An acoustic model on disk."""

    name: str
    """As it was asked for."""
    path: Path
    """A file, or a Hugging Face folder."""
    family: Family | None
    """Which language model goes by `4gram` with it; None for a file or folder of the user's own."""


@dataclass(frozen=True)
class LmLocation:
    """A language model on disk; both paths are None where none is used."""

    name: str
    path: Path | None
    lexicon: Path | None
    """Spellings; None spells the language model's own words (an ARPA file's unigrams) by their characters."""
    kind: LmKind = "arpa"
    """What is in the file `lm`."""


def offline() -> bool:
    """Whether the user forbade the network, by W2V2_OFFLINE or HF_HUB_OFFLINE."""
    said = (os.environ.get(name, "").lower() for name in ("W2V2_OFFLINE", "HF_HUB_OFFLINE"))
    return any(value not in ("", "0", "false", "no", "off") for value in said)


def model_names() -> list[str]:
    """The names that `--model` knows."""
    return ["demo", *PUBLISHED]


def resolve_model(name: str, tell: Tell = lambda file, done, total: None) -> ModelLocation:
    """A model by name, by its Hugging Face repository, folder or file, fetched if it must be.

    A known name goes before a path (`./base` is the path). UsageError names the nearest names; UserError, DownloadError
    among them, says why a model cannot be fetched.
    """
    name = next((known for known, repository in PUBLISHED.items() if repository == name), name)
    if name == "demo":
        return ModelLocation(name, _shipped(DEMO_MODEL), "demo")
    if name in PUBLISHED:
        return ModelLocation(name, _published(name, tell), "librispeech")
    path = Path(name).expanduser()
    if path.exists():
        return ModelLocation(name, path, None)
    raise UsageError(_unknown("model", name, model_names()))


def resolve_lm(
    name: str,
    model: ModelLocation,
    lexicon: Path | None = None,
    tell: Tell = lambda file, done, total: None,
) -> LmLocation:
    """A language model by name or path, for a model; `lexicon` replaces the one that goes with it.

    UsageError for an unknown name, with the nearest ones, for a file that is no language model, and for a `4gram` where
    none goes with the model; UserError when one cannot be fetched.
    """
    if lexicon is not None and not lexicon.is_file():
        raise UsageError(f"There is no lexicon at {lexicon}.")
    if name == "none":
        return LmLocation(name, None, lexicon)
    if name == "4gram":
        if model.family == "demo":
            return LmLocation(name, _shipped(DEMO_LM), lexicon or _shipped(DEMO_LEXICON))
        if model.family == "librispeech":
            return LmLocation(name, _librispeech_lm(tell), lexicon)
        raise UsageError(
            f"--lm 4gram goes with the shipped and the published models; for {model.name} name an ARPA or KenLM file "
            "(w2v2 lm build makes one)."
        )
    if name == "transformer":
        if model.family == "demo":
            return LmLocation(
                name, _shipped(DEMO_TRANSFORMER), lexicon or _shipped(DEMO_LEXICON), "transformer"
            )
        if model.family == "librispeech":
            return LmLocation(name, _librispeech_transformer(tell), lexicon, "transformer")
        raise UsageError(
            f"--lm transformer goes with the shipped and the published models; for {model.name} name a file "
            "(w2v2 lm train makes one)."
        )
    path = Path(name).expanduser()
    if not path.is_file():
        raise UsageError(_unknown("language model", name, LM_NAMES))
    if path.suffix in TRANSFORMERS:
        return LmLocation(name, path, lexicon, "transformer")
    if _lists_words(path):
        return LmLocation(name, path, lexicon, "arpa")
    if lexicon is None:
        raise UsageError(
            f"{name} does not list its words as an ARPA file does: give them by --lexicon."
        )
    return LmLocation(name, path, lexicon, "kenlm")


def _lists_words(path: Path) -> bool:
    """Whether a language model is ARPA and not KenLM's binary; UsageError when it is neither."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(4096).lstrip()
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(
            f"{path} cannot be read: {getattr(error, 'strerror', None) or error}."
        ) from None
    if not start.startswith((ARPA_START, KENLM_START)):
        raise UsageError(f"{path} is neither an ARPA file nor a binary of KenLM's.")
    return start.startswith(ARPA_START)


def _unknown(what: str, name: str, names: Sequence[str]) -> str:
    """The sentence for a name or path that leads nowhere."""
    path = Path(name)
    if os.sep in name or path.suffix in (
        ".pt",
        ".bin",
        ".safetensors",
        ".arpa",
        ".gz",
        ".binary",
        ".klm",
    ):
        return f"There is no {what} at {name}."
    near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    return f"There is no {what} {name!r}; " + (
        f"did you mean {' or '.join(near)}?"
        if near
        else f"there are {', '.join(names)}, or a path."
    )


def _shipped(path: Path) -> Path:
    if not path.is_file():
        raise UserError(
            f"The file {path.name} that ships with w2v2 is missing: install w2v2 again."
        )
    return path


def _published(name: str, tell: Tell) -> Path:
    """The folder of a published model, complete."""
    folder = home() / "models" / name
    root = f"{(os.environ.get('HF_ENDPOINT') or HUGGING_FACE).rstrip('/')}/{PUBLISHED[name]}/resolve/main"
    small = [file for file in SMALL_FILES if file != "vocab.json" or name not in PRETRAINED]
    missing = [file for file in small if not (folder / file).is_file()]
    if any((folder / file).is_file() for file in WEIGHTS):
        if not missing:
            return folder
    else:
        missing.append(" or ".join(WEIGHTS))
    if offline():
        raise UserError(
            f"{name} is not whole on this machine and the network is off: fetch {', '.join(missing)} from {root} "
            f"and put it into {folder}."
        )
    for file in SMALL_FILES:
        try:
            _get(root, folder, file, tell)
        except NotThere:
            if file in small:
                raise
    if not (folder / WEIGHTS[1]).is_file():
        try:
            _get(root, folder, WEIGHTS[0], tell)
        except NotThere:
            _get(root, folder, WEIGHTS[1], tell)
    return folder


def _librispeech_lm(tell: Tell) -> Path:
    """The LibriSpeech 4-gram; the words of its ARPA are its vocabulary, openslr's lexicon spells them in phones."""
    url = os.environ.get("W2V2_LIBRISPEECH_LM") or LIBRISPEECH_LM
    root, _, file = url.rpartition("/")
    path = home() / "lm" / file
    if not path.is_file() and offline():
        raise UserError(
            f"The LibriSpeech 4-gram is not on this machine and the network is off: fetch {url} and put it at {path}."
        )
    return _get(root, path.parent, file, tell)


def _get(root: str, folder: Path, file: str, tell: Tell) -> Path:
    return fetch(
        Wanted(f"{root}/{file}", folder / file), lambda done, total: tell(file, done, total)
    )


def _librispeech_transformer(tell: Tell) -> Path:
    """The word Transformer of the paper's best results, its dictionary beside it."""
    url = os.environ.get("W2V2_LIBRISPEECH_TRANSFORMER") or LIBRISPEECH_TRANSFORMER
    root, _, file = url.rpartition("/")
    folder = home() / "lm"
    names = (file, str(Path(file).with_suffix(".dict")))
    missing = [name for name in names if not (folder / name).is_file()]
    if missing and offline():
        raise UserError(
            f"The LibriSpeech Transformer is not whole on this machine and the network is off: fetch {', '.join(missing)} "
            f"from {root} and put it into {folder}."
        )
    for name in names:
        _get(root, folder, name, tell)
    return folder / file
