"""References over hypotheses, as people read them."""

import random

import jiwer
import pytest
from rich.cells import cell_len

from w2v2cli.recognition.scoring.aligned import aligned_rows
from w2v2cli.recognition.scoring.error_rate import align


def rows(reference: str, hypothesis: str, width: int = 80) -> list[str]:
    alignment = align(reference, hypothesis, str)
    return aligned_rows(alignment.steps(), width, alignment.between).plain.splitlines()


def test_words_stand_under_their_words():
    assert rows("the cat sat down here today", "a cat sat here today now") == [
        "REF: the cat sat down here today ***",
        "HYP: a   cat sat **** here today now",
        "     S           D               I",
    ]
    assert rows("same words", "same words") == ["REF: same words", "HYP: same words"]


def test_wide_characters_take_two_columns_and_no_spaces_stand_between():
    assert rows("我们今天去了", "我今天去了吗") == [
        "REF: 我们今天去了**",
        "HYP: 我**今天去了吗",
        "       D         I",
    ]


@pytest.mark.parametrize("width", [20, 33, 80])
def test_no_row_is_wider_than_the_terminal_and_nothing_is_lost(width):
    draw = random.Random(width)
    words = ["a", "be", "sea", "deep", "evening", "今天"]
    spoken = [draw.choice(words) for _ in range(40)]
    heard = [draw.choice(words) if draw.random() < 0.3 else word for word in spoken][3:]
    shown = rows(" ".join(spoken), " ".join(heard), width)
    assert max(map(cell_len, shown)) <= width
    for head, said in (("REF: ", spoken), ("HYP: ", heard)):
        found = [line.removeprefix(head) for line in shown if line.startswith(head)]
        assert [w for w in " ".join(found).split() if not w.startswith("*")] == said
    marks = "".join(line for line in shown if line.startswith("     "))
    counts = jiwer.process_words(" ".join(spoken), " ".join(heard))
    wanted = (counts.substitutions, counts.deletions, counts.insertions)
    assert tuple(map(marks.count, "SDI")) == wanted
