"""A page of the objects under a prefix of an S3 bucket, in whatever order the store lists them.

A failure that may pass is told apart from one that will not; the true cause goes to the log, and callers get one text for all.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from app.domain.resync import Listed
from app.errors import InvalidS3Object, ServiceUnavailable
from workers.fetch import S3Client

log = logging.getLogger(__name__)

_FINAL_STATUSES = range(400, 500)
_PASSING_STATUSES = (408, 429)

_TEXT = "Unable to list the objects in S3. Check bucket, region and/or access permissions."


@dataclass(frozen=True, slots=True)
class ListingPage:
    """Some objects, and the token of the next page; none behind the last one."""

    objects: Sequence[Listed]
    next_token: str | None


class Listing:
    """Lists what is in S3. Threads may share one."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def page(self, bucket: str, prefix: str, *, token: str | None, size: int) -> ListingPage:
        """List the page that a token means, or the first; raises InvalidS3Object, or ServiceUnavailable for now."""
        more = {} if token is None else {"ContinuationToken": token}
        try:
            answer = self._client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=size, **more)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = error.response.get("Error", {}).get("Code", "")
            log.warning("s3_listing_failed", extra={"bucket": bucket, "cause": f"{status} {code}".strip()})
            if status in _FINAL_STATUSES and status not in _PASSING_STATUSES:
                raise InvalidS3Object(_TEXT) from error
            raise ServiceUnavailable(_TEXT) from error
        except (BotoCoreError, OSError) as error:
            log.warning("s3_listing_failed", extra={"bucket": bucket, "cause": type(error).__name__})
            raise ServiceUnavailable(_TEXT) from error
        found = [Listed(one["Key"], one["ETag"], one["LastModified"]) for one in answer.get("Contents", ())]
        return ListingPage(found, answer.get("NextContinuationToken") if answer.get("IsTruncated") else None)
