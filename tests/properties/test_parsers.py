"""Properties of what reads other people's files: what is written comes back, nothing else raises.

hypothesis draws the inputs, the same ones every time.
"""

import io
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from lm.ngram.arpa import ArpaError, read_ngrams, write_arpa
from lm.ngram.kneser_ney import count_ngrams, estimate
from lm.text.lexicon import Lexicon, LexiconError
from lm.text.vocabulary import Vocabulary
from models.importers.tokenizer import LabelsError, huggingface_outputs
from storage.json_text import JsonError, parsed, written
from w2v2cli.data.audio import AudioError, read_audio
from w2v2cli.data.corpora.manifest import read_jsonl, write_jsonl
from w2v2cli.data.decoding.promises import _ogg_checksum
from w2v2cli.data.utterance import CorpusError
from w2v2cli.errors import UserError
from w2v2cli.recognition.scoring.texts import read_texts

settings.register_profile("suite", derandomize=True, deadline=None, database=None, max_examples=40)
settings.load_profile("suite")

VOCABULARY = Vocabulary.from_labels(("<pad>", "|", "A", "B"))
LETTERS = st.text("AB", min_size=1, max_size=5)
WORD = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def written_to(name: str, content: bytes) -> Path:
    path = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()), name)
    path.write_bytes(content)
    return path


@given(JSON)
def test_json_comes_back(value):
    assert repr(parsed(written(value))) == repr(json.loads(json.dumps(value)))


@given(st.binary() | st.text().map(lambda text: text.encode(errors="surrogatepass")))
def test_json_of_chance_is_a_value_or_a_reason(content):
    try:
        written(parsed(content)).encode()
    except JsonError as error:
        assert str(error)


NAMES = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1)


@given(st.lists(st.tuples(NAMES, st.text(), st.integers(1, 10**9)), min_size=1, max_size=4))
def test_manifests_come_back(rows):
    listed = [
        {"id": f"{i}", "audio_filepath": f"/{name}", "text": text, "samples": samples}
        for i, (name, text, samples) in enumerate(rows)
    ]
    with tempfile.TemporaryDirectory() as folder:
        write_jsonl(listed, Path(folder, "a.jsonl"))
        found = list(read_jsonl(Path(folder, "a.jsonl")))
    assert [(u.path, u.text, u.samples) for u in found] == [
        (Path(f"/{name}"), text, samples) for name, text, samples in rows
    ]


KEYS = st.sampled_from(
    ["audio_filepath", "id", "text", "speaker", "duration", "samples", "start", "offset", "phones"]
)


@given(st.lists(st.dictionaries(KEYS, JSON) | JSON, max_size=3))
def test_rows_of_chance_are_utterances_or_a_sentence(rows):
    content = "\n".join(json.dumps(row) for row in rows).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_bytes(content)
        try:
            found = list(read_jsonl(path))
        except CorpusError as error:
            assert str(error).endswith(".")
            return
    for utterance in found:
        assert utterance.id and isinstance(utterance.text, str | None)
        assert utterance.seconds is None or 0 <= utterance.seconds < 1e9
        assert utterance.samples is None or utterance.samples >= 0


@given(st.dictionaries(WORD, LETTERS, min_size=1, max_size=6))
def test_lexicons_come_back(words):
    lines = "".join(f"{word}\t{' '.join(letters)} |\n" for word, letters in words.items())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words.txt")
        path.write_text(lines, encoding="utf-8")
        found = Lexicon.read(path, VOCABULARY)
    index = VOCABULARY.index
    assert found.spellings == {
        word: (tuple(index[letter] for letter in [*letters, "|"]),)
        for word, letters in words.items()
    }


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode), st.booleans())
def test_a_lexicon_of_chance_is_words_or_a_sentence(content, zipped):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "words.txt.gz" if zipped else "words.txt")
        path.write_bytes(content)
        try:
            assert Lexicon.read(path, VOCABULARY) is not None
        except LexiconError as error:
            assert str(error).endswith(".")


@given(st.lists(st.lists(LETTERS, max_size=5), min_size=1, max_size=8), st.integers(1, 4))
@settings(max_examples=25)
def test_arpa_files_come_back(sentences, order):
    if not any(sentences):
        return
    model = estimate(count_ngrams(sentences, order))
    with tempfile.TemporaryDirectory() as folder:
        write_arpa(model, Path(folder, "lm.arpa"))
        found = list(read_ngrams(Path(folder, "lm.arpa")))
    expected = [
        (log_prob, tuple(model.vocabulary[word] for word in words), backoff)
        for level in model.orders
        for words, log_prob, backoff in zip(level.words, level.log_prob, level.backoff, strict=True)
    ]
    assert [words for _, words, _ in found] == [words for _, words, _ in expected]
    scores = np.array([(log_prob, backoff) for log_prob, _, backoff in found])
    wanted = np.array([(log_prob, backoff) for log_prob, _, backoff in expected])
    highest = np.array([len(words) == len(model.orders) for _, words, _ in found])
    np.testing.assert_allclose(scores[:, 0], wanted[:, 0], rtol=1e-6)
    np.testing.assert_allclose(scores[~highest, 1], wanted[~highest, 1], rtol=1e-6)


