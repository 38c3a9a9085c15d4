"""LFW's ten folds through `rekollect evaluate`, where the pictures are at hand: REKOLLECT_TEST_LFW names their folder.

The pictures carry no licence, so that nothing pulls them. Beside the persons' folders lies LFW's pairs.txt.
"""

import json
import os
import subprocess
import sys

import pytest

from app.config import Settings

pytestmark = [pytest.mark.bench, pytest.mark.models]


def test_the_published_accuracy_is_reproduced(settings: Settings) -> None:
    folder = os.environ.get("REKOLLECT_TEST_LFW")
    if not folder:
        pytest.skip("REKOLLECT_TEST_LFW is not set: it names the folder with LFW")
    command = [sys.executable, "-m", "app.cli.main", "evaluate", folder, "--json"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    accuracy = found["accuracy"]
    rates = {point["false_match_rate"]: point["true_match_rate"] for point in found["true_match_rate_at"]}
    print(
        f"LFW: accuracy {accuracy['mean']:.4f} ± {accuracy['standard_deviation']:.4f}, TAR at FMR 1e-3 {rates[1e-3]:.4f}"
    )
    assert (accuracy["folds"], found["genuine_pairs"], found["impostor_pairs"]) == (10, 3000, 3000)
    assert accuracy["mean"] >= 0.9940
    assert rates[1e-3] >= 0.990
