"""Build the web process from Settings: `app.main:create_app()`."""

import contextlib

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import PathConverter

from app import logs
from app.api import (
    audit,
    batches,
    collections,
    docs,
    jobs,
    probes,
    problems,
    rekognition,
    reprocesses,
    schedules,
    webhook_deliveries,
    webhook_endpoints,
)
from app.api.context import Context, install
from app.api.errors import aws_answer, internal, name_request, problem
from app.broker import Doorbell, create_celery
from app.config import Settings
from app.db.notifications import JobListener
from app.db.session import Database
from app.encryption import Cipher
from app.errors import SerializationError, ServiceError
from app.rate_limits import RateLimiter
from app.services.admission import Admission, Limits
from app.services.batch_outcomes import BatchOutcomes
from app.services.outcomes import Outcomes
from app.services.waiting import Waiting

#: So much of a body that is too large is read and dropped, because many clients see an answer only after they sent all.
_MAX_DROPPED_BYTES = 64 * 1024 * 1024


class _Prefix(PathConverter):
    """The path that a proxy puts in front of the AWS wire; what is under /v1 is our own API's."""

    regex = "(?!v1(?:/|$))[^/].*?"


def create_app(settings: Settings | None = None) -> Flask:
    """Make the application; reads the environment where no settings are given."""
    settings = settings or Settings.from_environment()
    settings.require("database_url", "redis_url", "secret_key")
    logs.configure(settings.log_level)
    settings.arm_failpoints()
    database = Database(settings.database_url)
    app = Flask("rekollect", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = problems.MAX_BODY_BYTES
    app.config["MAX_FORM_PARTS"] = 16
    doorbell = Doorbell(create_celery(settings.redis_url))
    shared = Context(
        settings=settings,
        database=database,
        doorbell=doorbell,
        admission=Admission(database, Limits(settings.max_queued_jobs, settings.shed_after_seconds)),
        outcomes=Outcomes(database, doorbell, keep=settings.job_retention),
        batch_outcomes=BatchOutcomes(database, doorbell, keep=settings.job_retention),
        waiting=Waiting(database, JobListener(settings.database_url), max_waiters=settings.seats),
        cipher=Cipher(settings.secret_key),
        rate_limiter=RateLimiter(settings.redis_url),
    )
    install(app.extensions, shared)
    app.url_map.converters["prefix"] = _Prefix
    for module in (
        probes,
        docs,
        jobs,
        batches,
        collections,
        reprocesses,
        schedules,
        webhook_endpoints,
        webhook_deliveries,
        audit,
        rekognition,
    ):
        app.register_blueprint(module.blueprint)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(name_request)
    return app


def _http_error(error: HTTPException) -> Response:
    """Answer what no handler saw: an unknown path or method, or a body that is too large or broke off."""
    status = error.code or 500
    if status == 413:
        _drop_body()
        if request.blueprint == rekognition.blueprint.name:
            return Response(status=413)  # as AWS's front end: no body
    if status == 400 and request.blueprint == rekognition.blueprint.name:
        return aws_answer(SerializationError())  # a body that broke off
    refused = ServiceError(error.description if status != 400 else problems.NOT_WELL_FORMED)
    refused.code = error.name.replace(" ", "")
    answer = problem(refused, status)
    if isinstance(error, MethodNotAllowed):
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
    return answer


def _drop_body() -> None:
    stream, left = request.environ["wsgi.input"], _MAX_DROPPED_BYTES
    with contextlib.suppress(OSError):  # it broke off
        while left > 0 and (piece := stream.read(65536)):
            left -= len(piece)


def _unexpected(error: Exception) -> Response:
    """Answer what should not happen; this is the edge of the process, and a caller never sees a traceback."""
    answer = aws_answer if request.blueprint == rekognition.blueprint.name else problem
    return answer(internal(error))
