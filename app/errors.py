"""What can go wrong, in Rekognition's words.

Every failure a caller can see is one of these classes; nothing here knows HTTP. The class name is the AWS code, `message` is
what AWS says. `app/api/errors.py` alone turns them into answers. Texts follow Rekognition's developer guide and captures of
its real answers, because client code compares some of them word for word.
"""


class ServiceError(Exception):
    """A failure with an AWS code, a message for the caller, and whether trying again can help."""

    code = "InternalServerError"
    default_message = "Internal server error"
    retryable = False
    retry_after_milliseconds: int | None = None
    unavailable = False  # temporarily unable, as opposed to refused for calling too often

    def __init__(self, message: str | None = None) -> None:
        self.message = self.default_message if message is None else message
        super().__init__(self.message)


class InternalServerError(ServiceError):
    """Our fault; details stay in the log."""

    code = ServiceError.code
    retryable = True


class GivenUp(InternalServerError):
    """Workers died or hung of it, again and again; whoever asks once more, under the same key, is told the same."""

    default_message = "The request was given up: three workers died or hung while they were at it."
    retryable = False


class FaceModelChanged(InternalServerError):
    """The collection began to move to another face model version while a picture was looked at; the next look has both."""


class ServiceUnavailable(ServiceError):
    """Temporarily unable: no worker answered in time, or Postgres is away. SDKs retry this code."""

    code = "ThrottlingException"
    default_message = "Service Unavailable"
    retryable = True
    unavailable = True


class Throttled(ServiceError):
    """The key called too often within a moment."""

    code = "ThrottlingException"
    default_message = "Slow down; sudden increase in rate of requests."
    retryable = True


class ProvisionedThroughputExceeded(ServiceError):
    """The key calls too often all the time, or the account has as many jobs as it may have at once."""

    code = "ProvisionedThroughputExceededException"
    default_message = "Provisioned Rate exceeded."
    retryable = True


class AccessDenied(ServiceError):
    """The key is good, but it may not do this."""

    code = "AccessDeniedException"

    def __init__(self, user_arn: str, operation: str, resource_arn: str) -> None:
        super().__init__(
            f"User: {user_arn} is not authorized to perform: rekognition:{operation} on resource: {resource_arn}"
        )
        self.operation, self.resource_arn = operation, resource_arn


class FrontEndError(ServiceError):
    """Refused before the operation was looked at: authentication, JSON, the service model's constraints."""


class SerializationError(FrontEndError):
    """The body is no JSON, or a member has another type than it should."""

    code = "SerializationException"
    default_message = "Start of structure or map found where not expected."


class UnknownOperation(FrontEndError):
    """There is no such operation here."""

    code = "UnknownOperationException"
    default_message = "Unknown operation"


class ValidationError(FrontEndError):
    """A member is missing, unknown, or out of its limits."""

    code = "ValidationException"

    @classmethod
    def from_violations(cls, violations: list[str]) -> "ValidationError":
        """Join at most ten violations as AWS's front end does; it stops there, so it never counts an eleventh."""
        shown = violations[:10]
        noun = "error" if len(shown) == 1 else "errors"
        return cls(f"{len(shown)} validation {noun} detected: " + "; ".join(shown))


class InvalidSignature(FrontEndError):
    """The request is not signed as its secret and its bytes demand, or the clocks are too far apart."""

    code = "InvalidSignatureException"
    default_message = (
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access "
        "Key and signing method. Consult the service documentation for details."
    )


class UnrecognizedClient(FrontEndError):
    """Nobody knows this access key, API key or session token, or it was revoked or disabled."""

    code = "UnrecognizedClientException"
    default_message = "The security token included in the request is invalid."


class ExpiredToken(FrontEndError):
    """The key was made for a time that is over."""

    code = "ExpiredTokenException"
    default_message = "The security token included in the request is expired"


class MissingAuthenticationToken(FrontEndError):
    """The request names no key: it needs a bearer token or a signature."""

    code = "MissingAuthenticationTokenException"
    default_message = "Missing Authentication Token"


