"""Real processes, killed with real signals."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lm.decoding import BeamOptions, DecodingWeights
from lm.score_parts import parts_of
from lm.text.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.recognition.searching.build import searched_words
from w2v2cli.recognition.searching.processes import (
    IN_FLIGHT,
    SearchFailed,
    SearchPool,
    _Worker,
    how_it_ended,
)
from w2v2cli.recognition.searching.spec import SearchSpec

ARPA = """\\data\\
ngram 1=5
ngram 2=1

\\1-grams:
-1\t<unk>
0\t<s>\t-0.1
-1\t</s>
-0.5\tONE\t-0.1
-0.5\tTWO\t-0.1

\\2-grams:
-0.2\tONE TWO

\\end\\
"""
PATIENCE = 10.0  # seconds; everything ends within two where the machine is not busy
VOCABULARY = Vocabulary.from_labels(CHARACTERS)


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    return SearchSpec(
        CHARACTERS,
        "compiled",
        tmp_path / "lm.arpa",
        spell_words=True,
        weights=DecodingWeights(1.0, 0.0),
        options=BeamOptions(width=20),
        cache=tmp_path / "cache",
    )


def saying(text: str) -> np.ndarray:
    ids = [i for word in text.split() for i in (*VOCABULARY.spell(word), VOCABULARY.word_boundary)]
    emission = np.full((2 * len(ids), 32), -8.0, np.float32)
    for place, i in enumerate(ids):
        emission[2 * place, i] = emission[2 * place + 1, 0] = -0.05
    return emission


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return (
        Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True
    )


def gone(pids, seconds=PATIENCE) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def test_results_match_their_emissions_in_any_order(spec):
    texts = ["ONE TWO", "TWO", "ONE", "TWO ONE", "ONE ONE TWO"] * 30
    with SearchPool(spec, 3) as pool:
        futures = [pool.submit(saying(text)) for text in texts]
        assert [future.result(timeout=20)[0].text for future in reversed(futures)] == texts[::-1]
        pids = [pool._server.process.pid, *pool._pids]
    assert gone(pids)


def test_an_emission_is_searched_with_several_weights_in_one_task(spec, monkeypatch):
    pairs = [DecodingWeights(0.3 * i, 0.5 - i) for i in range(5)]
    emissions = [saying("ONE TWO"), FLAT[:40], FLAT[40:55]]
    sent = []
    search = _Worker.search

    def counted(self, *task):
        sent.append(task)
        return search(self, *task)

    with SearchPool(spec, 2) as pool:
        alone = [[pool.submit(e, pair).result(timeout=20) for pair in pairs] for e in emissions]
        monkeypatch.setattr(_Worker, "search", counted)
        every = [pool.submit_each(emission, pairs) for emission in emissions]
        assert [[future.result(timeout=20) for future in each] for each in every] == [
            [[parts_of(h, p) for h in found] for found, p in zip(each, pairs, strict=True)]
            for each in alone
        ]
    assert len(sent) == len(emissions) and len({str(found) for found in alone[1]}) == len(pairs)


def test_greedy_needs_no_process():
    with SearchPool(SearchSpec(CHARACTERS, "greedy")) as pool:
        assert pool.submit(saying("ANY WORDS")).result()[0].text == "ANY WORDS"
        assert not hasattr(pool, "_server")


def test_a_killed_worker_is_replaced_and_nothing_is_lost(spec):
    with SearchPool(spec, 2) as pool:
        assert pool.submit(saying("ONE")).result(timeout=20)[0].text == "ONE"
        for pid in list(pool._pids):
            os.kill(pid, signal.SIGKILL)
        futures = [pool.submit(saying("TWO ONE")) for _ in range(20)]
        assert {future.result(timeout=20)[0].text for future in futures} == {"TWO ONE"}


# Noise, and a beam that keeps all of its readings: minutes of searching.
FLAT = np.random.default_rng(0).normal(-3.5, 0.1, (50_000, 32)).astype(np.float32)
SLOW = BeamOptions(width=5000, threshold=1e6, recombine="history")


def test_an_utterance_that_kills_every_worker_is_given_up(spec):
    with SearchPool(replace(spec, options=SLOW), 1) as pool:
        future, killed = pool.submit(FLAT), set()
        while not future.done():
            for pid in list(pool._pids):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            time.sleep(0.01)
        with pytest.raises(SearchFailed, match="killed 2 times over the same utterance"):
            future.result()
        assert len(killed) == 2
        assert pool.submit(saying("ONE")).result(timeout=20)[0].text == "ONE"


HOW = [
    (signal.SIGKILL, "was killed {} (signal 9), most often because memory is short"),
    (signal.SIGSEGV, "crashed {} (signal 11, Segmentation fault): a fault of w2v2"),
    (signal.SIGBUS, "crashed {} (signal 7, Bus error): a fault of w2v2"),
    (signal.SIGUSR2, "was ended {} by another program or a person (signal 12, "),
]


@pytest.mark.parametrize(("number", "told"), HOW)
def test_how_a_server_ended_is_told(spec, number, told):
    with SearchPool(spec, 1) as pool:
        assert pool.submit(saying("ONE")).result(timeout=20)[0].text == "ONE"
        os.kill(pool._server.process.pid, number)
        pool._server.process.wait()
        assert gone(pool._pids)
        with pytest.raises(SearchFailed, match=re.escape(told.format("while it was needed"))):
            pool.submit(saying("ONE")).result(timeout=20)


@pytest.mark.parametrize(("number", "told"), HOW)
def test_so_it_is_before_the_server_is_ready(spec, number, told):
    with SearchPool(spec, 1) as pool:
        os.kill(pool._server.process.pid, number)
        with pytest.raises(
            SearchFailed, match=re.escape(told.format("before it had read its files"))
        ):
            pool.wait_until_ready()


def test_other_ends_are_told():
    """A server ignores SIGTERM, as a scheduler sends it to all; where one does end, it is said."""
    ended = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    ended.terminate()
    assert how_it_ended(ended, "then") == (
        "The search process was ended then by another program or a person (signal 15, Terminated)."
    )
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    assert how_it_ended(ended, "then") == (
        "The search process ended then with exit code 3: see the lines above."
    )


@pytest.mark.parametrize("searching", [False, True], ids=["starting", "searching"])
def test_leaving_early_ends_searches_and_those_who_wait_to_submit(spec, searching):
    with SearchPool(replace(spec, options=SLOW), 1) as pool:
        if searching:
            pool.wait_until_ready()
        futures = [pool.submit(FLAT) for _ in range(IN_FLIGHT)]
        late = []
        waiting = threading.Thread(target=lambda: late.append(pool.submit(FLAT)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()  # there is room for no more
        assert futures[-1].cancel()
        began = time.monotonic()
    assert time.monotonic() - began < PATIENCE
    waiting.join(PATIENCE)
    for future in (*futures[:-1], *late, pool.submit(FLAT)):
        with pytest.raises(SearchFailed, match="The search was stopped"):
            future.result(timeout=PATIENCE)


def test_emissions_that_cannot_be_searched_spoil_nothing(spec):
    for engine in ("compiled", "greedy"):
        with SearchPool(replace(spec, engine=engine), 1) as pool:
            futures = [
                pool.submit(e)
                for e in (np.zeros((5, 7), np.float32), np.full((5, 32), np.nan), saying("ONE"))
            ]
            with pytest.raises(
                SearchFailed, match=r"5 frames over 32 symbols was expected, got \(5, 7\)"
            ):
                futures[0].result(timeout=20)
            with pytest.raises(SearchFailed, match="not a number from frame 0 on"):
                futures[1].result(timeout=20)
            assert futures[2].result(timeout=20)[0].text == "ONE"


def test_a_folder_of_the_users_named_lm_is_not_ours(spec, tmp_path, monkeypatch):
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm" / "__init__.py").write_text("raise SystemExit('the wrong lm')")
    monkeypatch.chdir(tmp_path)
    with SearchPool(spec, 1) as pool:
        assert pool.submit(saying("TWO")).result(timeout=20)[0].text == "TWO"


def test_the_server_does_without_torch(spec):
    with SearchPool(spec, 1) as pool:
        pool.wait_until_ready()
        maps = Path(f"/proc/{pool._server.process.pid}/maps")
        if not maps.exists():
            pytest.skip("looks at /proc, which only Linux has")
        assert "numpy" in maps.read_text() and "libtorch" not in maps.read_text()


def test_trouble_with_the_files_is_told_in_a_sentence(spec, tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA[:60])
    with SearchPool(spec, 1) as pool:
        with pytest.raises(SearchFailed, match=r"lm\.arpa"):
            pool.submit(saying("ONE")).result(timeout=20)
        with pytest.raises(SearchFailed, match=r"lm\.arpa"):
            pool.wait_until_ready()


def test_warnings_reach_the_parent(spec, tmp_path):
    (tmp_path / "lexicon.txt").write_text("ONE\tO N E |\nÉTÉ\tÉ T É |\n")
    told = []
    with SearchPool(replace(spec, lexicon=tmp_path / "lexicon.txt"), 1, told.append) as pool:
        pool.submit(saying("ONE")).result(timeout=20)
    assert len(told) == 1 and "ÉTÉ" in told[0]


PARENT = """
import sys, time
sys.path[:0] = [{root!r}, {here!r}]
import test_processes as t
from pathlib import Path
spec = t.spec.__wrapped__(Path({folder!r})) if hasattr(t.spec, "__wrapped__") else None
from w2v2cli.recognition.searching.processes import SearchPool
try:
    with SearchPool(spec, 2) as pool:
        futures = [pool.submit(t.saying("ONE TWO")) for _ in range(4)]
        [f.result() for f in futures]
        print(pool._server.process.pid, *pool._pids, flush=True)
        while True:
            pool.submit(t.saying("ONE TWO ONE TWO " * 40)).result()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_the_end_of_the_parent_is_the_end_of_all(tmp_path, how):
    script = PARENT.format(
        root=str(Path(__file__).parents[4]), here=str(Path(__file__).parent), folder=str(tmp_path)
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) >= 2
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)  # as a terminal does: everybody in the group hears it
    else:
        os.kill(parent.pid, how)
    assert parent.wait(timeout=PATIENCE) in (130, -9)
    assert gone(pids)
    assert parent.communicate()[1] == ""  # nobody shows a traceback


