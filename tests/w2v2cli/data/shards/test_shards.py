"""Shards as somebody else's tar reader sees them, and recordings out of them to the bit."""

import io
import json
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from w2v2cli.data.audio import read_audio
from w2v2cli.data.loading.flat import Strings, Texts
from w2v2cli.data.recordings import Recordings
from w2v2cli.data.shards import reader as reading
from w2v2cli.data.shards import writer as sharding
from w2v2cli.data.shards.index import ShardError, ShardIndex, index_path
from w2v2cli.data.shards.reader import ShardRecordings
from w2v2cli.data.shards.writer import key_of, write_shards
from w2v2cli.data.utterance import Utterance

DRAW = np.random.default_rng(3)


def noise(seconds, rate=16_000, channels=1):
    return DRAW.uniform(-0.5, 0.5, (round(seconds * rate), channels))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Thirty-five recordings of ten speakers: most plain FLAC, the others to be converted."""
    folder = tmp_path_factory.mktemp("corpus")
    utterances = []
    for number in range(30):
        path = folder / f"{number}.flac"
        soundfile.write(path, noise(DRAW.uniform(0.2, 0.6)), 16_000, subtype="PCM_16")
        text = None if number % 5 == 0 else f"NUMBER {number} É"
        utterances.append(Utterance(f"{number % 10}-1-{number:04}", path, text, str(number % 10)))
    kinds = [
        ("s.wav", 16_000, 1, "PCM_16"),
        ("t.wav", 16_000, 2, "FLOAT"),
        ("e.flac", 8_000, 1, "PCM_16"),
        ("d.flac", 16_000, 1, "PCM_24"),
    ]
    for name, rate, channels, subtype in kinds:
        soundfile.write(folder / name, noise(0.4, rate, channels), rate, subtype=subtype)
        utterances.append(Utterance(f"other/{name}", folder / name, "X", phones=("h#", "ix")))
    cut = Utterance("a.b.c", folder / "0.flac", "CUT", samples=1000, start=500)
    return [*utterances, cut]


@pytest.fixture(scope="module")
def packed(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packed")
    made = write_shards(corpus, folder, shard_seconds=4, seed=1)
    assert (made.recordings, made.failures, made.skipped) == (35, [], 0) and made.shards >= 3
    return folder


def copied(folder, to):
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


def test_what_is_read_is_what_the_files_hold(corpus, packed):
    recordings: Recordings = ShardRecordings(packed)
    place = {name: i for i, name in enumerate(recordings.ids)}
    assert sorted(place) == sorted(u.id for u in corpus)
    assert recordings.lengths.dtype == np.int64 and recordings.shards.dtype == np.int64
    for utterance in corpus:
        index = place[utterance.id]
        whole = read_audio(utterance.path)[utterance.start :][: utterance.samples]
        found = recordings.read(index)
        assert recordings.lengths[index] == len(whole) == len(found) and found.dtype == np.float32
        assert recordings.texts[index] == utterance.text
        if utterance.id in ("other/t.wav", "other/e.flac", "other/d.flac"):
            np.testing.assert_allclose(
                found, whole.clip(-1, 1 - 2**-15), atol=0.51 / 32768
            )  # rounded to 16 bit
        else:
            np.testing.assert_array_equal(found, whole)
        start, end = sorted(DRAW.integers(0, len(whole) + 1, 2).tolist())
        np.testing.assert_array_equal(recordings.read(index, start, end - start), found[start:end])
        np.testing.assert_array_equal(recordings.read(index, start), found[start:])


def test_speakers_are_kept_whatever_the_ids_are(tmp_path):
    """Shards knew speakers by ids of LibriSpeech's form alone."""
    named = []
    for number in range(12):
        path = tmp_path / f"{number}.flac"
        soundfile.write(path, noise(0.2), 16_000, subtype="PCM_16")
        speaker = f"voice {number % 3}" if number < 9 else None
        named.append(Utterance(f"id {number}" if number < 11 else "7-8-9", path, "X", speaker))
    write_shards(named, tmp_path / "packed", shard_seconds=1)
    expected = {u.id: u.speaker for u in named} | {"7-8-9": "7"}
    recordings = pickle.loads(pickle.dumps(ShardRecordings(tmp_path / "packed")))
    assert dict(zip(recordings.ids, recordings.speakers, strict=True)) == expected
    # Without their indexes they are read as shards of somebody else.
    for path in (tmp_path / "packed").glob("*.index"):
        path.unlink()
    again = ShardRecordings(tmp_path / "packed")
    assert dict(zip(again.ids, again.speakers, strict=True)) == expected
    # Of an index of before, the ids tell what they can.
    for path in (tmp_path / "packed").glob("*.index"):
        replace(ShardIndex.read(path), speakers=None).write(path)
    older = ShardRecordings(tmp_path / "packed")
    assert set(older.speakers) == {None, "7"}


