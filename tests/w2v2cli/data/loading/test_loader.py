import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.data.loading.flat import Rows
from w2v2cli.data.loading.loader import Epochs, read_ahead
from w2v2cli.errors import UserError

READING = Reading(4000, seed=3)


class Signed:
    """Recordings whose samples say which process read them, and how it takes a notice."""

    shards = None
    texts = [None] * 12

    def __init__(self, deadly=-1):
        self.ids = [f"r{i}" for i in range(12)]
        self.lengths = np.full(12, 1000)
        self.deadly = deadly

    def read(self, index, start=0, samples=None):
        if index == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        signature = np.frombuffer(np.int64(os.getpid()).tobytes(), np.uint8)
        return np.pad(signature.astype(np.float32), (0, samples - 8))


class Unreadable(Signed):
    def read(self, index, start=0, samples=None):
        raise UserError(f"r{index} cannot be read.")


class TooLarge(Signed):
    def read(self, index, start=0, samples=None):
        return np.zeros(1 << 60, np.float32)


def data(source, labels=None):
    return TrainingSet(source, np.arange(12), labels)


def places(epochs):
    return ((epoch, i) for epoch in range(50) for i in range(epochs.size(epoch)))


def reader(batch):
    first = batch.waveforms[0]
    return int.from_bytes(bytes(first[:8].to(torch.uint8).tolist()), "little")


def test_the_same_processes_read_epoch_after_epoch_whatever_notices_they_get():
    epochs = Epochs(data(Signed()), READING)
    batches = read_ahead(epochs, places(epochs), 2)
    pids = {reader(next(batches)) for _ in range(4)}
    assert len(pids) == 2 and os.getpid() not in pids
    sender = "import os, sys; [os.kill(int(p), int(n)) for p in sys.argv[2:] for n in (2, 10, 15)]"
    subprocess.run([sys.executable, "-c", sender, "", *map(str, pids)], check=True)
    more = [reader(batch) for batch in batches]
    assert len(more) == 50 * 3 - 4 and set(more) == pids


def test_a_program_that_leaves_the_loader_open_ends_all_the_same(tmp_path):
    """After a traceback, or where somebody keeps the iterator."""
    source = Path(__file__).read_text().partition("def data(")[0]
    (tmp_path / "sources.py").write_text(source)
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from sources import *
epochs = Epochs(TrainingSet(Signed(), np.arange(12)), READING)
batches = read_ahead(epochs, ((epoch, 0) for epoch in range(10**6)), 2)
next(batches)
sys.kept = batches
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize("workers", [0, 2])
def test_any_number_of_workers_reads_the_same_audio_and_labels(workers):
    labels = Rows.of([range(i) for i in range(12)])
    epochs = Epochs(data(Signed(), labels), READING)
    for (epoch, number), batch in zip(
        places(epochs), read_ahead(epochs, places(epochs), workers), strict=True
    ):
        alone = READING.epoch(epochs.data, epoch)[number]
        assert batch.ids == alone.ids and batch.waveforms.shape == alone.waveforms.shape
        for name in ("lengths", "labels", "label_lengths"):
            assert torch.equal(getattr(batch, name), getattr(alone, name)), name
        assert batch.label_lengths.tolist() == [int(name[1:]) for name in batch.ids]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_in_a_worker_is_the_same_sentence_as_without(workers):
    epochs = Epochs(data(Unreadable()), READING)
    with pytest.raises(UserError, match=r"^None of the 12 recordings .*: r\d+ cannot be read\.$"):
        next(read_ahead(epochs, places(epochs), workers))


def test_a_worker_that_is_killed_is_a_sentence():
    epochs = Epochs(data(Signed(deadly=7)), READING)
    with pytest.raises(UserError, match="was killed, most often because memory is short"):
        list(read_ahead(epochs, places(epochs), 2))


def test_the_workers_end_with_the_iterator():
    epochs = Epochs(data(Signed()), READING)
    batches = read_ahead(epochs, places(epochs), 2)
    pids = {reader(next(batches)) for _ in range(4)}
    batches.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_an_epoch_without_micro_batches_is_a_sentence():
    epochs = Epochs(TrainingSet(Signed(), np.arange(0)), READING)
    with pytest.raises(UserError, match="There is nothing to train on"):
        next(read_ahead(epochs, places(epochs), 0))


@pytest.mark.parametrize("workers", [0, 1])
def test_memory_that_runs_out_while_reading_is_a_sentence(workers):
    epochs = Epochs(data(TooLarge()), READING)
    with pytest.raises(UserError, match=r"batch of 4 utterances was read, the longest of 0.1 s: l"):
        next(read_ahead(epochs, places(epochs), workers))
