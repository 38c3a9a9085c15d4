"""What is read of an S3-compatible store besides pictures: keys and objects under a prefix, and a manifest piece by piece.

As for pictures, a failure that will not pass has one text for all causes, and the true cause goes to the log.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from app.domain.resync import Listed
from app.errors import InvalidS3Object
from workers.fetch import S3Client

log = logging.getLogger(__name__)

#: Refusals that another try does not change.
_FINAL_STATUSES = range(400, 500)
_THROTTLED = 429


class StoreUnavailable(Exception):
    """The store does not answer, or says that it cannot at present."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some bytes of an object, how long all of it is, and which version of its content this is."""

    content: bytes
    total: int
    etag: str


class Store:
    """Reads of a store what its owner gave us to read. Threads may share one."""

    def __init__(self, s3_client: S3Client) -> None:
        self._s3_client = s3_client

    def list_keys(self, bucket: str, prefix: str, *, after: str, limit: int) -> tuple[list[str], bool]:
        """List the next keys under a prefix in the store's order, after one, and whether these are the last."""
        request = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": limit} | ({"StartAfter": after} if after else {})
        answer = _ask(lambda: self._s3_client.list_objects_v2(**request), bucket)
        return [one["Key"] for one in answer.get("Contents", ())], not answer.get("IsTruncated", False)

    def list_objects(
        self, bucket: str, prefix: str, *, token: str | None, limit: int
    ) -> tuple[list[Listed], str | None]:
        """List the objects of the page that a token means, or of the first, and give the token of the next, if there is one."""
        request = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": limit}
        more = {} if token is None else {"ContinuationToken": token}
        answer = _ask(lambda: self._s3_client.list_objects_v2(**request, **more), bucket)
        found = [Listed(one["Key"], one["ETag"], one["LastModified"]) for one in answer.get("Contents", ())]
        return found, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None

    def read_piece(self, bucket: str, name: str, version: str | None, *, offset: int, size: int) -> Piece:
        """Read some bytes of an object from an offset on; fewer at its end, none of an empty one."""
        request = {"Bucket": bucket, "Key": name} | ({} if version is None else {"VersionId": version})
        answer = _ask(lambda: self._open(request, offset, size), bucket)
        total = answer["ContentLength"]
        if "ContentRange" in answer:
            total = int(answer["ContentRange"].rpartition("/")[2])
        with answer["Body"] as body:
            content = _ask(lambda: body.read(size), bucket)
        return Piece(content, total, answer.get("ETag", ""))

    def _open(self, request: dict[str, Any], offset: int, size: int) -> dict[str, Any]:
        try:
            return self._s3_client.get_object(**request, Range=f"bytes={offset}-{offset + size - 1}")
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 416 and offset == 0:
                return self._s3_client.get_object(**request)  # an empty object has no range
            raise


def _ask(call: Callable[[], Any], bucket: str) -> Any:
    try:
        return call()
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
        log.warning("s3_refused", extra={"bucket": bucket, "cause": error.response.get("Error", {}).get("Code", "")})
        if status in _FINAL_STATUSES and status != _THROTTLED:
            raise InvalidS3Object from error
        raise StoreUnavailable from error
    except ParamValidationError as error:  # of what was asked for: it was not even sent
        log.warning("s3_refused", extra={"bucket": bucket, "cause": type(error).__name__})
        raise InvalidS3Object from error
    except (BotoCoreError, OSError) as error:
        log.warning("s3_unavailable", extra={"bucket": bucket, "cause": type(error).__name__})
        raise StoreUnavailable from error
