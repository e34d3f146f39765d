"""Processes that share out work, of which nothing is left when the program is killed.

One process, the server, imports what the work needs; the workers are forked from it, so they share
its memory and start in no time. A worker is reached over a socket of its own. Arrays travel in
files without a name, which the receiver maps and does not copy. So there are no semaphores, no
shared memory and no folder that a killed program would leave behind, and none of it needs
/dev/shm. On Linux the kernel ends the server with the program, and the workers with the server.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import pickle
import signal
import socket
import sys
import tempfile
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import IO, Any, Generic, TypeVar

from w2v2cli.processes import Server, ignore_notices, killed_with

TaskT = TypeVar("TaskT")
AnswerT = TypeVar("AnswerT")
Work = Callable[[TaskT], Iterable[AnswerT]]
LARGE = 1 << 16  # bytes from which on a buffer goes by a file
ALIGNED = 64  # bytes: where a buffer in a file begins
AT_ONCE = 0.5  # seconds that the server has to end its workers, before the kernel does


class WorkerDied(Exception):
    """A worker, or the process that it is forked from, ended before its time."""


class _Remote(Exception):
    """The traceback of an exception in a worker."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Workers(Generic[TaskT, AnswerT]):
    """A context manager: processes that each take tasks in turn and answer them.

    Entering it returns at once; tasks wait until the processes are ready.
    """

    def __init__(self, work: Work[TaskT, AnswerT], count: int, patience: float = 0.0) -> None:
        """Prepare `count` processes.

        work: gives the answers to a task, one by one; it is pickled. patience: seconds that leaving
        the context manager gives a generator of answers to be closed, after which the processes
        are killed; 0 kills them at once.
        """
        self.work, self.count, self.patience = work, count, patience

    def __enter__(self) -> Workers[TaskT, AnswerT]:
        self._server = Server(__name__)
        self._connections: list[Connection] = []
        control = self._server.control
        work = pickle.dumps(self.work, 5)
        with contextlib.suppress(ConnectionError):  # told where an answer is waited for
            control.sendall(len(work).to_bytes(8, "little") + self.count.to_bytes(8, "little"))
            for _ in range(self.count):
                ours, theirs = socket.socketpair()
                self._connections.append(Connection(ours.detach()))
                with theirs:
                    socket.send_fds(control, [b"+"], [theirs.fileno()])
            control.sendall(work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for connection in self._connections:
            connection.close()
        if self.patience:
            with contextlib.suppress(ConnectionError):
                self._server.control.sendall(b"+")
        self._server.end(self.patience or AT_ONCE)

    def in_order(self, tasks: Iterable[TaskT], ahead: int) -> Iterator[AnswerT]:
        """Yield the answers in the order of the tasks; each process has up to `ahead` of them.

        Raises WorkerDied, and what the work raises.
        """
        tasks = iter(tasks)
        waiting = deque[Connection]()
        turns = (self._connections[i % self.count] for i in range(ahead * self.count))
        for connection, task in zip(turns, tasks, strict=False):
            waiting.append(_given(connection, task))
        while waiting:
            connection = waiting.popleft()
            answers = list(_answers(connection))
            waiting.extend(_given(connection, task) for task in islice(tasks, 1))
            yield from answers

    def as_they_come(self, tasks: Iterable[TaskT]) -> Iterator[AnswerT]:
        """Yield the answers as they come; each process has one task.

        Raises WorkerDied, and what the work raises.
        """
        tasks = iter(tasks)
        busy = [
            _given(connection, task)
            for connection, task in zip(self._connections, tasks, strict=False)
        ]
        while busy:
            for connection in wait(busy):
                assert isinstance(connection, Connection)
                answer = _answer(connection)
                if answer is not None:
                    yield answer[0]
                    continue
                busy.remove(connection)
                busy.extend(_given(connection, task) for task in islice(tasks, 1))


def _given(connection: Connection, task: object) -> Connection:
    with contextlib.suppress(ConnectionError):  # told where its answer is waited for
        _send(connection, task)
    return connection


def _answers(connection: Connection) -> Iterator[Any]:
    """The answers to one task."""
    while (answer := _answer(connection)) is not None:
        yield answer[0]


def _answer(connection: Connection) -> tuple[Any] | None:
    """The next answer in a tuple, None after the last one to a task."""
    try:
        kind, content = _received(connection)
    except (EOFError, ConnectionError):
        raise WorkerDied("A process that shared the work was killed.") from None
    if kind == "failed":
        error, trace = content
        raise error from _Remote(trace)
    return (content,) if kind == "answer" else None


# ---- the server, and the workers that are forked from it


def main(control_fd: int, parent: int) -> None:
    """Fork workers for the process `parent`; end them when it closes the control socket."""
    ignore_notices()  # the parent ends this process
    killed_with(parent)
    control = socket.socket(fileno=control_fd)
    size, count = (int.from_bytes(_exactly(control, 8), "little") for _ in range(2))
    ends = [end for _ in range(count) for end in socket.recv_fds(control, 1, 1)[1]]
    work: Work[Any, Any] = pickle.loads(_exactly(control, size))
    pids = [_forked(work, control, end, ends) for end in ends]
    for end in ends:
        os.close(end)
    if not control.recv(1):
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)


