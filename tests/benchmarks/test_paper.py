"""The paper in miniature: its cells, its figures, and the whole of it at the smallest scale."""

import json
import os
import re
import shlex
import signal
import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest
import soundfile
import typer

import w2v2
from benchmarks.paper.__main__ import main
from benchmarks.paper.cells import TABLES, Cell, cells_of, chosen
from benchmarks.paper.codes import Heard, counted, nearest_marks
from benchmarks.paper.data import pronunciations
from benchmarks.paper.jobs import Place, figures_file, shell_lines
from benchmarks.paper.planning import estimates, longest_way
from benchmarks.paper.results import Claim, Difference, Errors, difference
from benchmarks.paper.running import STOPPED, run_beside, run_here
from benchmarks.paper.scales import SCALES, scaled
from w2v2cli.app import app
from w2v2cli.data.corpora.held_out import split_of
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.scoring.error_rate import paired_interval

NAMES = sorted(SCALES)


@pytest.mark.parametrize("name", NAMES)
def test_cells_come_after_those_they_need(name):
    seen = set()
    for cell in cells_of(SCALES[name]()):
        assert cell.name not in seen
        assert seen.issuperset(cell.needs)
        assert set(cell.tables) <= set(TABLES)
        seen.add(cell.name)


def test_tiny_is_planned_for_about_two_hours_of_two_cores(tmp_path):
    place = Place(tmp_path, tmp_path, SCALES["tiny"]())
    seconds = estimates(cells_of(place.scale), place)
    assert sum(seconds.values()) / 2 < 130 * 60


def test_what_tells_most_comes_first():
    names = [cell.name for cell in cells_of(SCALES["tiny"]())]
    places = [
        names.index(name)
        for name in (
            "pretrain",
            "finetune-pretrained-10min-seed1",
            "finetune-random-10min-seed1",
            "finetune-pretrained-120min-seed1",
            "finetune-random-1min-seed1",
            "finetune-pretrained-10min-seed2",
            "finetune-random-1min-seed3",
            "finetune-phones-pretrained-seed1",
            "pretrain-baseline",
            "pretrain-M-3",
            "evaluate-beam50-seed1",
            "tune-seed1",
        )
    ]
    assert places == sorted(places)


def test_every_table_is_chosen_with_what_it_needs():
    cells = cells_of(SCALES["tiny"]())
    for table in TABLES:
        found = {cell.name for cell in chosen(cells, [table])}
        assert {cell.name for cell in cells if table in cell.tables} <= found
        assert all(found.issuperset(cell.needs) for cell in cells if cell.name in found)
    assert chosen(cells, ["table9"]) == chosen(cells, ["table1"])
    assert chosen(cells, []) == cells
    assert [c.name for c in chosen(cells, ["pretrain"])] == ["data", "pretrain"]
    with pytest.raises(UsageError, match=r"--only takes table1, .* got 'table7'"):
        chosen(cells, ["table7"])


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_those_of_w2v2(name, tmp_path):
    place = Place(tmp_path / "out", tmp_path, SCALES[name]())
    commands = typer.main.get_command(app).commands
    for cell in cells_of(place.scale):
        for line in shell_lines(cell.job.command(place, cell.name)).splitlines():
            words = shlex.split(line)
            if words[0] == "python":
                assert words[1:3] == ["-m", "benchmarks.paper"]
                continue
            known = {option for p in commands[words[1]].params for option in p.opts}
            assert words[0] == "w2v2"
            assert {word for word in words if re.match("--[a-z]", word)} <= known


def test_a_budget_cuts_updates_and_keeps_the_way_of_the_temperature():
    tiny, less = SCALES["tiny"](), scaled(SCALES["tiny"](), 0.01)
    assert less.pretraining.updates == tiny.pretraining.updates // 100
    full, cut = (
        scale.pretraining.settings["temperature.factor"] ** scale.pretraining.updates
        for scale in (tiny, less)
    )
    assert cut == pytest.approx(full)
    with pytest.raises(UsageError, match="those of paper are the paper's"):
        scaled(SCALES["paper"](), 0.5)