def test_the_thread_that_entered_a_pool_may_end_before_it(spec):
    """On Linux a process can be made to end with the thread, not the process, that started it."""
    pool = SearchPool(spec, workers=1)
    thread = threading.Thread(target=lambda: pool.__enter__().wait_until_ready())
    thread.start()
    thread.join()
    time.sleep(0.2)  # for the kernel's signal
    try:
        assert pool.submit(saying("ONE TWO")).result(PATIENCE)[0].text == "ONE TWO"
    finally:
        pool.__exit__(None, None, None)


def test_the_server_imports_from_where_this_process_did(spec, tmp_path, monkeypatch):
    """Code without a file has the working directory, as '', in front of its import path."""
    for name in ("lm", "w2v2cli"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong package')")
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    monkeypatch.chdir(tmp_path)
    with SearchPool(spec, workers=1) as pool:
        assert pool.submit(saying("ONE TWO")).result(PATIENCE)[0].text == "ONE TWO"


def test_one_pool_serves_several_weights_at_once(spec):
    emission = saying("ONE TWO TWO")
    weights = [DecodingWeights(w, s) for w, s in ((1.0, 0.0), (0.0, -3.0), (2.5, 4.0))]
    with SearchPool(spec, workers=2) as pool:
        together = [pool.submit(emission, each) for each in weights * 4]
        plain = pool.submit(emission).result(PATIENCE)
        found = [future.result(PATIENCE) for future in together]
    assert found[0] == plain  # what the spec says
    for weight, hypotheses in zip(weights, found, strict=False):
        with SearchPool(replace(spec, weights=weight), workers=1) as alone:
            assert hypotheses == alone.submit(emission).result(PATIENCE)
        best = hypotheses[0]
        parts = (
            best.acoustic_score
            + weight.lm_weight * best.lm_score
            + weight.word_score * len(best.words)
        )
        assert best.score == pytest.approx(parts, abs=1e-4)
    assert found[:3] == found[3:6]


def test_a_callback_that_raises_leaves_nobody_waiting(spec, tmp_path):
    (tmp_path / "lexicon.txt").write_text("ONE\tO N E |\nÉTÉ\tÉ T É |\n")

    def refuse(sentence: str) -> None:
        raise RuntimeError("not this one")

    with SearchPool(replace(spec, lexicon=tmp_path / "lexicon.txt"), 1, refuse) as pool:
        asked = pool.submit(saying("ONE"))
        with pytest.raises(SearchFailed, match="RuntimeError: not this one"):
            asked.result(timeout=30)
        with pytest.raises(SearchFailed, match="RuntimeError: not this one"):
            pool.wait_until_ready()


def test_the_words_of_hot_phrases_are_searched_one_by_one(spec):
    hot = replace(spec, hotwords={"NEW YORK": 3.0, "TWO": 1.0})
    assert set(searched_words(hot)) == {"ONE", "TWO", "NEW", "YORK"}
