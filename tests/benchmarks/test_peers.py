"""Systems side by side: what is kept of them, how they are counted, and the page."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.peers import measuring
from benchmarks.peers.__main__ import chosen_peers, main
from benchmarks.peers.counting import chosen_clips, summary, whisper_spelling
from benchmarks.peers.measuring import Measured, Row, Start, kept
from benchmarks.peers.page import BEGIN, END, figures_of, merged, tables, write_page, written
from benchmarks.peers.sizes import package_megabytes
from benchmarks.peers.systems import PEERS, Peer, folder_of, missing
from w2v2cli.errors import UsageError, UserError
from w2v2cli.recognition.scoring.error_rate import align, bootstrap_interval

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
SAID = ["MISTER SMITH HAS NINETEEN APPLES", "I CAN'T SAY", "IN EIGHTEEN SIXTY THREE HE CAME"]
HEARD = ["Mr. Smith has 19 apples.", "I can say!", "In 1863, he came."]  # one error of 14 words
FAKE = """\
import json, sys, pathlib, soundfile
folder = pathlib.Path(sys.argv[2])
heard = json.loads((folder / "heard.json").read_text())
print(json.dumps({"loaded": True}), flush=True)
print(json.dumps({"warm": True}), flush=True)
for line in sys.stdin:
    samples, rate = soundfile.read(json.loads(line))
    assert rate == 16000
    with (folder / "calls").open("a") as calls:
        calls.write(f"{len(samples)}\\n")
    if (folder / "dies").exists() and len(samples) == 3200:
        sys.exit("the weights are on fire")
    print(json.dumps({"text": heard[len(samples) // 1600 - 1]}), flush=True)
"""


def fake(folder: Path, name: str = "fake") -> Peer:
    return Peer(
        name, name.title(), ("jiwer",), ("jiwer",), lambda f, n: str, lambda f, s: folder, ("w",)
    )


@pytest.fixture
def corpus(tmp_path):
    """Three recordings of 0.1, 0.2 and 0.3 seconds."""
    rows = []
    for number, text in enumerate(SAID, 1):
        soundfile.write(tmp_path / f"{number}.flac", np.zeros(1600 * number), 16_000)
        rows.append({"id": str(number), "audio_filepath": f"{number}.flac", "text": text})
    path = tmp_path / "three.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def system(tmp_path, monkeypatch):
    """A system whose process is a small script; the folder of its weights."""
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "w").write_text("weights")
    (folder / "heard.json").write_text(json.dumps(HEARD))
    script = tmp_path / "fake.py"
    script.write_text(FAKE)
    monkeypatch.setattr(measuring, "PROGRAM", (str(script),))
    monkeypatch.setitem(PEERS, "fake", fake(folder))
    return folder


def calls(folder):
    return (folder / "calls").read_text().split() if (folder / "calls").exists() else []


def call(corpus, *more):
    words = ["--data", str(corpus), "--peers", "fake", "--starts", "1"]
    main([*words, "--out", str(corpus.parent / "out"), *more])


def test_what_is_heard_is_counted_as_it_was_said(corpus, system, capsys):
    call(corpus, "--starts", "2")
    out, told = capsys.readouterr()
    row = next(line for line in out.splitlines() if line.startswith("| Fake |"))
    assert row.startswith("| Fake | 7.1 (0.0 to 33.3) |")  # can for can't, of 14 words
    assert "3 recordings, 0.0 minutes" in out
    assert "Fake: 3 of 3 recordings." in told
    found = kept(corpus.parent / "out" / "fake.jsonl")
    assert [found.rows["three", str(n)].text for n in (1, 2, 3)] == HEARD
    assert found.rows["three", "2"].seconds == 0.2
    assert len(found.starts) == 2 and all(one.start > 0 for one in found.starts)
    assert all(row.megabytes > 1 and row.wall > 0 for row in found.rows.values())


def test_a_call_that_stopped_goes_on(corpus, system, capsys):
    (system / "dies").touch()
    with pytest.raises(SystemExit) as ended:
        call(corpus)
    assert ended.value.code == 1
    told = capsys.readouterr().err
    assert "Fake stopped; " in told and "No system has heard all" in told
    log = corpus.parent / "out" / "fake.log"
    assert "the weights are on fire" in log.read_text()
    file = corpus.parent / "out" / "fake.jsonl"
    with file.open("a") as out:
        out.write('{"corpus": "three", "id"')  # the line of a call that was killed
    (system / "dies").unlink()
    call(corpus)
    done = {row.id for row in kept(file).rows.values()}
    assert done == {"1", "2", "3"}
    assert len(calls(system)) == 4  # the one that killed it was heard twice, the others once
    call(corpus)
    assert len(calls(system)) == 4


def test_other_weights_and_again_start_anew(corpus, system, capsys):
    call(corpus)
    (system / "w").write_text("better weights")
    call(corpus)
    assert "Fake: weights, versions or threads have changed" in capsys.readouterr().err
    assert len(calls(system)) == 6
    call(corpus, "--again")
    assert len(calls(system)) == 9


def test_a_system_that_is_not_installed_is_left_out(corpus, system, monkeypatch, capsys):
    absent = Peer("absent", "Absent", ("absent-asr==1",), ("absent_asr",), str, str, ())
    monkeypatch.setitem(PEERS, "absent", absent)
    call(corpus, "--peers", "fake", "absent")
    out, told = capsys.readouterr()
    assert "Absent is not installed: pip install absent-asr==1\n" in told
    assert "| Fake |" in out and "Absent" not in out


def test_packages_in_a_folder_of_their_own_are_found(tmp_path):
    package = tmp_path / "site" / "absent_asr"
    package.mkdir(parents=True)
    (package / "model").mkdir()
    peer = Peer("a", "A", ("a",), ("absent_asr",), str, lambda f, s: f[0] / "model", ("net",))
    assert missing(peer, None) == ["absent_asr"]
    assert missing(peer, tmp_path / "site") == ["absent_asr"]  # a folder without code is no package
    (package / "__init__.py").touch()
    assert missing(peer, tmp_path / "site") == []
    with pytest.raises(UserError, match="has no net: the package of A has changed"):
        folder_of(peer, tmp_path / "site", tmp_path)
    (package / "model" / "net").touch()
    assert folder_of(peer, tmp_path / "site", tmp_path) == package / "model"


def test_whisper_base_is_joined_from_its_halves(tmp_path):
    for number, content in ((1, b"first,"), (2, b"second")):
        data = tmp_path / f"half{number}" / "data"
        data.mkdir(parents=True)
        (data / f"model.bin.part{number}").write_bytes(content)
    (data / "config.json").write_text("{}")
    folders = [tmp_path / "program", tmp_path / "half1", tmp_path / "half2"]
    for _ in range(2):  # the second finds it joined
        folder = PEERS["whisper-base"].gather(folders, tmp_path / "out")
        assert (folder / "model.bin").read_bytes() == b"first,second"
        assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.bin"]


def test_more_seconds_keep_the_recordings_of_fewer(corpus):
    chosen = [[c.utterance.id for c in chosen_clips([corpus], s)] for s in (0.05, 0.35, None)]
    assert len(chosen[0]) == 1 and len(chosen[2]) == 3
    assert chosen[1][:1] == chosen[0] and chosen[2][: len(chosen[1])] == chosen[1]
    with pytest.raises(UserError, match="Two corpora are called three"):
        chosen_clips([corpus, corpus], None)


def test_rates_and_intervals_are_those_of_w2v2_score(corpus):
    clips = chosen_clips([corpus], None)
    heard = dict(zip(["1", "2", "3"], HEARD, strict=True))
    rows = {
        ("three", c.utterance.id): Row(
            "three", c.utterance.id, c.seconds, heard[c.utterance.id], 0.3, 0.2, 50.0, 1.5
        )
        for c in clips
    }
    about = {"version": "1", "threads": 1, "cores": 2, "weights_mb": 3.0, "packages_mb": 4}
    measured = Measured(about, [Start(3.0, 2.0), Start(2.5, 2.2)], rows)
    found = summary(PEERS["pocketsphinx"], measured, clips, str.lower)
    in_order = sorted(clips, key=lambda clip: clip.utterance.id)
    counts = [align(c.utterance.text, heard[c.utterance.id]).words for c in in_order]
    assert summary(PEERS["pocketsphinx"], measured, in_order, str.lower) == found
    assert found["wer"] == pytest.approx(
        [100 / 14, *(100 * end for end in bootstrap_interval(counts))], abs=0.01
    )
    assert found["wer_by_corpus"] == {"three": found["wer"]}
    assert found["whisper_wer"][0] > 50  # of a spelling that leaves numbers and full stops
    assert (found["cpu"], found["wall"]) == (1.0, 1.5)  # 0.6 and 0.9 s for 0.6 s of sound
    assert (found["start"], found["start_cpu"], found["memory_mb"]) == (2.5, 2.0, 50)
    del rows["three", "2"]
    assert summary(PEERS["pocketsphinx"], measured, clips, None) is None


def test_the_spelling_of_whisper():
    spelling = whisper_spelling(None)
    if spelling is None:
        pytest.skip("whisper-normalizer is not installed")
    assert spelling("MISTER SMITH HAS NINETEEN APPLES") == spelling("Mr. Smith has 19 apples.")


def figures(digest="d", **systems):
    one = {
        "program": "p",
        "version": "1",
        "threads": 1,
        "cores": 2,
        "wer": [10.0, 8.0, 12.0],
        "whisper_wer": None,
        "wer_by_corpus": {"three": [10.0, 8.0, 12.0]},
        "cpu": 0.5,
        "wall": 1.0,
        "start": 2.0,
        "start_cpu": 1.0,
        "weights_mb": 3.0,
        "packages_mb": 4,
        "memory_mb": 5,
        "load": 1.0,
    }
    rows = [one | {"peer": name, "title": name, **more} for name, more in systems.items()]
    recordings = {"digest": digest, "corpora": {"three": {"utterances": 3, "seconds": 60}}}
    return {"recordings": recordings, "systems": rows}


def test_figures_of_the_same_recordings_stay_beside_new_ones():
    old = figures(ours={"cpu": 9.0}, theirs={})
    new = figures(ours={"cpu": 0.1})
    order = ["theirs", "ours"]
    found, dropped = merged(new["recordings"], new["systems"], old, order)
    assert [(one["peer"], one["cpu"]) for one in found["systems"]] == [
        ("theirs", 0.5),
        ("ours", 0.1),
    ]
    assert dropped == []
    other = figures("e", ours={})
    found, dropped = merged(other["recordings"], other["systems"], old, order)
    assert [one["peer"] for one in found["systems"]] == ["ours"] and dropped == ["theirs"]


def test_the_page_gets_its_tables_and_keeps_the_rest(tmp_path):
    page = tmp_path / "peers.md"
    page.write_text(f"# Before\n\n{BEGIN}old\n{END}\nafter\n")
    shown = figures(ours={}, busy={"load": 7.0, "whisper_wer": [9.0, 7.0, 11.0]})
    write_page(page, shown)
    text = page.read_text()
    assert text.startswith("# Before\n") and text.endswith("\nafter\n") and "old" not in text
    assert "| ours | 10.0 (8.0 to 12.0) | not counted | 0.50 | 1.00 | 2.0 (1.0) |" in text
    assert "| three: 3, 1.0 | 10.0 (8.0 to 12.0) | 10.0 (8.0 to 12.0) |" in text
    assert "1 to 7 processes on average wanted to run on 2 cores" in " ".join(text.split())
    assert figures_of(page) == shown and written(text, shown) == text
    with pytest.raises(UserError, match="The page needs the lines"):
        written("# no marks\n", shown)


def test_the_page_of_the_project_is_written_from_its_figures():
    found = figures_of(PAGE)
    assert found is not None
    assert tables(found) in PAGE.read_text(encoding="utf-8")
    assert {one["peer"] for one in found["systems"]} <= set(PEERS)


def test_names_and_groups_of_systems():
    assert [peer.name for peer in chosen_peers(["w2v2", "w2v2-4gram"])] == [
        "w2v2-greedy",
        "w2v2-4gram",
        "w2v2-transformer",
    ]
    with pytest.raises(UsageError, match="--peers takes w2v2, .*, got 'sphinx'"):
        chosen_peers(["sphinx"])


def test_packages_are_counted_with_what_they_require(tmp_path):
    alone = tmp_path / "alone-1.dist-info"
    alone.mkdir()
    (tmp_path / "alone.py").write_bytes(b"#" * 2_000_000)
    (tmp_path / "weights.bin").write_bytes(b"#" * 5_000_000)
    (alone / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: alone\nVersion: 1\nRequires-Dist: other; extra == 'x'\n"
        "Requires-Dist: needed\n"
    )
    (alone / "RECORD").write_text("alone.py,,\nweights.bin,,\n")
    for name, size in (("needed", 1_000_000), ("other", 9_000_000)):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        (tmp_path / f"{name}.py").write_bytes(b"#" * size)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (folder / "RECORD").write_text(f"{name}.py,,\n")
    found = package_megabytes("alone", tmp_path, [tmp_path / "weights.bin"])
    assert found == pytest.approx(3.0)


@pytest.mark.parametrize("name", ["w2v2-greedy", "whisper-tiny", "pocketsphinx"])
def test_a_system_hears(name, tmp_path):
    peer = PEERS[name]
    if missing(peer, None):
        pytest.skip(f"not installed: pip install {' '.join(peer.packages)}")
    folder = folder_of(peer, None, tmp_path)
    with measuring.Worker(peer, folder, 1, None, tmp_path / "log") as worker:
        assert worker.answer() == {"warm": True}
        clip = Path(measuring.__file__).parents[2] / "w2v2cli/shipped/recordings/LJ002-0050.flac"
        wav = tmp_path / "clip.wav"
        soundfile.write(wav, *soundfile.read(clip))
        assert len(worker.hear(wav).split()) > 5
        assert worker.megabytes() > 20
    assert worker.process.returncode == 0
