import json
import sys

import pytest

from w2v2cli.errors import UserError
from w2v2cli.training.curves import _figure, draw, moving_mean
from w2v2cli.training.metrics import (
    MetricLog,
    Progress,
    read_log,
    weights_and_biases,
)
from w2v2cli.training.recipes import FINETUNING
from w2v2cli.training.run_folder import Callbacks


def write(folder, updates):
    folder.mkdir(parents=True, exist_ok=True)
    with MetricLog(folder, 0) as log:
        for update in range(1, updates + 1):
            log.write(
                {
                    "update": update,
                    "epoch": 0,
                    "loss": 1 / update,
                    "wer": 0.5 if update % 3 == 0 else None,
                }
            )


def test_a_restart_cuts_the_lines_after_the_state_it_goes_on_from(tmp_path):
    write(tmp_path, 9)
    with (tmp_path / "log.jsonl").open("a") as file:
        file.write('{"update": 10, "lo')  # killed while writing
    assert len(read_log(tmp_path)) == 9
    with MetricLog(tmp_path, 6) as log:
        log.write({"update": 7, "loss": 7.0})
    assert [row["update"] for row in read_log(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert read_log(tmp_path)[-1]["loss"] == 7.0


@pytest.mark.parametrize(
    "line", [b"[", b"\xff", b"[1]", b'{"update": "a"}', b'{"update": 2, "loss": [1]}', b"1e400"]
)
def test_a_damaged_line_between_others_is_told(line, tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"update": 1}\n' + line + b'\n{"update": 3}\n')
    with pytest.raises(UserError, match="log.jsonl, line 2 is damaged: remove that line"):
        read_log(tmp_path)


def test_tensorboard_gets_an_event_for_each_value(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with MetricLog(tmp_path, 0, tensorboard=True) as log:
        log.write({"update": 1, "loss": 2.5, "wer": None})
        log.write({"update": 2, "loss": 1.5})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 2.5), (2, 1.5)]
    assert events.Tags()["scalars"] == ["loss"]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_curves_of_two_runs_are_drawn(tmp_path, suffix):
    pytest.importorskip("matplotlib")
    write(tmp_path / "one", 150)
    write(tmp_path / "two", 40)
    output = tmp_path / f"curves{suffix}"
    draw([tmp_path / "one", tmp_path / "two"], output)
    content = output.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    else:
        assert b"<svg" in content and (b"http://www.w3.org/2000/svg" in content)
    if suffix == ".html":
        assert b"<h2>two</h2>" in content and b"<script" not in content and b"src=" not in content


def test_the_error_rates_come_first_with_units_and_nothing_is_cut():
    pytest.importorskip("matplotlib")
    steps = range(1, 201)
    rows = [{"update": n, "loss": 1 / n, "learning_rate": n * 1e-6, "own": n} for n in steps]
    rows[99] |= {"cer": 0.1, "wer": 0.25}
    long = "a-run-of-a-name-that-is-longer-than-one-would-wish"
    figure = _figure({long: rows, "other": rows})
    axes = figure.axes
    assert [each.get_ylabel() for each in axes] == [
        "WER (%)", "CER (%)", "loss (nats)", "learning rate", "own"
    ]  # fmt: skip
    assert {each.get_xlabel() for each in axes} == {"update"}
    assert axes[0].lines[0].get_ydata() == [25.0]
    # A rate that is set is drawn as it was; the loss is smoothed as well.
    assert list(axes[3].lines[0].get_ydata()) == [n * 1e-6 for n in steps]
    assert len(axes[2].lines) == 4 and len(axes[3].lines) == 2
    figure.draw_without_rendering()
    width, height = figure.get_size_inches() * figure.dpi
    parts = [each.get_tightbbox() for each in axes] + [figure.legends[0].get_window_extent()]
    for box in parts:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    legend = parts.pop()
    assert all(box.y1 <= legend.y0 for box in parts)


def test_runs_in_folders_of_one_name_are_all_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    write(tmp_path / "a" / "run", 10)
    write(tmp_path / "b" / "run", 10)
    output = tmp_path / "curves.html"
    draw([tmp_path / "a" / "run", tmp_path / "b" / "run"], output)
    assert all(f"<h2>{tmp_path / name / 'run'}</h2>" in output.read_text() for name in "ab")


def test_curves_of_nothing_are_a_sentence(tmp_path):
    with pytest.raises(UserError, match="is not the folder of a training run"):
        draw([tmp_path], tmp_path / "x.png")
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(UserError, match="nothing has been trained yet"):
        draw([tmp_path], tmp_path / "x.png")
    with pytest.raises(UserError, match=r"as \.png, \.svg or \.html"):
        draw([tmp_path], tmp_path / "x.gif")


def test_moving_mean():
    assert moving_mean([1, 2, 3, 4], 2) == [1, 1.5, 2.5, 3.5]


def test_the_log_is_json_by_line(tmp_path):
    write(tmp_path, 2)
    assert [
        json.loads(line)["update"] for line in (tmp_path / "log.jsonl").read_text().splitlines()
    ] == [1, 2]


class FakeWandb:
    """What we use of wandb 0.31: `init` and `Error` of the module, `log` and `finish` of a run."""

    class Error(Exception):
        pass

    def __init__(self, fails=False):
        self.begun, self.logged, self.ended, self.fails = [], [], [], fails

    def init(self, *, project, name, id, resume, dir, config):
        if self.fails:
            raise self.Error("api_key not configured")
        self.begun.append((project, name, id, resume, dir, config))
        return self

    def log(self, data, *, step):
        self.logged.append((step, data))

    def finish(self, *, exit_code):
        self.ended.append(exit_code)


@pytest.fixture
def fake(monkeypatch):
    module = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return module


def test_weights_and_biases_get_every_update_and_go_on_in_the_same_run(fake, tmp_path):
    for update in (1, 2):
        with weights_and_biases(tmp_path, {"seed": 1}) as log:
            log({"update": update, "time": 123.0, "loss": 2.5})
    assert fake.logged == [(1, {"loss": 2.5}), (2, {"loss": 2.5})]
    first, second = fake.begun
    assert first == second and first[2] == (tmp_path / "wandb-id.txt").read_text().strip()
    project, name, _, resume, folder, config = first
    assert (project, name, resume) == ("w2v2", tmp_path.name, "allow")
    assert (folder, config) == (str(tmp_path), {"seed": 1})
    assert fake.ended == [0, 0]


def test_a_run_that_fails_is_failed_there_too(fake, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "speech")
    with pytest.raises(ValueError), weights_and_biases(tmp_path, {}):
        raise ValueError
    assert fake.ended == [1] and fake.begun[0][0] == "speech"


def test_weights_and_biases_that_cannot_begin_are_a_sentence(fake, tmp_path, monkeypatch):
    fake.fails = True
    with (
        pytest.raises(UserError, match=r"\(api_key not configured\): log in by `wandb login`"),
        weights_and_biases(tmp_path, {}),
    ):
        pass
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    with (
        pytest.raises(UserError, match=r"pip install 'w2v2\[wandb\]'"),
        weights_and_biases(tmp_path, {}),
    ):
        pass


def test_only_the_first_rank_of_a_run_that_asks_for_it_is_tracked(fake, tmp_path):
    seen = []
    for wandb, first in ((True, True), (True, False), (False, True)):
        callbacks = Callbacks(on_progress=seen.append, wandb=wandb)
        with callbacks.tracking(tmp_path, FINETUNING["demo"](), first) as on_progress:
            on_progress(Progress(4, 9, {"update": 4, "loss": 1.0}, 3.0))
    assert len(seen) == 3 and fake.logged == [(4, {"loss": 1.0})]
    assert fake.begun[0][5]["schedule"]["updates"] == 6000
