"""The languages of a folder of transformers that has an adapter for each, as MMS's models do.

`vocab.json` holds a vocabulary for each language, and `adapter.LANGUAGE.safetensors` (or `.bin`)
what the language changes: an adapter in each block, and the output layer. Nothing heavy is imported
here.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from models.importers.tokenizer import LabelsError, holds_languages, json_file

ADAPTERS = ("adapter.{}.safetensors", "adapter.{}.bin")  # the first that a folder has
SHOWN = 12  # languages that a message names


class LanguageError(LabelsError):
    """A language that a model does not have."""


def languages_of(folder: Path) -> list[str]:
    """The languages whose vocabularies a folder holds; empty for a model of one language.

    Raises LabelsError for a damaged vocabulary, OSError.
    """
    content = json_file(folder / "vocab.json", optional=True)
    return sorted(content) if holds_languages(content) else []


def own_language(folder: Path) -> str | None:
    """The language of the weights in the folder's main file, where its tokenizer names one."""
    settings = json_file(folder / "tokenizer_config.json", optional=True)
    language = settings.get("target_lang")
    return language if isinstance(language, str) else None


def check_language(folder: Path, language: str) -> None:
    """Raise LanguageError, with the nearest first, for a language that a folder does not have."""
    known = languages_of(folder)
    if not known:
        own = own_language(folder)
        if own != language:
            also = "" if own is None else f": it is for {own}"
            raise LanguageError(f"{folder} has no adapters of languages, so no {language!r}{also}.")
    elif language not in known:
        raise LanguageError(
            f"The model has no language {language!r}; it has {_nearest(language, known)}."
        )


def adapter_path(folder: Path, language: str) -> Path | None:
    """The file of a language's adapter.

    None where the weights in the folder's main file are the language's. Raises LanguageError.
    """
    check_language(folder, language)
    for name in ADAPTERS:
        if (folder / name.format(language)).is_file():
            return folder / name.format(language)
    if language == own_language(folder):
        return None
    raise LanguageError(
        f"{folder} has no adapter for {language}: neither "
        f"{' nor '.join(name.format(language) for name in ADAPTERS)}."
    )


def language_note(folder: Path, name: str) -> str:
    """What to tell where no language was asked for; empty for a model of one language."""
    others, own = len(languages_of(folder)) - 1, own_language(folder)
    if others < 1 or own is None:
        return ""
    return f"Note: {name} is for {own}; --language names one of {others} other languages."


def _nearest(language: str, known: list[str]) -> str:
    """The languages of a model, those of a similar name first."""
    wanted = language.lower()
    near = [name for name in known if name.lower().startswith(wanted)]
    near += difflib.get_close_matches(wanted, known, n=SHOWN, cutoff=0.5)
    listed = list(dict.fromkeys([*near, *known]))
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more
