"""Progress on stderr: beside results on stdout, on a terminal and elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from w2v2cli.progress import AUDIO, MEGABYTES, TRIALS, UTTERANCES, Lines, duration

RESULTS = """
import sys
from w2v2cli.console import say
from w2v2cli.progress import progress
with progress("Working") as advance:
    for done in range(3):
        sys.stdout.write(f"result {done}\\n")
        sys.stdout.flush()
        advance(done + 1, 3)
    say("a sentence")
"""


def on_terminal(program: str, stdout: bool) -> tuple[str, str]:
    """What a program writes to stdout (if that is a pipe) and to the terminal of its stderr."""
    ours, theirs = pty.openpty()
    where = theirs if stdout else subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program], stdout=where, stderr=theirs) as started:
        os.close(theirs)
        shown = b""
        while True:
            try:
                shown += os.read(ours, 65536)
            except OSError:  # how Linux tells the end of a terminal
                break
        results = started.stdout.read() if started.stdout else b""
    os.close(ours)
    assert started.returncode == 0
    return results.decode(), shown.decode()


def test_results_reach_a_pipe_while_the_bar_is_on_a_terminal():
    results, shown = on_terminal(RESULTS, stdout=False)
    assert results == "result 0\nresult 1\nresult 2\n"
    assert "result" not in shown and "a sentence" in shown and "Working" in shown


@pytest.mark.parametrize("number", range(3))
def test_results_stand_above_the_bar_where_both_are_one_terminal(number):
    _, shown = on_terminal(RESULTS, stdout=True)
    assert f"result {number}\r\n" in shown


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def told_of(steps, unit=AUDIO, total=3600.0):
    """The lines about a job: steps are (seconds of the clock, amount done)."""
    clock, lines = Clock(), []
    shown = Lines("Working", unit, lines.append, clock)
    for now, done in steps:
        clock.now = now
        shown.advance(done, total)
    return lines


def test_a_short_job_prints_no_line():
    assert told_of([(0, 0), (29.9, 3600)]) == []


def test_lines_tell_how_much_how_fast_and_how_long_still():
    assert told_of([(50, 0), (80, 300), (110, 600)], total=3600.0) == [
        "Working: 5:00 of 1:00:00 of audio, 10.0 times real time, 6 min left"
    ]
    assert told_of([(0, 0), (40, 80)], total=None) == [
        "Working: 1:20 of audio, 2.0 times real time"
    ]
    assert told_of([(0, 0), (40, 10)], UTTERANCES, 20) == [
        "Working: 10 of 20 utterances, 15 a minute, 40 s left"
    ]
    assert told_of([(0, 0), (40, 4)], MEGABYTES, 200) == [
        "Working: 4.0 of 200 MB, 0.1 MB a second, 33 min left"
    ]


def test_lines_come_ever_more_rarely():
    lines = told_of([(now, now) for now in range(10_000)], total=10_000.0)
    done = [line.split()[1] for line in lines]
    assert done[:4] == ["0:30", "1:15", "2:23", "4:05"]
    assert len(lines) == 22


def test_the_speed_is_that_of_late():
    steps = [(now, 10 * now) for now in range(1, 200)] + [(200 + n, 1990 + n) for n in range(300)]
    assert ", 1.0 times real time, " in told_of(steps)[-1]


def test_other_work_begins_a_new_measurement():
    clock, lines = Clock(), []
    shown = Lines("Working", AUDIO, lines.append, clock)
    shown.advance(0, 100)
    clock.now = 31
    shown.advance(62, 100, "First")
    clock.now = 100
    shown.advance(1, 10, "Second", TRIALS)
    assert lines == [
        "First: 1:02 of 1:40 of audio, 2.0 times real time, 19 s left", "Second: 1 of 10 trials"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "told"), [(59.6, "60 s"), (130, "2 min"), (7300, "2.0 h"), (2e5, "2.3 days")]
)
def test_durations(seconds, told):
    assert duration(seconds) == told
