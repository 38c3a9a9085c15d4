"""Image references: where an image's bytes come from, and how large they may be.

A job stores a reference, never pixels: inline bytes lie in a blob until the job ends, an S3 object and a URL are fetched by
the worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.errors import InvalidParameter

MAX_FETCHED_BYTES = 15_728_640  # Rekognition's limit for an image in S3; the same holds for a URL
MAX_URL_LENGTH = 2048

#: Members of an operation's input that are images.
IMAGE_MEMBERS = ("Image", "SourceImage", "TargetImage")

#: No picture takes longer to fetch: two of them (CompareFaces) and a look at them fit into a run timeout of a minute, and a
#: lease under which one is fetched lasts longer.
LONGEST_FETCH_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class InlineImage:
    """Bytes that came with the request; `blob` names them within the job, `sha256` is their digest in hex."""

    blob: str
    sha256: str


@dataclass(frozen=True, slots=True)
class S3Image:
    """An object in an S3-compatible store."""

    bucket: str
    name: str
    version: str | None


@dataclass(frozen=True, slots=True)
class UrlImage:
    """A file behind an http(s) URL that the caller chose."""

    url: str


ImageReference = InlineImage | S3Image | UrlImage


def check_one_source(image: Mapping[str, Any]) -> None:
    """Raise InvalidParameter unless an image names exactly one source of its bytes."""
    if len([member for member in ("Bytes", "S3Object", "Url") if image.get(member) is not None]) != 1:
        raise InvalidParameter
    if image.get("Url") is not None and len(image["Url"]) > MAX_URL_LENGTH:
        raise InvalidParameter(f"Image.Url must be at most {MAX_URL_LENGTH} characters long.")
    s3_object = image.get("S3Object")
    if s3_object is not None and not (s3_object.get("Bucket") and s3_object.get("Name")):
        raise InvalidParameter


def reference(image: Mapping[str, Any]) -> ImageReference:
    """Read the reference that a job stores under one of the image members (see `services.jobs`)."""
    if "Blob" in image:
        return InlineImage(image["Blob"]["Name"], image["Blob"]["Sha256"])
    if "Url" in image:
        return UrlImage(image["Url"])
    s3_object = image["S3Object"]
    return S3Image(s3_object["Bucket"], s3_object["Name"], s3_object.get("Version"))