def test_the_tar_is_a_webdataset(corpus, packed):
    """Read by the standard library, by webdataset's rule: a sample shares its name to the dot."""
    by_id, samples, shards = {u.id: u for u in corpus}, {}, sorted(packed.glob("*.tar"))
    for shard in shards:
        last = None
        with tarfile.open(shard) as tar:
            for info in tar:
                key, _, field = info.name.partition(".")
                assert "/" not in key and field in ("flac", "json")
                assert last == key or key not in samples  # a sample's members stand together
                samples.setdefault(key, {})[field] = tar.extractfile(info).read()
                last = key
    assert len(samples) == 35 and [shard.name for shard in shards][:2] == [
        "shard-000000.tar",
        "shard-000001.tar",
    ]
    for key, sample in samples.items():
        row, audio = json.loads(sample["json"]), soundfile.info(io.BytesIO(sample["flac"]))
        utterance = by_id[row["id"]]
        assert (row.get("text"), row.get("speaker")) == (utterance.text, utterance.speaker)
        assert row.get("phones") == (" ".join(utterance.phones) if utterance.phones else None)
        assert (audio.samplerate, audio.channels, audio.subtype, audio.frames) == (
            16_000,
            1,
            "PCM_16",
            row["samples"],
        )
        if utterance.path.stem.isdigit() and utterance.samples is None:
            assert sample["flac"] == utterance.path.read_bytes() and key == utterance.id


WITH_WEBDATASET = """
import json, sys, webdataset
for sample in webdataset.WebDataset(sys.argv[1:], shardshuffle=False):
    print(json.loads(sample["json"])["id"], len(sample["flac"]))
"""


def test_the_webdataset_library_reads_them(packed):
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    paths = sorted(packed.glob("*.tar"))
    found = subprocess.run(
        [sys.executable, "-c", WITH_WEBDATASET, *paths], check=True, capture_output=True, text=True
    )
    recordings = ShardRecordings(packed)
    expected = [
        f"{name} {size}"
        for name, size in zip(recordings.ids, recordings.sizes.tolist(), strict=True)
    ]
    assert found.stdout.splitlines() == expected and len(expected) == 35


def test_shards_mix_speakers_and_are_alike_in_size(packed):
    sizes = []
    for shard in sorted(packed.glob("*.tar")):
        index = ShardIndex.read(index_path(shard))
        assert len({name.split("-")[0] for name in index.ids}) > 4
        sizes.append(index.samples.sum())
    assert max(sizes) < 1.5 * min(sizes) and max(sizes) < 5 * 16_000


def test_the_same_call_makes_the_same_bytes_with_any_number_of_processes(corpus, packed, tmp_path):
    told = []
    write_shards(
        corpus,
        tmp_path,
        shard_seconds=4,
        seed=1,
        jobs=2,
        on_progress=lambda done, total: told.append((done, total)),
    )
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
        p.name: p.read_bytes() for p in packed.iterdir()
    }
    assert told and all(0 <= done <= 35 == total for done, total in told)


