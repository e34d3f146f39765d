"""The recordings of the demo model: which are trained on, which validate, which test.

    python -m scripts.demo_data SHARED_DATA OUT_DIR

OUT_DIR receives a manifest for each part of each corpus, `CORPUS-PART.jsonl`, and `valid.jsonl`,
some of each dev part. The rules are those of `w2v2cli.data.corpora.held_out`: where a reader has
many recordings their ids decide, where each has one or two the reader does. Corpora that only
test have no other part.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lm.text.normalization import normalize_text
from w2v2cli.data.corpora.held_out import Split, split_of
from w2v2cli.data.corpora.manifest import write_jsonl
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.utterance import Utterance

READERS = ("ljspeech", "kathleen")  # corpora of one reader each
STRANGERS = "librispeech-train"
LONG = ("19", "26", "27")  # its readers with some 20 minutes each; all others have one utterance
WORDS = "wake-words"  # many speakers, six phrases
TESTS = ("librispeech-test-other", "second-reader", "librispeech-clips", "misc-librivox")
# The text of the 4-gram that ships has eight words in a row of each (scripts/check_held_out.py).
IN_TEXT = (
    "LJ003-0001",  # of the second reader: a heading that LJSpeech's train part repeats
    "arctic_a0592_1592701352",
    "arctic_b0192_1592536999",
    "arctic_b0532_1592524903",
    "5339-14133-0000",
)
VALIDATION = {"ljspeech": 16, "kathleen": 20, "own": 8, "strangers": None}  # None: all of them

Parts = dict[tuple[str, Split], list[Utterance]]
"""The utterances by group and part."""


def speaker_of(corpus: str, utterance: Utterance) -> str:
    """Name the speaker; corpora of one reader have the corpus' name."""
    named = corpus in (STRANGERS, "librispeech-test-other", "librispeech-clips")
    return utterance.id.split("-")[0] if named else corpus


def part_of(corpus: str, utterance: Utterance) -> Split:
    """The part of an utterance, by its id or its speaker alone.

    One in ten of the readers with one utterance is dev, none is test: `TESTS` has strangers.
    """
    if corpus in TESTS:
        return "test"
    if corpus == WORDS:
        return "train"
    if corpus == STRANGERS and utterance.id.split("-")[0] not in LONG:
        return "dev" if split_of(utterance.id.split("-")[0]) == "dev" else "train"
    return split_of(utterance.id)


def parts(shared: Path) -> Parts:
    """The utterances of each part of each group: a corpus, or `own` and `strangers`.

    Left out of the tests is what has a text that is trained on, as of `second-reader`, who reads
    sentences of LJSpeech, and `IN_TEXT`.
    """
    found: Parts = defaultdict(list)
    for corpus in (*READERS, STRANGERS, WORDS, *TESTS):
        for utterance in read_corpus(shared / corpus):
            group = corpus
            if corpus == STRANGERS:
                group = "own" if utterance.id.split("-")[0] in LONG else "strangers"
            if utterance.id not in IN_TEXT:
                found[group, part_of(corpus, utterance)].append(utterance)
    known = {
        spelled(utterance)
        for (_, part), utterances in found.items()
        if part == "train"
        for utterance in utterances
    }
    tests = found["second-reader", "test"]
    found["second-reader", "test"] = [u for u in tests if spelled(u) not in known]
    return found


def spelled(utterance: Utterance) -> str:
    """The transcript as it is compared."""
    return normalize_text(utterance.text or "")


def validation(found: Parts) -> Iterator[Utterance]:
    """Yield the dev utterances that a run is judged by: strangers, and some of each reader."""
    for group, most in VALIDATION.items():
        yield from found[group, "dev"][:most]


def write(path: Path, utterances: list[Utterance]) -> None:
    """Write a manifest."""
    rows = (
        {"id": u.id, "audio_filepath": str(u.path), "duration": u.seconds, "text": u.text}
        for u in utterances
    )
    write_jsonl(rows, path)
    minutes = sum(u.seconds or 0 for u in utterances) / 60
    print(f"{path.name}: {len(utterances)} utterances, {minutes:.1f} minutes")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    found = parts(args.shared.absolute())
    for (group, part), utterances in found.items():
        write(args.out / f"{group}-{part}.jsonl", utterances)
    write(args.out / "valid.jsonl", list(validation(found)))


if __name__ == "__main__":
    main()
