"""The compiled estimation: equal to lmplz and to the one in Python, and bounded in memory."""

import os
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lm.native.library import is_built
from lm.ngram import estimation
from lm.ngram.arpa import read_ngrams
from lm.ngram.estimation import (
    NotEstimated,
    Request,
    estimate_arpa,
    estimate_in_memory,
    largest_files,
)

pytestmark = pytest.mark.skipif(not is_built(), reason="the compiled part was not built")

LMPLZ = [
    ("order4", "text.txt", 4, ()),
    ("order4-prune-0-0-1-1", "text.txt", 4, (0, 0, 1, 1)),
    ("order2-prune-0-2", "text.txt", 2, (0, 2)),
    ("tiny-order3-fallback", "tiny.txt", 3, ()),
]


def rows(path):
    return {words: (log_prob, backoff) for log_prob, words, backoff in read_ngrams(path)}


def drawn_text(seed: int, sentences: int = 300) -> bytes:
    draw = random.Random(seed)
    words, weights = [f"w{i}" for i in range(50)], [1 / (i + 1) for i in range(50)]
    lines = (draw.choices(words, weights, k=draw.randint(0, 12)) for _ in range(sentences))
    return b"".join(" ".join(line).encode() + b"\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "text", "order", "prune"), LMPLZ, ids=[model[0] for model in LMPLZ]
)
def test_estimates_equal_those_of_lmplz(shared_data, tmp_path, name, text, order, prune):
    ours = tmp_path / "ours.arpa"
    content = (shared_data / "lmplz" / text).read_bytes()
    estimate_arpa([content], ours, Request(order, prune, folder=tmp_path))
    ours, theirs = rows(ours), rows(shared_data / "lmplz" / f"{name}.arpa.gz")
    assert ours.keys() == theirs.keys()
    for words, expected in theirs.items():
        assert ours[words] == pytest.approx(expected, abs=1e-4), words


@pytest.mark.parametrize("order", [1, 2, 3, 5, 8])
@pytest.mark.parametrize(
    ("prune", "words"),
    [((), None), ((0, 1), None), ((), 12), ((0, 0, 1), ["w3", "w0", "w49", "other"])],
    ids=["all", "pruned", "frequent", "listed"],
)
def test_it_equals_the_estimation_in_python(tmp_path, order, prune, words):
    request = Request(order, prune[:order], words, folder=tmp_path)
    told, warned = [], []
    made = []
    for estimate in (estimate_arpa, estimate_in_memory):
        path = tmp_path / f"{estimate.__name__}.arpa"
        heard = []
        result = estimate(
            [drawn_text(order)], path, request, lambda *counts: told.append(counts), heard.append
        )
        made.append((rows(path), result.sizes, result.vocabulary, result.types))
        warned.append(heard)
    (ours, *facts), (expected, *expected_facts) = made
    assert facts == expected_facts and told[0] == told[1] and warned[0] == warned[1]
    assert ours.keys() == expected.keys()
    for gram, figures in expected.items():
        assert ours[gram] == pytest.approx(figures, abs=1e-6), gram


@pytest.mark.parametrize("name", ["a.arpa", "a.arpa.gz"])
def test_the_probabilities_of_a_limited_vocabulary_sum_to_one(tmp_path, name):
    path = tmp_path / name
    estimate_arpa([drawn_text(0)], path, Request(3, (), 10, folder=tmp_path))
    model = rows(path)
    words = [gram[0] for gram in model if len(gram) == 1 and gram[0] != "<s>"]
    assert len(words) == 12
    for history in ((), ("<s>",), ("w0",), ("w0", "w1"), ("<s>", "w2")):
        total = sum(10 ** log_prob(model, history, word) for word in words)
        assert total == pytest.approx(1, abs=1e-5)
    assert model["<unk>",][0] > rows_of_all(tmp_path)["<unk>",][0]


def rows_of_all(folder):
    estimate_arpa([drawn_text(0)], folder / "all.arpa", Request(3, folder=folder))
    return rows(folder / "all.arpa")


