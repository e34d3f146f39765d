"""Build the 4-gram and the lexicon that ship with the demo model.

    python scripts/build_demo_lm.py SHARED_DATA OUT_DIR

SHARED_DATA holds `novels/`, `more-books/` (gzip texts) and `ljspeech/transcripts.tsv`. Utterances
of LJSpeech that the rule of `w2v2cli.data.corpora.held_out` holds out are not used, nor are
sentences of books that share five words in a row with one of them.

The same text, a sentence a line, is written for the demo's Transformer: one sentence in a thousand
and the dev transcripts to demo-valid.txt, the rest to demo-text.txt.gz. To train on it: `w2v2 lm
train demo-text.txt.gz --valid demo-valid.txt --recipe demo`.
"""

from __future__ import annotations

import argparse
import gzip
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from lm.ngram.arpa import write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate
from lm.text.normalization import normalize_text, sentences
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.data.corpora.readers import read_corpus

ORDER = 4
PRUNE = (0, 2, 3, 4)
LEAST = 3  # occurrences of a word that is kept; rarer ones become <unk>
REPEATS = 3  # copies of the training transcripts, which have the style of the demo's recordings
OVERLAP = 5  # words in a row
HELD_OUT = 1000  # one sentence in so many is for validation


def runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    """Yield every `length` words in a row."""
    return zip(*(words[i:] for i in range(length)), strict=False)


def book_sentences(folders: list[Path]) -> Iterator[list[str]]:
    """Yield the normalised sentences of all books, sorted by file name."""
    for folder in folders:
        for path in sorted(folder.glob("*.txt.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                for sentence in sentences(file.read()):
                    if words := normalize_text(sentence).split():
                        yield words


def transcripts_of(shared: Path) -> dict[str, list[str]]:
    """The words of each utterance of the demo's reader, by id."""
    return {u.id: normalize_text(u.text or "").split() for u in read_corpus(shared / "ljspeech")}


def language_model_text(shared: Path) -> Iterator[list[str]]:
    """Yield the words of each sentence: the train transcripts, REPEATS times, and the books.

    Sentences of books that share OVERLAP words in a row with a dev or test transcript are not among
    them.
    """
    transcripts = transcripts_of(shared)
    secret = {
        gram
        for name, words in transcripts.items()
        if split_of(name) != "train"
        for gram in runs(words, OVERLAP)
    }
    train = [words for name, words in transcripts.items() if split_of(name) == "train"]
    for words in train * REPEATS:
        yield words
    dropped = 0
    for words in book_sentences([shared / "novels", shared / "more-books"]):
        if secret.isdisjoint(runs(words, OVERLAP)):
            yield words
        else:
            dropped += 1
    print(f"{dropped} sentences dropped for overlap")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shared", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    transcripts = transcripts_of(args.shared)
    text = list(language_model_text(args.shared))
    held_out = [words for name, words in transcripts.items() if split_of(name) == "dev"] + text[
        ::HELD_OUT
    ]
    kept = [words for place, words in enumerate(text) if place % HELD_OUT]
    (args.out / "demo-text.txt.gz").write_bytes(gzip.compress(_lines(kept), 6, mtime=0))
    (args.out / "demo-valid.txt").write_bytes(_lines(held_out))
    counts = Counter(word for words in text for word in words)
    known = {word for word, count in counts.items() if count >= LEAST}
    model = estimate(count_ngrams(_split_at_rare(text, known), ORDER), PRUNE, print)
    write_arpa(model, args.out / "demo-4gram.arpa.gz")
    lines = "".join(f"{word}\t{' '.join(word)} |\n" for word in sorted(known))
    (args.out / "demo-lexicon.txt.gz").write_bytes(gzip.compress(lines.encode(), mtime=0))
    sizes = ", ".join(f"{len(order.words)} {n}-grams" for n, order in enumerate(model.orders, 1))
    print(f"{sum(counts.values())} words; {len(known)} words kept; {sizes}")


def _lines(text: list[list[str]]) -> bytes:
    return "".join(" ".join(words) + "\n" for words in text).encode()


def _split_at_rare(text: list[list[str]], known: set[str]) -> Iterator[list[str]]:
    """Split sentences at words that are not in `known`, and leave these out."""
    for words in text:
        piece: list[str] = []
        for word in words:
            if word in known:
                piece.append(word)
            elif piece:
                yield piece
                piece = []
        if piece:
            yield piece


if __name__ == "__main__":
    main()
