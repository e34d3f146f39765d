"""Work that arrives one by one, taken from a queue in batches."""

from __future__ import annotations

from queue import Empty, SimpleQueue
from typing import TypeVar

PATIENCE = 0.02  # seconds that a batch which is not full waits for more

Task = TypeVar("Task")


def gather(queue: SimpleQueue[Task | None], most: int) -> list[Task] | None:
    """Take one to `most` tasks, waiting for the first; None once None was put into the queue."""
    first = queue.get()
    if first is None:
        return None
    tasks = [first]
    while len(tasks) < most:
        try:
            task = queue.get(timeout=PATIENCE)
        except Empty:
            break
        if task is None:
            queue.put(None)  # for the next call
            break
        tasks.append(task)
    return tasks
