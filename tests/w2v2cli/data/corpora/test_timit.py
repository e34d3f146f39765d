"""A tree with TIMIT's speakers, names and formats; the recordings are noise."""

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import AudioError, read_audio
from w2v2cli.data.corpora.catalogue import find_training_corpus
from w2v2cli.data.corpora.readers import CorpusError, read_corpus
from w2v2cli.data.corpora.timit import CORE_TEST, DEV, find_timit, read_phones
from w2v2cli.data.recordings import FileRecordings

NOISE = np.random.default_rng(2).integers(-9000, 9000, 1600).astype("<i2")
SENTENCES = [
    "SA1",
    "SA2",
    *(f"SX{i}" for i in range(5)),
    *(f"SI{i}" for i in range(3)),
]  # ten each, as in TIMIT


def sphere(samples, coding="pcm", order="01"):
    fields = f"sample_count -i {len(samples)}\nsample_n_bytes -i 2\nchannel_count -i 1\n"
    fields += f"sample_byte_format -s2 {order}\n"
    fields += f"sample_rate -i 16000\nsample_coding -s{len(coding)} {coding}\nend_head\n"
    return (
        f"NIST_1A\n   1024\n{fields}".encode().ljust(1024)
        + samples.astype("<i2" if order == "01" else ">i2").tobytes()
    )


def sentence(folder, name, lower=False, audio=True):
    case = str.lower if lower else str.upper
    folder.mkdir(parents=True, exist_ok=True)
    (folder / case(f"{name}.PHN")).write_text("0 500 h#\n500 900 sh\n900 1600 ax-h\n")
    (folder / case(f"{name}.TXT")).write_text("0 1600 She had your dark suit. \n")
    (folder / case(f"{name}.WRD")).write_text("0 500 she\n500 1600 had\n")
    (folder / case(f"{name}.WAV")).write_bytes(sphere(NOISE) if audio else b"")


def speaker(root, part, name, region="DR1", lower=False, sentences=SENTENCES):
    case = str.lower if lower else str.upper
    for each in sentences:
        sentence(root / case(part) / case(region) / case(name), each, lower)


def whole(root, lower=False):
    """As many speakers as TIMIT has: 462 to train on, 168 to test on."""
    for i in range(462):
        speaker(root, "TRAIN", f"M{i:03}0", lower=lower)
    others = {f"F{i:03}9" for i in range(168 - 24 - 50)}
    for name in sorted(CORE_TEST | DEV | others):
        speaker(root, "TEST", name, lower=lower)


def test_the_speakers_are_as_published():
    assert len(CORE_TEST) == 24 and len(DEV) == 50 and not CORE_TEST & DEV
    assert sum(name.startswith("F") for name in CORE_TEST) == 8  # a woman of each of eight regions
    assert all(
        len(name) == 5 and name[0] in "MF" and name[-1].isdigit() for name in CORE_TEST | DEV
    )


@pytest.fixture(scope="module", params=["upper", "lower"])
def timit(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("corpora")
    folder = root / "TIMIT" if request.param == "upper" else root / "timit" / "timit"
    whole(folder, lower=request.param == "lower")
    return root


def test_the_splits_have_the_published_sizes(timit):
    found = {
        name: find_training_corpus(f"timit-{name}", timit) for name in ("train", "dev", "test")
    }
    assert {name: len(utterances) for name, utterances in found.items()} == {
        "train": 3696,
        "dev": 400,
        "test": 192,
    }
    speakers = {name: {u.speaker for u in utterances} for name, utterances in found.items()}
    assert (
        len(speakers["train"]) == 462 and speakers["dev"] == DEV and speakers["test"] == CORE_TEST
    )
    assert not any(
        u.id.split("-")[1].startswith("SA") for utterances in found.values() for u in utterances
    )
    assert len({u.id for utterances in found.values() for u in utterances}) == 3696 + 400 + 192
    assert len(read_corpus(timit)) == 8 * (462 + 168)


def test_utterances(tmp_path):
    speaker(tmp_path, "TRAIN", "FCJF0", sentences=["SA1", "SX37"])
    [found] = read_corpus(tmp_path)
    assert (found.id, found.speaker, found.text) == (
        "FCJF0-SX37",
        "FCJF0",
        "She had your dark suit.",
    )
    assert found.phones == ("h#", "sh", "ax-h")
    (found.path.with_suffix(".TXT")).unlink()
    assert read_corpus(tmp_path)[0].text == "she had"


@pytest.mark.parametrize("order", ["01", "10"])
def test_sphere_is_read_whatever_its_name(tmp_path, order):
    (tmp_path / "SX1.WAV").write_bytes(sphere(NOISE, order=order))
    np.testing.assert_array_equal(read_audio(tmp_path / "SX1.WAV") * 32768, NOISE)


def test_sphere_and_riff_in_one_tree(tmp_path):
    speaker(tmp_path, "TEST", "MDAB0", sentences=["SX1", "SX2", "SX3"])
    folder = tmp_path / "TEST" / "DR1" / "MDAB0"
    soundfile.write(folder / "SX1.WAV", NOISE, 16_000, subtype="PCM_16", format="WAV")
    (folder / "SX2.WAV").write_bytes(sphere(NOISE, "pcm,embedded-shorten-v2.00"))
    soundfile.write(folder / "SX2.WAV.wav", NOISE[:1000], 16_000, subtype="PCM_16")
    recordings = FileRecordings(read_corpus(tmp_path))
    assert list(recordings.lengths) == [1600, 1000, 1600]
    for index, length in enumerate(recordings.lengths):
        np.testing.assert_array_equal(recordings.read(index) * 32768, NOISE[:length])
        np.testing.assert_array_equal(recordings.read(index, 300, 40) * 32768, NOISE[300:340])


def test_shorten_is_named(tmp_path):
    (tmp_path / "SX1.WAV").write_bytes(sphere(NOISE, "pcm,embedded-shorten-v2.00"))
    with pytest.raises(
        AudioError,
        match=r"compressed with shorten, convert it first: sph2pipe -f rif SX1.WAV SX1.WAV.wav$",
    ):
        read_audio(tmp_path / "SX1.WAV")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("0 5 h#\n5 9 xx\n", "SX1.PHN, line 2: 'xx' is not one of TIMIT's 61 phones"),
        ("0 5 H#\n", "line 1: 'H#' is not one"),
        ("0 h#\n", "line 1 should be two samples and a phone: '0 h#'"),
        ("a b h#\n", "line 1 should be two samples and a phone"),
        ("\n", "SX1.PHN is empty"),
    ],
)
def test_phones_that_are_none(tmp_path, content, message):
    (tmp_path / "SX1.PHN").write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_phones(tmp_path / "SX1.PHN")


def test_what_a_tree_lacks(tmp_path):
    speaker(tmp_path / "TIMIT", "TEST", "MDAB0", sentences=["SX1", "SX2"])
    assert find_timit(tmp_path, "test") is None  # half a TIMIT
    speaker(tmp_path / "TIMIT", "TRAIN", "FCJF0", sentences=["SX1"])
    assert len(find_timit(tmp_path, "test")) == 2 and find_timit(tmp_path, "dev") is None
    (tmp_path / "TIMIT" / "TEST" / "DR1" / "MDAB0" / "SX1.WAV").unlink()
    with pytest.raises(CorpusError, match=r"1 recording is missing, the first is .*SX1.WAV"):
        find_training_corpus("timit-test", tmp_path)
    with pytest.raises(
        CorpusError, match=r"timit-dev is not below .*w2v2 data prepare timit unpacks it"
    ):
        find_training_corpus("timit-dev", tmp_path)
