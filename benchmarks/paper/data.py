"""The recordings of the scales `tiny` and `small`, as manifests.

The parts are those of `scripts/demo_data.py`: by its rules an utterance or a speaker is train, dev
or test, whatever else is here.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.paper.scales import Scale
from lm.text.normalization import normalize_text
from scripts.demo_data import IN_TEXT, LONG, READERS, STRANGERS, part_of
from w2v2cli.data.corpora.manifest import write_jsonl
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.utterance import Utterance
from w2v2cli.errors import UserError

TEST_OTHER = "librispeech-test-other"
DICTIONARY = Path("cmudict") / "cmudict.dict"
FIRST = (
    "kathleen"  # the reader whose speech is labelled first, and whose held-out clips are "clean"
)
NEEDED = (*READERS, STRANGERS, TEST_OTHER)


def check_data(data: Path) -> None:
    """Raise UserError where a corpus or the dictionary is not there."""
    missing = [name for name in NEEDED if not (data / name).is_dir()]
    if not (data / DICTIONARY).is_file():
        missing.append(str(DICTIONARY))
    if missing:
        raise UserError(
            f"{data} has no {', '.join(missing)}: give the folder that holds them by --data."
        )


@dataclass(frozen=True)
class Parts:
    """Utterances by the name of their manifest, and what was left out."""

    manifests: dict[str, list[Utterance]]
    unspoken: int
    """Utterances without phones, since the dictionary lacks a word of theirs."""

    def figures(self) -> dict[str, Any]:
        """Utterances and minutes of each manifest."""
        sizes = {
            name: {"utterances": len(some), "minutes": _seconds(some) / 60}
            for name, some in self.manifests.items()
        }
        return {"manifests": sizes, "without phones": self.unspoken}

    def write(self, folder: Path) -> None:
        """Write the manifests, each whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, utterances in self.manifests.items():
            write_jsonl(map(_row, utterances), folder / f"{name}.jsonl")


def parts(data: Path, scale: Scale) -> Parts:
    """Divide what `data` holds. Raises UserError where it lacks something."""
    check_data(data)
    found: dict[str, list[Utterance]] = {}
    for corpus in NEEDED:
        for utterance in read_corpus(data.absolute() / corpus):
            group = corpus
            if corpus == STRANGERS:
                group = "own" if utterance.id.split("-")[0] in LONG else "strangers"
            if utterance.id not in IN_TEXT:
                found.setdefault(f"{group}-{part_of(corpus, utterance)}", []).append(utterance)
    made = {name: found.get(name, []) for name in scale.unlabelled}
    first = f"{FIRST}-train"
    pool = _shuffled(made[first]) + _shuffled(u for n in made if n != first for u in made[n])
    for amount in scale.amounts:
        made[amount.corpus] = _some(pool, amount.minutes)
    made["dev"] = _some(_shuffled(found.get(f"{FIRST}-dev", [])), scale.test_minutes)
    made["test-clean"] = _some(_shuffled(found.get(f"{FIRST}-test", [])), scale.test_minutes)
    made["test-other"] = _some(_shuffled(found.get(f"{TEST_OTHER}-test", [])), scale.test_minutes)
    known = pronunciations(data / DICTIONARY)
    spoken = {
        scale.phones.corpus: _some(pool, scale.phones.minutes),
        scale.phone_dev: made["dev"],
        **{name: made[name.removeprefix("phones-")] for name in scale.phone_tests.values()},
    }
    unspoken = 0
    for name, utterances in spoken.items():
        made[name] = [u for u in (_with_phones(u, known) for u in utterances) if u.phones]
        unspoken += len(utterances) - len(made[name])
    empty = [name for name, utterances in made.items() if not utterances]
    if empty:
        raise UserError(f"{data} has no recording for {', '.join(empty)}.")
    return Parts(made, unspoken)


def pronunciations(path: Path) -> dict[str, tuple[str, ...]]:
    """The first pronunciation of each word of the CMU dictionary, without stress."""
    known: dict[str, tuple[str, ...]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.partition(" #")[0].split()
        if "(" not in word:
            known[word.upper()] = tuple(phone.rstrip("012").lower() for phone in phones)
    return known


def _with_phones(utterance: Utterance, known: dict[str, tuple[str, ...]]) -> Utterance:
    """The utterance with its phones; without any where a word is not known."""
    words = normalize_text(utterance.text or "").split()
    if not all(word in known for word in words):
        return replace(utterance, phones=None)
    return replace(utterance, phones=tuple(phone for word in words for phone in known[word]))


def _shuffled(utterances: Iterable[Utterance]) -> list[Utterance]:
    mixed = list(utterances)
    random.Random(0).shuffle(mixed)
    return mixed


def _some(utterances: Sequence[Utterance], minutes: float) -> list[Utterance]:
    """The first of them, up to so many minutes; at least one, where there is any."""
    chosen: list[Utterance] = []
    total = 0.0
    for utterance in utterances:
        total += utterance.seconds or 0.0
        if chosen and total > 60 * minutes:
            break
        chosen.append(utterance)
    return chosen


def _seconds(utterances: Sequence[Utterance]) -> float:
    return sum(u.seconds or 0.0 for u in utterances)


def _row(utterance: Utterance) -> dict[str, Any]:
    row = {
        "id": utterance.id,
        "audio_filepath": str(utterance.path),
        "duration": utterance.seconds,
        "text": utterance.text,
    }
    return row | ({"phones": " ".join(utterance.phones)} if utterance.phones else {})
