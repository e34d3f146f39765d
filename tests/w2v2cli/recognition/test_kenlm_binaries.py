"""Binary files of KenLM, whose words stand at their end: of symbols, and of words."""

import base64
import zlib
from dataclasses import replace

import numpy as np
import pytest

from lm.decoding import BeamOptions, DecodingWeights
from lm.ngram.arpa import write_arpa
from lm.ngram.kenlm import binary_words, listed_words
from lm.ngram.kneser_ney import count_ngrams, estimate
from models.checkpoint import Checkpoint, save_checkpoint
from models.config import tiny
from models.wav2vec2 import Wav2Vec2ForCTC
from w2v2cli.data.locations import ModelLocation, resolve_lm
from w2v2cli.errors import UsageError
from w2v2cli.recognition.resolving import RecognitionOptions
from w2v2cli.recognition.searching.build import build_search
from w2v2cli.recognition.streaming.job import check_stream, open_live
from w2v2cli.recognition.streaming.listening import Latency

TEXTS = {
    "symbols": ["A B | B A", "A A | A B", "B A | B", "A B | A B"],
    "words": ["AB BA", "ÄÖ AB <x>", "BA BB AAA"],
}
LABELS = ("<pad>", "|", "A", "B")
# KenLM's build_binary made these of the texts' bigrams, each text three times, and packed by zlib.
SYMBOLS = (  # build_binary trie
    "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/AcC"
    "kAgjVIYJTB6wZ4KKgTAbVI4byQRWKF1Qp7jXsq2UgW3Wn32i+UJM7A1d/pe4RM238Inv1fDmSebK+f6xtvhBNkxf"
    "nE/rfpADkIximK0gtR/GDtypsp/DRRvOD1n4bx9InhnKz+yw3Q/isyPxQeZxMqACbgbswNP5zc/c1KmXj7+OiY2v"
    "qTavWZSV8uNsgPzr48wrw+dvSjKsU77C//Nl3d6b5of37ZZH1mpTmpdtx2BTbMfgxODIUMNgow9kAgBX5lfv"
)
WORDS = (  # build_binary probing
    "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/AcC"
    "kAgjVIYJTB6wRxbjhNLcDKiAk4E48PPYW7bj32d5MYPMP2u/Zt/nDgdWILugTnGvZVsp2B6unO8fa4sfZIPsVy/W"
    "ML4wvaeaBchOE34/60FpSRobkJ0X/DCzdtK0J+xAdruJrqDfY4tMDjz2nnrUsR/kWRB7tsKsfUA+yF8NAjkB9iA+"
    "jN5hn4SXhofabW/Lmu9fN773Z9jfWPT2Q211TWuZrOx+pqe3Hv7+9oMLJC7whPUCR3K6WsSi2n3IblkaVlFlanxz"
    "+aITJftMq3ZFuf5Sc7r2oX3f9EjTrJQNS+YX5ynt5/jElNGy0Vh42YEf+zTbzC/sOdSs8HoBx34pF8/1L0QPMIHs"
    "shYpnD8jLcQYpJeBRGBTmpdtx2BTDMT6QMLRicHJkeFwy+FpDDYVdgxOTgyOjo4MADlAotw="
)
WITHOUT = (  # build_binary -v trie
    "eNrLzU0sUMjJVcgoKSmw0tfPzkhNTMtMzUnRS87P1U/OT0lVSMsvyk0sUShLLSrOzM9TMOViQIAGeyCxnxFI/AcC"
    "kAgjVIYJTB6wZ4LyQeJsUDY3kgmsULqgTnGvZVspA9usP/tE84WY2Bu6/C9xiZpv4RPfq+HNk8yV8/1jbfGDbJi+"
    "OJ/W/SAHIBnFMFtBaj+MHbhTZT+HizacH7Lw3z6QPDOUn9lhux/EZ0fig8zjZEAF3AzYgafzm5+5qVMvH38dExtf"
    "U21esygr5cfZAPnXx5lXhs/flGRYp3yF/+fLur03zQ/v2y2PrBUASdFTHg=="
)


def unpacked(folder, packed):
    path = folder / "lm.binary"
    path.write_bytes(zlib.decompress(base64.b64decode(packed)))
    return path


@pytest.fixture
def model(tmp_path):
    weights = Wav2Vec2ForCTC(tiny(), len(LABELS)).state_dict()
    save_checkpoint(tmp_path / "mine.safetensors", Checkpoint(tiny(), weights, LABELS))
    return ModelLocation("mine", tmp_path / "mine.safetensors", None)


