"""Events as lines, as JSON and on a terminal."""

import json

from w2v2cli.recognition.streaming.listening import Event
from w2v2cli.recognition.streaming.showing import ANEW, DIM, PLAIN, Growing, JsonLines, Lines
from w2v2cli.recognition.transcript import TimedWord


def words(text: str, start: float = 0.0) -> tuple[TimedWord, ...]:
    """Words of half a second."""
    return tuple(
        TimedWord(word, start + i / 2, start + i / 2 + 0.4, 0.9)
        for i, word in enumerate(text.split())
    )


def written(showing_of, *events) -> str:
    parts: list[str] = []
    showing = showing_of(parts.append)
    for event in events:
        showing.show(event)
    return "".join(parts)


def test_a_line_is_a_sentence_or_ten_seconds_of_one():
    events = [
        Event(words("A B"), words("C", 1.0), False),
        Event(words("D", 1.0), (), True),
        Event((), (), True),
        Event(words("E " * 21, 2.0), (), True),
    ]
    assert written(Lines, *events) == f"A B D\n{' '.join('E' * 20)}\nE\n"


def test_json_tells_each_change_once():
    events = [
        Event((), words("A"), False),
        Event((), words("A"), False),
        Event(words("B"), words("C", 0.5), False),
        Event((), (), False),
        Event(words("D", 0.5), (), True),
    ]
    lines = [json.loads(line) for line in written(JsonLines, *events).splitlines()]
    assert [(line["final"], line["text"]) for line in lines] == [
        (False, "A"),
        (True, "B"),
        (False, "C"),
        (False, ""),
        (True, "D"),
    ]
    assert lines[2]["start"] == 0.5 and lines[2]["words"][0]["text"] == "C"
    assert "start" not in lines[3]
    assert [line.get("sentence_ends") for line in lines] == [None, False, None, None, True]


def test_a_terminals_line_grows_and_fits():
    def growing(write):
        return Growing(write, lambda: 21)

    events = [
        Event((), words("MAYBE"), False),
        Event((), words("MAYBE"), False),
        Event(words("SURELY"), words("SOMETHING THAT IS LONG", 1.0), False),
        Event(words("THIS IS MORE THAN A LINE"), (), True),
    ]
    assert written(growing, *events) == (
        f"{ANEW}{DIM}MAYBE{PLAIN}"
        f"{ANEW}SURELY{DIM} SOMETHING THA{PLAIN}"
        f"{ANEW}SURELY THIS IS MORE\n"
        f"{ANEW}THAN A LINE\n"
    )
    assert written(growing, Event((), words("A"), False), Event((), (), True)).endswith(ANEW)