def test_size_in_bytes(corpus, tmp_path):
    made = write_shards(corpus, tmp_path, shard_bytes=100_000)
    sizes = [path.stat().st_size for path in tmp_path.glob("*.tar")]
    assert (
        made.shards == len(sizes) > 2 and max(sizes) < 2 * 100_000
    )  # noise packs worse than the speech it reckons with


def test_a_second_call_does_the_rest(corpus, packed, tmp_path, monkeypatch):
    folder = copied(packed, tmp_path / "f")
    first, second, third, *_ = sorted(folder.glob("*.tar"))
    first.unlink()  # killed between the index and the tar
    third.write_bytes(third.read_bytes()[:-5000])  # a copy that broke off
    (folder / f".{first.name}.part").write_bytes(b"half of it")
    kept = second.stat().st_ino
    written = []
    write = sharding.write_shard
    monkeypatch.setattr(
        sharding, "write_shard", lambda part: written.append(part.path) or write(part)
    )
    made = write_shards(corpus, folder, shard_seconds=4, seed=1)
    assert written == [first, third] and made.recordings == 35 and made.skipped == made.shards - 2
    assert second.stat().st_ino == kept
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == {
        p.name: p.read_bytes() for p in packed.iterdir()
    }


@pytest.mark.parametrize("change", ["seed", "size", "text", "foreign"])
def test_a_folder_of_another_call_is_left_alone(corpus, packed, tmp_path, change):
    folder = copied(packed, tmp_path / "f")
    if change == "foreign":
        (folder / "train.tar").write_bytes(b"")
    utterances = corpus[:-1] + [Utterance("a.b.c", corpus[0].path, "NEW", None, None, 1000, 500)]
    before = {p.name: p.stat().st_mtime_ns for p in folder.iterdir()}
    with pytest.raises(
        ShardError, match=r"\.tar was not made from these recordings .* name another folder"
    ):
        write_shards(
            utterances if change == "text" else corpus,
            folder,
            shard_seconds=3 if change == "size" else 4,
            seed=2 if change == "seed" else 1,
        )
    assert {p.name: p.stat().st_mtime_ns for p in folder.iterdir()} == before


def test_what_cannot_be_read_is_left_out_and_named_each_time(corpus, tmp_path):
    broken, gone = tmp_path / "broken.flac", tmp_path / "no-audio.flac"
    broken.write_bytes(corpus[1].path.read_bytes()[:-3000])
    gone.write_bytes(b"nothing")
    utterances = [*corpus[:4], Utterance("b", broken, None), Utterance("g", gone, None)]
    for skipped in (0, 1):
        made = write_shards(utterances, tmp_path / "made")
        assert (made.shards, made.skipped, made.recordings) == (1, skipped, 4)
        assert [
            str(path) in reason for path, reason in zip((gone, broken), made.failures, strict=True)
        ] == [True, True]
    assert sorted(ShardRecordings(tmp_path / "made").ids) == sorted(u.id for u in corpus[:4])


def test_keys():
    def keyed(name, ambiguous=False, path="p"):
        return key_of(Utterance(name, path, None), ambiguous)

    assert keyed("84-121123-0001") == "84-121123-0001"
    odd = ["a.b", "a_b", "a b", "a/b", "é", "x" * 61, "x" * 62, ""]
    keys = [keyed(name) for name in odd] + [keyed("a_b", True), keyed("a_b", True, "q")]
    assert len(set(keys)) == len(keys)
    assert all(set(key) <= set("abx_-0123456789abcdef") and len(key) < 90 for key in keys)


def test_two_recordings_of_one_name_and_one_that_is_named_twice(corpus, tmp_path):
    same = [Utterance("x", corpus[i].path, str(i)) for i in (0, 1)]
    made = write_shards([*same, same[0]], tmp_path)
    recordings = ShardRecordings(tmp_path)
    assert (
        made.recordings == 2
        and list(recordings.ids) == ["x", "x"]
        and sorted(recordings.texts) == ["0", "1"]
    )
    for i in range(2):
        np.testing.assert_array_equal(
            recordings.read(i), read_audio(same[int(recordings.texts[i])].path)
        )


