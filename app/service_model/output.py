"""From a handler's values to the JSON that Rekognition sends.

What does not fit the model raises ValueError: it is our mistake, and boto3 would drop it without a word. Shaping what
is already shaped changes nothing, so a stored result may pass through here again.
"""

import base64
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from botocore.model import Shape


def shaped(shape: Shape, value: Any, path: str) -> Any:
    """Return a value as JSON of the shape; the path only names the place in an error."""
    return _SHAPERS[shape.type_name](shape, value, path)


def _structure(shape: Shape, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _misfit(shape, value, path)
    unknown = value.keys() - shape.members.keys()
    if unknown:
        raise ValueError(f"{path} has no member {', '.join(sorted(map(str, unknown)))} in the service model")
    # AWS leaves absent members out; a null would reach readers in languages other than Python.
    return {
        name: shaped(shape.members[name], item, f"{path}.{name}") for name, item in value.items() if item is not None
    }


def _list(shape: Shape, value: Any, path: str) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise _misfit(shape, value, path)
    return [shaped(shape.member, item, f"{path}.{position}") for position, item in enumerate(value, start=1)]


def _map(shape: Shape, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _misfit(shape, value, path)
    return {shaped(shape.key, key, path): shaped(shape.value, item, f"{path}.{key}") for key, item in value.items()}


def _string(shape: Shape, value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise _misfit(shape, value, path)
    return str(value)


def _boolean(shape: Shape, value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise _misfit(shape, value, path)
    return value


def _integer(shape: Shape, value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit(shape, value, path)
    return value


def _float(shape: Shape, value: Any, path: str) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise _misfit(shape, value, path)
    return float32(value) if shape.type_name == "float" else float(value)


def float32(value: float) -> float:
    """Round to single precision and widen again: AWS sends 99.993408203125, not 99.9934."""
    widened: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return widened


def _timestamp(shape: Shape, value: Any, path: str) -> float:
    """Give epoch seconds with milliseconds; other SDKs than boto3 read nothing else."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        return round(value.timestamp(), 3)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _misfit(shape, value, path)


def _blob(shape: Shape, value: Any, path: str) -> str:
    if not isinstance(value, bytes):
        raise _misfit(shape, value, path)
    return base64.b64encode(value).decode()


_SHAPERS: dict[str, Callable[[Shape, Any, str], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "timestamp": _timestamp,
    "blob": _blob,
}


def _misfit(shape: Shape, value: object, path: str) -> ValueError:
    return ValueError(f"{path} must be a {shape.type_name} by the service model, not {type(value).__name__}")
