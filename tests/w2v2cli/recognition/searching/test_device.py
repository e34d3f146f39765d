"""The batched search in a thread: the same results as alone, in order, whatever fails."""

import threading
from concurrent.futures import wait
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.searches.simulation import Simulation
from lm.decoding import BeamOptions, DecodingWeights
from lm.score_parts import parts_of
from lm.search.batched.search import BatchedSearch
from lm.search.compiled import CompiledSearch
from lm.search.setup import prepare
from lm.text.lexicon import Lexicon
from lm.text.vocabulary import CHARACTERS, Vocabulary
from lm.transformer.checkpoint import (
    TransformerCheckpoint,
    build_transformer,
    network_weights,
    save_transformer,
)
from lm.transformer.config import tiny
from lm.transformer.dictionary import SPECIALS, Dictionary
from lm.transformer.fairseq import read_transformer
from lm.transformer.model import TransformerLM
from lm.transformer.network import TransformerNetwork
from w2v2cli.recognition.searching import build
from w2v2cli.recognition.searching.device import DeviceSearch, utterances_at_once
from w2v2cli.recognition.searching.processes import SearchFailed
from w2v2cli.recognition.searching.spec import SearchSpec

VOCABULARY = Vocabulary.from_labels(CHARACTERS)
WORDS = "ONE TWO THREE FOUR FIVE SIX SEVEN".split()
TEXTS = ["ONE TWO", "THREE", "FOUR FIVE SIX", "SEVEN ONE", "TWO", "SIX SIX"]
ARPA = """\\data\\
ngram 1=10
ngram 2=2

\\1-grams:
-2\t<unk>
0\t<s>\t-0.1
-1\t</s>
{unigrams}

\\2-grams:
-0.2\tONE TWO
-0.3\tFIVE SIX

\\end\\
""".format(unigrams="\n".join(f"-0.{8 + i % 2}\t{word}\t-0.1" for i, word in enumerate(WORDS)))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Two threads would wait for each other longer than such small tensors take."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    return SearchSpec(
        CHARACTERS,
        "batched",
        tmp_path / "lm.arpa",
        spell_words=True,
        weights=DecodingWeights(1.0, 0.0),
        options=BeamOptions(width=20),
        cache=tmp_path / "cache",
    )


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    """A file of random weights that knows all words but the last."""
    torch.manual_seed(0)
    dictionary = Dictionary((*SPECIALS, *WORDS[:-1], *(f"W{i}" for i in range(1500))))
    config = tiny(len(dictionary))
    path = tmp_path_factory.mktemp("lm") / "lm.safetensors"
    weights = network_weights(TransformerNetwork(config).initialize())
    save_transformer(path, TransformerCheckpoint(config, dictionary, weights, {}))
    return path


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "lexicon.txt"
    path.write_text("".join(f"{word}\t{' '.join(word)} |\n" for word in WORDS))
    return path


@pytest.fixture(scope="module")
def emissions():
    return Simulation(VOCABULARY, mistaken=0.1, seed=1)(TEXTS)


def searched(spec, emissions, weights=None) -> list:
    with DeviceSearch(spec) as search:
        futures = [search.submit(emission, weights) for emission in emissions]
        return [future.result(timeout=60) for future in futures]


def test_an_n_gram_gives_what_the_compiled_search_gives(spec, emissions):
    found = searched(spec, emissions)
    lexicon = Lexicon.from_words(WORDS, VOCABULARY)
    compiled = CompiledSearch.open(
        VOCABULARY, spec.weights, spec.options, lexicon, spec.lm, spec.cache
    )
    for emission, [ours] in zip(emissions, found, strict=True):
        [[other]] = compiled(emission[None], [len(emission)])
        assert (ours.text, ours.score) == (other.text, pytest.approx(other.score, abs=1e-3))


def test_a_transformer_with_any_memory_for_its_cache(spec, emissions, transformer, lexicon):
    spec = replace(spec, lm=transformer, lexicon=lexicon, spell_words=False, transformer=True)
    checkpoint = read_transformer(transformer)
    network, words = build_transformer(checkpoint), [*WORDS, "<unk>"]
    model = TransformerLM(network, checkpoint.dictionary, words, cache_gb=1.0)
    alone = BatchedSearch(
        prepare(VOCABULARY, Lexicon.read(lexicon, VOCABULARY)), model, spec.weights, spec.options
    )
    expected = [alone(emission[None], [len(emission)])[0][0] for emission in emissions]
    for memory in (2.0, 0.0005):
        for [found], wanted in zip(
            searched(replace(spec, lm_cache_gb=memory), emissions), expected, strict=True
        ):
            assert (found.text, found.score) == (wanted.text, pytest.approx(wanted.score, abs=1e-3))


def test_too_little_memory_for_a_transformer_is_told_at_the_end(
    spec, emissions, transformer, lexicon, monkeypatch
):
    monkeypatch.setattr(TransformerLM, "shortage", lambda self: "It was too little.")
    told: list[str] = []
    spec = replace(spec, lm=transformer, lexicon=lexicon, spell_words=False, transformer=True)
    with DeviceSearch(spec, told.append) as search:
        search.submit(emissions[0]).result(timeout=60)
        assert "It was too little." not in told
    assert told[-1] == "It was too little."