class IncompleteSignature(FrontEndError):
    """The header Authorization lacks a part of a signature, or a part of it makes no sense."""

    code = "IncompleteSignatureException"


class InvalidParameter(ServiceError):
    """A member is well-formed and still cannot be: an image with two sources, or an address that may not be dialled."""

    code = "InvalidParameterException"
    default_message = "Request has invalid parameters"


class InvalidImageFormat(ServiceError):
    """The picture is no JPEG or PNG, or it cannot be decoded."""

    code = "InvalidImageFormatException"
    default_message = "Request has invalid image format"


class ImageTooLarge(ServiceError):
    """The picture has too many bytes or pixels."""

    code = "ImageTooLargeException"
    default_message = "Image size is too large."


class InvalidS3Object(ServiceError):
    """The object in S3 is missing or forbidden: one text for every cause, as at AWS."""

    code = "InvalidS3ObjectException"
    default_message = "Unable to get object metadata from S3. Check object key, region and/or access permissions."


class InvalidImageUrl(InvalidParameter):
    """An image URL that may not be dialled, does not answer, or answers with something else than an image."""


class SourceAway(ServiceError):
    """Where the picture comes from does not answer, or says that it cannot at present; a later try may succeed."""

    retryable = True


class S3Away(SourceAway, InvalidS3Object):
    """The store does not answer; told in the one text, like every cause."""


class ImageUrlAway(SourceAway, InvalidImageUrl):
    """The server behind an image URL does not answer, or says that it cannot at present."""


class ResourceNotFound(ServiceError):
    """The account has no such collection, user, job, webhook endpoint, delivery or schedule."""

    code = "ResourceNotFoundException"


class CollectionNotFound(ResourceNotFound):
    def __init__(self, collection_id: str) -> None:
        super().__init__(f"The collection id: {collection_id} does not exist")


class UserNotFound(ResourceNotFound):
    def __init__(self, user_id: str) -> None:
        super().__init__(f"The user id: {user_id} does not exist")


class EndpointNotFound(ResourceNotFound):
    def __init__(self, endpoint_id: str) -> None:
        super().__init__(f"The webhook endpoint id: {endpoint_id} does not exist")


class DeliveryNotFound(ResourceNotFound):
    def __init__(self, delivery_id: str) -> None:
        super().__init__(f"The webhook delivery id: {delivery_id} does not exist")


class ReprocessNotFound(ResourceNotFound):
    def __init__(self, collection_id: str) -> None:
        super().__init__(f"The collection id: {collection_id} was never reprocessed")


class JobNotFound(ResourceNotFound):
    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job id: {job_id} does not exist")


class BatchNotFound(ResourceNotFound):
    def __init__(self, batch_id: str) -> None:
        super().__init__(f"The batch id: {batch_id} does not exist")


class ScheduleNotFound(ResourceNotFound):
    def __init__(self, schedule_id: str) -> None:
        super().__init__(f"The schedule id: {schedule_id} does not exist")


class JobGone(ServiceError):
    """The job ended so long ago that it and its result were deleted."""

    code = "GoneException"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"The job id: {job_id} is past its retention and was deleted")


class CollectionAlreadyExists(ServiceError):
    """The account has a collection of this name."""

    code = "ResourceAlreadyExistsException"

    def __init__(self, collection_id: str) -> None:
        super().__init__(f"The collection id: {collection_id} already exists")


class Conflict(ServiceError):
    """What is asked for does not fit the state of things: the user exists, the job succeeded, the endpoint is disabled."""

    code = "ConflictException"


class ServiceQuotaExceeded(ServiceError):
    """The account has as many of these as it may have."""

    code = "ServiceQuotaExceededException"


class InvalidPaginationToken(ServiceError):
    """The token is none that a page of this list gave out."""

    code = "InvalidPaginationTokenException"
    default_message = "Invalid Pagination Token"


class IdempotentParameterMismatch(ServiceError):
    """The idempotency key was used before, with another request."""

    code = "IdempotentParameterMismatchException"

    def __init__(self, token: str) -> None:
        super().__init__(f"The ClientRequestToken: {token} you have supplied is already in use.")