def test_two_calls_at_once(corpus, tmp_path):
    part = sharding.divide([corpus[-1]], tmp_path, None, 1, 0)[0]
    writing = sharding.write_shard(part)
    next(writing)
    with pytest.raises(ShardError, match="Another process is writing .*shard-000000.tar"):
        next(sharding.write_shard(part))
    assert list(writing) == [] and len(ShardRecordings(tmp_path).ids) == 1


# ---- shards of somebody else


def tar_of(path, members, format=tarfile.GNU_FORMAT):
    with tarfile.open(path, "w", format=format) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def encoded(samples, format, rate=16_000):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=format)
    return buffer.getvalue()


def test_compressed_recordings_in_a_shard_of_somebody_else(tmp_path):
    """MP3 and the sound of a video, but not of a video that has its sound beside it."""
    content = {"one.mp3": encoded(noise(0.5), "MP3"), "two.opus": opus(noise(0.7))}
    members = [("three.mp4", b"no film"), ("three.wav", encoded(noise(0.2), "WAV"))]
    tar_of(tmp_path / "a.tar", [*content.items(), *members, ("bad.m4a", b"\0\0\0\x1cftypM4A ")])
    recordings = ShardRecordings(tmp_path)
    assert list(recordings.ids) == ["one", "two", "three", "bad"]
    for index, (name, data) in enumerate(content.items()):
        (tmp_path / name).write_bytes(data)
        whole = read_audio(tmp_path / name)
        assert recordings.lengths[index] == len(whole)
        np.testing.assert_array_equal(recordings.read(index), whole)
        np.testing.assert_array_equal(recordings.read(index, 1000, 500), whole[1000:1500])
    assert recordings.lengths[2:].tolist() == [3200, 0]
    with pytest.raises(ShardError, match=r"a\.tar: bad\.m4a cannot be decoded: it is not audio"):
        recordings.read(3)


def opus(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="OGG", subtype="OPUS")
    return buffer.getvalue()


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT])
def test_a_shard_of_somebody_else_is_indexed_in_one_pass(tmp_path, format):
    waves = [noise(0.3), noise(0.5), noise(0.7, 44_100, 2), noise(0.4, 8_000)]
    long = (
        "folder/" * 12 + "x" * 60 if format != tarfile.USTAR_FORMAT else "folder/" * 12 + "x" * 20
    )
    shard = tar_of(
        tmp_path / "a.tar",
        [
            ("./one.flac", encoded(waves[0], "FLAC")),
            ("./one.json", b'{"id": "1.0", "text": "ONE"}'),
            ("dir.d/two.txt", b"TWO\n"),
            ("dir.d/two.left.WAV", encoded(waves[1], "WAV")),
            (f"{long}.ogg", encoded(waves[2], "OGG", 44_100)),
            ("dé/four.json", b"[1"),
            ("dé/four.wav", encoded(waves[3], "WAV", 8_000)),
            ("bad.wav", b"no audio"),
            ("README", b"about"),
        ],
        format,
    )
    files = []
    for name, wave, rate in (
        ("1.flac", waves[0], 16_000),
        ("2.wav", waves[1], 16_000),
        ("3.ogg", waves[2], 44_100),
        ("4.wav", waves[3], 8_000),
    ):
        soundfile.write(tmp_path / name, wave, rate)
        files.append(read_audio(tmp_path / name))
    for indexed in (False, True):
        assert index_path(shard).is_file() == indexed
        recordings = ShardRecordings(tmp_path)
        assert list(recordings.ids) == ["1.0", "dir.d/two", long, "dé/four", "bad"]
        assert list(recordings.texts) == ["ONE", "TWO", None, None, None]
        assert recordings.lengths.tolist() == [*map(len, files), 0]
        for i, whole in enumerate(files):
            np.testing.assert_allclose(recordings.read(i), whole, atol=1e-6)
            np.testing.assert_allclose(recordings.read(i, 1000, 500), whole[1000:1500], atol=1e-6)
        with pytest.raises(ShardError, match=r"a.tar: bad.wav cannot be decoded"):
            recordings.read(4)


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    tar_of(tmp_path / "a.tar", [("one.wav", encoded(noise(0.1), "WAV"))])

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", denied)
    assert len(ShardRecordings(tmp_path).read(0)) == 1600
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


