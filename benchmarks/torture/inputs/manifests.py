"""Lists of recordings of every layout, and files of texts, damaged.

Which value was meant cannot be known, so only values that cannot be right count as a silent change:
a length that is NaN, infinite or negative, an id that is empty, a text that is no string.
"""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path
from typing import Any

from benchmarks.torture.cases import Kind, Outcome, Run, commanded, draw_of, judged
from benchmarks.torture.inputs.damage import json_damaged, text_damaged

BY_COMMAND = 10  # of so many cases one goes through `data split` and one through `score`
ROWS = 4
Draw = random.Random
Files = dict[str, str]


def layouts() -> dict[str, Files]:
    """The lists of a corpus in every layout, by the name of the file that is read."""
    ids = [f"1-2-{number}" for number in range(ROWS)]
    text = "HELLO WORLD"
    ours: list[dict[str, Any]] = [
        {"id": name, "audio_filepath": f"{name}.wav", "text": text, "speaker": "1"}
        | {"duration": 0.5, "samples": 8000, "start": 0, "phones": "hh ah"}
        for name in ids
    ]
    nemo = [
        {"audio_filepath": f"{i}.wav", "text": text, "duration": 0.2, "offset": 0.1} for i in ids
    ]
    folder = [{"file_name": f"{name}.wav", "text": text} for name in ids]
    heads = "client_id\tpath\tsentence\tup_votes\n"
    return {
        "ours.jsonl": {"ours.jsonl": lines(ours)},
        "nemo.jsonl": {"nemo.jsonl": lines(nemo)},
        "metadata.jsonl": {"metadata.jsonl": lines(folder)},
        "fairseq.tsv": {
            "fairseq.tsv": "ROOT\n" + "".join(f"{name}.wav\t8000\n" for name in ids),
            "fairseq.wrd": f"{text}\n" * ROWS,
        },
        "transcripts.tsv": {
            "transcripts.tsv": "id\tseconds\ttext\n" + "".join(f"{i}\t0.5\t{text}\n" for i in ids)
        },
        "train.tsv": {"train.tsv": heads + "".join(f"s\t{i}.wav\t{text}\t1\n" for i in ids)},
        "metadata.csv": {"metadata.csv": "".join(f"{i}|{text}|{text}\n" for i in ids)},
        "wav.scp": {
            "wav.scp": "".join(f"{name} {name}.wav\n" for name in ids),
            "text": "".join(f"{name} {text}\n" for name in ids),
            "segments": "".join(f"{name} {name} 0.1 0.4\n" for name in ids),
            "utt2spk": "".join(f"{name} s{name}\n" for name in ids),
        },
        "": {"1-2.trans.txt": "".join(f"{name} {text}\n" for name in ids)},
        "timit": {
            f"timit/TRAIN/DR1/FCJF0/{name}": content
            for name, content in (
                ("SX1.PHN", "0 4000 h#\n4000 8000 aa\n"),
                ("SX1.TXT", "0 8000 Hello world.\n"),
                ("SX1.WAV", ""),
            )
        },
    }


def lines(rows: list[dict[str, Any]]) -> str:
    """JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def scored() -> Files:
    """Texts to score, in every format."""
    names = [f"u{number}" for number in range(ROWS)]
    rows = [{"id": name, "reference": "A B C", "hypothesis": "A B D"} for name in names]
    return {
        "a.trn": "".join(f"A B C ({name})\n" for name in names),
        "a.tsv": "".join(f"{name}\tA B C\n" for name in names),
        "a.txt": "A B C\n" * ROWS,
        "a.jsonl": lines(rows),
    }


def damaged(text: str, name: str, draw: Draw) -> bytes:
    """A list with a row of another shape, or damaged as any text."""
    if name.endswith(".jsonl") and draw.random() < 0.6:
        rows = text.splitlines()
        at = draw.randrange(len(rows))
        whole = [row.encode() for row in rows]
        whole[at] = json_damaged(json.loads(rows[at]), draw)
        return b"\n".join(whole)
    return text_damaged(text, draw)


def open_manifests(folder: Path) -> Run:
    """Recordings, and lists of them."""
    import soundfile

    for number in range(ROWS):
        soundfile.write(folder / f"1-2-{number}.wav", [0.0] * 8000, 16_000, subtype="PCM_16")
    (folder / "s.trn").write_text(scored()["a.trn"])

    def run(number: int, place: Path) -> Outcome:
        draw = draw_of("manifests", number)
        if number % BY_COMMAND == 0:
            name, text = draw.choice(list(scored().items()))
            (place / name).write_bytes(damaged(text, name, draw))
            whole = place / f"whole-{name}"
            whole.write_text(text)
            return commanded("score", str(whole), str(place / name))
        for path in folder.glob("*.wav"):
            shutil.copy(path, place)
        chosen, files = draw.choice(list(layouts().items()))
        spoilt = draw.choice(list(files))
        for name, text in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            filled = text.replace("ROOT", str(place))
            path.write_bytes(damaged(filled, name, draw) if name == spoilt else filled.encode())
        if number % BY_COMMAND == 1:
            output = str(place / "out")
            return commanded("data", "split", str(place / chosen), "--output", output)
        return read(place / chosen)

    return run


def read(path: Path) -> Outcome:
    """Read a corpus, and look for values that cannot be right."""
    from w2v2cli.data.corpora.readers import CorpusError, read_corpus

    def call() -> Outcome:
        for utterance in read_corpus(path):
            numbers = (utterance.seconds, utterance.samples, utterance.start)
            if not all(n is None or (math.isfinite(n) and n >= 0) for n in numbers):
                return Outcome("changed", f"{utterance}"[:300])
            if not utterance.id or not isinstance(utterance.text, str | None):
                return Outcome("changed", f"{utterance}"[:300])
        return Outcome("well")

    return judged(call, (CorpusError,))


KINDS = (Kind("manifests", 500, open_manifests),)
