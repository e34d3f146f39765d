"""Real processes, killed with real signals."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lm.hypothesis import BeamOptions, DecodingWeights
from lm.vocabulary import CHARACTERS, Vocabulary
from w2v2cli.recognition.search_pool import SearchFailed, SearchPool
from w2v2cli.recognition.search_spec import SearchSpec

pytest.importorskip("flashlight", reason="flashlight-text has no build for this Python")

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
VOCABULARY = Vocabulary.from_labels(CHARACTERS)


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA)
    return SearchSpec(
        CHARACTERS,
        "flashlight",
        tmp_path / "lm.arpa",
        spell_words=True,
        weights=DecodingWeights(1.0, 0.0),
        options=BeamOptions(beam=20),
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
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True


def gone(pids, seconds=2.0) -> bool:
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
        pids = [pool._server.pid, *pool._pids]
    assert gone(pids)


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


def test_an_utterance_that_kills_every_worker_is_given_up(spec):
    with SearchPool(spec, 1) as pool:
        pool.wait_until_ready()
        pool._server.kill()
        pool._server.wait()
        for pid in list(pool._pids):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(SearchFailed, match="killed 2 times over the same utterance"):
            pool.submit(saying("ONE")).result(timeout=20)


def test_trouble_with_the_files_is_told_in_a_sentence(spec, tmp_path):
    (tmp_path / "lm.arpa").write_text(ARPA[:60])
    with SearchPool(spec, 1) as pool:
        with pytest.raises(SearchFailed, match=r"lm\.arpa"):
            pool.submit(saying("ONE")).result(timeout=20)
        with pytest.raises(SearchFailed, match=r"lm\.arpa"):
            pool.wait_until_ready()


def test_warnings_reach_the_parent(spec, tmp_path):
    (tmp_path / "lexicon.txt").write_text("ONE\tO N E |\nÉTÉ\tÉ T É |\n")
    from dataclasses import replace

    told = []
    with SearchPool(replace(spec, lexicon=tmp_path / "lexicon.txt"), 1, told.append) as pool:
        pool.submit(saying("ONE")).result(timeout=20)
    assert len(told) == 1 and "ÉTÉ" in told[0]


PARENT = """
import sys, time
sys.path[:0] = [{root!r}, {here!r}]
import test_search_pool as t
from pathlib import Path
spec = t.spec.__wrapped__(Path({folder!r})) if hasattr(t.spec, "__wrapped__") else None
from w2v2cli.recognition.search_pool import SearchPool
try:
    with SearchPool(spec, 2) as pool:
        futures = [pool.submit(t.saying("ONE TWO")) for _ in range(4)]
        [f.result() for f in futures]
        print(pool._server.pid, *pool._pids, flush=True)
        while True:
            pool.submit(t.saying("ONE TWO ONE TWO " * 40)).result()
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_the_end_of_the_parent_is_the_end_of_all(tmp_path, how):
    script = PARENT.format(root=str(Path(__file__).parents[3]), here=str(Path(__file__).parent), folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True)
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) >= 2
    began = time.monotonic()
    if how == signal.SIGINT:
        os.killpg(parent.pid, how)  # as a terminal does: everybody in the group hears it
    else:
        os.kill(parent.pid, how)
    assert parent.wait(timeout=5) in (130, -9)
    assert gone(pids)
    assert time.monotonic() - began < 2
    parent.stdout.close()