# ---- trouble


def test_what_is_no_shard_in_their_folder_is_passed_over(packed, tmp_path):
    shards = tmp_path / "shards"
    shutil.copytree(packed, shards)
    (shards / "._shard-000000.tar").write_bytes(b"\x00\x05\x16\x07")  # as macOS leaves it
    os.mkfifo(shards / "pipe.tar")
    assert list(ShardRecordings(shards).ids) == list(ShardRecordings(packed).ids)


def test_where_there_are_none(tmp_path):
    with pytest.raises(ShardError, match="There are no shards"):
        ShardRecordings(tmp_path / "nothing-*.tar")
    tar_of(tmp_path / "a.tar", [("README", b"")])
    with pytest.raises(ShardError, match="a.tar holds no recordings"):
        ShardRecordings(tmp_path)


def test_a_shard_that_was_cut_short(packed, tmp_path):
    shard = sorted(copied(packed, tmp_path / "f").glob("*.tar"))[1]
    size = shard.stat().st_size
    recordings = ShardRecordings(tmp_path / "f")
    os.truncate(shard, size - 60_000)
    with pytest.raises(
        ShardError,
        match=rf"1.tar has {size - 60_000} bytes, not {size} as its index says: it was cut",
    ):
        ShardRecordings(tmp_path / "f")
    sentences = set()
    for i in np.flatnonzero(recordings.shards == 1).tolist():  # cut while it is in use
        try:
            recordings.read(i)
        except ShardError as error:
            sentences.add(str(error).removeprefix(str(shard)).replace(recordings.members[i], "KEY"))
    assert sentences == {" is cut short: it ends before KEY.", " is cut short: it ends inside KEY."}
    index_path(shard).unlink()
    with pytest.raises(
        ShardError,
        match=r"shard-000001.tar is damaged or cut short after [\w-]+: unexpected end of data",
    ):
        ShardRecordings(tmp_path / "f")


def test_a_shard_with_a_damaged_header(packed, tmp_path):
    shard = min(copied(packed, tmp_path / "f").glob("*.tar"))
    index = ShardIndex.read(index_path(shard))
    index_path(shard).unlink()
    with shard.open("r+b") as file:
        file.seek(int(index.offsets[3]) - 512)
        file.write(b"\xff" * 512)
    with pytest.raises(
        ShardError, match=r"damaged or cut short after [\w-]+: no member begins at byte"
    ):
        ShardRecordings(tmp_path / "f")


def test_an_index_of_another_shard(packed, tmp_path):
    folder = copied(packed, tmp_path / "f")
    shard = min(folder.glob("*.tar"))
    content = bytearray(shard.read_bytes())
    index = ShardIndex.read(index_path(shard))
    a, b = (int(index.offsets[i]) for i in (0, 1))
    content[a - 512 : a - 412], content[b - 512 : b - 412] = (
        content[b - 512 : b - 412],
        content[a - 512 : a - 412],
    )
    shard.write_bytes(content)
    with pytest.raises(
        ShardError, match=r"does not fit its index: [\w-]+.flac is not where it should be"
    ):
        ShardRecordings(folder).read(0)
    index_path(shard).write_bytes(b"no index")
    with pytest.raises(ShardError, match="is damaged or not the index of a shard: delete it"):
        ShardRecordings(folder)


