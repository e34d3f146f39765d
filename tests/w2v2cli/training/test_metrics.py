import json

import pytest

from w2v2cli.errors import UserError
from w2v2cli.training.curves import draw, moving_mean
from w2v2cli.training.metrics import MetricLog, Pace, read_log


def write(folder, updates):
    folder.mkdir(exist_ok=True)
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


def test_the_time_left_is_told_from_the_last_updates(monkeypatch):
    clock = iter([0.0, *(30.0 + 2.0 * i for i in range(1, 151))])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    pace = Pace(0, 1000)
    for update in range(1, 151):
        pace.tick(update)
        if update == 100:
            assert pace.seconds_left == pytest.approx(
                900 * 2.0, rel=0.2
            )  # the first update took 32 s
    assert pace.seconds_per_update > 0


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
