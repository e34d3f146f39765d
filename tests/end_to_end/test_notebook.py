"""`import w2v2` where multiprocessing is known to fail.

A beam search runs in processes beside the caller's. They must start from a script without
`if __name__ == "__main__"`, from code that has no file, and from the cells of a notebook.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIPS = sorted((ROOT / "w2v2cli" / "shipped" / "recordings").glob("*.flac"))[1:]
PERSONS = "AND THE OTHER EIGHTEEN BY FIFTEEN"  # how the first of them begins
OPEN = "import w2v2\nmodel = w2v2.load('demo', lm='4gram', beam=50)\nprint('once')\n"
ONE = f"print(model.transcribe({str(CLIPS[0])!r}).text)\n"
MANY = f"for found in model.transcribe({[str(clip) for clip in CLIPS]!r}): print(found.text)\n"
# What IPython does with a cell: compiled under a name that is no file, run in one namespace.
# A kernel runs cells inside of an event loop, in a __main__ that has no __file__.
KERNEL = """
import asyncio, sys
async def kernel():
    main = sys.modules["__main__"]
    vars(main).pop("__file__", None)
    for number, cell in enumerate({cells!r}):
        exec(compile(cell, f"<ipython-input-{{number}}>", "exec"), vars(main))
asyncio.run(kernel())
"""


def left(group: int) -> list[str]:
    """Processes of a group that have not ended; a zombie that waits for init has."""
    rows = subprocess.run(["ps", "-A", "-o", "pgid=,stat=,args="], capture_output=True, text=True)
    fields = [row.split(maxsplit=2) for row in rows.stdout.splitlines()]
    return [args for pgid, stat, args in fields if pgid == str(group) and stat[0] != "Z"]


def run(folder: Path, *args: str, source: str | None = None) -> str:
    """What Python prints; it must end well, by itself, and leave no process."""
    process = subprocess.Popen(
        [sys.executable, *args],
        stdin=subprocess.DEVNULL if source is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"},
        start_new_session=True,
    )
    out, errors = process.communicate(source, timeout=300)
    assert (process.returncode, errors) == (0, "")
    deadline = time.monotonic() + 10
    while left(process.pid):
        assert time.monotonic() < deadline, left(process.pid)
        time.sleep(0.1)
    return out


def check(out: str) -> None:
    """One opening, one transcript, then those of all recordings, in order."""
    once, alone, *all_of_them = out.splitlines()
    assert once == "once" and alone.startswith(PERSONS)
    assert len(all_of_them) == len(CLIPS) and all_of_them[0] == alone


def test_a_script_without_a_guard(tmp_path):
    (tmp_path / "script.py").write_text(OPEN + ONE + MANY)
    check(run(tmp_path, "script.py"))


@pytest.mark.parametrize("given", ["-c", "stdin"])
def test_code_without_a_file(tmp_path, given):
    code = OPEN + ONE + MANY
    check(run(tmp_path, "-c", code) if given == "-c" else run(tmp_path, "-", source=code))


def test_cells_of_a_notebook(tmp_path):
    check(run(tmp_path, "-c", KERNEL.format(cells=[OPEN, ONE, MANY])))


def test_a_name_of_the_users_own_is_not_imported(tmp_path):
    """Search processes import as the caller did, not from the folder they start in."""
    for name in ("models", "lm", "w2v2cli"):
        (tmp_path / "elsewhere" / name).mkdir(parents=True)
        (tmp_path / "elsewhere" / name / "__init__.py").write_text("raise RuntimeError('wrong')")
    code = f"import os, w2v2cli, lm, models; os.chdir({str(tmp_path / 'elsewhere')!r})\n"
    check(run(tmp_path, "-c", code + OPEN + ONE + MANY))
