"""Archives, shards and tables of recordings, damaged: unpacked, indexed and read.

A silent change is a file that was unpacked with fewer bytes or others than went in, unless the
damage lies in the content of a format without a checksum (.tar, and .zip where it is stored), or in
a name; and a recording of a shard whose length differs from what its index says.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, judged
from benchmarks.torture.inputs.checkpoints import safetensors_damaged
from benchmarks.torture.inputs.damage import cut, flipped, lying, spoilt, strange
from benchmarks.torture.inputs.recordings import Format, formats

BY_COMMAND = 20  # of so many cases one goes through `data scan`
NAMES = ("../out.wav", "/tmp/torture-out", "a/../../b", "", "a" * 300, "a\nb", "é", ".", "a/")
FIELDS = ((0, 100), (100, 8), (124, 12), (136, 12), (148, 8), (156, 1), (157, 100), (257, 8))
Draw = random.Random
Case = Callable[[Draw, Path], Outcome]


@cache
def sound() -> tuple[Format, Format]:
    """The recordings among them."""
    wav, flac = formats()[:2]
    return wav, flac


def recordings() -> dict[str, bytes]:
    """Members of the archives."""
    wav, flac = sound()
    description = json.dumps({"id": "a", "text": "HELLO", "speaker": "1"}).encode()
    return {"a.wav": wav.whole[:6444], "a.json": description, "b.flac": flac.whole, "b.txt": b"HI"}


def tarred(members: dict[str, bytes]) -> bytes:
    """A tar of members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()


def tar_damaged(members: dict[str, bytes], draw: Draw) -> bytes:
    """A tar with a field of a header replaced (its checksum made to hold), a hostile member, ..."""
    chance, whole = draw.random(), bytearray(tarred(members))
    if chance < 0.4:
        starts = []
        at = 0
        for content in members.values():
            starts.append(at)
            at += 512 + -(-len(content) // 512) * 512
        at, (begin, size) = draw.choice(starts), draw.choice(FIELDS)
        extremes = (b"7" * size, b"\xff" * size, b"\0" * size, b"\x80" + b"\0" * (size - 1))
        value = draw.choice((*extremes, draw.randbytes(size), b"-1", b"6", b"2"))
        whole[at + begin : at + begin + size] = value[:size].ljust(size, b"\0")
        if draw.random() < 0.8:
            header = whole[at : at + 512]
            header[148:156] = b" " * 8
            whole[at + 148 : at + 156] = b"%06o\0 " % sum(header)
        return bytes(whole)
    if chance < 0.55:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            info = tarfile.TarInfo(draw.choice(NAMES))
            info.type = draw.choice((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"0", b"S"))
            info.linkname = draw.choice((*NAMES, "a.wav"))
            info.pax_headers = {draw.choice(("size", "path", "GNU.sparse.map", "x")): "-1"}
            tar.addfile(info)
        return file.getvalue()[: -len(file.getvalue()) % 512 or None][:1536] + bytes(whole)
    return draw.choice((flipped, cut, spoilt, lambda w, d: lying(w, d, 512)))(bytes(whole), draw)


def zip_damaged(members: dict[str, bytes], draw: Draw) -> bytes:
    """A zip with hostile names, or damaged in its directory or anywhere."""
    file = io.BytesIO()
    how = draw.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))
    with zipfile.ZipFile(file, "w", how) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if draw.random() < 0.2:
            archive.writestr(draw.choice(NAMES) or "x", b"1")
    whole = file.getvalue()
    directory = whole.index(b"PK\1\2")
    if draw.random() < 0.5:
        return flipped(whole, draw, directory)
    return draw.choice((flipped, cut, spoilt, lambda w, d: lying(w, d, 100)))(whole, draw)


def unpacked(draw: Draw, place: Path) -> Outcome:
    """Unpack a damaged archive; nothing may appear outside its folder."""
    from w2v2cli.data.archives import ArchiveError, unpack

    members, kind = recordings(), draw.choice((".tar", ".tar.gz", ".zip"))
    if kind == ".zip":
        content = zip_damaged(members, draw)
    elif kind == ".tar":
        content = tar_damaged(members, draw)
    else:
        zipped = gzip.compress(tarred(members), 1)
        damage = draw.choice((flipped, cut, spoilt))
        inner = draw.random() < 0.4
        content = gzip.compress(tar_damaged(members, draw), 1) if inner else damage(zipped, draw)
    archive = place / f"archive{kind}"
    archive.write_bytes(content)
    outcome = judged(lambda: unpack(archive, place / "out" / "inner"), (ArchiveError,))
    beyond = {path.name for path in place.iterdir()} - {archive.name, "out"}
    beyond |= {path.name for path in (place / "out").glob("*")} - {"inner"}
    if beyond or Path("/tmp/torture-out").exists():
        return Outcome("changed", f"written outside: {beyond}")
    hidden = [path.name for path in (place / "out" / "inner").glob(".unpacking*")]
    return outcome if not hidden else Outcome(outcome.end, outcome.detail, tuple(hidden))


def shard(draw: Draw, place: Path) -> Outcome:
    """Index and read a damaged shard, or one whose index is damaged."""
    from w2v2cli.data.audio import AudioError
    from w2v2cli.data.shards.index import ShardError, index_path
    from w2v2cli.data.shards.reader import ShardRecordings, index_of

    members, path = recordings(), place / "shard-000.tar"
    if draw.random() < 0.3:
        members["a.json"] = json.dumps(strange(draw)).encode(errors="surrogatepass")
    if draw.random() < 0.5:
        path.write_bytes(tar_damaged(members, draw))
    else:
        path.write_bytes(tarred(members))
        index_of(path)
        beside = index_path(path)
        beside.write_bytes(safetensors_damaged(beside.read_bytes(), draw))

    def call() -> Outcome:
        found = ShardRecordings(place)
        for number in range(len(found.lengths)):
            length = int(found.lengths[number])
            _ = found.ids[number], found.texts[number], found.speakers[number]
            if length and len(found.read(number)) != length:
                return Outcome("changed", f"{length} samples were promised")
        return Outcome("well")

    return judged(call, (ShardError, AudioError))


def scanned(draw: Draw, place: Path) -> Outcome:
    """List a damaged table of recordings by the command."""
    import pyarrow
    import pyarrow.parquet

    from w2v2cli.data.decoding import tables

    wav = recordings()["a.wav"]
    rows = [{"audio": {"bytes": wav, "path": f"{i}.wav"}, "text": "HELLO"} for i in range(3)]
    table, file = pyarrow.Table.from_pylist(rows), io.BytesIO()
    if draw.random() < 0.5:
        suffix = ".parquet"
        pyarrow.parquet.write_table(table, file)
    else:
        suffix = ".arrow"
        with pyarrow.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(table)
    content = draw.choice((flipped, cut, spoilt))(file.getvalue(), draw)
    (place / f"table{suffix}").write_bytes(content)
    output = str(place / "manifest.jsonl")
    outcome = commanded("data", "scan", str(place / f"table{suffix}"), "--output", output)
    tables._opened.cache_clear()  # a process keeps its last tables open
    return outcome


def open_archives(folder: Path) -> Run:
    """Nothing is needed but the imports."""
    import pyarrow.parquet

    assert pyarrow.parquet and sound()

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("archives", number)
        if number % BY_COMMAND == 0:
            return scanned(draw, place)
        return draw.choice((unpacked, shard))(draw, place)

    return run


KINDS = (Kind("archives", 500, open_archives),)
