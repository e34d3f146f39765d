import pytest

from models.config import PRESETS
from w2v2cli.training.config import changed
from w2v2cli.training.pace import Pace, Phase
from w2v2cli.training.recipes import FINETUNING, PRETRAINING
from w2v2cli.training.tasks.finetuning import finetuning_phases
from w2v2cli.training.tasks.pretraining import pretraining_phases


class Simulated:
    """A run on a clock of its own: the seconds of everything are given, the estimates noted."""

    def __init__(self, monkeypatch, updates, every, seconds, validation, state):
        self.now, self.updates, self.every = 0.0, updates, every
        self.seconds, self.validation, self.state = seconds, validation, state
        monkeypatch.setattr("time.perf_counter", lambda: self.now)

    def run(self, pace, done=0):
        """Return (update, time) of each update, and the estimate of the time left then."""
        found = []
        for update in range(done, self.updates):
            self.now += self.seconds(update)
            pace.updated(update + 1, 1600.0)
            validate, save = self.every
            last = update + 1 == self.updates
            validated = (update + 1) % validate == 0 or last
            if validated:
                self.now += self.validation(update)
                pace.validated()
            if validated or (update + 1) % save == 0:
                self.now += self.state
                pace.saved()
            found.append((update + 1, self.now, pace.seconds_left))
        return found


def worst(found, after):
    end = found[-1][1]
    far = [row for row in found if row[0] >= after and end - row[1] > 300]
    assert len(far) > 1000
    return max(abs(left / (end - now) - 1) for _, now, left in far)


def test_the_time_left_of_a_fine_tuning_is_right_in_both_phases(monkeypatch):
    """base-10h: 10 000 updates of the output layer at 0.25 s, then 0.7 s; validations of 120 s."""
    config = FINETUNING["base-10h"]()
    phases = finetuning_phases(config, PRESETS["base"]())
    assert [phase.first for phase in phases] == [0, 10_000]
    run = Simulated(
        monkeypatch,
        config.schedule.updates,
        (1000, 500),
        lambda update: (0.25 if update < 10_000 else 0.7) + 30 * (update in (0, 10_000)),
        lambda update: 120.0,
        3.0,
    )
    # The work says that a validation takes 90 s, before one has been timed.
    work = 90 / 0.25 * phases[0].work * 1600
    every = {"validate_every": 1000, "save_every": 500}
    pace = Pace(0, run.updates, phases=phases, validation=work, **every)
    assert worst(run.run(pace), 100) < 0.2


def test_the_time_left_of_a_pretraining_does_not_jump_after_a_validation(monkeypatch):
    """base-960: 0.1 s an update, a validation of 60 s every 5 000, a state of 2 s every 1 000."""
    run = Simulated(monkeypatch, 40_000, (5000, 1000), lambda update: 0.1, lambda update: 60.0, 2.0)
    pace = Pace(0, 40_000, validate_every=5000, save_every=1000, validation=500.0 * 1600)
    assert worst(run.run(pace), 100) < 0.2


def test_a_continued_run_counts_what_is_left_of_it(monkeypatch):
    run = Simulated(monkeypatch, 9000, (1000, 500), lambda update: 0.5, lambda update: 60.0, 2.0)
    pace = Pace(4321, 9000, validate_every=1000, save_every=500, validation=120.0 * 1600)
    assert worst(run.run(pace, 4321), 4421) < 0.2


def test_nothing_is_told_before_an_update_and_nothing_is_left_at_the_end(monkeypatch):
    run = Simulated(monkeypatch, 10, (4, 3), lambda update: 1.0, lambda update: 5.0, 2.0)
    pace = Pace(0, 10, validate_every=4, save_every=3)
    assert pace.seconds_left == pace.seconds_per_update == 0
    assert run.run(pace)[-1][2] == 0 and pace.seconds_per_update == 1.0


def test_a_validation_in_another_phase_is_timed_anew(monkeypatch):
    """As with a search that begins when the whole network learns."""
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    now = [0.0]
    pace = Pace(0, 20, validate_every=10, phases=(Phase(0, 1.0), Phase(10, 1.0)))
    for update in range(1, 11):
        now[0] += 1
        pace.updated(update)
    now[0] += 5
    pace.validated()
    assert pace.seconds_left == pytest.approx(10 + 5)


def test_work_is_as_the_phases_of_a_run_share_it():
    model = PRESETS["base"]()
    alone, everything = finetuning_phases(FINETUNING["base-10h"](), model)
    assert 1.5 < everything.work / alone.work < 3
    free = changed(FINETUNING["base-10h"](), {"freeze_feature_encoder": False})
    assert finetuning_phases(free, model)[-1].work > everything.work
    whole = changed(FINETUNING["base-10h"](), {"head_only_updates": 0})
    assert finetuning_phases(whole, model) == (Phase(0, everything.work),)
    base, large = (
        pretraining_phases(PRETRAINING[name](), PRESETS[preset]())[0].work
        for name, preset in (("base-960", "base"), ("large-960", "large"))
    )
    assert 2 < large / base < 3
