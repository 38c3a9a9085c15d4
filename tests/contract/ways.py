"""The two ways in for an image operation: boto3 at POST /, and a job of /v1. Both must come to the same end."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError

from tests.live import LiveStack


@dataclass(frozen=True)
class Refusal:
    """Why an operation was not done, in Rekognition's words."""

    code: str
    message: str


Way = Callable[[LiveStack, str, dict[str, Any]], dict[str, Any] | Refusal]


def by_boto3(live: LiveStack, operation: str, input_: dict[str, Any]) -> dict[str, Any] | Refusal:
    """Call the operation and wait for its answer."""
    try:
        answer = getattr(_client(live), xform_name(operation))(**input_)
    except ClientError as error:
        refusal = error.response
    else:
        return {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 400
    return Refusal(refusal["Error"]["Code"], refusal["Error"]["Message"])


@lru_cache
def _client(live: LiveStack) -> Any:
    return live.rekognition()  # one for all: making it takes longer than a call


def by_job(
    live: LiveStack, operation: str, input_: dict[str, Any], *, retryable: bool = False
) -> dict[str, Any] | Refusal:
    """Submit a job and poll it; what is wrong at first sight is refused at once."""
    answer = live.submit(operation, input_)
    if answer.status != 202:
        assert 400 <= answer.status < 500
        return Refusal(answer.json["code"], answer.json["detail"])
    job = live.finished(answer.json["JobId"])
    assert ("Result" in job) != ("Error" in job)
    if job["Status"] == "SUCCEEDED":
        return dict(job["Result"])
    assert job["Status"] == "FAILED"
    assert job["Error"]["Retryable"] is retryable
    return Refusal(job["Error"]["Code"], job["Error"]["Message"])


def refused(error: type[Exception], call: Any, **parameters: Any) -> str:
    """Call with boto3 what must be refused with this error, and give the message."""
    with pytest.raises(error) as caught:
        call(**parameters)
    answer = caught.value.response  # type: ignore[attr-defined]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert answer["ResponseMetadata"]["RequestId"]
    return str(answer["Error"]["Message"])


both_ways = pytest.mark.parametrize("way", [by_boto3, by_job], ids=["boto3", "job"])
