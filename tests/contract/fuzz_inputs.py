"""Inputs for the fuzz tests, made from the service model's own shapes: valid ones, nearly valid ones, and junk."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from botocore.model import Shape
from hypothesis import strategies as st

from app.service_model import service_model
from app.services import operations

#: What exists, by the name of its shape; a document that names real things reaches deeper than one that does not.
Known = Mapping[str, list[str]]
Documents = st.SearchStrategy[Any]

QUICK, IMAGE = sorted(operations.QUICK), sorted(operations.IMAGE)

_AWKWARD_TEXTS = [
    "", " ", "\0", "a\0b", "\ud800", "\udfff\ud800", "é", "ａ", "\u202e", "\ufeff", "🙂" * 40, "a" * 256, "a" * 5000,
    "%00", "../x", "' OR 1=1 --", "%s%n", "{}", "null", "NaN", "\n", "\x7f", "aws:tag",
    "arn:aws:rekognition:us-east-1:0:collection/", "a/b",
]  # fmt: skip
_AWKWARD_NUMBERS = [0, -1, 1, 2**31 - 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 3.5e38, 5e-324, -0.0, 100.00001,
                    float("nan"), float("inf"), float("-inf")]  # fmt: skip
_AWKWARD_BASE64 = [
    "=",
    "====",
    "AB==",
    "A===",
    "QUJ",
    "QUJD\n",
    "QUJD ",
    "-_-_",
    "QUJDé",
    "QR==",
    "data:,x",
    "/9j/",
    "A" * 99,
]
_PICTURES = [
    b"\x89PNG\r\n\x1a\n" + bytes(40),
    b"\xff\xd8\xff\xe0" + bytes(60),
    b"GIF89a" + bytes(20),
    b"RIFF0000WEBP",
    b"x",
]

#: Bodies that are no JSON, or JSON of a kind that readers trip over.
ODD_BODIES = [
    b"", b" ", b"{", b"}", b"null", b"0", b'"x"', b"[]", b"[[[[", b"[" * 5000, b'{"a":' * 5000, b"\xef\xbb\xbf{}",
    b"\xff\xfe{\0}\0", b"{}{}", b"{} x", b"{'a': 1}", b'{"a": 1,}', b'{"MaxResults": ' + b"9" * 5000 + b"}",
    b'{"MaxResults": 1e999999}', b"\xff", b'{"CollectionId": "a", "CollectionId": 5}',
    b'{"CollectionId": "\xed\xa0\x80"}', b'{"CollectionId": "\\ud800"}', b"\0\0", b'{"MaxResults": -0}',
    b'{"MaxResults": 1.0}', b'{"MaxResults": 01}', b'{"\\u0000": 1}', b'{"CollectionId": "\t"}',
    json.dumps({"CollectionId": "a" * 70_000}).encode(), json.dumps({str(n): n for n in range(3000)}).encode(),
]  # fmt: skip

texts = st.one_of(st.sampled_from(_AWKWARD_TEXTS), st.text(max_size=20), st.text(st.characters(), max_size=8))
numbers = st.one_of(st.sampled_from(_AWKWARD_NUMBERS), st.integers(), st.floats())
junk: Documents = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)


def mix(*choices: Documents) -> Documents:
    """Choose among strategies; unlike one_of, which counts no choice twice and takes apart nested ones."""
    return st.sampled_from(choices).flatmap(lambda chosen: chosen)


class Inputs:
    """Makes documents for operations; those that delete are given things that may go."""

    def __init__(self, known: Known, expendable: Known | None = None, *, extensions: bool = False) -> None:
        self._known = known
        self._deleting = None if expendable is None else Inputs(expendable, extensions=extensions)
        self._model = service_model(extensions=extensions)
        self._made: dict[tuple[str, bool], Documents] = {}

    def of(self, operation: str) -> Documents:
        """Make inputs of an operation: half are valid, most of the others wrong in one place."""
        if self._deleting and operation.startswith("Delete"):
            return self._deleting.of(operation)
        shape = self._model.operation_model(operation).input_shape
        good, wrong = self._value(shape, False), self._value(shape, True)
        return mix(good, good, good, wrong, wrong, junk)

    def _value(self, shape: Shape, wrong: bool) -> Documents:
        if (shape.name, wrong) not in self._made:
            if not wrong:
                made = getattr(self, "_" + shape.type_name)(shape)
            elif shape.type_name == "structure":
                made = self._spoiled(shape)
            elif shape.type_name == "list":
                made = mix(edges(shape), junk, st.lists(self._value(shape.member, True), max_size=4))
            else:
                made = mix(edges(shape), edges(shape), junk)
            self._made[(shape.name, wrong)] = made
        return self._made[(shape.name, wrong)]

    def _structure(self, shape: Shape) -> Documents:
        members = {name: self._value(member, False) for name, member in shape.members.items()}
        if shape.name == "Image":
            return st.one_of(st.fixed_dictionaries({name: member}) for name, member in members.items())
        required = {name: members.pop(name) for name in shape.required_members}
        return st.fixed_dictionaries(required, optional=members)

    def _spoiled(self, shape: Shape) -> Documents:
        good = self._structure(shape)
        spoilt = [
            st.tuples(good, self._value(member, True)).map(lambda pair, name=name: {**pair[0], name: pair[1]})
            for name, member in shape.members.items()
        ]
        incomplete = [
            good.map(lambda document, name=name: {key: value for key, value in document.items() if key != name})
            for name in shape.required_members
        ]
        return st.one_of(
            *spoilt, *incomplete, st.dictionaries(st.sampled_from([*shape.members, "Colour"]), junk, max_size=3)
        )

    def _list(self, shape: Shape) -> Documents:
        return st.lists(self._value(shape.member, False), min_size=shape.metadata.get("min", 0), max_size=4)

    def _map(self, shape: Shape) -> Documents:
        return st.dictionaries(self._value(shape.key, False), self._value(shape.value, False), max_size=3)

    def _string(self, shape: Shape) -> Documents:
        limits = shape.metadata
        if shape.name == "ImageUrl":  # nothing beyond this machine is ever dialled
            return st.sampled_from(
                ["https://127.0.0.1:1/x", "http://10.0.0.1/", "https://[::1]:1/", "ftp://127.0.0.1/", "//"]
            )
        if "enum" in limits:
            return st.sampled_from(limits["enum"])
        if r"\p{" in limits.get("pattern", ""):
            return st.sampled_from(["team", "Größe", "a b", "x:y/z=+-@", "名"])
        known = st.sampled_from(self._known.get(shape.name) or ["unknown"])
        return mix(known, known, known, _fitting(limits))

    def _integer(self, shape: Shape) -> Documents:
        return st.integers(shape.metadata.get("min", -10), shape.metadata.get("max", 2**31 - 1))

    def _float(self, shape: Shape) -> Documents:
        low, high = shape.metadata.get("min", -10), shape.metadata.get("max", 10)
        return st.one_of(st.integers(low, high), st.floats(low, high, width=32))

    def _blob(self, shape: Shape) -> Documents:
        pictures = st.one_of(st.sampled_from(_PICTURES), st.binary(min_size=1, max_size=40))
        return pictures.map(lambda content: base64.b64encode(content).decode())


def _fitting(limits: Mapping[str, Any]) -> st.SearchStrategy[str]:
    """Make texts within limits; of letters that every pattern but that of an UUID allows."""
    least, most = limits.get("min", 0), min(limits.get("max", 64), 64)
    if "{8}-" in limits.get("pattern", ""):
        return st.uuids().map(str)
    letters = "abcXYZ019-_" if "pattern" in limits else None
    return st.text(letters or st.characters(exclude_categories=["Cs"]), min_size=least, max_size=most)


def edges(shape: Shape) -> Documents:
    """Make values just outside a shape's limits, or of a form that only looks right."""
    limits, kind = shape.metadata, shape.type_name
    if kind in ("integer", "float"):
        low, high = limits.get("min", 0), limits.get("max", 2**31)
        return st.one_of(st.sampled_from([low - 1, high + 1, float(high), str(high), low - 0.5, True]), numbers)
    if kind == "string":
        low, high = limits.get("min", 0), limits.get("max", 64)
        return st.one_of(st.sampled_from(["a" * high, "a" * (high + 1), "a" * max(low - 1, 0), "a\n", "\na"]), texts)
    if kind == "blob":
        return st.one_of(st.sampled_from(_AWKWARD_BASE64), texts)
    if kind == "list":
        return st.sampled_from([[], [None], ["a"] * (min(limits.get("max", 10), 4096) + 1), "a", {}, [[]], [{}]])
    return st.sampled_from([{}, [], "", None, {"": ""}, {"a": None}, {str(n): "" for n in range(201)}])


@st.composite
def bodies(draw: st.DrawFn, inputs: Inputs, operation: str) -> bytes:
    """Make a body for an operation: its input as JSON in some encoding, at times cut or mangled, at times no JSON."""
    if draw(st.integers(0, 11)) == 0:
        return draw(st.sampled_from(ODD_BODIES) | st.binary(max_size=60))
    body = encoded(draw(inputs.of(operation)), plain=draw(st.booleans()))
    return draw(mangled(body)) if draw(st.integers(0, 11)) == 0 else body


def encoded(document: object, *, plain: bool) -> bytes:
    """Write JSON with or without escapes; half a pair goes out as the three bytes that UTF-8 does not allow."""
    return json.dumps(document, ensure_ascii=plain).encode("utf-8", "surrogatepass")


@st.composite
def mangled(draw: st.DrawFn, content: bytes) -> bytes:
    """Replace a few short stretches by others."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(changed)))
        changed[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(changed)
