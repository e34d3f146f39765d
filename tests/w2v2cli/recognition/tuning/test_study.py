"""Studies shared, killed and refused."""

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from lm.score_parts import ScoreParts
from lm.weights.rounds import Lot
from w2v2cli.recognition.tuning.study import Search, Study, StudyError

CLAIM_AND_HANG = """
import sys, time
from pathlib import Path
from w2v2cli.recognition.tuning.study import Study
study = Study(Path(sys.argv[1]), {"seed": 0})
print(study.claim(0, 0, 4, 10), flush=True)
time.sleep(600)
"""
WHOLE = {0: [2, 0], 1: [1, 1]}  # trial -> errors on each utterance


@pytest.fixture
def study(tmp_path):
    with Study(tmp_path / "study.sqlite", {"seed": 0}) as study:
        study.add_points(0, 0, [(1.0, 2.0), (3.0, -4.0)])
        study.add_round(0, 0, [Search(0), Search(1, rival=0, alpha=0.01)])
        yield study


def test_what_is_stored_comes_back(study):
    assert study.claim(0, 0, 2, 3) == (0, 2)
    found = {3: [ScoreParts("A B", -1.5, -2.5, 2, 1), ScoreParts("", -3.0, 0.0, 0)], 4: []}
    study.finish_lot(0, 0, Lot(0, WHOLE), {0: found})
    assert study.lots(0, 0, 0) == [Lot(0, WHOLE)] and study.lots(0, 0, 1) == []
    assert dict(study.found(0)) == found and dict(study.found(1)) == {}
    assert study.points() == [(1.0, 2.0), (3.0, -4.0)]
    assert study.claim(0, 0, 2, 3) == (2, 3) and study.claim(0, 0, 2, 3) is None
    study.finish(Search(0, kind="stopped", errors={7: 2}), beyond=[4])
    study.finish(Search(0, kind="exact", errors={7: 9}))
    assert study.searches()[0] == Search(0, None, None, "stopped", {7: 2})
    assert study.searches()[1] == Search(1, 0, 0.01)
    assert list(dict(study.found(0))) == [3]
    # What comes after a trial has ended is not kept for it.
    study.finish_lot(0, 0, Lot(2, {0: [5], 1: [5]}), {0: {5: []}, 1: {5: []}})
    assert list(dict(study.found(0))) == [3] and list(dict(study.found(1))) == [5]


def test_the_first_plan_of_a_round_stands(study):
    study.add_round(0, 0, [Search(5)])
    study.add_points(0, 0, [(9.0, 9.0)])
    assert [search.trial for search in study.searches()] == [0, 1] and study.points()[0] == (
        1.0,
        2.0,
    )


def test_a_killed_owners_lot_is_free_again_and_nothing_else(study):
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIM_AND_HANG, str(study.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "(0, 4)\n"
        assert study.claim(0, 0, 8, 10) == (4, 10)  # the other is at work on the first
        assert study.claim(0, 0, 8, 10) is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert study.claim(0, 0, 8, 10) == (0, 4)
        assert study.claim(0, 0, 8, 10) is None
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_released_lot_comes_first(study):
    assert [study.claim(0, 0, 2, 9) for _ in range(2)] == [(0, 2), (2, 4)]
    study.finish_lot(0, 0, Lot(0, WHOLE), {})
    study.release()
    assert [study.claim(0, 0, 3, 9) for _ in range(2)] == [(2, 4), (4, 7)]


def test_an_owner_elsewhere_counts_as_dead_when_it_is_silent(study):
    study.claim(0, 0, 2, 2)
    for beat, free in ((time.time(), False), (time.time() - 100, True)):
        with study._transaction() as db:
            db.execute("UPDATE lots SET owner = 'another-host:1:2', beat = ?", (beat,))
        assert (study.claim(0, 0, 2, 2) is not None) == free


def test_a_result_that_comes_after_another_took_over_changes_nothing(study):
    study.claim(0, 0, 2, 2)
    with study._transaction() as db:
        db.execute("UPDATE lots SET owner = 'another-host:1:2'")
    study.finish_lot(0, 0, Lot(0, WHOLE), {0: {0: [ScoreParts("X", 0.0, 0.0, 1)]}})
    assert study.lots(0, 0, 0) == [] and not dict(study.found(0))


def test_a_study_of_other_settings_is_refused(study):
    with pytest.raises(StudyError, match="is the study of another seed: 0, now it is 1"):
        Study(study.path, {"seed": 1})


def test_no_study_at_all(tmp_path):
    (tmp_path / "text").write_text("no data base, and long enough to be none at that. " * 20)
    with pytest.raises(StudyError, match="cannot be opened as a study"):
        Study(tmp_path / "text", {})


def test_a_study_that_another_process_begins_at_this_moment_is_waited_for(tmp_path):
    other = sqlite3.connect(
        tmp_path / "study.sqlite", isolation_level=None, check_same_thread=False
    )
    other.execute("BEGIN IMMEDIATE")
    end = threading.Timer(0.3, other.execute, ["COMMIT"])
    end.start()
    with Study(tmp_path / "study.sqlite", {"seed": 0}) as study:
        study.add_points(0, 0, [(1.0, 2.0)])
    end.join()
    other.close()