def test_damage_inside_a_recording(packed, tmp_path):
    folder = copied(packed, tmp_path / "f")
    shard = min(folder.glob("*.tar"))
    index = ShardIndex.read(index_path(shard))
    with shard.open("r+b") as file:
        file.seek(int(index.offsets[2]))
        file.write(b"damaged " * 600)
    with pytest.raises(
        ShardError, match=rf"shard-000000.tar: {index.members[2]} cannot be decoded"
    ):
        ShardRecordings(folder).read(2)


def test_a_set_that_is_not_whole(packed, tmp_path):
    folder = copied(packed, tmp_path / "f")
    count = len(list(folder.glob("*.tar")))
    max(folder.glob("*.tar")).unlink()
    with pytest.raises(
        ShardError,
        match=rf"holds {count - 1} of {count} shards: the same w2v2 data shard makes the rest",
    ):
        ShardRecordings(folder)
    assert len(ShardRecordings(folder / "shard-00000[01].tar").ids) < 35  # asked for by a pattern


@pytest.mark.parametrize(("start", "samples"), [(-1, 5), (0, -1), (10**6, None), (0, 10**6)])
def test_what_lies_outside_is_refused(packed, start, samples):
    with pytest.raises(IndexError, match="has .* samples, not"):
        ShardRecordings(packed).read(0, start, samples)


# ---- processes, files, memory


def total_of(recordings, queue):
    queue.put([float(np.abs(recordings.read(i)).sum()) for i in range(len(recordings.ids))])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(packed, method):
    recordings = ShardRecordings(packed)
    expected = [
        float(np.abs(recordings.read(i)).sum()) for i in range(35)
    ]  # its files are open now
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    processes = [context.Process(target=total_of, args=(recordings, queue)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [queue.get(timeout=60) for _ in processes] == [expected, expected]
    for process in processes:
        process.join()


def test_few_files_stay_open(packed, monkeypatch):
    monkeypatch.setattr(reading, "OPEN", 1)
    before = len(os.listdir("/proc/self/fd"))
    recordings = ShardRecordings(packed)
    for i in DRAW.permutation(35).tolist():
        recordings.read(i)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
    del recordings
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_long_recording_is_read_only_where_it_is_wanted(tmp_path, monkeypatch):
    samples = noise(30)
    soundfile.write(tmp_path / "long.flac", samples, 16_000, subtype="PCM_16")
    write_shards([Utterance("long", tmp_path / "long.flac", None)], tmp_path / "made")
    monkeypatch.setattr(reading, "WHOLE", 1000)
    got = []
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda *a: (got.append(pread(*a)), got[-1])[1])
    found = ShardRecordings(tmp_path / "made").read(0, 20 * 16_000, 16_000)
    np.testing.assert_array_equal(
        found, read_audio(tmp_path / "long.flac")[20 * 16_000 : 21 * 16_000]
    )
    assert sum(map(len, got)) < 0.5 * (tmp_path / "long.flac").stat().st_size


def test_a_disk_that_fails_in_the_middle(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.flac", noise(5), 16_000, subtype="PCM_16")
    write_shards([Utterance("long", tmp_path / "long.flac", None)], tmp_path / "made")
    monkeypatch.setattr(reading, "WHOLE", 1000)
    pread = os.pread

    def failing(file, count, offset):
        if offset > 60_000:
            raise OSError(5, "Input/output error")
        return pread(file, count, offset)

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(ShardError, match=r"shard-000000.tar.*long.flac"):
        ShardRecordings(tmp_path / "made").read(0)


def test_strings():
    words = ["a", "", "été", "d" * 300]
    strings, texts = Strings.of(words), Texts.of(["a", None, "", "b"])
    assert list(strings) == words == strings[:] and strings[-1] == words[-1] and "été" in strings
    assert list(texts) == ["a", None, "", "b"] and texts[1:3] == [None, ""]
    assert list(Strings.joined([strings, Strings.of([]), strings])) == words * 2 and not len(
        Strings.joined([])
    )
    assert list(pickle.loads(pickle.dumps(strings))) == words
    with pytest.raises(IndexError):
        strings[4]