def log_prob(model, history, word) -> float:
    if (*history, word) in model:
        return model[(*history, word)][0]
    return model.get(history, (0, 0))[1] + log_prob(model, history[1:], word)


BOUNDED = """
import random, re, sys
from pathlib import Path
from lm.ngram import estimation
from lm.ngram.estimation import Request, estimate_arpa

estimation.PYTHON = 12 << 20  # so that what the library takes too much is not hidden in it

def most_memory():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1]) >> 10

def blocks():
    draw = random.Random(0)
    for _ in range(40):
        numbers = (int(draw.paretovariate(0.1)) % 20_000 for _ in range(20_000))
        words = [f"w{number}" for number in numbers]
        lines = (" ".join(words[i : i + 20]) for i in range(0, len(words), 20))
        yield "".join(line + "\\n" for line in lines).encode()

memory, path = int(sys.argv[1]) << 20, Path(sys.argv[2])
before = most_memory()
made = estimate_arpa(blocks(), path, Request(6, (0, 0, 1), None, memory, path.parent))
print(before, most_memory(), made.runs, made.disk)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_little_memory_is_kept_to_and_gives_the_same_bytes(tmp_path):
    def run(memory):
        path = tmp_path / f"{memory}.arpa"
        printed = subprocess.run(
            [sys.executable, "-c", BOUNDED, str(memory), str(path)],
            check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."},
        )  # fmt: skip
        return path.read_bytes(), *map(int, printed.stdout.split())

    whole, before, peak, runs, _ = run(2000)
    assert runs == 0 and peak > before + 60
    small = before + 46
    bounded, _, peak, runs, disk = run(small)
    assert runs > 5 and peak <= small
    assert 0 < disk < largest_files(800_000, 6)
    assert bounded == whole
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2000.arpa", f"{small}.arpa"]


def test_what_cannot_be_estimated(tmp_path):
    path = tmp_path / "a.arpa"
    for block, request, message in [
        (b"a b\na <s> b\n", Request(2), r"holds '<s>' as a word, in 'a <s> b': remove it"),
        (b"\n \n", Request(2), "no word in the text"),
        (b"a\n", Request(16), "n-grams have 1 to 15 words, not 16"),
        (b"a\n", Request(2, memory=1 << 20), r"--memory 1MB is too little: give \d+MB or more"),
    ]:
        with pytest.raises(NotEstimated, match=message):
            estimate_arpa([block], path, request)
    assert not list(tmp_path.iterdir())


FULL = """
import resource, signal, sys
from pathlib import Path
from lm.ngram.estimation import Request, estimate_arpa
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
text = "".join(f"w{i} w{i * 7 % 1000} w{i * 11 % 1000}\\n" for i in range(20_000)).encode()
estimate_arpa([text], Path(sys.argv[1], "a.arpa"), Request(3, folder=Path(sys.argv[2])))
"""


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path):
    out, tmp = tmp_path / "out", tmp_path / "tmp"
    out.mkdir(), tmp.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(out), str(tmp)], check=False, capture_output=True,
        text=True, env={**os.environ, "PYTHONPATH": "."},
    )  # fmt: skip
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("OSError: [Errno 27] File too large") and str(tmp) in last
    assert not list(out.iterdir()) and not list(tmp.iterdir())


def test_ctrl_c_ends_it_and_leaves_nothing(tmp_path):
    def blocks():
        yield drawn_text(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_arpa(blocks(), tmp_path / "a.arpa", Request(3, folder=tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_estimation_that_cannot_begin_is_freed(tmp_path, monkeypatch):
    freed = []
    library = SimpleNamespace(
        estimate_new=lambda: 7,
        estimate_begin=lambda handle, *settings: False,
        estimate_error=lambda handle: b"no room",
        estimate_errno=lambda handle: 0,
        estimate_free=freed.append,
    )
    monkeypatch.setattr(estimation, "native", lambda: library)
    with pytest.raises(NotEstimated, match="no room"):
        estimation._Estimation(Request(folder=tmp_path))
    assert freed == [7]
