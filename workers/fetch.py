"""From an image reference to the image's bytes: a blob of the job, an S3 object, or a URL.

Whatever goes wrong is told in Rekognition's words; the true cause goes to the log. An S3 failure has one text for all
causes, so that a caller cannot ask which keys exist where the server may not read. What it may read, every account may: the
S3 client has one key, and a batch or a schedule lists any bucket that this key can list.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from app.config import Settings
from app.domain.addresses import Refused
from app.domain.images import (
    LONGEST_FETCH_SECONDS,
    MAX_FETCHED_BYTES,
    ImageReference,
    InlineImage,
    S3Image,
    UrlImage,
)
from app.errors import (
    ImageTooLarge,
    ImageUrlAway,
    InvalidImageUrl,
    InvalidS3Object,
    S3Away,
    ServiceError,
    SourceAway,
)
from workers.outbound import Dialer, Unreachable

URL_DEADLINE_SECONDS = 15.0

_CONNECT_SECONDS, _READ_SECONDS = 3.0, 6.0

#: Over all of a fetch: two tries to open the object, and its body. It is looked at between two pieces, so the last one may run
#: over it by the client's own timeout; pieces are small, so that one that trickles in does not take much longer.
S3_DEADLINE_SECONDS = LONGEST_FETCH_SECONDS - _READ_SECONDS
_PIECE_BYTES = 64 * 1024

log = logging.getLogger(__name__)


class S3Client(Protocol):
    """What is used of boto3's S3 client; threads may share one."""

    def get_object(self, **request: Any) -> dict[str, Any]:
        """Open an object."""

    def list_objects_v2(self, **request: Any) -> dict[str, Any]:
        """List some keys."""


class Fetcher:
    """Reads images for all jobs of a worker. Threads may share one."""

    def __init__(self, dialer: Dialer, s3_client: S3Client) -> None:
        self._dialer = dialer
        self._s3_client = s3_client

    def fetch(self, reference: ImageReference, *, read_blob: Callable[[str], bytes]) -> bytes:
        """Give the bytes; raise InvalidS3Object, InvalidImageUrl or ImageTooLarge, as a SourceAway where that may pass."""
        match reference:
            case InlineImage(blob=name):
                return read_blob(name)
            case S3Image():
                return self._from_s3(reference)
            case UrlImage(url=url):
                return self._from_url(url)

    def _from_s3(self, reference: S3Image) -> bytes:
        version = {} if reference.version is None else {"VersionId": reference.version}
        deadline = time.monotonic() + S3_DEADLINE_SECONDS
        try:
            answer = self._s3_client.get_object(Bucket=reference.bucket, Key=reference.name, **version)
            content = _read(answer["Body"], deadline)
        except (ClientError, BotoCoreError, UnicodeError, TimeoutError) as error:
            # UnicodeError: JSON can spell a key that UTF-8 cannot.
            log.warning(
                "s3_fetch_failed", extra={"bucket": reference.bucket, "key": reference.name, "cause": _cause(error)}
            )
            raise (S3Away if _passes(error) else InvalidS3Object) from error
        if len(content) > MAX_FETCHED_BYTES:
            raise ImageTooLarge
        return content

    def _from_url(self, url: str) -> bytes:
        try:
            answer = self._dialer.get(url, limit_bytes=MAX_FETCHED_BYTES, deadline_seconds=URL_DEADLINE_SECONDS)
        except (Refused, Unreachable) as error:
            # Not the URL: it may be signed.
            log.warning("url_fetch_failed", extra={"cause": _cause(error.__cause__ or error)})
            # A name that is not known reads like one that is forbidden: the difference would tell which exist inside.
            kind = ImageUrlAway if isinstance(error, Unreachable) and error.kind != "dns" else InvalidImageUrl
            raise kind(f"Unable to get the image: {error}.") from error
        if answer.status != 200:
            kind = ImageUrlAway if _is_passing(answer.status) else InvalidImageUrl
            raise kind(f"Unable to get the image: the server answered {answer.status}.")
        if answer.truncated:
            raise ImageTooLarge
        return answer.body


def may_come_back(error: ServiceError) -> bool:
    """Tell whether a fetch that failed may succeed later, also where whoever asked for the picture is not told so."""
    return isinstance(error, SourceAway) or isinstance(error.__cause__, Unreachable)


def _passes(error: Exception) -> bool:
    if isinstance(error, ClientError):
        return _is_passing(int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)))
    # A name that cannot be is refused before anybody is asked.
    return isinstance(error, (BotoCoreError, TimeoutError)) and not isinstance(error, ParamValidationError)


def _is_passing(status: int) -> bool:
    return status in (0, 408, 429) or status >= 500


def _read(body: Any, deadline: float) -> bytes:
    """Read an S3 body up to one byte above the limit; the client's own timeout counts for each read alone."""
    content = bytearray()
    with body:
        while len(content) <= MAX_FETCHED_BYTES and (piece := body.read(_PIECE_BYTES)):
            content += piece
            if time.monotonic() > deadline:
                raise TimeoutError
    return bytes(content)


def make_s3_client(settings: Settings) -> S3Client:
    """Make the client for S3Object images; without a key of its own it looks along boto3's usual chain."""
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"total_max_attempts": 2, "mode": "standard"},
        # A bucket's own host name exists at AWS only.
        s3={"addressing_style": "path" if settings.s3_endpoint_url else "auto"},
        # Other makers' servers do not know AWS's newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=settings.s3_endpoint_url or None,
        region_name=settings.s3_region,
        aws_access_key_id=settings.s3_access_key_id or None,
        aws_secret_access_key=settings.s3_secret_access_key or None,
        config=config,
    )
    return client


def _cause(error: BaseException) -> str:
    """Name an error for the log; an S3 error's code, but no text, which may hold what was signed."""
    code = error.response.get("Error", {}).get("Code", "") if isinstance(error, ClientError) else ""
    return f"{type(error).__name__} {code}".strip()
