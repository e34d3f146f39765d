"""Fixtures that every test shares."""

import os
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _few_threads():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 2)))


@pytest.fixture(scope="session", autouse=True)
def _own_store(tmp_path_factory):
    """Use an empty store: the user's tuned weights and downloads stay out of reach of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("W2V2_HOME", str(tmp_path_factory.mktemp("store")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings and texts beside the repository."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("needs the folder shared/data beside the repository")
    return path