def test_the_interval_of_one_seed_is_that_of_the_paired_bootstrap():
    random = np.random.default_rng(1)
    lengths = random.integers(5, 20, 40)
    first, second = random.integers(2, 6, (1, 40)), random.integers(0, 5, (1, 40))
    found = difference(Errors(first, lengths, 1), Errors(second, lengths, 1))
    expected = paired_interval(first[0].tolist(), second[0].tolist(), lengths.tolist())
    assert (found.low, found.high) == pytest.approx([100 * value for value in expected])
    assert found.points == pytest.approx(100 * (first.sum() - second.sum()) / lengths.sum())


def test_the_interval_knows_of_the_seeds():
    lengths = np.full(50, 10)
    alike = Errors(np.full((3, 50), 5), lengths, 3)
    spread = Errors(np.array([[2] * 50, [5] * 50, [8] * 50]), lengths, 3)
    found = difference(alike, spread)
    assert found.points == pytest.approx(0)
    assert found.low < -15
    assert found.high > 15
    same = difference(spread, spread, same_networks=True)
    assert (same.low, same.high) == (0, 0)
    assert spread.text == "50.0 ± 30.0"


def test_a_difference_without_all_seeds_says_so():
    lengths = np.full(50, 10)
    some = Errors(np.full((2, 50), 5), lengths, 3)
    every = Errors(np.full((3, 50), 4), lengths, 3)
    sentence = Claim("It lowers the WER", difference(some, every)).sentence
    assert sentence.endswith("**shows** so far: seeds are missing.")
    whole = difference(every, Errors(np.full((3, 50), 3), lengths, 3))
    assert Claim("It lowers the WER", whole).sentence.endswith("**shows**.")


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.5, 3, "shows"), (-1, 3, "does not show"), (-3, -1, "the opposite shows")],
)
def test_a_claim_is_judged_by_its_interval(low, high, verdict):
    claim = Claim("It lowers the WER", Difference(12, 10, low, high))
    assert claim.sentence.startswith("It lowers the WER: 10.0 against 12.0%, a difference of 2.0")
    assert claim.sentence.endswith(f"(95%: {low:.1f} to {high:.1f}): **{verdict}**.")