def _forked(work: Work[Any, Any], control: socket.socket, end: int, ends: Sequence[int]) -> int:
    """Fork a worker, which keeps one of the sockets; return its process id."""
    server = os.getpid()
    if pid := os.fork():
        return pid
    try:
        killed_with(server)
        control.close()
        for other in ends:
            if other != end:
                os.close(other)
        _work(work, Connection(end))
    finally:
        os._exit(0)


def _exactly(control: socket.socket, size: int) -> bytes:
    """Read `size` bytes; end this process where nobody will send them."""
    parts = bytearray()
    while len(parts) < size:
        part = control.recv(min(size - len(parts), 1 << 20))
        if not part:
            os._exit(0)
        parts += part
    return bytes(parts)


def _work(work: Work[Any, Any], tasks: Connection) -> None:
    """Answer tasks until no more come."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # each worker is one of many
    while True:
        answers: Iterable[Any] = ()
        try:
            answers = work(_received(tasks))
            for answer in answers:
                _send(tasks, ("answer", answer))
            _send(tasks, ("end", None))
        except (EOFError, ConnectionError):
            if close := getattr(answers, "close", None):
                close()
            return
        except Exception as error:  # whatever it is, it goes to who waits for the answer
            _send(tasks, ("failed", (_portable(error), traceback.format_exc())))


def _portable(error: Exception) -> Exception:
    """An error that can be sent."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its constructor asks for
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


# ---- objects on a socket


def _send(connection: Connection, content: object) -> None:
    """Send an object; its large arrays go by a file without a name."""
    buffers: list[memoryview] = []

    def inside(buffer: pickle.PickleBuffer) -> bool:
        raw = buffer.raw()
        if raw.nbytes >= LARGE:
            buffers.append(raw)
        return raw.nbytes < LARGE

    head = pickle.dumps(content, 5, buffer_callback=inside)
    sizes = [buffer.nbytes for buffer in buffers]
    with _plain(connection) as plain:
        if not buffers:
            plain.sendall(b"-")
        elif not _sent_aside(plain, buffers, sizes):
            plain.sendall(b"-")
            head, sizes = pickle.dumps(content, 5), []
    connection.send_bytes(pickle.dumps((head, sizes)))


def _sent_aside(plain: socket.socket, buffers: Sequence[memoryview], sizes: Sequence[int]) -> bool:
    """Send buffers in a file; whether that was possible, within the limits on files."""
    try:
        with _nameless() as file:
            for place, buffer in zip(_places(sizes), buffers, strict=True):
                file.seek(place)
                while buffer.nbytes:
                    buffer = buffer[file.write(buffer) :]
            socket.send_fds(plain, [b"+"], [file.fileno()])
    except ConnectionError:
        raise
    except OSError:
        return False
    return True


def _received(connection: Connection) -> Any:
    """The object that was sent. Raises EOFError where nobody sends any more."""
    with _plain(connection) as plain:
        kind, descriptors, _, _ = socket.recv_fds(plain, 1, 1)
    if not kind:
        raise EOFError
    head, sizes = pickle.loads(connection.recv_bytes())
    if kind == b"-":
        return pickle.loads(head)
    if not descriptors:  # the system drops one that would exceed a limit
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    try:
        # Writable, as an array of one's own is. It lives as long as the arrays in it.
        populate = getattr(mmap, "MAP_POPULATE", 0)
        content = memoryview(mmap.mmap(descriptors[0], 0, mmap.MAP_SHARED | populate))
    finally:
        os.close(descriptors[0])
    parts = zip(_places(sizes), sizes, strict=True)
    return pickle.loads(head, buffers=[content[place : place + size] for place, size in parts])


def _places(sizes: Sequence[int]) -> list[int]:
    """Where in a file buffers of these sizes begin."""
    places, end = [], 0
    for size in sizes:
        places.append(end)
        end += -(-size // ALIGNED) * ALIGNED
    return places


def _nameless() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("w2v2"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


@contextlib.contextmanager
def _plain(connection: Connection) -> Iterator[socket.socket]:
    """The socket of a connection."""
    plain = socket.socket(fileno=connection.fileno())
    try:
        yield plain
    finally:
        plain.detach()
