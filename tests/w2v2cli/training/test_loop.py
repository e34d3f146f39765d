"""The loop with a task small enough to look through: a network of one matrix."""

import json
import signal
import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from w2v2cli.data.dataset import Reading, TrainingSet
from w2v2cli.errors import UserError
from w2v2cli.processes import Ranks
from w2v2cli.training.checkpoints import StateFolder
from w2v2cli.training.collectives import Collectives
from w2v2cli.training.config import AudioRunConfig
from w2v2cli.training.loop import Loop
from w2v2cli.training.pace import Phase
from w2v2cli.training.schedule import TriStage
from w2v2cli.training.stream import AudioStream
from w2v2cli.training.tasks.protocol import Prepared


class Noise:
    """Recordings whose samples only their index decides."""

    shards = None

    def __init__(self, count=40, broken=()):
        self.ids = [f"r{i}" for i in range(count)]
        self.texts = [None] * count
        self.lengths = np.array([800 + 40 * (i % 7) for i in range(count)])
        self.broken = broken

    def read(self, index, start=0, samples=None):
        waveform = (
            np.random.default_rng(index)
            .standard_normal(int(self.lengths[index]))
            .astype(np.float32)
        )
        if index in self.broken:
            waveform[3] = np.nan
        return waveform[start : None if samples is None else start + samples]


class Damaged(Noise):
    """Recordings of which some cannot be read."""

    def read(self, index, start=0, samples=None):
        if index in self.broken:
            raise UserError(f"r{index}.wav is damaged.")
        return super().read(index, start, samples)


@dataclass
class Means:
    """The mean square of the network's outputs; a dropout makes it random."""

    judged_by = "valid"
    blocks = (0, 0.0)
    phases = (Phase(0, 1.0),)
    validation_work = 0.0
    verdicts: list
    saved: list
    frozen: int = 0

    def prepare(self, batch, draws, device):
        return Prepared(batch, len(batch.ids), None)

    def loss(self, network, prepared, draws):
        x = prepared.batch.waveforms[:, :8]
        return nn.functional.dropout(network(x), 0.5).square().mean(1).sum(), {}

    def summary(self, sums, count, update):
        return {"loss": sums["loss"] / count}

    def throughput(self, amount, per_second):
        return {"heard": amount}

    def learning(self, network, update):
        return {"bias"} if update < self.frozen else {"weight", "bias"}

    def leaves_out(self, learning):
        return False

    def validate(self, network, collectives):
        return {"valid": self.verdicts.pop(0)}

    def save_best(self, network, path):
        self.saved.append(float(network.weight.detach().sum()))

    def watch(self, metrics):
        return None


def loop(folder, updates=12, task=None, source=None, told=None, **config):
    torch.manual_seed(0)
    settings = {
        "batch_seconds": 0.2,
        "precision": "fp32",
        "validate_every": 1000,
        "save_every": 1000,
    } | config
    run = AudioRunConfig(schedule=TriStage(0.01, updates), **settings)
    source = source or Noise()
    data = TrainingSet(source, np.arange(len(source.ids)))
    stream = AudioStream(data, Reading(3200, seed=run.seed), accumulate=run.accumulate)
    return Loop(
        network=nn.Linear(8, 4),
        task=task or Means([1.0] * 99, []),
        config=run,
        stream=stream,
        collectives=Collectives(Ranks(), torch.device("cpu")),
        folder=folder,
        on_progress=lambda progress: None,
        warn=(lambda sentence: None) if told is None else told.append,
        note=lambda sentence: None,
    )


