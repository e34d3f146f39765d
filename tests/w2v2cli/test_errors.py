"""How a command ends: its exit code and every word it leaves behind, seen from another process."""

import signal
import subprocess
import sys

import pytest

from w2v2cli.errors import UsageError, UserError

ADVICE = "give the program more, or less to do at a time"
LOST = "cannot be written"
FULL = "/dev/full"  # a Linux device on which every write finds the disk full


def start(body: str, stdout=subprocess.PIPE) -> subprocess.Popen:
    script = f"from w2v2cli.errors import *\nimport os, sys, time\nwith exits():\n    {body}\n"
    command, pipe = [sys.executable, "-c", script], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=stdout, stderr=pipe, text=True)


@pytest.mark.parametrize(
    ("body", "code", "stderr"),
    [
        ("pass", 0, ""),
        ("raise UserError('a.wav is empty.')", 1, "Error: a.wav is empty.\n"),
        *(
            (f"raise {error}", 1, f"Error: Memory ran out: {ADVICE}.\n")
            for error in (
                "MemoryError",
                "OSError(12, 'Cannot allocate memory')",
                "RuntimeError('could not create a primitive')",
                "ImportError('libx.so: failed to map segment from shared object')",
            )
        ),
        (  # a name that would clear the terminal and paint it red
            r"raise UserError('\x1b[2J\x1b[31m\r\x9b1m\x07.wav is\n\tempty.')",
            1,
            "Error: \\x1b[2J\\x1b[31m\\r\\x9b1m\\x07.wav is\n\tempty.\n",
        ),
        (
            "raise UsageError('--beam must be at least 1, got 0.')",
            2,
            "Error: --beam must be at least 1, got 0.\n",
        ),
        (
            "raise UserError('a\\x1b[2J\\r\\u202eb.wav is empty.')",
            1,
            "Error: a\\x1b[2J\\r\\u202eb.wav is empty.\n",
        ),
        ("raise SystemExit(7)", 7, ""),
        (
            "raise OSError(28, 'No space left on device', 'a.txt')",
            1,
            "Error: The disk is full: a.txt cannot be written.\n",
        ),
        *(
            (f"raise OSError({number}, {why!r}, 'a.txt')", 1, f"Error: a.txt {LOST}: {why}.\n")
            for number, why in ((27, "File too large"), (30, "Read-only file system"))
        ),
        (
            'raise RuntimeError("can\'t start new thread")',
            1,
            "Error: No other thread may run: raise the number of processes (ulimit -u).\n",
        ),
        (  # `ulimit -f 0`
            "import resource, signal, tempfile; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
            "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); tempfile.gettempdir()",
            1,
            "Error: No folder for temporary files can be written: name one in $TMPDIR.\n",
        ),
    ],
)
def test_an_end_is_a_code_and_at_most_one_sentence(body, code, stderr):
    with start(body) as process:
        assert process.communicate(timeout=60) == ("", stderr)
        assert process.returncode == code


UNSET = "raise SystemError('<built-in> returned NULL without setting an exception')"


def test_an_error_that_python_had_no_memory_for_is_a_sentence_under_a_bound():
    bound = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)); "
    with start(bound + UNSET) as process:
        assert process.communicate(timeout=60)[1] == f"Error: Memory ran out: {ADVICE}.\n"
        assert process.returncode == 1


def test_what_a_job_held_makes_room_for_the_sentence():
    """The frames of an error hold the arrays of the job: under a bound none would be left."""
    body = (
        "import resource; held = []\n"
        "    resource.setrlimit(resource.RLIMIT_AS, (1 << 29, 1 << 29))\n"
        "    def work(blocks):\n"
        "        while True: blocks.append(bytes(1 << 10))\n"
        "    work([])"
    )
    with start(body) as process:
        assert process.communicate(timeout=60)[1] == f"Error: Memory ran out: {ADVICE}.\n"
        assert process.returncode == 1


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted on Linux alone")
@pytest.mark.parametrize(
    ("left", "refused"), [(50, True), (100, True), (400, False), (None, False)]
)
def test_a_network_is_not_begun_where_no_memory_is_left(left, refused):
    """A library under torch would end the process, with a signal and no sentence."""
    bound = "from w2v2cli.errors import STATM, refuse_without_memory; import resource; "
    bound += "taken = int(STATM.read_text().split()[0]) * resource.getpagesize(); "
    if left is not None:
        bound += f"resource.setrlimit(resource.RLIMIT_AS, (taken + ({left} << 20),) * 2); "
    with start(bound + "refuse_without_memory(); print('goes on')") as process:
        out, errors = process.communicate(timeout=60)
    assert ("Error: Memory ran out" in errors, out == "goes on\n") == (refused, not refused)


def test_a_thread_that_has_no_room_is_a_sentence_too():
    bound = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)); "
    with start(bound + 'raise RuntimeError("can\'t start new thread")') as process:
        told = "Error: There is no memory for another thread: raise the limit (ulimit -v).\n"
        assert process.communicate(timeout=60)[1] == told


@pytest.mark.parametrize(
    "body",
    [
        "raise ValueError('odd')",
        "raise OSError(5, 'odd')",
        "raise BrokenPipeError(32, 'odd')",
        UNSET.replace("<built-in>", "odd"),
    ],
)
def test_a_fault_of_the_program_keeps_its_traceback(body):
    with start(body) as process:
        _, stderr = process.communicate(timeout=60)
        assert stderr.startswith("Traceback") and "odd" in stderr
        assert process.returncode == 1


def test_a_reader_that_leaves_ends_the_program_without_a_word():
    with start("[print(line, flush=True) for line in iter(int, 1)]") as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 141


def test_a_reader_that_left_before_the_last_flush_is_noticed():
    with start("print('buffered'); sys.stdin.readline()") as process:
        process.stdout.close()
        process.stdin.close()  # now it may go on
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 141


@pytest.mark.skipif(sys.platform != "linux", reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_sentence():
    with open(FULL, "w") as full:
        with start("print('words')", stdout=full) as process:
            _, stderr = process.communicate(timeout=60)
        assert stderr == "Error: The disk is full: the output cannot be written.\n"
        assert process.returncode == 1


def test_an_interrupt_is_quiet():
    with start("sys.stdout.write('ready'); sys.stdout.flush(); time.sleep(60)") as process:
        assert process.stdout.read(5) == "ready"
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[1] == ""
        assert process.returncode == 130


def test_a_wrong_call_is_a_users_error_too():
    assert (UserError.exit_code, UsageError.exit_code) == (1, 2)
    assert issubclass(UsageError, UserError)
