"""Alignments in the formats of other programs."""

import json

import pytest

from w2v2cli.recognition.aligning.alignment import (
    AlignedLine,
    AlignedSymbol,
    AlignedWord,
    Alignment,
)
from w2v2cli.recognition.aligning.formats import rendered


def word(text, start, end, letters=""):
    step = (end - start) / max(len(letters), 1)
    symbols = tuple(
        AlignedSymbol(letter, round(start + i * step, 3), round(start + (i + 1) * step, 3), 0.5)
        for i, letter in enumerate(letters)
    )
    return AlignedWord(text, start, end, 0.5 if letters else 0.0, symbols)


ALIGNMENT = Alignment(
    "talks/my talk.wav",
    2.0,
    (
        AlignedLine((word('"So,"', 0.1, 0.3, "SO"), word("你", 0.3, 0.3))),
        AlignedLine((word("5 million", 0.5, 1.0, "FI"),)),
    ),
    -3.25,
)


def test_ctm_has_six_columns():
    assert rendered(ALIGNMENT, "ctm").splitlines() == [
        'my_talk 1 0.100 0.200 "So," 0.5000',
        "my_talk 1 0.300 0.000 你 0.0000",
        "my_talk 1 0.500 0.500 5_million 0.5000",
    ]
    assert rendered(ALIGNMENT, "ctm", "symbol").splitlines()[1] == "my_talk 1 0.200 0.100 O 0.5000"


def intervals(textgrid, tier):
    """A small reader of Praat's long format: (xmin, xmax, text) of a tier."""
    [part] = [part for part in textgrid.split("    item [")[1:] if f'name = "{tier}"' in part]
    rows = []
    for block in part.split("        intervals [")[1:]:
        values = dict(
            line.strip().split(" = ", 1) for line in block.splitlines()[1:] if "=" in line
        )
        text = values["text"][1:-1].replace('""', '"')
        rows.append((float(values["xmin"]), float(values["xmax"]), text))
    assert f"intervals: size = {len(rows)}" in part
    return rows


def test_a_textgrid_covers_the_recording_without_gap_or_overlap():
    text = rendered(ALIGNMENT, "textgrid")
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\n')
    assert intervals(text, "words") == [
        (0.0, 0.1, ""),
        (0.1, 0.3, '"So," 你'),  # a word of no length has no interval of its own
        (0.3, 0.5, ""),
        (0.5, 1.0, "5 million"),
        (1.0, 2.0, ""),
    ]
    symbols = intervals(text, "symbols")
    assert [label for _, _, label in symbols if label] == ["S", "O", "F", "I"]
    assert all(a[1] == b[0] for a, b in zip(symbols, symbols[1:], strict=False))
    assert symbols[0][0] == 0.0 and symbols[-1][1] == 2.0


def test_subtitles_have_a_cue_for_each_line_of_the_text():
    assert rendered(ALIGNMENT, "srt") == (
        '1\n00:00:00,100 --> 00:00:00,300\n"So," 你\n\n'
        "2\n00:00:00,500 --> 00:00:01,000\n5 million\n"
    )
    assert rendered(ALIGNMENT, "vtt", "symbol").count("-->") == 4


def test_json_has_words_and_symbols_in_the_shape_of_a_transcript():
    found = json.loads(rendered(ALIGNMENT, "json"))
    assert (found["recording"], found["seconds"], found["score"]) == (
        "talks/my talk.wav",
        2.0,
        -3.25,
    )
    assert [segment["text"] for segment in found["segments"]] == ['"So," 你', "5 million"]
    first = found["segments"][0]["words"][0]
    assert first["text"] == '"So,"' and first["confidence"] == 0.5
    assert first["symbols"][1] == {"text": "O", "start": 0.2, "end": 0.3, "confidence": 0.5}


@pytest.mark.parametrize("form", ["ctm", "json"])
def test_names_that_are_not_utf8_can_be_written(form):
    strange = Alignment("a\udcff.wav", 2.0, ALIGNMENT.lines, 0.0)
    assert rendered(strange, form).encode("utf-8")