def test_the_words_at_the_end_of_a_file_are_found(tmp_path):
    assert sorted(binary_words(unpacked(tmp_path, SYMBOLS))) == ["A", "B", "|"]
    words = {"<x>", "AAA", "AB", "BA", "BB", "ÄÖ"}
    assert set(listed_words(unpacked(tmp_path, WORDS))) == words
    assert binary_words(unpacked(tmp_path, WITHOUT)) is None
    whole = unpacked(tmp_path, WORDS).read_bytes()
    for damaged in (whole[:-4], whole[:60], whole + b"more\0", b"ngram 1=2"):
        (tmp_path / "damaged").write_bytes(damaged)
        assert binary_words(tmp_path / "damaged") is None


@pytest.mark.parametrize(("name", "packed"), [("symbols", SYMBOLS), ("words", WORDS)])
def test_a_binary_file_is_searched_as_the_arpa_file_it_was_built_from(
    name, packed, model, tmp_path
):
    pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")
    sentences = [text.split() for text in TEXTS[name] * 3]
    write_arpa(estimate(count_ngrams(sentences, 2), [0, 0]), tmp_path / "lm.arpa")
    emissions = np.random.default_rng(0).normal(size=(4, 12, len(LABELS))) * 2
    emissions -= np.logaddexp.reduce(emissions, axis=2, keepdims=True)
    found = []
    searches = ["flashlight"] if name == "symbols" else ["flashlight", "compiled", "batched"]
    arpa, binary = tmp_path / "lm.arpa", unpacked(tmp_path, packed)
    for path, search_name in ((arpa, "flashlight"), *((binary, search) for search in searches)):
        lm = resolve_lm(str(path), model)
        assert lm.symbols is (name == "symbols") and lm.lexicon is None
        beam = BeamOptions(500, None, 1e6, recombine="history")
        options = RecognitionOptions(model, lm, DecodingWeights(1.2, 0.0), beam, device="cpu")
        asked = replace(options, search=search_name).search_spec(LABELS)
        assert options.engine == ("flashlight" if name == "symbols" else "compiled")
        search = build_search(replace(asked, cache=tmp_path / "cache"), lambda sentence: None)
        results = search(emissions.astype(np.float32), [12] * 4)
        found.append([(best.text, pytest.approx(best.score, abs=1e-3)) for best, *_ in results])
    assert all(one == found[0] for one in found) and any(text for text, _ in found[0])


def test_a_binary_file_without_its_words_says_what_to_do(model, tmp_path):
    path = unpacked(tmp_path, WITHOUT)
    with pytest.raises(UsageError, match=r"without its words: give them by --lexicon, .* ARPA"):
        resolve_lm(str(path), model)
    (tmp_path / "words.txt").write_text("AB\tA B |\n")
    lm = resolve_lm(str(path), model, tmp_path / "words.txt")
    assert lm.symbols is False
    options = RecognitionOptions(model, lm)
    assert options.engine == "flashlight"
    with pytest.raises(UsageError, match=r"built without them .* needs --search flashlight"):
        _ = replace(options, search="compiled").engine


def test_a_binary_file_serves_a_stream_if_it_lists_its_words(model, tmp_path):
    write_arpa(
        estimate(count_ngrams([text.split() for text in TEXTS["words"] * 3], 2), [0, 0]),
        tmp_path / "lm.arpa",
    )
    emission = np.random.default_rng(0).normal(size=(40, len(LABELS))).astype(np.float32) * 2
    emission -= np.logaddexp.reduce(emission, axis=1, keepdims=True)
    heard = []
    for path in (tmp_path / "lm.arpa", unpacked(tmp_path, WORDS)):
        options = RecognitionOptions(model, resolve_lm(str(path), model), device="cpu")
        check_stream(options, Latency())
        spec = replace(options.search_spec(LABELS), cache=tmp_path / "cache")
        live = open_live(spec, 100, lambda sentence: None)
        steps = [live.advance(emission[:25]), live.advance(emission[25:]), live.end_sentence()]
        heard.append([word.text for step in steps for word in step.final])
    assert heard[0] == heard[1] != []
    (tmp_path / "words.txt").write_text("AB\tA B |\n")
    without = resolve_lm(str(unpacked(tmp_path, WITHOUT)), model, tmp_path / "words.txt")
    with pytest.raises(UsageError, match=r"not with --search flashlight: leave out --lm"):
        check_stream(RecognitionOptions(model, without), Latency())