def test_a_transformer_in_bfloat16_comes_near(spec, emissions, transformer, lexicon):
    spec = replace(spec, lm=transformer, lexicon=lexicon, spell_words=False, transformer=True)
    exact, near = (
        searched(replace(spec, lm_precision=precision), emissions) for precision in ("auto", "bf16")
    )
    for [one], [other] in zip(exact, near, strict=True):
        assert 0 < abs(one.score - other.score) < 0.5


def test_keys_and_values_take_half_of_a_gpus_free_memory(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (40 * 10**9, 80 * 10**9))
    assert (build.free_gb(torch.device("cuda")), build.free_gb(torch.device("cpu"))) == (20.0, 2.0)


def test_a_transformers_own_words_are_spelled(spec, transformer):
    with DeviceSearch(
        replace(spec, lm=transformer, transformer=True, lm_cache_gb=1.0), (told := []).append
    ) as search:
        search.wait_until_ready()
        [emission] = Simulation(VOCABULARY, mistaken=0.0)(["FIVE SIX"])
        assert search.submit(emission).result(timeout=60)[0].text == "FIVE SIX"
    assert told[0].startswith("1500 of the lexicon's words (99.6%) cannot be spelled")


def test_every_utterance_has_its_own_weights_in_one_batch(spec, emissions, monkeypatch):
    weights = [DecodingWeights(0.1 * i, 0.5 - i) for i in range(3)]
    alone = [[searched(spec, [emission], w)[0] for w in weights] for emission in emissions[:2]]
    sizes = []
    call = BatchedSearch.__call__

    def counted(self, batch, *rest):
        sizes.append(len(batch))
        return call(self, batch, *rest)

    monkeypatch.setattr(BatchedSearch, "__call__", counted)
    with DeviceSearch(spec) as search:
        every = [search.submit_each(emission, weights) for emission in emissions[:2]]
        found = [[future.result(timeout=60) for future in each] for each in every]
    assert found == [
        [[parts_of(h, w) for h in one] for one, w in zip(each, weights, strict=True)]
        for each in alone
    ]
    assert sum(sizes) == 6 and max(sizes) > len(weights)  # rows of several utterances together


@pytest.mark.parametrize(
    ("free", "beam", "count"),
    [(139e9, 1500, 64), (139e9, 50, 64), (2e9, 500, 64), (1e9, 1500, 13), (1e6, 5000, 1)],
)
def test_a_gpu_takes_as_many_utterances_as_its_free_memory_holds(monkeypatch, free, beam, count):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), 140_000_000_000))
    assert utterances_at_once(torch.device("cuda"), beam) == count
    assert utterances_at_once(torch.device("cpu"), beam) == 8


def test_a_transformer_is_asked_once_for_what_several_weights_share(
    spec, emissions, transformer, lexicon
):
    checkpoint = read_transformer(transformer)
    network, words = build_transformer(checkpoint), [*WORDS, "<unk>"]
    model = TransformerLM(network, checkpoint.dictionary, words, cache_gb=1.0)
    search = BatchedSearch(
        prepare(VOCABULARY, Lexicon.read(lexicon, VOCABULARY)), model, spec.weights, spec.options
    )
    weights = [DecodingWeights(0.5 + 0.2 * i, 0.1 * i) for i in range(4)]
    emission = emissions[2]
    before = model.rows
    alone = [search(emission[None], [len(emission)], each)[0][0] for each in weights]
    apart, before = model.rows - before, model.rows
    together = search(np.stack([emission] * 4), [len(emission)] * 4, weights)
    assert [h.text for [h, *_] in together] == [h.text for h in alone]
    assert [h.score for [h, *_] in together] == pytest.approx([h.score for h in alone], abs=1e-3)
    assert 0 < model.rows - before < 0.5 * apart  # histories computed


def test_hot_words_join_the_lexicon(spec):
    [emission] = Simulation(VOCABULARY, mistaken=0.0)(["ONE ZYGOTE"])
    assert "ZYGOTE" not in searched(spec, [emission])[0][0].text
    assert searched(replace(spec, hotwords={"ZYGOTE": 8.0}), [emission])[0][0].text == "ONE ZYGOTE"


def test_what_is_wrong_is_heard_by_whoever_waits(spec, emissions, tmp_path):
    gone = replace(spec, lm=tmp_path / "gone.arpa", spell_words=False, lexicon=None)
    with DeviceSearch(gone) as search:
        future = search.submit(emissions[0])
        with pytest.raises(SearchFailed, match="gone.arpa"):
            search.wait_until_ready()
        with pytest.raises(SearchFailed, match="gone.arpa"):
            future.result(timeout=60)
    with DeviceSearch(spec) as search:
        strange = search.submit(np.zeros((5, 7), np.float32))
        with pytest.raises(SearchFailed, match="32 symbols was expected"):
            strange.result(timeout=60)
        assert search.submit(emissions[0]).result(timeout=60)


def test_leaving_ends_a_search_in_its_middle(spec, emissions):
    long = np.concatenate(emissions * 200)
    with DeviceSearch(spec) as search:
        search.wait_until_ready()
        futures = [search.submit(long) for _ in range(3)]
    wait(futures, timeout=60)
    for future in futures:
        with pytest.raises(SearchFailed, match="stopped"):
            future.result()
    with pytest.raises(SearchFailed, match="stopped"):
        search.submit(long).result(timeout=1)
    assert not any(
        thread.name == "search" and thread.is_alive() for thread in threading.enumerate()
    )
