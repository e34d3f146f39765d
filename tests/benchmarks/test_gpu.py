"""The benchmark for GPUs, as it runs where there is none."""

import json
import sys

import pytest
import torch

from benchmarks import gpu

CPU = torch.device("cpu")


def script(source, seconds=60.0):
    return gpu.Section("any", seconds, ["-c", source])


@pytest.mark.parametrize("name", ["pretraining base", "fine-tuning large"])
def test_updates_of_both_are_timed(name):
    pytest.importorskip("transformers")
    rows = list(gpu.updates(name, CPU, repeats=1))
    assert [row["contender"] for row in rows] == ["w2v2", "transformers"]
    for row in rows:
        assert row["batch"] == "2 x 1 s" and row["mfu"] is None
        assert row["times_real_time"] == pytest.approx(2 / row["seconds"])


def test_emissions_of_both_are_timed_at_several_batch_sizes():
    pytest.importorskip("transformers")
    rows = list(gpu.emissions(CPU, repeats=1))
    assert [(row["contender"], row["batch"]) for row in rows] == [
        (contender, batch)
        for contender in ("w2v2", "transformers")
        for batch in ("1 x 1 s", "2 x 1 s")
    ]
    assert all(row["times_real_time"] > 0 for row in rows)


def test_a_section_that_fails_keeps_what_it_measured_and_says_why():
    rows = gpu.run_section(
        script('print(\'{"seconds": 1.5, "many": [1]}\', flush=True); print("a note"); 1 / 0')
    )
    assert rows == [
        {"seconds": 1.5},
        {"failure": "It ended with code 1: ZeroDivisionError: division by zero"},
    ]


def test_a_section_whose_time_is_over_is_ended():
    source = "import time; print('{\"seconds\": 2}', flush=True); time.sleep(600)"
    rows = gpu.run_section(script(source, seconds=3.0))
    assert rows == [{"seconds": 2}, {"failure": "Its 3 s were over"}]


def test_rows_inside_of_a_case_become_rows():
    case = {"beam": 50, "rows": [{"contender": "a", "different": []}, {"contender": "b"}]}
    rows = gpu.run_section(script(f"print({json.dumps(case)!r})"))
    assert rows == [{"beam": 50, "contender": "a"}, {"beam": 50, "contender": "b"}]


@pytest.mark.parametrize("cuda", [False, True])
def test_the_budgets_stay_under_ten_minutes(cuda):
    sections = gpu.sections(cuda)
    assert sum(section.seconds for section in sections) < 600
    assert [section.name for section in sections][-2:] == ["beam search", "word Transformer"]


def test_one_call_writes_both_files_and_says_that_there_is_no_gpu(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    good, bad = script("print('{\"seconds\": 0.12345}')"), script("raise SystemExit('no card')")
    monkeypatch.setattr(
        gpu,
        "sections",
        lambda cuda: [gpu.Section("bad", 9, bad.command), gpu.Section("good", 9, good.command)],
    )
    monkeypatch.setattr(sys, "argv", ["gpu", "-o", str(tmp_path / "found")])
    gpu.main()
    written = (tmp_path / "found.md").read_text()
    assert capsys.readouterr().out == written
    assert "No GPU: tiny networks on the CPU, whose figures say nothing." in written
    assert "## bad\n\n\nNot whole: It ended with code 1: no card\n" in written
    assert written.endswith("## good\n\n| seconds |\n| --- |\n| 0.123 |\n")
    kept = json.loads((tmp_path / "found.json").read_text())
    assert kept["machine"]["device"] == "cpu"
    assert kept["sections"]["good"] == [{"seconds": 0.12345}]


@pytest.mark.filterwarnings("ignore:.*:UserWarning")  # the profiler finds no GPU
def test_a_device_on_which_no_kernel_ran_was_idle():
    assert gpu.idle_share(lambda: torch.ones(9).sum(), CPU) == 1.0
