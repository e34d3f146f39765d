"""How a command ends: its exit code and every word it leaves behind, seen from another process."""

import signal
import subprocess
import sys
import time

import pytest

from w2v2cli.errors import UsageError, UserError

FULL = "/dev/full"  # a Linux device on which every write finds the disk full


def start(body: str, stdout=subprocess.PIPE) -> subprocess.Popen:
    script = f"from w2v2cli.errors import *\nimport os, sys, time\nwith exits():\n    {body}\n"
    return subprocess.Popen([sys.executable, "-c", script], stdout=stdout, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("body", "code", "stderr"),
    [
        ("pass", 0, ""),
        ("raise UserError('a.wav is empty.')", 1, "Error: a.wav is empty.\n"),
        ("raise UsageError('--beam must be at least 1, got 0.')", 2, "Error: --beam must be at least 1, got 0.\n"),
        ("raise SystemExit(7)", 7, ""),
        (
            "raise OSError(28, 'No space left on device', 'a.txt')",
            1,
            "Error: The disk is full: a.txt cannot be written.\n",
        ),
    ],
)
def test_an_end_is_a_code_and_at_most_one_sentence(body, code, stderr):
    process = start(body)
    assert process.communicate(timeout=60) == ("", stderr)
    assert process.returncode == code


@pytest.mark.parametrize(
    "body", ["raise ValueError('odd')", "raise OSError(5, 'odd')", "raise BrokenPipeError(32, 'odd')"]
)
def test_a_fault_of_the_program_keeps_its_traceback(body):
    process = start(body)
    _, stderr = process.communicate(timeout=60)
    assert stderr.startswith("Traceback") and "odd" in stderr
    assert process.returncode == 1


def test_a_reader_that_leaves_ends_the_program_without_a_word():
    process = start("[print(line, flush=True) for line in iter(int, 1)]")
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


def test_a_reader_that_left_before_the_last_flush_is_noticed():
    process = start("print('buffered'); sys.stderr.write('ready'); sys.stderr.flush(); time.sleep(0.3)")
    assert process.stderr.read(5) == "ready"
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 141


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence():
    with open(FULL, "w") as full:
        process = start("print('words')", stdout=full)
        _, stderr = process.communicate(timeout=60)
    assert stderr == "Error: The disk is full: the output cannot be written.\n"
    assert process.returncode == 1


def test_an_interrupt_is_quiet():
    process = start("sys.stdout.write('ready'); sys.stdout.flush(); time.sleep(60)")
    assert process.stdout.read(5) == "ready"
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 130
    assert time.monotonic() - begun < 2


def test_a_wrong_call_is_a_users_error_too():
    assert (UserError.exit_code, UsageError.exit_code) == (1, 2)
    assert issubclass(UsageError, UserError)
