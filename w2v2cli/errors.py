"""Errors that a user can correct: one sentence on stderr and an exit code.

    UserError        a job that failed (1)
      UsageError     a wrong call (2)

The libraries below the command line (`lm`, `models`, `storage`) raise subclasses of ValueError with
the same kind of sentence, and OSError.
"""

from __future__ import annotations

import errno
import os
import resource
import select
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from w2v2cli.console import complain, is_verbose

# As torch, oneDNN, C++ and the loader of libraries say it.
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "could not create a primitive",
    "failed to map segment",
)
NO_THREAD = "can't start new thread"
NO_TEMPORARY = "No usable temporary directory"
# As Python says it where it had no memory left for the error itself.
NO_ERROR_SET = ("without setting an exception", "without exception set")
FULL = (errno.ENOSPC, errno.EDQUOT)
# Errors that only writing meets, whatever was written: a full disk, `ulimit -f`, a mount that is
# read-only.
UNWRITABLE = (*FULL, errno.EFBIG, errno.EROFS)
STATM = Path("/proc/self/statm")  # pages that this process has mapped, on Linux
ROOM = 128 << 20  # bytes that the smallest network runs in, with its threads
INTERRUPTED = 130  # exit code after Ctrl-C, as in shells


class UserError(Exception):
    """A job that failed. The message is the sentence that the user reads."""

    exit_code = 1
    told = False
    """Whether another process of the job prints it."""


class UsageError(UserError):
    """A wrong call: options that do not exist, do not fit each other, or name nothing."""

    exit_code = 2


def refuse_overwriting(flag: str, output: Path | None, inputs: Iterable[Path | None]) -> None:
    """Raise UsageError where an output is one of the files that the call reads.

    flag: the option that names the output.
    """
    if output is None or not output.exists():
        return
    for path in inputs:
        if path is not None and path.exists() and os.path.samefile(output, path):
            raise UsageError(
                f"{flag} {output} would overwrite {path}, which this call reads: name another file."
            )


@contextmanager
def exits() -> Iterator[None]:
    """Turn errors that a user can correct into one line on stderr and an exit code.

    Ctrl-C exits with 130 and a closed pipe with 141, both silently, as Unix tools do. What the
    system lets nobody write (UNWRITABLE) and memory that runs out are sentences wherever they
    occur, stdout included. Any other exception is a fault of the program and keeps its traceback.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        if is_verbose():
            error.__suppress_context__ = False
            traceback.print_exc()
        if not error.told:
            complain(f"Error: {error}")
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        if not _reader_has_gone():  # the pipe to one of our processes broke: a fault of the program
            raise
        _discard_stdout()
        raise SystemExit(141) from None
    except (OSError, MemoryError, RuntimeError, ImportError, SystemError) as error:
        if (sentence := _denied(error)) is None:
            raise
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            _discard_stdout()
        traceback.clear_frames(error.__traceback__)  # what the job held makes room to say so
        complain(f"Error: {sentence}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _denied(error: BaseException) -> str | None:
    """What the system denied, as a sentence; None for an error that tells of something else."""
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return _unwritten(error)
    if ran_out_of_memory(error):
        return "Memory ran out: give the program more, or less to do at a time."
    if NO_THREAD in str(error):
        return _threadless()
    if NO_TEMPORARY in str(error):
        return "No folder for temporary files can be written: name one in $TMPDIR."
    return None


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy or torch says that memory was short, a GPU's or any."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, SystemError):
        return memory_is_bounded() and any(words in str(error) for words in NO_ERROR_SET)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError | ImportError)
        and any(words in str(error) for words in OUT_OF_MEMORY)
    )


def _threadless() -> str:
    """Why Python could start no thread; it does not tell itself."""
    if memory_is_bounded():
        return "There is no memory for another thread: raise the limit (ulimit -v)."
    return "No other thread may run: raise the number of processes (ulimit -u)."


def memory_is_bounded() -> bool:
    """Whether `ulimit -v` bounds this process, so that an allocation may fail at any place."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def refuse_without_memory() -> None:
    """Raise MemoryError where `ulimit -v` leaves too little to run a network with.

    The libraries under it end the process, or read what was never written, when they find none.
    """
    if memory_is_bounded() and STATM.is_file():
        taken = int(STATM.read_text().split()[0]) * resource.getpagesize()
        if resource.getrlimit(resource.RLIMIT_AS)[0] - taken < ROOM:
            raise MemoryError


def _unwritten(error: OSError) -> str:
    """The sentence of an error in UNWRITABLE."""
    lost = error.filename or "the output"
    if error.errno in FULL:
        return f"The disk is full: {lost} cannot be written."
    return f"{lost} cannot be written: {error.strerror}."


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe whose reader has closed it."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_stdout() -> None:
    """Send stdout to /dev/null: Python flushes it once more at exit, which would fail again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
