"""The sdist and the wheel, built from a copy of the tree, hold what an installation needs."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from w2v2cli import __version__

ROOT = Path(__file__).parents[2]
PACKAGES = ("w2v2", "w2v2cli", "lm", "models", "storage")
BUILT = ("*.so", "*.part", "*.pyc", "__pycache__", ".*", "*.egg-info")
BUILT_AT_THE_TOP = {"build", "dist", "runs"}  # training/runs/ is a room of the product
RECORDING = "LJ002-0088.flac"


def left_behind(folder, names):
    """What a copy of the tree leaves out: files that were built or trained in it."""
    ignored = set(shutil.ignore_patterns(*BUILT)(folder, names))
    return ignored | (BUILT_AT_THE_TOP & set(names) if Path(folder) == ROOT else set())


def product_files():
    """What must be installed: every module, py.typed and shipped file."""
    files = [path for top in PACKAGES for path in (ROOT / top).rglob("*") if path.is_file()]
    return {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.suffix in (".py", ".css", ".js")
        or path.name == "py.typed"
        or "shipped" in path.parts
    }


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the tree without anything that was built in it."""
    setuptools = importlib.metadata.version("setuptools")
    if int(setuptools.split(".")[0]) < 77:
        pytest.skip(f"needs setuptools 77 or later to build without a network, not {setuptools}")
    if shutil.which("c++") is None and shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler")
    copy = tmp_path_factory.mktemp("source") / "w2v2"
    shutil.copytree(ROOT, copy, ignore=left_behind)
    return copy


@pytest.fixture(scope="module")
def sdist(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("sdist")
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    run(sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", "-c", code, out, cwd=tree)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel as it is made from the sdist, in which nothing may be missing."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    out = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--no-build-isolation", "--wheel-dir", out, source)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed wheel and nothing else of w2v2."""
    site = tmp_path_factory.mktemp("site")
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps")
    run(*pip, "--target", site, wheel)
    return site


def test_the_sdist_holds_what_builds_tests_and_explains(sdist):
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    native = {
        f"lm/native/{path.name}"
        for path in (ROOT / "lm" / "native").iterdir()
        if path.suffix in (".cpp", ".h")
    }
    needed = product_files() | pages | native
    needed |= {"README.md", "LICENSE", "Makefile", "Dockerfile", "setup.py", "tests/conftest.py"}
    assert needed - names == set()
    assert [name for name in names if name.endswith((".so", ".pyc"))] == []


def test_the_wheel_holds_the_product_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    built = {name for name in names if name.startswith("lm/native/_native") and ".so" in name}
    assert len(built) == 1
    assert names - built == product_files()
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_installed_wheel_transcribes(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed), "W2V2_HOME": str(tmp_path)}
    environment |= {"W2V2_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    code = (
        "import lm, models, storage, w2v2, w2v2cli\n"
        "from importlib.metadata import version\n"
        "from lm.native.library import is_built\n"
        "from w2v2cli.app import main\n"
        "for package in (lm, models, storage, w2v2, w2v2cli):\n"
        "    print(package.__file__)\n"
        "print(is_built(), version('w2v2'), flush=True)\n"
        "main()\n"
    )
    recording = installed / "w2v2cli" / "shipped" / "recordings" / RECORDING
    call = ("transcribe", recording, "--lm", "4gram", "--search", "compiled", "--workers", "1")
    lines = run(sys.executable, "-c", code, *call, cwd=tmp_path, env=environment).splitlines()
    *places, facts, words = lines
    assert all(Path(place).is_relative_to(installed) for place in places) and len(places) == 5
    assert facts == f"True {__version__}"
    assert "THERE WAS A BARRACK" in words
