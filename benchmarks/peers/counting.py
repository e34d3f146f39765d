"""Error rates and costs of systems, on recordings that all of them heard."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.measuring import Clip, Measured, Row
from benchmarks.peers.systems import Peer
from lm.text.normalization import normalize_text
from models.config import SAMPLE_RATE
from storage.hashing import hash_of
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.recordings import utterance_length
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.error_rate import ErrorCounts, align, bootstrap_interval, total

Spelling = Callable[[str], str]
Rate = tuple[float, float, float]
"""A word error rate in percent, and the ends of its 95% interval."""


def chosen_clips(corpora: Sequence[Path], seconds: float | None) -> list[Clip]:
    """The recordings of corpora that have words; of each corpus at least `seconds` where it has.

    They are drawn in an order that their names alone decide, so that more seconds keep all of
    fewer. None takes everything. Raises UserError for corpora of one name or without words.
    """
    found: list[Clip] = []
    names = [path.name.removesuffix(".jsonl") for path in corpora]
    for path, name in zip(corpora, names, strict=True):
        if names.count(name) > 1:
            raise UserError(f"Two corpora are called {name}: rename one of them.")
        spoken = [one for one in read_corpus(path) if one.text and normalize_text(one.text)]
        if not spoken:
            raise UserError(f"{path} has no transcripts to count errors by.")
        taken = 0.0
        for one in sorted(spoken, key=lambda utterance: hash_of(utterance.id)):
            if seconds is not None and taken >= seconds:
                break
            length = utterance_length(one) / SAMPLE_RATE
            found.append(Clip(name, one, length))
            taken += length
    return found


def described(clips: Sequence[Clip]) -> dict[str, Any]:
    """How many recordings and seconds each corpus has, and a hash that tells whether two agree."""
    corpora: dict[str, dict[str, Any]] = {}
    for clip in sorted(clips, key=lambda clip: clip.corpus):
        corpus = corpora.setdefault(clip.corpus, {"utterances": 0, "seconds": 0.0})
        corpus["utterances"] += 1
        corpus["seconds"] = round(corpus["seconds"] + clip.seconds, 3)
    names = sorted(f"{clip.corpus} {clip.utterance.id} {clip.utterance.text}" for clip in clips)
    return {"digest": hash_of(*names), "corpora": corpora}


def whisper_spelling(site: Path | None) -> Spelling | None:
    """The rules by which Whisper's authors count; None where they are not installed."""
    if site is not None and str(site) not in sys.path:
        sys.path.append(str(site))
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError:
        return None
    spelling: Spelling = EnglishTextNormalizer()
    return spelling


def summary(
    peer: Peer, measured: Measured, clips: Sequence[Clip], whisper: Spelling | None
) -> dict[str, Any] | None:
    """The figures of one system; None where it has not heard all of the recordings.

    whisper: a second spelling to count by. Word error rates are percent with their 95% intervals;
    the rates of time are seconds for a second of audio.
    """
    clips = sorted(clips, key=lambda clip: (clip.corpus, clip.utterance.id))  # for the bootstrap
    keys = [(clip.corpus, clip.utterance.id) for clip in clips]
    if not keys or any(key not in measured.rows for key in keys):
        return None
    rows = [measured.rows[key] for key in keys]
    counts = _counts(clips, rows, normalize_text)
    by_corpus: dict[str, list[ErrorCounts]] = {}
    for clip, count in zip(clips, counts, strict=True):
        by_corpus.setdefault(clip.corpus, []).append(count)
    seconds = sum(row.seconds for row in rows)
    about = measured.about
    return {
        "peer": peer.name,
        "title": peer.title,
        "program": peer.distribution,
        "version": about["version"],
        "threads": about["threads"],
        "cores": about["cores"],
        "wer": _rate(counts),
        "whisper_wer": _rate(_counts(clips, rows, whisper)) if whisper else None,
        "wer_by_corpus": {name: _rate(some) for name, some in by_corpus.items()},
        "cpu": round(sum(row.cpu for row in rows) / seconds, 4),
        "wall": round(sum(row.wall for row in rows) / seconds, 4),
        "start": round(min(one.start for one in measured.starts), 2),
        "start_cpu": round(min(one.cpu for one in measured.starts), 2),
        "weights_mb": about["weights_mb"],
        "packages_mb": about["packages_mb"],
        "memory_mb": round(max(row.megabytes for row in rows)),
        "load": round(float(np.mean([row.load for row in rows])), 1),
    }


def _counts(clips: Sequence[Clip], rows: Sequence[Row], spell: Spelling) -> list[ErrorCounts]:
    return [
        align(clip.utterance.text or "", row.text, spell).words
        for clip, row in zip(clips, rows, strict=True)
    ]


def _rate(counts: Sequence[ErrorCounts]) -> Rate:
    low, high = bootstrap_interval(counts)
    rate = total(counts).rate
    return round(100 * rate, 2), round(100 * low, 2), round(100 * high, 2)
