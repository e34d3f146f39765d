"""Lexicons, damaged: read, and searched with, by the compiled and the batched search.

A silent change is a word that one search finds and the other does not.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, judged
from benchmarks.torture.inputs.damage import cut, flipped, text_damaged
from benchmarks.torture.inputs.recordings import formats, small_model
from scripts.fuzz_caches import files, found

BY_COMMAND = 25  # of so many cases one goes through `transcribe`


def open_lexicons(folder: Path) -> Run:
    """A lexicon over two letters with its language model, and one of English."""
    import torch

    torch.set_num_threads(1)
    base = files(folder)
    assert base.lexicon is not None
    text = base.lexicon.read_text()
    found(replace(base, engine="batched"))
    model, recording = small_model(folder / "model.safetensors"), folder / "whole.wav"
    recording.write_bytes(formats()[0].whole)
    words = ("THE", "CAT", "SAT", "ON", "A", "MAT")
    english = "".join(f"{word}\t{' '.join(word)} |\n" for word in words)

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("lexicons", number)
        command = number % BY_COMMAND == 0
        path, content = place / "lexicon.txt", text_damaged(english if command else text, draw)
        if draw.random() < 0.1:
            path = place / "lexicon.txt.gz"
            content = gzip.compress(content)
            content = draw.choice((content, cut(content, draw), flipped(content, draw)))
        path.write_bytes(content)
        if command:
            options = ("--model", str(model), "--lm", "4gram", "--device", "cpu")
            return commanded("transcribe", str(recording), *options, "--lexicon", str(path))
        return searched(replace(base, lexicon=path, cache=place / "cache"))

    return run


def searched(spec: Any) -> Outcome:
    """Search a few emissions with both engines."""
    from lm.language_model import LanguageModelError
    from lm.search.setup import SearchError
    from lm.text.lexicon import LexiconError

    def call() -> Outcome:
        compiled, batched = (found(replace(spec, engine=name)) for name in ("compiled", "batched"))
        if [ranked[:1] for ranked in compiled] != [ranked[:1] for ranked in batched]:
            return Outcome("changed", f"{compiled} against {batched}"[:300])
        return Outcome("well")

    return judged(call, (LexiconError, SearchError, LanguageModelError))


KINDS = (Kind("lexicons", 500, open_lexicons),)
