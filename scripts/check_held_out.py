"""Check that nothing of a test speaker or a test text is in what the demo model learned from.

    python -m scripts.check_held_out SHARED_DATA [SPEECH...]

Compared are the training parts of `scripts/demo_data.py`, the text of `scripts/build_demo_lm.py`
and any other corpora that were trained on (SPEECH: folders or manifests, of synthetic speech say)
with all dev and test parts:

- no recording is in both, by its samples;
- no speaker of a corpus whose parts differ by speaker is in both;
- no sentence trained on is a test sentence; common phrases of fewer than five words may be;
- no sentence of the language model's text shares more than RUN words in a row with a test text.

Prints what it counted, and each violation; the exit code is 1 where there is one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

import soundfile

from scripts.build_demo_lm import language_model_text, runs
from scripts.demo_data import STRANGERS, TESTS, parts, speaker_of, spelled
from storage.hashing import bytes_hash
from w2v2cli.data.corpora.held_out import Split
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.utterance import Utterance

RUN = 7  # words in a row; "on the other side of the" is anybody's
PHRASE = 5  # words of a sentence that is more than a common phrase


def sound_of(utterance: Utterance) -> str:
    """A hash of the samples, whatever the file's format says around them."""
    samples, _ = soundfile.read(utterance.path, dtype="int16")
    return bytes_hash(samples.tobytes())


def same_speakers(found: dict[tuple[str, Split], list[Utterance]]) -> set[str]:
    """The speakers who are trained on, and held out as strangers."""
    trained: set[str] = set()
    held_out: set[str] = set()
    for (group, part), utterances in found.items():
        corpus = STRANGERS if group in ("own", "strangers") else group
        names = {speaker_of(corpus, utterance) for utterance in utterances}
        if part == "train":
            trained |= names
        elif group == "strangers" or corpus in TESTS:
            held_out |= names
    return trained & held_out


def same_sounds(trained: Iterable[Utterance], held_out: Iterable[Utterance]) -> list[str]:
    """The ids of held-out recordings that were trained on too."""
    known = {sound_of(utterance) for utterance in trained}
    return [u.id for u in held_out if sound_of(u) in known]


def same_sentences(trained: Iterable[Utterance], held_out: Iterable[Utterance]) -> list[str]:
    """Held-out ids whose sentence is among the transcripts trained on."""
    known = {spelled(utterance) for utterance in trained}
    return [u.id for u in held_out if (text := spelled(u)) in known and len(text.split()) >= PHRASE]


def sentences_in_text(
    text: Iterable[list[str]], held_out: Iterable[Utterance], length: int = RUN + 1
) -> list[tuple[str, str]]:
    """(held-out id, words) for each run of `length` words that the text has of a test text."""
    secret: dict[tuple[str, ...], str] = {}
    for utterance in held_out:
        secret.update(dict.fromkeys(runs(spelled(utterance).split(), length), utterance.id))
    return [
        (secret[run], " ".join(run))
        for words in text
        for run in runs(words, length)
        if run in secret
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path)
    parser.add_argument("speech", type=Path, nargs="*")
    args = parser.parse_args()
    found = parts(args.shared)
    trained = [u for (_, part), group in found.items() if part == "train" for u in group]
    synthetic = [u for path in args.speech for u in read_corpus(path)]
    held_out = [u for (_, part), group in found.items() if part != "train" for u in group]
    violations = [f"recording {name} is trained on" for name in same_sounds(trained, held_out)]
    violations += [f"speaker {name} is in both" for name in sorted(same_speakers(found))]
    violations += [
        f"the sentence of {name} is trained on"
        for name in same_sentences([*trained, *synthetic], held_out)
    ]
    violations += [
        f"the language model's text has of {name}: {words}"
        for name, words in sentences_in_text(language_model_text(args.shared), held_out)
    ]
    print("\n".join(violations))
    print(
        f"{len(trained)} recordings and {len(synthetic)} of synthetic speech trained on, "
        f"{len(held_out)} held out: {len(violations)} violations."
    )
    sys.exit(1 if violations else 0)


if __name__ == "__main__":
    main()
