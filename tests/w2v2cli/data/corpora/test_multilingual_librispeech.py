"""Multilingual LibriSpeech as its archives unpack."""

import numpy as np
import pytest
import soundfile
from recordings import recording

from w2v2cli.data.corpora.readers import CorpusError, read_corpus

ROWS = {
    "6892_10130_000001": "ktoś inny zgłosił się",
    "6892_10130_000002": "od dwóch lat",
    "77_5_000000": "nie ma",
}


@pytest.fixture(params=["flac", "opus"])
def dev(request, tmp_path):
    folder = tmp_path / "mls_polish" / "dev"
    for name in ROWS:
        speaker, book, _ = name.split("_")
        path = folder / "audio" / speaker / book / f"{name}.{request.param}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if request.param == "opus":
            soundfile.write(path, np.zeros(4800), 48_000, format="OGG", subtype="OPUS")
        else:
            soundfile.write(path, np.zeros(1600), 16_000)
    text = "".join(f"{name}\t{text}\n" for name, text in ROWS.items())
    (folder / "transcripts.txt").write_text(text, encoding="utf-8")
    (folder / "segments.txt").write_text(
        "".join(f"{name}\thttps://example.org/a.mp3\t100.5\t115.2\n" for name in ROWS)
    )
    return folder


def test_a_split(dev):
    found = read_corpus(dev)
    assert {u.id: u.text for u in found} == ROWS
    assert [u.speaker for u in found] == ["6892", "6892", "77"]
    # segments.txt is about LibriVox's files, not these: nothing here is a cut
    assert all(u.recorded == u.path and u.path.stem == u.id for u in found)
    assert read_corpus(dev / "transcripts.txt") == found


def test_the_splits_of_a_language_have_to_be_named(dev):
    (dev.parent / "test" / "audio").mkdir(parents=True)
    (dev.parent / "test" / "transcripts.txt").write_text("1_2_3\tx\n")
    with pytest.raises(
        CorpusError, match="below: dev/transcripts.txt, test/transcripts.txt. Name the list"
    ):
        read_corpus(dev.parent)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("77_5_000009 spaces only", "line 4 should be SPEAKER_BOOK_NUMBER, a tab and a text"),
        ("77-5-000009\tx", "line 4 should be SPEAKER_BOOK_NUMBER"),
        ("77_5_000000\tx", "line 4: 77_5_000000 stands in line 3 already"),
        ("77_5_000009\tx", "1 of 4 recordings are missing, the first is .*77_5_000009.flac"),
    ],
)
def test_what_is_wrong(dev, line, message):
    with (dev / "transcripts.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(CorpusError, match=message):
        read_corpus(dev)


@pytest.fixture
def limited(tmp_path):
    """A `train` of eight utterances, of which the lists choose seven."""
    names = [f"1_2_{number:06}" for number in range(8)]
    train = tmp_path / "mls_polish" / "train"
    for name in names:
        recording(train / "audio" / "1" / "2" / f"{name}.flac")
    (train / "transcripts.txt").write_text("".join(f"{name}\ttekst {name}\n" for name in names))
    chosen = {"9hr": names[6:7], **{f"1hr/{fold}": names[fold : fold + 1] for fold in range(6)}}
    for folder, ids in chosen.items():
        (train / "limited_supervision" / folder).mkdir(parents=True)
        text = "".join(f"{name}\n" for name in ids)
        (train / "limited_supervision" / folder / "handles.txt").write_text(text)
    return train / "limited_supervision"


def test_lists_of_limited_supervision(limited):
    def ids(path):
        return [int(u.id.split("_")[2]) for u in read_corpus(path)]

    assert ids(limited) == [0, 1, 2, 3, 4, 5, 6]
    assert ids(limited / "1hr") == [0, 1, 2, 3, 4, 5]
    assert ids(limited / "1hr" / "3") == ids(limited / "1hr" / "3" / "handles.txt") == [3]
    assert ids(limited / "9hr") == [6] and ids(limited.parent) == list(range(8))
    [found] = read_corpus(limited / "9hr")
    assert (found.text, found.speaker) == ("tekst 1_2_000006", "1")


def test_limited_lists_that_do_not_fit(limited):
    (limited / "9hr" / "handles.txt").write_text("1_2_000000\n9_9_9\n8_8_8\n")
    with pytest.raises(CorpusError, match="lists 9_9_9, which is not in .*transcripts.txt; 2 such"):
        read_corpus(limited / "9hr")
    (limited.parent / "transcripts.txt").unlink()
    with pytest.raises(CorpusError, match="train has no transcripts.txt, of which"):
        read_corpus(limited)
    (limited / "empty").mkdir()
    with pytest.raises(CorpusError, match="has no handles.txt"):
        read_corpus(limited / "empty")
