"""ARPA files, damaged: every reader judges them alike, and those that read them score alike.

The readers are the compiled one, the one in Python, and KenLM's in the search by flashlight. A
silent change is a file that one of ours takes and the other refuses, one that only KenLM takes, and
a sentence that two of them score differently. KenLM may refuse what ours take: it is told.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, sentence
from benchmarks.torture.inputs.damage import cut, flipped, text_damaged
from lm.decoding import BeamOptions, DecodingWeights
from lm.language_model import LanguageModel, LanguageModelError
from lm.ngram.arpa import ArpaError, write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate
from lm.search.setup import SearchError
from scripts.fuzz_caches import LABELS
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.searching.spec import SearchSpec

BY_COMMAND = 10  # of so many cases one goes through `lm info` and one through `lm score`
SENTENCES = ("A B", "AB BA A", "B B B", "ABBA A UNHEARD B", "")
Draw = random.Random
Scores = Callable[[Path, Path], list[float]]


def words() -> list[str]:
    """Words over two letters."""
    draw = random.Random(0)
    return sorted({"".join(draw.choices("AB", k=draw.randint(1, 4))) for _ in range(20)})


def whole_arpa(folder: Path) -> Path:
    """A small trigram."""
    draw, known = random.Random(1), words()
    texts = [draw.choices(known, k=draw.randint(1, 8)) for _ in range(40)]
    write_arpa(estimate(count_ngrams(texts, 3)), folder / "lm.arpa")
    return folder / "lm.arpa"


def damaged(text: str, draw: Draw) -> bytes:
    """The text with its sentence marks gone, its counts wrong, or damaged as any text."""
    chance = draw.random()
    if chance < 0.2:
        mark = draw.choice(("<s>", "</s>", "<unk>", "\\end\\", "\\data\\", "\\2-grams:"))
        kept = [line for line in text.split("\n") if mark not in line.split("\t")]
        instead = draw.choice(("<S>", "<UNK>", "", "A", mark * 2))
        return draw.choice(("\n".join(kept), text.replace(mark, instead))).encode()
    if chance < 0.3:
        count = draw.choice(("0", "-1", "1", "99", str(2**31), str(2**63), "9" * 5000, "x"))
        return text.replace(draw.choice(("=19", "1=", "2=", "3=")), f"={count}", 1).encode()
    return text_damaged(text, draw)


def open_arpa(folder: Path) -> Run:
    """A trigram, and texts to score."""
    text = whole_arpa(folder).read_text()
    sentences = folder / "texts.txt"
    sentences.write_text("\n".join(SENTENCES[:-1]) + "\n")

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("arpa", number)
        path, content = place / "lm.arpa", damaged(text, draw)
        if draw.random() < 0.1:
            path = place / "lm.arpa.gz"
            content = gzip.compress(content)
            content = draw.choice((content, cut(content, draw), flipped(content, draw)))
        path.write_bytes(content)
        if number % BY_COMMAND == 0:
            return commanded("lm", "info", str(path))
        if number % BY_COMMAND == 1:
            return commanded("lm", "score", str(path), str(sentences))
        return compared(path, place)

    return run


def compared(path: Path, place: Path) -> Outcome:
    """Read a file by every reader, and compare what they make of it."""
    ends: dict[str, list[float] | str] = {}
    for name, scores in (("compiled", _compiled), ("Python", _python), ("KenLM", _kenlm)):
        try:
            ends[name] = scores(path, place / name)
        except (LanguageModelError, ArpaError, SearchError) as error:
            told = sentence(str(error))
            if told.end != "told":
                return told
            ends[name] = told.detail
    refused = {name: isinstance(end, str) for name, end in ends.items()}
    if refused["compiled"] != refused["Python"] or (refused["compiled"] and not refused["KenLM"]):
        return Outcome("changed", f"some refuse: { {n: _short(e) for n, e in ends.items()} }")
    if refused["compiled"]:
        return Outcome("told", str(ends["compiled"]))
    rows = np.array([end for end in ends.values() if not isinstance(end, str)], np.float64)
    if not np.allclose(rows, rows[0], rtol=1e-5, atol=1e-4, equal_nan=True):
        return Outcome("changed", f"scores differ: {ends}"[:300])
    return Outcome("well")


def spec_of(path: Path, cache: Path) -> SearchSpec:
    """A search by flashlight with a language model."""
    lexicon = path.parent / "lexicon.txt"
    lexicon.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in words()))
    return SearchSpec(
        LABELS,
        "flashlight",
        path,
        lexicon,
        cache=cache,
        weights=DecodingWeights(1.0, 0.0),
        options=BeamOptions(30),
    )


def _short(end: list[float] | str) -> str:
    return end[-90:] if isinstance(end, str) else "read"


def _scored(model: LanguageModel[Any]) -> list[float]:
    found, known = [], {word: index for index, word in enumerate(model.words)}
    for text in SENTENCES:
        states, total = model.start(), 0.0
        for word in text.split():
            scores, states = model.score(states, [known.get(word, known["<unk>"])])
            total += float(scores[0])
        found.append(total + float(model.finish(states)[0]))
    return found


def _compiled(path: Path, cache: Path) -> list[float]:
    from lm.ngram.automaton import open_automaton

    return _scored(open_automaton(path, cache, [*words(), "<unk>"])[0])


def _python(path: Path, cache: Path) -> list[float]:
    from lm.ngram import automaton

    with patch.object(automaton, "is_built", return_value=False):
        made = automaton.automaton_file(path, cache)
    return _scored(automaton.CompiledNgramLM(made, [*words(), "<unk>"]))


def _kenlm(path: Path, cache: Path) -> list[float]:
    from lm.ngram.kenlm import NgramLM

    build_search(spec_of(path, cache), lambda sentence: None)
    return _scored(NgramLM(path, [*words(), "<unk>"]))


KINDS = (Kind("arpa", 500, open_arpa),)
