"""The process that search workers are forked from: it reads lexicon and language model once, and they share its memory.

It never imports torch, so it is ready while the parent still does. Protocol over the control socket: the server sends
("ready", warnings) or ("failed", sentence); then for each byte it receives it forks a worker and sends back the worker's
process id with the parent's end of the worker's own socket. A worker answers each emission with ("found", hypotheses)
or ("failed", sentence). Whoever finds its socket closed ends.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from lm.decoding import DecodingWeights
from lm.hypothesis import Hypothesis
from w2v2cli.recognition.searching.spec import SearchSpec

Search = Callable[[np.ndarray, list[int], DecodingWeights | None], list[list[Hypothesis]]]
PR_SET_PDEATHSIG = 1


def main(control_fd: int, parent: int) -> None:
    """Serve the process `parent` until the control socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer: it ends us
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for dead workers
    die_with(parent)
    control = socket.socket(fileno=control_fd)
    messages = Connection(os.dup(control_fd))
    try:
        spec: SearchSpec = messages.recv()
    except EOFError:
        return
    try:
        with stderr_closed():
            search, warnings = build_search(spec)
    except (ValueError, OSError) as error:
        messages.send(("failed", str(error)))
        return
    messages.send(("ready", warnings))
    serve(search, control, messages)


def serve(search: Search, control: socket.socket, messages: Connection) -> None:
    """Fork a worker for each byte that comes."""
    gc.freeze()  # or a worker's first collection would write to, and so copy, every page of the lexicon
    server = os.getpid()
    while control.recv(1):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            control.close()
            messages.close()
            die_with(server)
            try:
                work(search, Connection(theirs.detach()))
            finally:
                os._exit(0)
        theirs.close()
        socket.send_fds(control, [pid.to_bytes(8, "little")], [ours.fileno()])
        ours.close()


def work(search: Search, tasks: Connection) -> None:
    """Search emissions until no more come."""
    while True:
        try:
            frames, symbols, weights = tasks.recv()
            emission = np.frombuffer(tasks.recv_bytes(), np.float32).reshape(1, frames, symbols)
        except (EOFError, ConnectionError):
            return
        answer: tuple[str, object]
        try:
            answer = ("found", search(emission, [frames], weights)[0])
        except ValueError as error:
            answer = ("failed", str(error))
        except (
            Exception
        ) as error:  # a fault of ours: shown in full, and no reason to search the same thing again
            traceback.print_exc()
            answer = ("failed", f"The search broke down: {type(error).__name__}: {error}")
        try:
            tasks.send(answer)
        except ConnectionError:
            return


def build_search(spec: SearchSpec) -> tuple[Search, list[str]]:
    """A search as `spec` describes it, and what its files gave reason to say; ValueError or OSError when it cannot be."""
    from lm.ngram.arpa import read_unigrams
    from lm.text.lexicon import Lexicon

    vocabulary, words_of = spec.vocabulary, spec.lm if spec.spell_words else None

    def make() -> Lexicon:
        if spec.lexicon is not None:
            return Lexicon.read(spec.lexicon, vocabulary)
        assert words_of is not None
        return Lexicon.from_words(read_unigrams(words_of), vocabulary)

    source = spec.lexicon or words_of
    if spec.engine == "compiled" and source is not None:
        from lm.ngram.kenlm import check_file
        from lm.search.compiled import CompiledSearch
        from lm.search.flat_lexicon import kept_lexicon
        from storage.hashing import remembered_hash

        assert spec.cache is not None
        if source == spec.lm:
            check_file(source)
        flat, told = kept_lexicon(remembered_hash(source), vocabulary, spec.cache, make)
        compiled = CompiledSearch(
            vocabulary,
            spec.weights,
            spec.options,
            flat,
            spec.lm,
            spec.cache,
            hotwords=spec.hotwords,
        )
        return compiled, told + compiled.warnings
    from lm.search.flashlight import FlashlightSearch

    search = FlashlightSearch(
        vocabulary,
        spec.weights,
        spec.options,
        None if source is None else make(),
        spec.lm,
        hotwords=spec.hotwords,
    )
    return search, search.warnings


class stderr_closed:
    """KenLM draws a progress bar on the process's stderr while it reads; here it has nowhere to go."""

    def __enter__(self) -> None:
        sys.stderr.flush()
        self.kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)

    def __exit__(self, *_: object) -> None:
        os.dup2(self.kept, 2)
        os.close(self.kept)


def die_with(parent: int) -> None:
    """On Linux, have the kernel end this process with its parent, even in the middle of a search.

    Elsewhere a process notices when it next looks at its socket.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)
