"""Jobs that start processes work in a script without `if __name__ == "__main__"`."""

import subprocess
import sys

import numpy as np
import soundfile

SCRIPT = """
from pathlib import Path
print("once")
from w2v2cli.data.scanning import scan
from w2v2cli.data.utterance import Utterance
paths = sorted(Path("recordings").glob("*.wav"))
found = scan([Utterance(p.stem, p, None) for p in paths], jobs=2, decoded=True)
print(len(found.utterances))
"""


def test_a_scan_in_two_processes_runs_the_script_once(tmp_path):
    (tmp_path / "recordings").mkdir()
    for number in range(4):
        soundfile.write(tmp_path / "recordings" / f"{number}.wav", np.zeros(1600), 16_000)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split() == ["once", "4"], done.stderr
