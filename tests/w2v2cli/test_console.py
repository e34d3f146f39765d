"""Progress on stderr: beside results on stdout, on a terminal and elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

RESULTS = """
import sys
from w2v2cli.console import progress, say
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
