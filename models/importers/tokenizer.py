"""The vocabulary of a folder of transformers, read without torch so that searches start soon.

The files are those of `Wav2Vec2CTCTokenizer`, read as transformers reads them. Of their tokens the
network's outputs count; those beyond them exist for transformers' own bookkeeping.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from storage.json_text import parsed

MOST_LABELS = 1_000_000  # a larger number is damage, not a label
DEFAULT_OUTPUTS = 32  # transformers' vocab_size where config.json gives none
MOST_LANGUAGES = 12  # named in a message

# transformers' defaults of the settings that are read here.
DEFAULTS: dict[str, Any] = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
    "pad_token": "<pad>",
    "word_delimiter_token": "|",
    "do_lower_case": False,
    "target_lang": None,
}
SPECIAL = ("bos_token", "eos_token", "unk_token", "pad_token")  # in the order of their new numbers
BOUNDARIES = (" ", "<space>")  # where the word delimiter is not in the vocabulary
PHONES = "Wav2Vec2PhonemeCTCTokenizer"


class LabelsError(ValueError):
    """A vocabulary that is missing, damaged, or not the network's."""


def huggingface_outputs(
    folder: Path, language: str | None = None, count: int | None = None
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The label of each output, and what a checkpoint's metadata says of the special ones.

    The metadata holds the index of the blank, of the word boundary and of the unknown symbol (None
    where there is none); for models of phones also the units. With `do_lower_case` transformers
    prints the lower case of its capital labels: here the labels themselves are in lower case.

    language: one of a vocabulary of several; by default the tokenizer's `target_lang`.
    count: how many outputs there are; by default `vocab_size` of `config.json`.

    Raises LabelsError, OSError.
    """
    config = json_file(folder / "config.json")
    count = config.get("vocab_size", DEFAULT_OUTPUTS) if count is None else count
    if not isinstance(count, int) or not 0 < count < MOST_LABELS:
        raise LabelsError(
            f"{folder / 'config.json'} needs vocab_size, the number of outputs, got {count!r}."
        )
    settings = _settings(folder)
    if language is not None:
        settings["target_lang"] = language
    labels = _labels(folder, settings, count)
    if settings["do_lower_case"]:
        labels = _lower(labels, settings, folder)
    phones = settings.get("tokenizer_class") == PHONES
    delimiter = settings["word_delimiter_token"]
    metadata = {
        "blank": _first(labels, (settings["pad_token"],)),
        "word_boundary": None if phones else _first(labels, (delimiter, *BOUNDARIES)),
        "unknown": _first(labels, (settings["unk_token"],)),
        **({"units": "phones"} if phones else {}),
        **({} if settings["target_lang"] is None else {"language": settings["target_lang"]}),
    }
    if metadata["blank"] is None:
        metadata["blank"] = _pad_token_id(config, count)
    return labels, {
        name: i for name, i in metadata.items() if name == "word_boundary" or i is not None
    }


def vocabulary_labels(path: Path) -> tuple[str, ...]:
    """The labels of a `vocab.json` alone, by their numbers. Raises LabelsError, OSError."""
    ids = _vocabulary(path, None)
    return tuple(sorted(ids, key=ids.__getitem__))


def _pad_token_id(config: dict[str, Any], count: int) -> int | None:
    number = config.get("pad_token_id")
    return number if isinstance(number, int) and 0 <= number < count else None


def _settings(folder: Path) -> dict[str, Any]:
    """The tokenizer's settings; special tokens as plain strings."""
    given = json_file(folder / "tokenizer_config.json", optional=True)
    if "added_tokens_decoder" not in given:  # transformers reads the older file only then
        given |= json_file(folder / "special_tokens_map.json", optional=True)
    default = DEFAULTS
    if given.get("tokenizer_class") == PHONES:
        default = DEFAULTS | {"word_delimiter_token": None}
    settings = default | given
    for name in (*SPECIAL, "word_delimiter_token"):
        value = settings[name]
        settings[name] = value.get("content") if isinstance(value, dict) else value
    return settings


def _labels(folder: Path, settings: dict[str, Any], count: int) -> tuple[str, ...]:
    """The labels of `count` outputs."""
    path = folder / "vocab.json"
    vocabulary = _vocabulary(path, settings["target_lang"])
    labels = {i: label for label, i in vocabulary.items()}  # the last label of a number counts
    special = [settings[name] for name in SPECIAL if settings[name] is not None]
    beyond = [
        label
        for i, label in sorted(labels.items())
        if i >= count and label not in special and not _is_name(label)
    ]
    if beyond:
        raise LabelsError(
            f"{path} has {len(labels)} labels, but the model has {count} outputs: "
            f"none is left for {beyond[0]!r}."
        )
    labels = {i: label for i, label in {**_added(folder, settings), **labels}.items() if i < count}
    for label in special:
        if label not in labels.values() and len(labels) < count and len(labels) not in labels:
            labels[len(labels)] = label
    if len(labels) < count:
        without = next(i for i in range(count) if i not in labels)
        raise LabelsError(
            f"{path} and the tokenizer's settings beside it give {len(labels)} labels, but the "
            f"model has {count} outputs: number {without} has none."
        )
    found: dict[str, int] = {}
    for i in range(count):
        # A token may be added twice: its second number never spells anything.
        found[f"<{i}>" if labels[i] in found else labels[i]] = i
    return tuple(found)


def holds_languages(content: dict[str, Any]) -> bool:
    """Whether the content of a `vocab.json` is a vocabulary for each of several languages."""
    return bool(content) and all(isinstance(part, dict) for part in content.values())


def _vocabulary(path: Path, language: str | None) -> dict[str, int]:
    if not path.is_file():
        raise LabelsError(
            f"{path.parent} has no vocab.json: which letter each output of the model stands for "
            "is not known. Copy it from where the model comes from."
        )
    content = json_file(path)
    if holds_languages(content):
        if language not in content:
            names = sorted(content)
            more = f" and {len(names) - MOST_LANGUAGES} more" if len(names) > MOST_LANGUAGES else ""
            wanted = "names none" if language is None else f"names {language!r}"
            raise LabelsError(
                f"{path} holds the vocabularies of {len(names)} languages "
                f"({', '.join(names[:MOST_LANGUAGES])}{more}), and tokenizer_config.json {wanted}: "
                "name one by --language, or set its target_lang to that of the weights."
            )
        content = content[language]
    ids = _numbers(content, path)
    if not ids:
        raise LabelsError(f"{path} has no labels.")
    return ids


def _added(folder: Path, settings: dict[str, Any]) -> dict[int, str]:
    """Labels that the tokenizer adds to the vocabulary, by number."""
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        return {
            int(i): token["content"]
            for i, token in decoder.items()
            if i.isdecimal() and isinstance(token, dict) and isinstance(token.get("content"), str)
        }
    path = folder / "added_tokens.json"
    return {i: label for label, i in _numbers(json_file(path, optional=True), path).items()}


def _lower(labels: tuple[str, ...], settings: dict[str, Any], folder: Path) -> tuple[str, ...]:
    kept = {settings[name] for name in (*SPECIAL, "word_delimiter_token")}
    lower = tuple(label if label in kept or _is_name(label) else label.lower() for label in labels)
    twice = next((label for label in lower if lower.count(label) > 1), None)
    if twice is not None:
        raise LabelsError(
            f"{folder / 'vocab.json'} holds {twice!r} in both cases, and tokenizer_config.json "
            "sets do_lower_case, which makes them one letter: set it to false."
        )
    return lower


def _is_name(label: str) -> bool:
    """Whether a label is a name such as <s> or [UNK], which spells nothing."""
    return len(label) > 2 and label[0] + label[-1] in ("<>", "[]")


def _first(labels: tuple[str, ...], names: tuple[Any, ...]) -> int | None:
    return next((labels.index(name) for name in names if name in labels), None)


def _numbers(content: dict[str, Any], path: Path) -> dict[str, int]:
    if not all(isinstance(i, int) and 0 <= i < MOST_LABELS for i in content.values()):
        raise LabelsError(f"{path} does not give each label its number.")
    return content


def json_file(path: Path, optional: bool = False) -> dict[str, Any]:
    """A JSON object; of an optional file that is not there, an empty one."""
    if optional and not path.is_file():
        return {}
    try:
        content = parsed(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LabelsError(f"{path} is not JSON: {error}.") from None
    except OSError as error:
        raise LabelsError(f"{path} cannot be read: {error.strerror}.") from None
    if not isinstance(content, dict):
        raise LabelsError(
            f"{path} does not give each label its number."
            if path.name == "vocab.json"
            else f"{path} is not a JSON object."
        )
    return content
