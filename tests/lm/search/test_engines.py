"""What holds for every engine alike."""

import importlib.util

import numpy as np
import pytest
from small_words import padded, random_emission

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arpa_automaton import read_automaton
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.flashlight import FlashlightSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import Vocabulary

SMALL = Vocabulary.from_labels(("<pad>", "|", "A", "B"))


def arpa_of(path, scores):
    """A model of unigrams in a file; KenLM wants a bigram, too."""
    lines = "\n".join(f"{score:.3f}\t{word}" for word, score in scores.items())
    path.write_text(
        f"\\data\\\nngram 1={len(scores) + 3}\nngram 2=1\n\n"
        f"\\1-grams:\n-9\t<unk>\n0\t<s>\n-1\t</s>\n{lines}\n\n"
        "\\2-grams:\n-1\t<s> </s>\n\n\\end\\\n"
    )
    return path


@pytest.mark.parametrize("count", [8, 40])
def test_every_homophone_is_found(tmp_path, count):
    """The likeliest of them stands last in the lexicon."""
    scores = {f"A{i}": 0.05 * i - 3 for i in range(count)}
    (tmp_path / "lexicon.txt").write_text("".join(f"{word}\tA |\n" for word in scores))
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    arpa = arpa_of(tmp_path / "lm.arpa", scores)
    weights, options = DecodingWeights(1.0, 0.0), BeamOptions(500, nbest=count)
    emission = np.full((3, 4), -6.0, np.float32)
    emission[range(3), [2, 1, 0]] = -0.1
    for search in (
        CompiledSearch.open(SMALL, weights, options, lexicon, arpa, tmp_path / "cache"),
        BatchedSearch(prepare(SMALL, lexicon), read_automaton(arpa), weights, options),
    ):
        [found] = search(emission[None], [3])
        assert [h.text for h in found] == list(reversed(scores))
        assert [h.lm_score + 1 for h in found] == pytest.approx(sorted(scores.values())[::-1])


def test_homophones_that_flashlight_leaves_out_are_told(tmp_path):
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    (tmp_path / "lexicon.txt").write_text("".join(f"A{i}\tA |\n" for i in range(8)) + "B\tB |\n")
    lexicon = Lexicon.read(tmp_path / "lexicon.txt", SMALL)
    weights, options = DecodingWeights(0.0, 0.0), BeamOptions(500, nbest=20)
    search = FlashlightSearch.open(SMALL, weights, options, lexicon)
    assert search.setup.warnings == (
        "This search keeps 6 words of one spelling and leaves 2 out, 'A6', 'A7' for example: "
        "--search compiled keeps all.",
    )
    emission = np.full((3, 4), -6.0, np.float32)
    emission[range(3), [2, 1, 0]] = -0.1
    [found] = search(emission[None], [3])
    assert {h.text for h in found} & {f"A{i}" for i in range(8)} == {f"A{i}" for i in range(6)}


@pytest.mark.parametrize("hotwords", [{}, {"BB": 2.5, "CAB": 1.0}])
def test_every_engine_is_set_up_alike(tmp_path, hotwords):
    """One lexicon with a word that has no spelling, one that the model lacks, and hot words."""
    from w2v2cli.recognition.searching.build import build_search
    from w2v2cli.recognition.searching.spec import SearchSpec

    arpa = arpa_of(tmp_path / "lm.arpa", {"A": -0.5, "AB": -1.0})
    (tmp_path / "lexicon.txt").write_text("A\tA |\nAB\tA B |\nBA\tB A |\nX\tX |\n")
    heard, setups = [], []
    engines = ["compiled", "batched"]
    if importlib.util.find_spec("flashlight") is not None:
        engines.append("flashlight")
    for engine in engines:
        told: list[str] = []
        spec = SearchSpec(
            SMALL.symbols,
            engine,
            arpa,
            tmp_path / "lexicon.txt",
            hotwords=hotwords,
            cache=tmp_path / "cache",
        )
        setups.append(build_search(spec, told.append).setup)
        heard.append(told)
    assert all(told == heard[0] for told in heard)
    assert len(heard[0]) == 2 + ("CAB" in hotwords)
    assert all(setup.words == setups[0].words for setup in setups)
    assert setups[0].words == ["A", "AB", "BA", *(["BB"] if hotwords else []), "<unk>"]


PAIRS = [
    DecodingWeights(1.3, 0.4, sil_score=-0.3),
    DecodingWeights(0.1, -1.0, -0.2),
    DecodingWeights(2.5, 0.0, -3.0, 0.2),
    DecodingWeights(0.4, -0.7),
]


@pytest.mark.parametrize("nbest", [1, 4])
@pytest.mark.parametrize("engine", ["compiled", "batched", "flashlight"])
def test_utterances_of_one_call_have_weights_of_their_own(tmp_path, engine, nbest):
    """What a call with one pair of weights an utterance finds is what single calls find."""
    if engine == "flashlight":
        pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    lexicon = Lexicon.from_words(["A", "AB", "BA", "B"], SMALL)
    arpa = arpa_of(tmp_path / "lm.arpa", {"A": -0.5, "AB": -1.1, "BA": -0.9, "B": -2.0})
    options, first = BeamOptions(20, nbest=nbest), DecodingWeights(1.0, 0.0)
    search = {
        "compiled": lambda: CompiledSearch.open(
            SMALL, first, options, lexicon, arpa, tmp_path / "cache", threads=2
        ),
        "batched": lambda: BatchedSearch(
            prepare(SMALL, lexicon), read_automaton(arpa), first, options
        ),
        "flashlight": lambda: FlashlightSearch.open(SMALL, first, options, lexicon, arpa),
    }[engine]()
    emissions = [random_emission(frames, seed) for seed, frames in enumerate((9, 9, 5, 0, 14))]
    rows = [(emission, weights) for emission in emissions for weights in PAIRS]
    before = [search(emission[None], [len(emission)])[0] for emission in emissions]
    alone = [search(emission[None], [len(emission)], weights)[0] for emission, weights in rows]
    search(emissions[0][None], [len(emissions[0])], first)
    together = search(*padded([emission for emission, _ in rows]), [pair for _, pair in rows])
    assert together == alone
    assert len({str(found) for found in alone}) > len(emissions)  # the weights matter
    # Such weights hold for that call alone.
    assert search(emissions[0][None], [len(emissions[0])])[0] == before[0]
