"""The AWS model is the schema: check an operation's input, shape its output, by botocore's model of Rekognition.

No member, limit, pattern or enum is written down a second time, so what we accept and answer cannot drift from what
boto3 sends and reads. Nothing here knows which operations have handlers; a new one needs no change in this package.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

from app.errors import UnknownOperation, ValidationError
from app.service_model.constraints import violations
from app.service_model.output import shaped
from app.service_model.reading import read

#: What stands before the operation's name in the header X-Amz-Target.
TARGET_PREFIX = "RekognitionService."

#: The member that our own API adds to every image beside Bytes and S3Object.
IMAGE_URL = {
    "type": "string",
    "min": 1,
    "max": 2048,
    "documentation": "<p>A public https URL that the image is fetched from.</p>",
}
_IMAGE = "<p>An image: its bytes, an S3 object, or a URL; exactly one of them.</p>"


@lru_cache(maxsize=1)
def _description() -> dict[str, Any]:
    # Only botocore's own data: a model in the home directory of whoever starts us must not change the contract.
    loader = Loader(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)
    description: dict[str, Any] = loader.load_service_model("rekognition", "service-2")
    return description


def _with_image_url(description: dict[str, Any]) -> dict[str, Any]:
    shapes = description["shapes"]
    image = shapes["Image"]
    widened = {**image, "documentation": _IMAGE, "members": {**image["members"], "Url": {"shape": "ImageUrl"}}}
    return {**description, "shapes": {**shapes, "Image": widened, "ImageUrl": IMAGE_URL}}


@lru_cache(maxsize=2)
def service_model(*, extensions: bool = False) -> ServiceModel:
    """Give botocore's model of the service; with extensions, as our own API understands it."""
    description = _description()
    return ServiceModel(_with_image_url(description) if extensions else description, "rekognition")


@lru_cache(maxsize=1)
def operation_names() -> frozenset[str]:
    """Name every operation of the model, whether we have a handler for it or not."""
    return frozenset(service_model().operation_names)


def _operation(name: str, *, extensions: bool = False) -> OperationModel:
    if name not in operation_names():
        raise UnknownOperation
    return service_model(extensions=extensions).operation_model(name)


def check_input(operation: str, document: object, *, extensions: bool = False) -> dict[str, Any]:
    """Return the known members of a parsed JSON body, blobs as bytes.

    Raise SerializationError for the first wrong type, then ValidationError for up to ten broken constraints. Bytes are
    taken as they are where the model has a blob, so that an uploaded file needs no base64. Null counts as absent.
    """
    shape = _operation(operation, extensions=extensions).input_shape
    values: dict[str, Any] = read(shape, document)
    broken = violations(shape, values)
    if broken:
        raise ValidationError.from_violations(broken)
    return values


def shape_output(operation: str, output: Mapping[str, Any]) -> dict[str, Any]:
    """Return a handler's output as the JSON that Rekognition sends; raise ValueError if it does not fit the model."""
    document: dict[str, Any] = shaped(_operation(operation).output_shape, output, operation)
    return document
