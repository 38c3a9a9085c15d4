"""What benchmarks measure with."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The folder of test pictures with its manifest.csv."""
    folder = os.environ.get("REKOLLECT_TEST_FACES")
    if not folder:
        pytest.skip("REKOLLECT_TEST_FACES is not set: it names the folder with the test pictures")
    return Path(folder)
