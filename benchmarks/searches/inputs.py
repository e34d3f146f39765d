"""Emissions, simulated and of the shipped model, and a 4-gram large enough to matter."""

from __future__ import annotations

import csv
import gzip
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.searches.simulation import Simulation
from lm.search.greedy import greedy_search
from lm.text.normalization import normalize_text
from lm.text.vocabulary import CHARACTERS, Vocabulary
from storage.home import home
from w2v2cli.recognition.scoring.error_rate import align, total

SHARED = Path(__file__).parents[3] / "shared" / "data"
TEXTS = SHARED / "ljspeech" / "transcripts.tsv"
NOVELS = SHARED / "novels"
BOOKS = SHARED / "more-books"  # which the novels' language model has not read
FRAME = 0.02  # seconds
SHORTEST, LONGEST = 40, 200  # letters of a transcript
VOCABULARY = Vocabulary.from_labels(CHARACTERS)


@dataclass(frozen=True)
class Inputs:
    """Emissions of utterances, and what was said in them."""

    name: str
    labels: tuple[str, ...]
    texts: list[str]
    """Normalised transcripts."""
    emissions: list[np.ndarray]
    """Log-probabilities of each utterance, float32 (T, V)."""

    @property
    def audio_seconds(self) -> float:
        """Length of all utterances."""
        return sum(map(len, self.emissions)) * FRAME

    @property
    def greedy_wer(self) -> float:
        """Word error rate of the best path, without a language model."""
        vocabulary = Vocabulary.from_labels(self.labels)
        return wer(
            self.texts,
            [greedy_search(e[None], [len(e)], vocabulary)[0][0].text for e in self.emissions],
        )


def references(path: Path, count: int) -> list[str]:
    """The first `count` normalised transcripts of 40 to 200 letters."""
    with path.open(encoding="utf-8") as file:
        texts = [
            normalize_text(row["text"])
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        ]
    return [text for text in texts if SHORTEST <= len(text) <= LONGEST][:count]


def sentences(folder: Path, count: int) -> list[str]:
    """`count` normalised sentences of 40 to 200 letters, evenly from the books in a folder."""
    texts = []
    for path in sorted(folder.glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            said = re.split(r"[.!?]", file.read())
        texts += [normalize_text(" ".join(sentence.split())) for sentence in said]
    texts = list(dict.fromkeys(text for text in texts if SHORTEST <= len(text) <= LONGEST))
    return [texts[i * len(texts) // count] for i in range(count)]


def simulated(transcripts: Path, count: int, mistaken: float) -> Inputs:
    """Emissions like those of a model of LibriSpeech.

    With `mistaken` at 0.02, their greedy WER is 10 to 15%.
    """
    texts = references(transcripts, count)
    return Inputs("simulated", CHARACTERS, texts, Simulation(VOCABULARY, mistaken)(texts))


def recorded(model: str, corpus: Path | None, count: int) -> Inputs:
    """Emissions that a model computes of `count` recordings of a corpus.

    Without `corpus` they come from the splits that ship.
    """
    from models.importers.reader import read_model
    from w2v2cli.data.audio import read_audio
    from w2v2cli.data.corpora.catalogue import find_splits
    from w2v2cli.data.locations import resolve_model
    from w2v2cli.recognition.acoustic_model import AcousticModel

    parts = find_splits("all" if corpus is None else None, corpus)
    said = [(u.path, u.text) for part in parts for u in part.utterances if u.text and not u.start]
    said = said[:: max(1, len(said) // count)][:count]  # from all parts
    checkpoint = read_model(resolve_model(model).path)
    acoustic = AcousticModel.load(checkpoint, "cpu")
    emissions = [acoustic.log_probs([read_audio(path)])[0] for path, _ in said]
    texts = [normalize_text(text) for _, text in said]
    return Inputs(f"recorded, model {model}", tuple(checkpoint.labels or ()), texts, emissions)


def novels_4gram() -> tuple[Path, Path]:
    """A pruned 4-gram of the novels, 1.6 M n-grams, and its lexicon of 84 679 words.

    The first call makes both, in about a minute.
    """
    folder = home() / "benchmarks"
    lm, lexicon = folder / "novels-4gram.arpa.gz", folder / "novels-lexicon.txt"
    if not (lm.exists() and lexicon.exists()):
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{os.getpid()}.arpa.gz"
        build = ["lm", "build", "--order", "4", "--prune", "0", "1", "2", "3", str(NOVELS)]
        build += ["--output", str(partial), "--lexicon", str(lexicon)]
        subprocess.run([sys.executable, "-m", "w2v2cli", *build], check=True)
        partial.replace(lm)
    return lm, lexicon


def unpacked(path: Path, folder: Path) -> Path:
    """The path of a file that is not compressed: the file's own, or of a copy in `folder`.

    Peers cannot read gzip, and decompression is not measured here.
    """
    if path.suffix != ".gz":
        return path
    plain = folder / path.stem
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    return plain


def wer(texts: list[str], found: list[str]) -> float:
    """Word error rate over all utterances."""
    return total(
        align(text, hypothesis).words for text, hypothesis in zip(texts, found, strict=True)
    ).rate