def lines(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_interrupted_anywhere_goes_on_to_the_same_weights(tmp_path):
    whole = loop(tmp_path / "whole", 23, save_every=4)
    whole.run()
    for kill in (5, 11, 17):
        broken = loop(tmp_path / "broken", 23, save_every=4)

        def fail(progress, kill=kill):
            if progress.update == kill:
                raise InterruptedError

        broken.on_progress = fail
        with pytest.raises(InterruptedError):
            broken.run()
    last = loop(tmp_path / "broken", 23, save_every=4)
    outcome = last.run()
    assert outcome.finished and outcome.update == 23
    assert torch.equal(whole.network.weight, last.network.weight)
    assert [row["loss"] for row in lines(tmp_path / "whole")] == [
        row["loss"] for row in lines(tmp_path / "broken")
    ]


@pytest.mark.parametrize("broken", [(7,), (3, 7, 20, 21, 22)])
def test_a_damaged_recording_alone_in_a_micro_batch_is_told_and_left_out(tmp_path, broken):
    """It stopped the whole run."""
    told, warned = [], []
    # 850 samples: each recording is a micro-batch of its own.
    run = loop(tmp_path, 90, source=Damaged(40, broken), told=warned)
    run.stream = replace(run.stream, reading=Reading(850, seed=1))
    run.note = told.append
    assert run.run().update == 90  # more than two epochs
    names = sorted(f"Left out: r{index}.wav is damaged." for index in broken)
    assert sorted(told[:-1]) == names
    count = "1 recording that" if len(broken) == 1 else f"{len(broken)} recordings that"
    assert told[-1] == f"Left out: {count} could not be read."
    [warning] = warned
    assert warning.startswith("2.5% of the recordings cannot be read so far: ")


def test_a_run_whose_recordings_are_all_damaged_ends_in_a_sentence(tmp_path):
    run = loop(tmp_path, source=Damaged(40, range(40)))
    with pytest.raises(UserError, match=r"^None of the 40 recordings of .* can be read: r\d+.wav"):
        run.run()


def test_a_run_killed_as_soon_as_it_has_saved_lacks_no_line_of_its_log(tmp_path, monkeypatch):
    save, logged = StateFolder.save, {}

    def save_and_die(self, state, update):
        save(self, state, update)
        logged[self.folder] = len(lines(self.folder))
        if update == 4:
            raise KeyboardInterrupt

    for lag in (False, True):
        folder = tmp_path / str(lag)
        run = loop(folder, 10, save_every=4)
        run.lag = lag
        monkeypatch.setattr(StateFolder, "save", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            run.run()
        monkeypatch.undo()
        assert logged[folder] >= 4
        loop(folder, 10, save_every=4).run()
        assert [row["update"] for row in lines(folder)] == list(range(1, 11))


def test_training_goes_on_while_a_state_is_written_and_its_end_waits_for_the_last(
    tmp_path, monkeypatch
):
    save, later, writing, most = StateFolder.save, threading.Event(), [], []

    def slow(self, state, update):
        writing.append(update)
        most.append(len(writing))
        if update == 4:
            assert later.wait(60), "no update while a state was being written"
        time.sleep(0.05)
        save(self, state, update)
        writing.remove(update)

    monkeypatch.setattr(StateFolder, "save", slow)
    run = loop(tmp_path / "slow", 9, save_every=4)
    run.on_progress = lambda progress: later.set() if progress.update == 6 else None
    run.run()
    assert most == [1, 1, 1] and not writing  # one at a time; the last was waited for
    monkeypatch.undo()
    loop(tmp_path / "other", 9, save_every=4).run()
    states = [{path.name for path in (tmp_path / n).glob("state-*")} for n in ("slow", "other")]
    assert states[0] == states[1] and len(states[0]) == 2  # the same bytes: a name has their hash


def test_a_run_that_fails_waits_for_the_state_it_has_begun(tmp_path, monkeypatch):
    save = StateFolder.save

    def slow(self, state, update):
        time.sleep(0.2)
        save(self, state, update)

    monkeypatch.setattr(StateFolder, "save", slow)
    run = loop(tmp_path, 9, save_every=4)
    run.on_progress = fail_at(5)
    with pytest.raises(InterruptedError):
        run.run()
    assert [path.name[:14] for path in tmp_path.glob("state-*")] == ["state-00000004"]


def test_accumulating_equals_one_batch_of_all(tmp_path):
    """The loss is spread over everything in the update, not over each micro-batch."""

    class Still(Means):
        def loss(self, network, prepared, draws):
            return network(prepared.batch.waveforms[:, :8]).square().mean(1).sum(), {}

    split = loop(tmp_path / "split", 3, Still([1.0] * 9, []), accumulate=3)
    split.run()
    source = Noise()
    data = TrainingSet(source, np.arange(40))
    epoch = Reading(3200, seed=1).epoch(data, 0)
    torch.manual_seed(0)
    network = nn.Linear(8, 4)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-8, weight_decay=0
    )
    for update in range(3):
        batches = [epoch[3 * update + i].waveforms[:, :8] for i in range(3)]
        optimizer.param_groups[0]["lr"] = TriStage(0.01, 3).rate(update)
        optimizer.zero_grad()
        network(torch.cat(batches)).square().mean(1).mean().backward()
        optimizer.step()
    torch.testing.assert_close(split.network.weight, network.weight)


def test_updates_that_are_not_finite_are_skipped_counted_and_in_the_end_stop_the_run_by_name(
    tmp_path,
):
    told = []
    run = loop(tmp_path / "some", 30, source=Noise(broken={4}), told=told)
    run.run()
    skipped = [sentence for sentence in told if "was skipped" in sentence]
    assert len(skipped) == run.skipped > 0
    assert run.network.weight.isfinite().all()
    assert lines(tmp_path / "some")[-1]["skipped"] == run.skipped
    with pytest.raises(UserError, match="10 updates in a row.*r[0-9]"):
        loop(tmp_path / "all", 50, source=Noise(broken=range(40))).run()


def test_an_error_names_the_recordings_that_hold_no_numbers(tmp_path):
    run = loop(tmp_path, 50, source=Noise(8, broken={2, 5}))
    run.stream = AudioStream(run.stream.data, Reading(10**6))  # all of them in one batch
    with pytest.raises(UserError, match=r"utterances: (r2, r5|r5, r2)\. "):
        run.run()


def test_the_best_by_validation_is_kept(tmp_path):
    task = Means([3.0, 1.0, 2.0], [])
    run = loop(tmp_path, 6, task, validate_every=2)
    outcome = run.run()
    assert outcome.best == 1.0 and len(task.saved) == 2


def test_parameters_that_do_not_learn_yet_stay_as_they_are(tmp_path):
    run = loop(tmp_path, 4, Means([1.0] * 9, [], frozen=4))
    before = run.network.weight.clone()
    run.run()
    assert torch.equal(before, run.network.weight)
    run = loop(tmp_path / "later", 4, Means([1.0] * 9, [], frozen=2))
    run.run()
    assert not torch.equal(before, run.network.weight)


def test_a_changed_batch_at_a_restart_is_told(tmp_path):
    loop(tmp_path, 4, save_every=1).run()
    told = []
    other = loop(tmp_path, 8, accumulate=2, told=told)
    other.run()
    assert any("went 1 micro-batches an update and goes on with 2" in sentence for sentence in told)


def test_micro_batches_of_another_size_at_a_restart_are_told(tmp_path):
    loop(tmp_path, 4, save_every=1).run()
    told = []
    other = loop(tmp_path, 8, told=told)
    other.stream = replace(other.stream, reading=Reading(1600, seed=1))
    other.run()
    assert ["divide the epoch anew" in sentence for sentence in told] == [True]


def test_a_full_disk_is_told_and_the_run_goes_on(tmp_path, monkeypatch):
    from w2v2cli.training.checkpoints import StateFolder

    told = []
    run = loop(tmp_path, 6, save_every=2, told=told)
    save = StateFolder.save

    def full(self, state, update):
        if update == 4:
            raise OSError(28, "No space left on device")
        return save(self, state, update)

    monkeypatch.setattr(StateFolder, "save", full)
    assert run.run().finished
    assert told == [
        "Update 4 could not be saved (No space left on device); what was saved before stays."
    ]


def drawn(tmp_path, rank, world, accumulate, update):
    """What a rank draws for its micro-batches of an update: host seeds and kept blocks."""
    task = Means([], [])
    task.blocks = (12, 0.2)
    run = loop(tmp_path, task=task, accumulate=accumulate)
    run.collectives = Collectives(Ranks(rank=rank, world=world), torch.device("cpu"))
    run.stream = replace(run.stream, rank=rank, world=world)
    draws = [run.drawing.draws(update, i) for i in range(accumulate)]
    return [d.host.initial_seed() for d in draws], [tuple(d.kept_blocks) for d in draws]


def test_masks_are_drawn_alike_for_any_number_of_ranks(tmp_path):
    alone, _ = drawn(tmp_path, 0, 1, 4, update=3)
    two = [drawn(tmp_path, rank, 2, 2, update=3)[0] for rank in (0, 1)]
    four = [drawn(tmp_path, rank, 4, 1, update=3)[0] for rank in range(4)]
    assert alone == [two[0][0], two[1][0], two[0][1], two[1][1]] == [seeds[0] for seeds in four]
    assert len(set(alone)) == 4


def test_layer_drop_draws_for_each_micro_batch_and_alike_on_every_rank(tmp_path):
    kept = []
    for update in range(40):
        ranks = [drawn(tmp_path, rank, 2, 4, update)[1] for rank in (0, 1)]
        assert ranks[0] == ranks[1] == drawn(tmp_path, 0, 2, 4, update)[1]
        kept.append(ranks[0])
    assert sum(len(set(blocks)) > 2 for blocks in kept) > 30  # 12 blocks at 0.2: rarely alike
    ran = [block for update in kept for blocks in update for block in blocks]
    assert sum(ran) / len(ran) == pytest.approx(0.8, abs=0.03)


def test_a_run_without_a_better_validation_ends_when_its_patience_does(tmp_path):
    told = []
    verdicts = [3.0, 2.0, 2.5, 2.0, 2.1, 1.0]
    run = loop(tmp_path, 30, Means(verdicts, []), validate_every=2, patience=3)
    run.note = told.append
    outcome = run.run()
    assert outcome.finished and outcome.signal is None
    assert (outcome.update, outcome.best) == (10, 2.0)  # the 2nd of 5 validations was the best
    assert told == [
        "Stopped early, after update 10: 3 validations in a row brought no better valid than 2."
    ]
    # The same call does nothing more; with more patience the run goes on.
    again = loop(tmp_path, 30, Means([1.0] * 99, []), validate_every=2, patience=3)
    assert (again.run().update, again.position.update) == (10, 10)
    longer = loop(tmp_path, 30, Means([1.0] * 99, []), validate_every=2, patience=20)
    assert longer.run().update == 30


def test_patience_is_the_same_across_a_restart(tmp_path):
    first = loop(tmp_path, 30, Means([2.0, 2.5], []), validate_every=2, patience=3)
    first.on_progress = fail_at(5)
    with pytest.raises(InterruptedError):
        first.run()
    last = loop(tmp_path, 30, Means([2.5, 2.5, 1.0], []), validate_every=2, patience=3)
    assert last.run().update == 8


def test_without_patience_a_run_goes_on_to_its_end(tmp_path):
    run = loop(tmp_path, 12, Means([1.0] + [2.0] * 99, []), validate_every=1)
    assert run.run().update == 12


def test_what_begins_to_learn_is_given_patience_anew(tmp_path):
    task = Means([2.0] * 99, [], frozen=7)
    run = loop(tmp_path, 40, task, validate_every=2, patience=3)
    # Validations after 2 (the best), 4, 6 wait twice; from update 8 on three more are waited for.
    assert run.run().update == 12


def test_a_validation_that_judges_nothing_neither_keeps_nor_waits(tmp_path):
    class Mute(Means):
        def validate(self, network, collectives):
            return {"other": 1.0}

    task = Mute([], [])
    outcome = loop(tmp_path, 12, task, validate_every=2, patience=2).run()
    assert (outcome.update, outcome.best, task.saved) == (12, float("inf"), [])


def test_the_time_spent_waiting_for_data_is_logged(tmp_path):
    run = loop(tmp_path, 3)
    steps = run.stream.steps

    class Slow:
        per_update = run.stream.per_update
        micro_batch = run.stream.micro_batch

        def steps(self, position):
            for step in steps(position):
                time.sleep(0.05)
                yield step

    run.stream = Slow()
    run.run()
    assert all(0.05 <= row["loader_wait"] < 60 for row in lines(tmp_path))


def test_a_continued_run_says_so(tmp_path):
    told = []
    for updates in (6, 6):
        run = loop(tmp_path, updates)
        run.note = told.append
        run.run()
    assert told == [f"The run in {tmp_path} has had all of its 6 updates."]
    (broken := loop(tmp_path / "other", 9, save_every=4)).on_progress = fail_at(5)
    with pytest.raises(InterruptedError):
        broken.run()
    last = loop(tmp_path / "other", 9, save_every=4)
    last.note = told.append
    last.run()
    assert told[1:] == [f"Continuing the run in {tmp_path / 'other'} after update 4 of 9."]


def fail_at(update):
    def fail(progress):
        if progress.update == update:
            raise InterruptedError

    return fail


def allocate():
    torch.empty(1 << 52)


def fill_a_gpu():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("place", ["loss", "prepare"])
@pytest.mark.parametrize("run_out", [allocate, fill_a_gpu])
def test_memory_that_runs_out_is_told_with_the_utterances_and_what_to_lower(
    tmp_path, run_out, place
):
    class Large(Means):
        pass

    setattr(Large, place, lambda *arguments: run_out())

    sentence = (
        r"^Memory ran out on cpu after update 0, in an update whose largest micro-batch has "
        r"\d utterances, 0\.\d s with padding, the longest r\d+ of 0\.1 s\. Lower --batch-seconds "
        r"\(it was 0\.2; .*\), give --recompute, or leave out the longest recordings\.$"
    )
    with pytest.raises(UserError, match=sentence):
        loop(tmp_path, 4, Large([], [])).run()

    class Validated(Means):
        def validate(self, network, collectives):
            run_out()

    with pytest.raises(UserError, match="after update 2, in a validation. Lower"):
        loop(tmp_path, 4, Validated([], []), validate_every=2).run()


def test_other_errors_keep_their_traceback(tmp_path):
    class Wrong(Means):
        def loss(self, network, prepared, draws):
            raise RuntimeError("sizes of tensors must match")

    with pytest.raises(RuntimeError, match="must match"):
        loop(tmp_path, 4, Wrong([], [])).run()


@pytest.mark.parametrize("broken", [(), (4, 9)])
def test_updates_that_are_read_one_later_give_the_same_run(tmp_path, broken):
    """As on a GPU, where the host is an update ahead."""
    settings = {"save_every": 5, "validate_every": 8, "clip_norm": 0.05}
    runs = []
    for lag in (False, True):
        told = []
        run = loop(tmp_path / str(lag), 23, source=Noise(broken=broken), told=told, **settings)
        run.lag, reported = lag, []
        run.on_progress = lambda progress, reported=reported: reported.append(progress.update)
        outcome = run.run()
        rows = [
            {name: value for name, value in row.items() if name in ("update", "epoch", "loss")}
            | {name: row[name] for name in ("gradient_norm", "heard", "skipped", "learning_rate")}
            for row in lines(tmp_path / str(lag))
        ]
        runs.append((outcome, rows, reported, told, run.position, run.network.weight.tolist()))
    assert runs[0] == runs[1]
    assert runs[0][2] == list(range(1, 24)) and bool(runs[0][0].finished)
    assert (runs[0][1][-1]["skipped"] > 0) == bool(broken)


def test_a_run_read_one_update_later_is_restarted_to_the_bit_and_stopped_by_name(tmp_path):
    whole = loop(tmp_path / "whole", 23, save_every=4)
    whole.run()
    for kill in (5, 11, 17, None):
        broken = loop(tmp_path / "broken", 23, save_every=4)
        broken.lag = broken.ahead = True
        broken.on_progress = (lambda progress: None) if kill is None else fail_at(kill)
        with nullcontext() if kill is None else pytest.raises(InterruptedError):
            broken.run()
    assert torch.equal(whole.network.weight, broken.network.weight)
    assert whole.position == broken.position
    hopeless = loop(tmp_path / "all", 50, source=Noise(broken=range(40)))
    hopeless.lag = True
    with pytest.raises(UserError, match="10 updates in a row.*r[0-9]"):
        hopeless.run()


def test_a_notice_is_obeyed_after_the_update_that_is_queued(tmp_path):
    for lag in (False, True):
        run = loop(tmp_path / str(lag), 30)
        run.lag = lag

        def notice(progress):
            if progress.update == 5:
                signal.raise_signal(signal.SIGUSR1)

        run.on_progress = notice
        outcome = run.run()
        assert (outcome.finished, outcome.signal) == (False, "SIGUSR1")
        # The next update hears of it; one read late, the one after it is queued by then.
        assert outcome.update == (8 if lag else 6)
        assert lines(tmp_path / str(lag))[-1]["update"] == outcome.update
        assert (
            StateFolder(tmp_path / str(lag))
            .found()[0]
            .name.startswith(f"state-{outcome.update:0>8}")
        )


def test_float16_searches_its_scale_and_is_skipped_by_the_device(tmp_path):
    """Infinite gradients lower the scale, leave weights and moments alone, and are not counted."""

    class Huge(Means):
        def loss(self, network, prepared, draws):
            found = network(prepared.batch.waveforms[:, :8]).float()
            return found.square().mean(1).sum() * 1e31, {}

    run = loop(tmp_path, 5, Huge([1.0] * 9, []), precision="fp16")
    before = run.network.weight.clone()
    run.run()
    assert run.skipped == 0
    scales = [row["loss_scale"] for row in lines(tmp_path)]
    assert scales == [2.0**15, 2.0**14, 2.0**13, 2.0**12, 2.0**11]
    assert torch.equal(before, run.network.weight)
    assert all(
        not moment.any() for state in run._optimizer.state.values() for moment in state.values()
    )