def test_frames_have_the_phone_of_the_nearest_mark():
    emissions = np.log(np.full((12, 3), 0.05))
    emissions[:, 0] = np.log(0.9)
    emissions[[2, 9]] = np.log([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    assert nearest_marks(emissions, [1, 2]).tolist() == [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2]
    assert nearest_marks(emissions, [2]).tolist() == [0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2]
    assert nearest_marks(emissions[:1], [1, 2]) is None


def test_codewords_that_are_phones_tell_them():
    random = np.random.default_rng(0)
    heard = []
    for _ in range(20):
        phones = random.integers(1, 4, 50)
        codes = np.stack([phones, phones + 1], 1)
        heard.append(Heard(phones, codes, random.integers(0, 5, (50, 2))))
    found = counted(heard, ["<pad>", "a", "b", "c"], entries=5)
    assert found.phones == ["a", "b", "c"]
    assert found.told == 1
    assert found.told_random == pytest.approx(1 / 3, abs=0.06)
    assert found.interval[0] > 0.5
    assert np.count_nonzero(found.counts[0]) == 3
    assert found.used == [3, 3]


def test_pronunciations_are_the_first_without_stress(tmp_path):
    file = tmp_path / "cmudict.dict"
    file.write_text("read R EH1 D\nread(2) R IY1 D\nd'artagnan D AH0 # foreign\n")
    assert pronunciations(file) == {"READ": ("r", "eh", "d"), "D'ARTAGNAN": ("d", "ah")}


@dataclass(frozen=True)
class Fake:
    """A job that fails, or has figures."""

    error: Exception | None = None
    kind = "fake"

    def run(self, place, cell):
        if self.error is not None:
            raise self.error
        return {"cell": cell}

    def command(self, place, cell):
        return ["true"]

    def seconds(self, scale):
        return 10.0


def fake_cells(error):
    return [
        Cell("first", (), Fake()),
        Cell("broken", (), Fake(error)),
        Cell("after", (), Fake(), ("broken",)),
        Cell("last", (), Fake(), ("first",)),
    ]


def test_a_cell_that_fails_is_told_and_the_rest_is_done(tmp_path):
    place, said = Place(tmp_path, tmp_path, SCALES["smoke"]()), []
    report = run_here(fake_cells(UserError("There is no speech.")), place, said.append)
    assert report.done == ["first", "last"]
    assert report.failed == {"broken": "UserError: There is no speech."}
    assert report.left_out == {"after": "broken"}
    assert "broken: failed. UserError: There is no speech." in said
    again = run_here(fake_cells(None), place, said.append)
    assert again.done == ["broken", "after"]


def writing(place, cell, code=0):
    """A process that does a cell."""
    path = figures_file(place.output, cell.name)
    path.parent.mkdir(exist_ok=True)
    made = f"open({str(path)!r}, 'w').write('{{}}')" if code == 0 else "print('Error: No speech.')"
    return [sys.executable, "-c", f"{made}; raise SystemExit({code})"]


def test_processes_do_what_they_can(tmp_path):
    place, said = Place(tmp_path, tmp_path, SCALES["smoke"]()), []

    def command(cell):
        return writing(place, cell, 1 if cell.name == "broken" else 0)

    report = run_beside(fake_cells(None), place, 2, command, said.append)
    assert sorted(report.done) == ["first", "last"]
    assert report.failed["broken"].startswith("No speech. (exit code 1; ")
    assert report.left_out == {"after": "broken"}
    assert not report.stopped


@pytest.mark.parametrize(("given", "expected"), [("3", "3"), (None, "1"), ("", "1")])
def test_processes_have_the_threads_that_the_user_names(tmp_path, monkeypatch, given, expected):
    place = Place(tmp_path, tmp_path, SCALES["smoke"]())
    monkeypatch.setattr("benchmarks.paper.running.usable_cores", lambda: 2)
    if given is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", given)
    threads = "import os; print('Error:', os.environ['OMP_NUM_THREADS']); raise SystemExit(1)"
    cells = [Cell("first", (), Fake())]
    report = run_beside(cells, place, 2, lambda cell: [sys.executable, "-c", threads], print)
    assert report.failed["first"].startswith(f"{expected} (exit code 1; ")


def test_sigterm_is_passed_on_to_processes(tmp_path):
    place = Place(tmp_path, tmp_path, SCALES["smoke"]())
    ready = tmp_path / "ready"
    waits = (
        "import signal, sys, time; "
        f"signal.signal(signal.SIGTERM, lambda *_: sys.exit({STOPPED})); "
        f"open({str(ready)!r}, 'w').close(); time.sleep(60)"
    )

    def stop():
        while not ready.exists():
            threading.Event().wait(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    cells = [Cell("first", (), Fake()), Cell("second", (), Fake(), ("first",))]
    report = run_beside(cells, place, 2, lambda cell: [sys.executable, "-c", waits], print)
    thread.join()
    assert report.stopped
    assert report.done == []
    assert report.failed == {}


def test_a_process_that_was_stopped_stops_the_rest(tmp_path):
    place, begun = Place(tmp_path, tmp_path, SCALES["smoke"]()), []

    def command(cell):
        begun.append(cell.name)
        return writing(place, cell, STOPPED)

    cells = [Cell("first", (), Fake()), Cell("second", (), Fake(), ("first",))]
    report = run_beside(cells, place, 1, command, print)
    assert report.stopped
    assert begun == ["first"]
    assert report.failed == {}


def test_estimates_learn_from_the_cells_that_are_done(tmp_path):
    place = Place(tmp_path, tmp_path, SCALES["smoke"]())
    cells = fake_cells(None)
    path = figures_file(tmp_path, "first")
    path.parent.mkdir()
    path.write_text(json.dumps({"seconds": 30.0, "figures": {}}))
    assert estimates(cells, place) == {"first": 30, "broken": 30, "after": 30, "last": 30}
    assert longest_way(cells, {"first": 1, "broken": 5, "after": 5, "last": 3}) == 10


def named(pattern, part, count):
    """So many ids that belong to a part."""
    found = (pattern.format(i) for i in range(1000))
    return [name for name in found if split_of(name) == part][:count]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Noise that is shared out as the corpora are."""
    root = tmp_path_factory.mktemp("data")
    one, seconds = ("train", 14), 2.2
    corpora = {
        "kathleen": [n for p in (one, ("dev", 3), ("test", 3)) for n in named("k{:04}", *p)],
        "ljspeech": named("LJ001-{:04}", "train", 2),
        "librispeech-train": [
            *named("19-1-{:04}", "train", 2),
            *(f"{speaker}-1-0000" for speaker in named("{}", "train", 60)[50:52]),
        ],
        "librispeech-test-other": [f"1688-1-{i:04}" for i in range(3)],
    }
    random = np.random.default_rng(0)
    for corpus, ids in corpora.items():
        folder = root / corpus
        folder.mkdir()
        lines = ["id\tseconds\ttext"]
        for name in ids:
            sound = 0.1 * random.standard_normal(int(16_000 * seconds))
            soundfile.write(folder / f"{name}.flac", sound, 16_000)
            text = " ".join(random.choice(["hello", "old", "world"], 3))
            lines.append(f"{name}\t{seconds}\t{text}")
        (folder / "transcripts.tsv").write_text("\n".join(lines) + "\n")
    (root / "cmudict").mkdir()
    words = "hello HH AH0 L OW1\nold OW1 L D\nworld W ER1 L D\n"
    (root / "cmudict" / "cmudict.dict").write_text(words)
    return root


def test_missing_data_is_one_sentence(tmp_path, data):
    with pytest.raises(UserError, match=r"has no ljspeech, .*cmudict.dict: give the folder"):
        main(["--scale", "smoke", "--data", str(tmp_path), "-o", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="is not there: give the folder of LibriSpeech"):
        main(["--scale", "paper", "--data", str(tmp_path / "no"), "-o", str(tmp_path / "out")])


def test_the_smallest_scale_is_stopped_and_goes_on(tmp_path, data, monkeypatch, capsys):
    call = ["--scale", "smoke", "--data", str(data), "-o", str(tmp_path), "--jobs", "0"]
    call += ["--device", "cpu"]
    pretrain = w2v2.pretrain

    def stopped(*args, **kwargs):
        def told(progress):
            os.kill(os.getpid(), signal.SIGTERM)

        return pretrain(*args, on_progress=told, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(w2v2, "pretrain", stopped)
        assert main(call) == 0
    assert "Stopped: the same call goes on." in capsys.readouterr().err
    assert figures_file(tmp_path, "data").is_file()
    assert not figures_file(tmp_path, "pretrain").exists()
    assert "1 of " in (tmp_path / "page.md").read_text()
    assert main(call) == 0
    log = (tmp_path / "runs" / "pretrain" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["update"] for line in log] == [1, 2, 3]
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(figures.values())
    page = (tmp_path / "page.md").read_text()
    number = len(cells_of(SCALES["smoke"]()))
    assert f"{number} of {number} cells (trainings, " in page
    for picture in re.findall(r"\(plots/(.*?)\)", page):
        assert (tmp_path / "plots" / picture).read_text().startswith("<svg")
    assert page.count("plots/") == 9
    html = (tmp_path / "page.html").read_text()
    assert html.count("<svg") == 9
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)  # it needs no network
    with pytest.raises(UsageError, match="holds the scale smoke with the budget 1.0: name another"):
        main([*call, "--budget", "3"])
    page_is_published(call, tmp_path / "docs" / "paper.md", tmp_path / "cells" / "codes.json")


def page_is_published(call, page, cell):
    """A published page has its pictures, and says where a cell is missing."""
    images = page.parent / "images"
    images.mkdir(parents=True)
    (images / "other-codes.svg").write_text("of another page")
    assert main([*call, "--publish", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# The paper in miniature: smoke\n")
    assert "nfinished" not in text
    pictures = re.findall(r"\((images/paper-.*?\.svg)\)", text)
    assert len(pictures) == 9
    assert not [line for line in text.splitlines() if len(line) > 100 and line[0] != "|"]
    assert all((page.parent / picture).is_file() for picture in pictures)
    assert sum(file.stat().st_size for file in images.iterdir()) < 1_000_000
    cell.unlink()
    assert main([*call, "--publish", str(page)]) == 0
    text = page.read_text()
    assert text.startswith("# The paper in miniature: smoke (unfinished)\n")
    assert text.count("**Unfinished: ") == 1
    assert not (images / "paper-codes.svg").exists()
    assert (images / "other-codes.svg").exists()
    with pytest.raises(UsageError, match="holds the scale smoke"):
        main([*call, "--budget", "3", "--publish", str(page)])


def test_nothing_is_published_from_nothing(tmp_path):
    call = ["--scale", "smoke", "-o", str(tmp_path / "none"), "--publish", str(tmp_path / "a.md")]
    with pytest.raises(UserError, match="has no figures yet"):
        main(call)
    assert list(tmp_path.iterdir()) == []
