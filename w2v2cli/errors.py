"""What goes wrong because of the input, not because of the program: one sentence, one exit code.

    UserError        a job that failed (1)
      UsageError     a wrong call (2)

Libraries below the command line (`lm`, `models`) raise ValueError subclasses and OSError with the same kind of sentence.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """A job that failed; the message is the sentence its user reads."""

    exit_code = 1


class UsageError(UserError):
    """A call that cannot be carried out as it was made."""

    exit_code = 2


@contextmanager
def exits() -> Iterator[None]:
    """Turn what a user can mend into one line on stderr and an exit code; a fault of the program keeps its traceback.

    Ctrl-C ends with 130, a reader that closed the pipe with 141, both without a word: as Unix tools do.
    """
    try:
        yield
        sys.stdout.flush()
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