TOKENS = st.sampled_from(["\\data\\", "\\end\\", "\\1-grams:", "ngram 1=1", "-1", "A", "\t", "\n"])


@given(st.lists(TOKENS | st.text(max_size=4), max_size=20).map("".join))
def test_an_arpa_of_chance_is_read_or_a_sentence(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lm.arpa")
        path.write_bytes(text.encode(errors="replace"))
        try:
            list(read_ngrams(path))
        except ArpaError as error:
            assert str(error).endswith(".")


TEXT = st.lists(WORD, max_size=4).map(" ".join)


@given(st.dictionaries(st.text("abc-_1", min_size=1, max_size=6), TEXT, min_size=1, max_size=4))
def test_trn_comes_back(texts):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.trn")
        path.write_text("".join(f"{t} ({n})\n" for n, t in texts.items()), encoding="utf-8")
        assert read_texts(path, "reference").by_name == texts


@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_texts_of_chance_are_read_or_a_sentence(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.txt")
        path.write_bytes(content)
        try:
            read_texts(path, "hypothesis")
        except UserError as error:
            assert str(error)


@given(
    st.dictionaries(st.sampled_from(["vocab_size", "pad_token_id"]), JSON),
    st.dictionaries(st.text(max_size=3), st.integers(-1, 9), max_size=6) | JSON,
    st.dictionaries(
        st.sampled_from(
            ["pad_token", "unk_token", "target_lang", "do_lower_case", "added_tokens_decoder"]
        ),
        JSON,
    ),
)
def test_tokenizers_of_chance_give_labels_or_a_sentence(config, vocabulary, settings_):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {"config": config, "vocab": vocabulary, "tokenizer_config": settings_}
        for file, value in files.items():
            (folder / f"{file}.json").write_text(json.dumps(value))
        try:
            labels, about = huggingface_outputs(folder)
        except LabelsError as error:
            assert str(error).endswith((".", "?"))
            return
    assert len(set(labels)) == len(labels) and all(isinstance(label, str) for label in labels)
    assert all(index is None or isinstance(index, str | int) for index in about.values())


WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")


@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 2, 3, 6, 7, 17, 49, 80, 0xFFFE]),
    st.integers(0, 9) | st.integers(0, 2**16 - 1),
    st.integers(0, 200_000) | st.integers(0, 2**32 - 1),
    st.sampled_from([0, 1, 8, 16, 24, 32, 64, 65_535]),
    st.integers(0, 300) | st.integers(0, 2**32 - 1),
    st.integers(0, 300),
)
def test_a_wav_header_of_chance_is_sound_or_a_sentence(
    riff, form, channels, rate, bits, size, there
):
    block = channels * bits // 8 % 2**16
    header = WAV.pack(
        *(b"RIFF", riff, b"WAVE", b"fmt ", 16),
        *(form, channels, rate, rate * block % 2**32, block, bits, b"data", size),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.wav")
        path.write_bytes(header + bytes(there))
        try:
            samples = read_audio(path)
        except AudioError as error:
            assert str(path) in str(error) and str(error).endswith(".")
        else:
            assert len(samples) > 0 and np.isfinite(samples).all()


@given(
    st.sampled_from(["PCM_16", "PCM_24", "PCM_32", "FLOAT", "PCM_U8"]),
    st.integers(1, 3),
    st.lists(st.integers(-128, 127), min_size=1, max_size=300),
)
def test_pcm_comes_back(subtype, channels, values):
    samples = np.repeat(np.array(values)[:, None] / 128, channels, 1)
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV", subtype=subtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.wav")
        path.write_bytes(file.getvalue())
        np.testing.assert_allclose(read_audio(path), samples[:, 0], atol=2**-15)


def bitwise(page: bytes) -> int:
    """The checksum of RFC 3533, bit by bit."""
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = register << 1 ^ (0x04C11DB7 if register >> 31 else 0)
            register &= 0xFFFFFFFF
    return register


@given(st.binary(max_size=300))
def test_the_checksum_of_ogg_is_that_of_its_definition(page):
    assert int.from_bytes(_ogg_checksum(page), "little") == bitwise(page)
