"""What lies in $W2V2_HOME, and removing what can be made again."""

import pytest
from calls import called


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("W2V2_HOME", str(tmp_path))
    for name in ("search/a/b", "emissions/c", "tuned/demo.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(1_500_000))
    return tmp_path


def test_folders_are_listed_with_their_sizes(home):
    listed = called("cache", "list")
    rows = [line.split()[:3] for line in listed.stdout.splitlines()]
    assert rows == [["1.5", "MB", name] for name in ("emissions", "search", "tuned")]
    marked = [line.split()[2] for line in listed.stdout.splitlines() if " cache: " in line]
    assert marked == ["emissions", "search"] and "weights that tune-lm found" in listed.stdout
    assert str(home) in listed.stderr and "w2v2 cache clear removes" in listed.stderr


def test_only_caches_are_cleared(home):
    dry = called("cache", "clear", "--dry-run")
    assert dry.stderr == f"Would free 3.0 MB in {home}.\n" and (home / "search").exists()
    assert called("cache", "clear").stderr == f"Freed 3.0 MB in {home}.\n"
    assert [path.name for path in home.iterdir()] == ["tuned"]
    assert called("cache", "clear").stderr == f"Freed 0.0 MB in {home}.\n"
