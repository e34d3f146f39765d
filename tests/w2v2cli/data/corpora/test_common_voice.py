"""Common Voice's lists, with clips as they are published: MP3 at 48 kHz."""

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import read_audio
from w2v2cli.data.corpora.readers import CorpusError, list_corpus, read_corpus

COLUMNS = "client_id path sentence_id sentence sentence_domain up_votes down_votes locale".split()
ROWS = [
    ("f00d", "common_voice_tr_1.mp3", "a1", 'Çağrı, ""ışıkları"" söndür!', "", "2", "0", "tr"),
    ("beef", "common_voice_tr_2.mp3", "a2", "  İki boşluk  burada", "", "2", "1", "tr"),
    ("f00d", "common_voice_tr_3.mp3", "a3", "Üç\u2028satır\u00a0?", "", "3", "0", "tr"),
]


def write(path, rows, columns=COLUMNS):
    path.write_text("".join("\t".join(row) + "\n" for row in [columns, *rows]), encoding="utf-8")


@pytest.fixture
def release(tmp_path):
    folder = tmp_path / "tr"
    (folder / "clips").mkdir(parents=True)
    for number in range(1, 4):
        tone = np.sin(np.arange(4800 * number) / 10) / 2
        name = folder / "clips" / f"common_voice_tr_{number}.mp3"
        soundfile.write(name, tone, 48_000, format="MP3")
    write(folder / "train.tsv", ROWS)
    return folder


def test_a_list_and_a_folder_with_one_list(release):
    found = read_corpus(release / "train.tsv")
    assert [(u.speaker, u.path.name, u.text) for u in found] == [
        (row[0], row[1], row[3]) for row in ROWS
    ]
    assert [u.id for u in found] == [f"common_voice_tr_{number}" for number in (1, 2, 3)]
    assert found == read_corpus(release)
    # MP3 pads what it holds, by less than three of its frames of 1152 samples
    assert 1600 <= len(read_audio(found[0].path)) <= 1600 + 3 * 1152


def test_lists_that_name_no_clips_are_passed_over(release):
    write(release / "reported.tsv", [("a", "b", "c")], ["sentence_id", "sentence", "reason"])
    write(release / "clip_durations.tsv", [("common_voice_tr_1.mp3", "1")], ["clip", "duration"])
    assert len(read_corpus(release)) == 3


def test_a_release_with_several_lists_has_to_be_told_which(release):
    write(release / "test.tsv", ROWS[:1])
    write(release / "validated.tsv", ROWS)
    with pytest.raises(
        CorpusError,
        match=r"tr has several lists: train.tsv, test.tsv, validated.tsv. Name the list to read, "
        r"such as .*tr/train.tsv\.",
    ):
        read_corpus(release)
    assert len(read_corpus(release / "test.tsv")) == 1


def test_lists_of_the_first_releases_leave_the_suffix_out(release):
    write(release / "train.tsv", [("x", "common_voice_tr_2", "bir")], COLUMNS[:2] + ["sentence"])
    [found] = read_corpus(release)
    assert (found.id, found.path.name) == ("common_voice_tr_2", "common_voice_tr_2.mp3")


def test_windows_line_ends_and_a_byte_order_mark(release):
    text = (release / "train.tsv").read_text(encoding="utf-8")
    found = read_corpus(release)
    (release / "train.tsv").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_corpus(release) == found


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a\tb\tc", "train.tsv, line 6 should have 8 columns"),
        ("\t".join(["x", "", *"345678"]), "train.tsv, line 6 should have 8 columns, path among"),
        ("\t".join(ROWS[1]), "line 6: common_voice_tr_2.mp3 stands in line 3 already"),
    ],
)
def test_malformed_lines_are_named_by_their_number(release, row, message):
    with (release / "train.tsv").open("a", encoding="utf-8") as file:
        file.write(f"\n{row}\n")  # the blank line counts
    with pytest.raises(CorpusError, match=message):
        read_corpus(release)


def test_missing_clips_are_counted(release):
    (release / "clips" / "common_voice_tr_2.mp3").unlink()
    (release / "clips" / "common_voice_tr_3.mp3").unlink()
    with pytest.raises(CorpusError, match=r"2 of 3 recordings are missing, .*common_voice_tr_2"):
        read_corpus(release)
    assert len(list_corpus(release)) == 3
