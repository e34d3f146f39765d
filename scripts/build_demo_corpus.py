"""Lay out the recordings that ship: three to try, and a small copy of LibriSpeech's layout.

    python -m scripts.build_demo_corpus SHARED_DATA SHIPPED_DIR

All are held out from the demo model's training, by `scripts/demo_data.py`. The clean splits hold
two readers it learned from, the other splits strangers: LibriVox readers, readers of LibriSpeech's
train-clean parts, and of its test-other. For each the shortest recordings are taken.
"""

from __future__ import annotations

import argparse
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from lm.text.normalization import normalize_text
from scripts.demo_data import Parts, parts
from w2v2cli.data.corpora.held_out import Split, split_of
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.utterance import Utterance

FIRST, SECOND = 10, 4  # utterances of the two readers in a clean split
STRANGERS = 7  # of train-clean, one utterance each
EACH = 2  # utterances of each reader of test-other
RECORDINGS = ("LJ001-0103", "LJ002-0050", "LJ002-0088")

LICENCE = """\
What is in this folder

{table}

1-*  LJSpeech 1.1, read by Linda Johnson for LibriVox: public domain.
2-*, 3-*  LibriVox recordings: public domain.
4-*  Kathleen reading sentences of CMU ARCTIC: CC0 1.0.
All others  LibriSpeech, (c) 2014 Vassil Panayotov, CC BY 4.0 (openslr.org/12). In dev-other, bits \
below each recording's own noise are set to zero; the others are unchanged.
"""

Named = list[tuple[str, Utterance]]


def named(utterances: Iterable[Utterance], chapter: str) -> Named:
    """Give each an id like LibriSpeech's, of SPEAKER-CHAPTER and its place in the chapter."""
    return [(f"{chapter}-{number:04}", u) for number, u in enumerate(utterances)]


def as_they_are(utterances: Iterable[Utterance]) -> Named:
    """Keep the ids of LibriSpeech."""
    return [(u.id, u) for u in utterances]


def shortest(utterances: Iterable[Utterance], most: int) -> list[Utterance]:
    """The shortest `most`, in the order of their ids."""
    chosen = sorted(utterances, key=lambda u: (u.seconds or 0, u.id))[:most]
    return sorted(chosen, key=lambda u: u.id)


def test_other(found: Parts) -> list[Utterance]:
    """The shortest of each reader of LibriSpeech's own test-other."""
    speakers: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in found["librispeech-test-other", "test"]:
        speakers[utterance.id.split("-")[0]].append(utterance)
    return [u for _, theirs in sorted(speakers.items()) for u in shortest(theirs, EACH)]


def layout(found: Parts) -> dict[str, Named]:
    """The utterances of each split."""
    librivox = found["misc-librivox", "test"]
    splits: dict[str, Named] = {}
    held_out: tuple[Split, ...] = ("dev", "test")
    for chapter, part in enumerate(held_out, 1):
        reader = [u for u in found["ljspeech", part] if u.id not in RECORDINGS]
        splits[f"{part}-clean"] = [
            *((f"1-{u.id[2:5].lstrip('0')}-{u.id[6:]}", u) for u in reader[:FIRST]),
            *named(found["kathleen", part][:SECOND], f"4-{chapter}"),
        ]
    splits["dev-other"] = [
        *named((u for u in librivox if u.id.startswith("sense")), "3-1"),
        *as_they_are(shortest(found["strangers", "dev"], STRANGERS)),
    ]
    splits["test-other"] = [
        *named((u for u in librivox if u.id.startswith("cards")), "2-1"),
        *as_they_are(found["librispeech-clips", "test"]),
        *as_they_are(test_other(found)),
    ]
    return splits


def write_split(folder: Path, utterances: Named) -> None:
    """Write SPEAKER/CHAPTER/ID.flac and SPEAKER-CHAPTER.trans.txt, the layout of LibriSpeech."""
    for name, utterance in utterances:
        speaker, chapter, _ = name.split("-")
        place = folder / speaker / chapter
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(utterance.path, place / f"{name}.flac")
        with (place / f"{speaker}-{chapter}.trans.txt").open("a", encoding="utf-8") as file:
            file.write(f"{name} {normalize_text(utterance.text or '')}\n")


def write_recordings(folder: Path, reader: Iterable[Utterance]) -> None:
    """Write the recordings to try, and their transcripts."""
    folder.mkdir()
    rows = []
    for utterance in reader:
        if utterance.id in RECORDINGS:
            if split_of(utterance.id) != "test":
                raise SystemExit(f"{utterance.id} is not a test utterance")
            shutil.copyfile(utterance.path, folder / f"{utterance.id}.flac")
            rows.append(f"{utterance.id}\t{utterance.seconds:.3f}\t{utterance.text}\n")
    (folder / "transcripts.tsv").write_text("id\tseconds\ttext\n" + "".join(rows), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path)
    parser.add_argument("shipped", type=Path)
    args = parser.parse_args()
    corpus, recordings = args.shipped / "corpus", args.shipped / "recordings"
    for folder in (corpus, recordings):
        shutil.rmtree(folder, ignore_errors=True)
    splits = layout(parts(args.shared))
    for name, utterances in splits.items():
        write_split(corpus / name, utterances)
    table = "\n".join(
        f"{name}: {len(utterances)} utterances" for name, utterances in splits.items()
    )
    (corpus / "README.txt").write_text(LICENCE.format(table=table), encoding="utf-8")
    write_recordings(recordings, read_corpus(args.shared / "ljspeech"))


if __name__ == "__main__":
    main()
