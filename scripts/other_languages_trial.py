"""Make the recordings and the text of the trial in docs/other-languages.md.

    python -m scripts.other_languages_trial turkish -o /tmp/turkish
    python -m scripts.other_languages_trial russian -o /tmp/russian

espeak-ng reads sentences that `scripts/other_languages/LANGUAGE.txt` makes, which were written for
this trial. Turkish becomes `train`, `dev` and `test`, whose speakers and sentences differ, of
NAME.wav with NAME.txt beside it; Russian one folder with a metadata.csv, for `w2v2 data split`.
`text.txt` beside them is for a language model: a sentence a line, none of which is read in any
recording. The same seed gives the same sentences, speakers and rates.
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from w2v2cli.data.synthesis.espeak import find_espeak

SOURCES = Path(__file__).parent / "other_languages"
VOICES = {"turkish": "tr", "russian": "ru"}
# espeak-ng's variants; no speaker is in two parts.
SPEAKERS = {
    "train": "m1 m2 m3 m4 m6 m8 f1 f2 f4 f5 klatt2 steph".split(),
    "dev": "m5 linda".split(),
    "test": "m7 f3 max".split(),
}


@dataclass(frozen=True)
class Clip:
    """One recording to be made."""

    name: str
    speaker: str
    voice: str
    pitch: int
    words_per_minute: int
    text: str


def read_grammar(path: Path) -> tuple[dict[str, list[str]], list[str], list[str]]:
    """Lists by name, sentences with slots, and sentences without."""
    lists: dict[str, list[str]] = {}
    slotted: list[str] = []
    fixed: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        name, equals, entries = line.partition(" = ")
        if equals:
            lists[name] = entries.split(" | ")
        else:
            (slotted if "{" in line else fixed).append(line)
    return lists, slotted, fixed


def draw_sentences(grammar: Path, draw: random.Random) -> Iterator[str]:
    """Sentences with their slots filled at random, endlessly, none twice."""
    lists, slotted, _ = read_grammar(grammar)
    seen: set[str] = set()
    while True:
        sentence = re.sub(r"\{(.+?)\}", lambda m: draw.choice(lists[m[1]]), draw.choice(slotted))
        capital = "İ" if sentence[0] == "i" else sentence[0].upper()  # no Russian letter is i
        sentence = capital + sentence[1:]
        if sentence not in seen:
            seen.add(sentence)
            yield sentence


def divide(language: str, sizes: dict[str, int], text: int, seed: int) -> dict[str, list[str]]:
    """The sentences of each part, and those of the text. Those with digits are trained on."""
    draw = random.Random(f"{language} {seed}")
    grammar = SOURCES / f"{language}.txt"
    drawn = draw_sentences(grammar, draw)
    fixed = read_grammar(grammar)[2]
    numerals = [line for line in fixed if re.search(r"\d", line)]
    proverbs = [line for line in fixed if line not in numerals]
    draw.shuffle(proverbs)
    third = len(proverbs) // 3
    own = {"train": proverbs[third:] + numerals, "dev": [], "test": proverbs[:third]}
    parts = {}
    for part, size in sizes.items():
        parts[part] = (own[part] + [next(drawn) for _ in range(size)])[:size]
        draw.shuffle(parts[part])
    parts["text"] = [next(drawn) for _ in range(text)]
    return parts


def plan(language: str, part: str, sentences: list[str], seed: int) -> list[Clip]:
    """Who reads what, how high and how fast."""
    draw = random.Random(f"{language} {part} {seed}")
    clips = []
    for number, text in enumerate(sentences):
        speaker = SPEAKERS[part][number % len(SPEAKERS[part])]
        clips.append(
            Clip(
                f"{speaker}-{number // len(SPEAKERS[part]):04}",
                speaker,
                f"{VOICES[language]}+{speaker}",
                draw.randint(35, 65),
                draw.randint(135, 175),
                text,
            )
        )
    return clips


def write_turkish(folder: Path, parts: dict[str, list[Clip]]) -> None:
    """A folder for each part, each text beside its recording."""
    for part, clips in parts.items():
        read_aloud(folder / part, clips)
        for clip in clips:
            text = folder / part / f"{clip.name}.txt"
            text.write_text(clip.text + "\n", encoding="utf-8")


def write_russian(folder: Path, parts: dict[str, list[Clip]]) -> None:
    """All recordings in one folder, with a list of them."""
    clips = [clip for part in parts.values() for clip in part]
    read_aloud(folder, clips)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file_name", "transcription", "speaker_id"])
        rows.writerows([f"{clip.name}.wav", clip.text, clip.speaker] for clip in clips)


def read_aloud(folder: Path, clips: list[Clip]) -> None:
    """Let espeak-ng read the clips into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda clip: _record(folder, clip), clips))


def _record(folder: Path, clip: Clip) -> None:
    settings = ["-v", clip.voice, "-p", str(clip.pitch), "-s", str(clip.words_per_minute)]
    file = folder / f"{clip.name}.wav"
    subprocess.run([find_espeak(), *settings, "-w", str(file), clip.text], check=True)


def main(call: Sequence[str] | None = None) -> None:
    """Read the call, by default the program's own, and make the folder."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("language", choices=VOICES)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--train", type=int, default=900, help="recordings to train on")
    parser.add_argument("--held-out", type=int, default=75, help="recordings of dev, and of test")
    parser.add_argument("--sentences", type=int, default=1000, help="sentences of text.txt")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(call)
    sizes = {"train": args.train, "dev": args.held_out, "test": args.held_out}
    sentences = divide(args.language, sizes, args.sentences, args.seed)
    text = sentences.pop("text")
    parts = {part: plan(args.language, part, lines, args.seed) for part, lines in sentences.items()}
    write = {"turkish": write_turkish, "russian": write_russian}[args.language]
    write(args.output, parts)
    (args.output / "text.txt").write_text("\n".join(text) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
