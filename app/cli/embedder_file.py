"""An embedder's file as a command is given it: what it wants of a crop, and whether it is an embedder at all.

The file is looked at in a process of its own, which is the workers' code: no command knows a model format, and a file that
crashes onnxruntime crashes nothing else.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from app.assets import AssetError
from app.db.search_tables import LARGEST_DIMENSION
from app.domain.face_models import Preprocessing

_INSPECTION_SECONDS = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """Add --channels, --mean and --std."""
    parser.add_argument("--channels", choices=("rgb", "bgr"), default="rgb", help="order of channels (default rgb)")
    for option, value, help_ in (
        ("--mean", 127.5, "subtracted from pixels of 0..255"),
        ("--std", 127.5, "then divided by"),
    ):
        parser.add_argument(
            option,
            nargs="+",
            type=float,
            default=[value],
            metavar="NUMBER",
            help=f"{help_}; one number, or one for each channel (default {value}; 0 and 1 where the model scales itself)",
        )


def preprocessing(arguments: argparse.Namespace) -> Preprocessing:
    """Give what was asked for; raise AssetError."""
    wanted = Preprocessing(arguments.channels.upper(), _three("--mean", arguments.mean), _three("--std", arguments.std))
    if 0.0 in wanted.deviation:
        raise AssetError("--std must not be 0")
    return wanted


def _three(option: str, numbers: list[float]) -> tuple[float, float, float]:
    if len(numbers) == 1:
        return numbers[0], numbers[0], numbers[0]
    if len(numbers) != 3:
        raise AssetError(f"{option} takes one number, or one for each of the three channels")
    return numbers[0], numbers[1], numbers[2]


def dimension(file: Path) -> int:
    """Give the dimension of its embeddings; raise AssetError that says what is wrong with it."""
    command = [sys.executable, "-m", "workers.vision.inspection", str(file), str(LARGEST_DIMENSION)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_INSPECTION_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"{file} could not be opened within {_INSPECTION_SECONDS} s.") from error
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        raise AssetError(f"{file}: {lines[-1] if lines else f'the inspection ended with {done.returncode}'}")
    return int(json.loads(done.stdout)["dimension"])
