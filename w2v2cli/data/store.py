"""Names that resolve to files: models and language models, shipped, fetched or the user's own."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from w2v2cli.data.downloads import NotThere, Wanted, fetch
from w2v2cli.errors import UsageError, UserError

Family = Literal["demo", "librispeech"]
Tell = Callable[[str, int, int | None], None]  # file name, bytes on disk, bytes in all

SHIPPED = Path(__file__).parents[1] / "shipped"
DEMO_MODEL = SHIPPED / "demo.safetensors"
DEMO_LM = SHIPPED / "demo-4gram.arpa.gz"
DEMO_LEXICON = SHIPPED / "demo-lexicon.txt.gz"

HUGGING_FACE = "https://huggingface.co"
LIBRISPEECH_LM = "https://www.openslr.org/resources/11/4-gram.arpa.gz"

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
LM_NAMES = ("none", "4gram")
WEIGHTS = ("model.safetensors", "pytorch_model.bin")  # the first that a repository has
SMALL_FILES = ("config.json", "preprocessor_config.json", "vocab.json")
OPTIONAL = frozenset({"vocab.json"})  # a pretrained model has none


@dataclass(frozen=True)
class ModelLocation:
    """An acoustic model on disk."""

    name: str
    """As it was asked for."""
    path: Path
    """A file, or a Hugging Face folder."""
    family: Family | None
    """Which language model goes by `4gram` with it; None for a model we do not know."""


@dataclass(frozen=True)
class LmLocation:
    """A language model on disk; both paths are None where none is used."""

    name: str
    lm: Path | None
    lexicon: Path | None
    """Spellings; None spells the language model's own words by their characters."""


def home() -> Path:
    """Where fetched files live: $W2V2_HOME, else w2v2 in the user's cache."""
    if os.environ.get("W2V2_HOME"):
        return Path(os.environ["W2V2_HOME"])
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "w2v2"


def offline() -> bool:
    """Whether the user forbade the network, by W2V2_OFFLINE or HF_HUB_OFFLINE."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in ("W2V2_OFFLINE", "HF_HUB_OFFLINE"))


def model_names() -> list[str]:
    """The names that `--model` knows."""
    return ["demo", *PUBLISHED]


def resolve_model(name: str, tell: Tell = lambda file, done, total: None) -> ModelLocation:
    """A model by name, folder or file, fetched if it must be; an unknown one is answered with the nearest names.

    A path goes before a name when it holds a separator or exists and is no known name.
    """
    if name == "demo":
        return ModelLocation(name, _shipped(DEMO_MODEL), "demo")
    if name in PUBLISHED:
        return ModelLocation(name, _published(name, tell), "librispeech")
    path = Path(name).expanduser()
    if path.exists():
        return ModelLocation(name, path, None)
    if os.sep in name or path.suffix:
        raise UsageError(f"There is no model at {name}.")
    raise UsageError(f"There is no model {name!r}{_nearest(name, model_names())}")


def resolve_lm(
    name: str,
    model: ModelLocation,
    lexicon: Path | None = None,
    tell: Tell = lambda file, done, total: None,
) -> LmLocation:
    """A language model by name or path, for a model; `lexicon` replaces the one that goes with it."""
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
    path = Path(name).expanduser()
    if path.is_file():
        if lexicon is None and not path.name.endswith((".arpa", ".arpa.gz")):
            raise UsageError(f"{name} does not list its words as an ARPA file does: give them by --lexicon.")
        return LmLocation(name, path, lexicon)
    if os.sep in name or path.suffix:
        raise UsageError(f"There is no language model at {name}.")
    raise UsageError(f"There is no language model {name!r}{_nearest(name, LM_NAMES)}")


def _nearest(name: str, names: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else f"; there are {', '.join(names)}, or a path."


def _shipped(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"The file {path.name} that ships with w2v2 is missing: install w2v2 again.")
    return path


def _published(name: str, tell: Tell) -> Path:
    """The folder of a published model, complete."""
    folder = home() / "models" / name
    root = f"{os.environ.get('HF_ENDPOINT', HUGGING_FACE).rstrip('/')}/{PUBLISHED[name]}/resolve/main"
    weights = next((file for file in WEIGHTS if (folder / file).is_file()), None)
    if weights and all((folder / file).is_file() for file in SMALL_FILES if file not in OPTIONAL):
        return folder
    if offline():
        files = ", ".join(f"{root}/{file}" for file in (*SMALL_FILES, WEIGHTS[0]))
        raise UserError(f"{name} is not on this machine and the network is off: fetch {files} into {folder}.")
    for file in SMALL_FILES:
        try:
            _get(root, folder, file, tell)
        except NotThere:
            if file not in OPTIONAL:
                raise
    try:
        _get(root, folder, WEIGHTS[0], tell)
    except NotThere:
        _get(root, folder, WEIGHTS[1], tell)
    return folder


def _librispeech_lm(tell: Tell) -> Path:
    url = os.environ.get("W2V2_LIBRISPEECH_LM", LIBRISPEECH_LM)
    root, _, file = url.rpartition("/")
    path = home() / "lm" / file
    if not path.is_file() and offline():
        raise UserError(f"The LibriSpeech 4-gram is not on this machine and the network is off: fetch {url} to {path}.")
    return _get(root, path.parent, file, tell)


def _get(root: str, folder: Path, file: str, tell: Tell) -> Path:
    return fetch(Wanted(f"{root}/{file}", folder / file), lambda done, total: tell(file, done, total))
