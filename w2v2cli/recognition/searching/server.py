"""The process that search workers are forked from.

It reads lexicon and language model once, and the workers share its memory. It never imports torch,
so it is ready while the parent still does.

Protocol over the control socket: the server sends ("ready", warnings) or ("failed", sentence). For
each byte it then receives it forks a worker, and sends back the worker's process id with the
parent's end of the worker's own socket. A worker searches each emission with one or several weights
and answers ("found", what each found: hypotheses, or their parts alone) or ("failed", sentence). A
process that finds its socket closed ends.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

import numpy as np

from w2v2cli.processes import ignore_notices, killed_with
from w2v2cli.recognition.searching.build import Search, build_search, searched_parts
from w2v2cli.recognition.searching.spec import SearchSpec


def main(control_fd: int, parent: int) -> None:
    """Serve the process `parent` until the control socket closes."""
    ignore_notices()  # the parent ends this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for dead workers
    killed_with(parent)
    control = socket.socket(fileno=control_fd)
    messages = Connection(os.dup(control_fd))
    try:
        spec: SearchSpec = messages.recv()
    except EOFError:
        return
    warnings: list[str] = []
    try:
        with stderr_closed():
            search = build_search(spec, warnings.append)
    except (ValueError, OSError) as error:
        messages.send(("failed", str(error)))
        return
    messages.send(("ready", warnings))
    serve(search, control, messages)


def serve(search: Search, control: socket.socket, messages: Connection) -> None:
    """Fork a worker for each byte that comes."""
    # Without it a worker's first collection would write to, and so copy, every page of the lexicon.
    gc.freeze()
    server = os.getpid()
    while control.recv(1):
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            control.close()
            messages.close()
            killed_with(server)
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
            frames, symbols, weights, context, parts = tasks.recv()
            emission = np.frombuffer(tasks.recv_bytes(), np.float32).reshape(1, frames, symbols)
        except (EOFError, ConnectionError):
            return
        answer: tuple[str, object]
        try:
            rows = np.broadcast_to(emission, (len(weights), frames, symbols))
            lengths = [frames] * len(rows)
            # Only an engine that takes contexts is sent one.
            beside = () if context is None else ([context] * len(rows),)
            answer = (
                "found",
                searched_parts(search, rows, lengths, weights)
                if parts
                else search(rows, lengths, weights, *beside),
            )
        except ValueError as error:
            answer = ("failed", str(error))
        except Exception as error:  # a fault in the program: shown in full, and not tried again
            traceback.print_exc()
            answer = ("failed", f"The search broke down: {type(error).__name__}: {error}")
        try:
            tasks.send(answer)
        except ConnectionError:
            return


@contextmanager
def stderr_closed() -> Iterator[None]:
    """Discard what C++ code writes to stderr: KenLM draws a progress bar there while it reads."""
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
