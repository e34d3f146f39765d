"""Lay out the recordings that ship: three to try, and a small copy of LibriSpeech's layout.

    python scripts/build_demo_corpus.py SHARED_DATA SHIPPED_DIR

The clean splits hold held-out utterances of the reader of the demo model (LJSpeech, public domain).
The other splits hold other speakers: LibriVox readers (public domain) and LibriSpeech speakers
(CC BY 4.0). Of LibriSpeech only these speakers' seven utterances are included.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from lm.text.normalization import normalize_text
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.corpora.readers import Utterance, read_corpus

CLEAN = 14  # utterances of each clean split
RECORDINGS = ("LJ001-0103", "LJ002-0050", "LJ002-0088")
READERS = {"ljspeech": "1", "cards": "2", "sense": "3"}  # our speaker numbers of these corpora

LICENCE = """\
What is in this folder

{table}

1-*  LJSpeech 1.1, read by Linda Johnson for LibriVox: public domain.
2-*, 3-*  LibriVox recordings: public domain.
1089-*, 1272-*, 2412-*, 8266-*  LibriSpeech, (c) 2014 Vassil Panayotov, \
CC BY 4.0 (openslr.org/12), unchanged.
"""


def placed(utterance: Utterance, speaker: str, chapter: str, number: int) -> tuple[str, Utterance]:
    """Return an id like those of LibriSpeech, and the utterance."""
    return f"{speaker}-{chapter}-{number:04}", utterance


def write_split(folder: Path, utterances: list[tuple[str, Utterance]]) -> None:
    """Write SPEAKER/CHAPTER/ID.flac and SPEAKER-CHAPTER.trans.txt, the layout of LibriSpeech."""
    for name, utterance in utterances:
        speaker, chapter, _ = name.split("-")
        place = folder / speaker / chapter
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(utterance.path, place / f"{name}.flac")
        with (place / f"{speaker}-{chapter}.trans.txt").open("a", encoding="utf-8") as file:
            file.write(f"{name} {normalize_text(utterance.text or '')}\n")


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
    reader = read_corpus(args.shared / "ljspeech")
    held_out = {
        s: [u for u in reader if split_of(u.id) == s and u.id not in RECORDINGS]
        for s in ("dev", "test")
    }
    librivox = read_corpus(args.shared / "misc-librivox")
    cards = [u for u in librivox if u.id.startswith("cards")]
    sense = [u for u in librivox if u.id.startswith("sense")]
    librispeech = read_corpus(args.shared / "librispeech-clips")
    splits = {
        f"{part}-clean": [
            placed(u, "1", u.id[2:5].lstrip("0"), int(u.id[6:])) for u in held_out[part][:CLEAN]
        ]
        for part in ("dev", "test")
    }
    splits["dev-other"] = [placed(u, "3", "1", int(u.id[-4:])) for u in sense]
    splits["test-other"] = [placed(u, "2", "1", int(u.id[-3:])) for u in cards] + [
        (u.id, u) for u in librispeech
    ]
    for name, utterances in splits.items():
        write_split(corpus / name, utterances)
    table = "\n".join(
        f"{name}: {len(utterances)} utterances" for name, utterances in splits.items()
    )
    (corpus / "README.txt").write_text(LICENCE.format(table=table), encoding="utf-8")
    recordings.mkdir()
    rows = []
    for utterance in reader:
        if utterance.id in RECORDINGS:
            if split_of(utterance.id) != "test":
                raise SystemExit(f"{utterance.id} is not a test utterance")
            shutil.copyfile(utterance.path, recordings / f"{utterance.id}.flac")
            rows.append(f"{utterance.id}\t{utterance.seconds:.3f}\t{utterance.text}\n")
    (recordings / "transcripts.tsv").write_text(
        "id\tseconds\ttext\n" + "".join(rows), encoding="utf-8"
    )


if __name__ == "__main__":
    main()
