"""What goes wrong because of the input, not because of the program: one sentence, one exit code.

    UserError        a job that failed (1)
      UsageError     a wrong call (2)

Libraries below the command line (`lm`, `models`) raise ValueError subclasses and OSError with the same kind of sentence.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it


class UserError(Exception):
    """A job that failed; the message is the sentence its user reads."""

    exit_code = 1


class UsageError(UserError):
    """A call that cannot be carried out as it was made."""

    exit_code = 2


@contextmanager
def exits() -> Iterator[None]:
    """Turn what a user can mend into one line on stderr and an exit code; a fault of the program keeps its traceback.

    Ctrl-C ends with 130, a reader that closed the pipe with 141, both without a word: as Unix tools do. A full disk is a
    sentence wherever it is met, stdout included.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        if not _reader_has_gone():  # another pipe broke, to a process of ours: that is a fault
            raise
        _discard_stdout()
        raise SystemExit(141) from None
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _discard_stdout()
        sys.stderr.write(
            f"Error: The disk is full: {error.filename or 'the output'} cannot be written.\n"
        )
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


def _reader_has_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), select.POLLOUT)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _discard_stdout() -> None:
    """Python flushes stdout once more at exit, which would fail again; give it somewhere to go."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
