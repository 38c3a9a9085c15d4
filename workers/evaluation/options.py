"""What an evaluation is asked for, as `rekollect evaluate` hands it over: one JSON object, this process's only argument."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.domain.face_models import Preprocessing


@dataclass(frozen=True, slots=True)
class Options:
    """Where the pictures are, which model looks at them, and what is told of it."""

    place: Path
    all_pairs: bool
    gallery: list[int]  # sizes
    fit: bool
    model: str | None  # a version, or an ONNX file
    dimension: int | None  # of that file's embeddings
    preprocessing: Preprocessing  # and what it wants of crops
    peers: list[str]
    report: Path | None
    json: bool
    threads: int

    @classmethod
    def read(cls, text: str) -> "Options":
        """Read what the command wrote."""
        values: dict[str, Any] = json.loads(text)
        report, crops = values["report"], values["preprocessing"]
        values["place"] = Path(values["place"])
        values["report"] = None if report is None else Path(report)
        values["preprocessing"] = Preprocessing(crops["channels"], tuple(crops["mean"]), tuple(crops["deviation"]))
        return cls(**values)
