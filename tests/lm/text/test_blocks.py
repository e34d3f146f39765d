"""Texts in blocks for the compiled estimation: the sentences are those of `read_sentences`."""

import gzip
import random

import pytest

from lm.text.blocks import sentence_blocks, stays
from lm.text.normalizers import Normalizer
from lm.text.reading import AS_IT_IS, Reading, ReadReport
from lm.text.sentences import TextError, read_sentences

READINGS = {
    "as it is": AS_IT_IS,
    "english": Reading(Normalizer.named("english"), lines=True),
    "lower": Reading(Normalizer.named("basic"), lines=True),
    "upper": Reading(Normalizer.named("basic", "upper"), lines=True),
    "turkish": Reading(Normalizer.named("basic", "upper", "tr"), lines=True),
    "running": Reading(Normalizer.named("english"), lines=False),
}
PIECES = [
    "A", "B'C", "'D", "E'", "F''G", "h", "i", "ı", "é", "e\u0301", "3", "Mr.", " ", "  ", "\t",
    "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u2003", "\x1f", "\x0b", "-", "\u200b", "ﬁ",
]  # fmt: skip


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
def test_blocks_hold_the_sentences_of_the_text(tmp_path, reading, monkeypatch):
    monkeypatch.setattr("lm.text.blocks.SIZE", 20)
    draw = random.Random(0)
    path = tmp_path / "text.txt"
    for kinds in (2, 2, 3, 5, 6, 8, len(PIECES)):
        for _ in range(15):
            pieces = [*draw.choices(PIECES, k=kinds), " ", "\n"]
            path.write_bytes("".join(draw.choices(pieces, k=60)).encode())
            reports = ReadReport(reading), ReadReport(reading)
            expected = list(read_sentences(path, reading, reports[0]))
            blocks = b"".join(sentence_blocks(path, reading, reports[1]))
            # The library takes spaces and tabs as the only separators.
            lines = [line.replace("\t", " ") for line in blocks.decode().split("\n")]
            got = [[word for word in line.split(" ") if word] for line in lines]
            assert [words for words in got if words] == expected
            assert told(reports[0]) == told(reports[1])


def told(report):
    """What a report tells of; spaces are nothing that it tells."""
    changes = {kind: n for kind, n in report.changes.counts.counts.items() if kind[0] != "space"}
    return changes, report.changes.changed, report.by_lines, report.running, report.left_out


def test_normalised_lines_go_by_as_they_are():
    text = "IT'S A DAY\n\nAND  ANOTHER\n"
    assert stays(READINGS["english"], text, text.encode())
    assert stays(READINGS["upper"], "A DAY\n", b"A DAY\n")
    assert not stays(READINGS["lower"], "A DAY\n", b"A DAY\n")
    for other in ("it\n", "A 3\n", "'TIS\n", "A 'TIS\n", "DOGS' \n", "É\n"):
        assert not stays(READINGS["english"], other, other.encode())


def test_texts_that_are_none_are_refused(tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"a\xff\n")
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"a b c\n" * 100)[:-9])
    for name in ("latin.txt", "cut.txt.gz"):
        with pytest.raises(TextError, match="is not a complete UTF-8 text"):
            list(sentence_blocks(tmp_path / name, AS_IT_IS, ReadReport(AS_IT_IS)))
