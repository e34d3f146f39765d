"""The batched and the compiled search beside flashlight, on simulated speech.

They find the same words, times and scores at every width, merging hypotheses by history.
"""

import itertools
import random

import numpy as np
import pytest

from benchmarks.searches.simulation import Simulation
from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arpa_automaton import read_automaton
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.flashlight import FlashlightSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import CHARACTERS, Vocabulary

pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")

VOCABULARY = Vocabulary.from_labels(CHARACTERS)
TEXT = """THE CAT SAT ON THE MAT AND THE RAT RAN TO THE MAN THAT HAD THE HAT A BAT BIT THE BAD CAD
WHO CUT THE COT BUT NOT THE NUT OR THE HUT THEN HE HID THE BED AND SHE SAID SAD THINGS TO HIM AS
THEY THREW THE THREAD THROUGH THE TREE THERE THREE THESE THOSE THOUGH THOUGHT THOROUGH BREAD BRED
READ RED LED LEAD LET LIT LOT LATE RATE GATE DATE MATE""".split()


@pytest.fixture(scope="module")
def arpa(tmp_path_factory):
    """A trigram of made-up numbers over every word and about what follows what in the text."""
    draw = random.Random(0).uniform
    words = ["<unk>", "<s>", "</s>", *dict.fromkeys(TEXT)]
    pairs = list(
        dict.fromkeys(
            [*itertools.pairwise(TEXT), *(("<s>", w) for w in TEXT[::7]), ("MAT", "</s>")]
        )
    )
    triples = [
        t for t in dict.fromkeys(zip(TEXT, TEXT[1:], TEXT[2:], strict=False)) if draw(0, 1) < 0.7
    ]
    sections = ["\n".join(f"{draw(-4, -2):.4f}\t{w}\t{draw(-0.6, 0):.4f}" for w in words)]
    sections.append(
        "\n".join(f"{draw(-2, -0.3):.4f}\t{' '.join(p)}\t{draw(-0.4, 0):.4f}" for p in pairs)
    )
    sections.append("\n".join(f"{draw(-1, -0.1):.4f}\t{' '.join(t)}" for t in triples))
    counts = "\n".join(
        f"ngram {n}={len(grams)}" for n, grams in enumerate((words, pairs, triples), 1)
    )
    body = "\n\n".join(f"\\{n}-grams:\n{section}" for n, section in enumerate(sections, 1))
    path = tmp_path_factory.mktemp("lm") / "made-up.arpa"
    path.write_text(f"\\data\\\n{counts}\n\n{body}\n\n\\end\\\n")
    return path


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (BeamOptions(50, recombine="history"), 6),
        (BeamOptions(500, recombine="history"), 3),
        (BeamOptions(1500, recombine="history"), 1),
        (BeamOptions(500, 12, 15.0, nbest=5, recombine="history"), 3),
    ],
)
def test_the_same_words_times_and_scores(arpa, tmp_path, options, count):
    draw = random.Random(options.width)
    texts = [" ".join(draw.choices(TEXT, k=draw.randint(2, 6))) for _ in range(count)]
    emissions = Simulation(VOCABULARY, mistaken=0.1, seed=options.width)(texts)
    batch = np.zeros((count, max(map(len, emissions)), len(CHARACTERS)), np.float32)
    for row, emission in zip(batch, emissions, strict=True):
        row[: len(emission)] = emission
    lengths = list(map(len, emissions))
    lexicon, weights = (
        Lexicon.from_words(TEXT, VOCABULARY),
        DecodingWeights(1.2, -0.4, sil_score=0.05),
    )
    theirs = FlashlightSearch.open(VOCABULARY, weights, options, lexicon, arpa)(batch, lengths)
    batched = BatchedSearch(prepare(VOCABULARY, lexicon), read_automaton(arpa), weights, options)
    compiled = CompiledSearch.open(VOCABULARY, weights, options, lexicon, arpa, tmp_path)
    for search in (batched, compiled):
        for a, b in zip(search(batch, lengths), theirs, strict=True):
            assert [h.score for h in a] == pytest.approx([h.score for h in b], abs=1e-3)
            assert (a[0].text, a[0].symbols, a[0].frames) == (b[0].text, b[0].symbols, b[0].frames)
            assert [(w.start, w.end) for w in a[0].words] == [(w.start, w.end) for w in b[0].words]
            assert [a[0].acoustic_score, a[0].lm_score] == pytest.approx(
                [b[0].acoustic_score, b[0].lm_score], abs=1e-3
            )
