"""Build the web process from Settings: `app.main:create_app()`."""

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from app import logs
from app.api import jobs, probes, rekognition
from app.api.context import Context, install
from app.api.errors import problem
from app.broker import Doorbell, create_celery
from app.config import Settings
from app.db.notifications import JobListener
from app.db.session import Database
from app.encryption import Cipher
from app.errors import ServiceError
from app.services.waiting import Waiting

#: Two images of 5 MB in base64 (CompareFaces) and the JSON around them.
_MAX_BODY_BYTES = 16 * 1024 * 1024


def create_app(settings: Settings | None = None) -> Flask:
    """Make the application; reads the environment where no settings are given."""
    settings = settings or Settings.from_environment()
    settings.require("database_url", "redis_url", "secret_key")
    logs.configure(settings.log_level)
    database = Database(settings.database_url)
    app = Flask("rekollect", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = _MAX_BODY_BYTES
    app.config["MAX_FORM_PARTS"] = 16
    shared = Context(
        settings=settings,
        database=database,
        doorbell=Doorbell(create_celery(settings.redis_url)),
        waiting=Waiting(database, JobListener(settings.database_url), max_waiters=settings.max_waiters),
        cipher=Cipher(settings.secret_key),
    )
    install(app.extensions, shared)
    for module in (probes, jobs, rekognition):
        app.register_blueprint(module.blueprint)
    app.register_error_handler(HTTPException, _http_error)
    return app


def _http_error(error: HTTPException) -> Response:
    """Answer what no handler saw: an unknown path or method, or a body that is too large."""
    status = error.code or 500
    if status == 413 and not request.path.startswith("/v1"):
        return Response(status=413)  # as AWS's front end: no body
    refused = ServiceError(error.description)
    refused.code = error.name.replace(" ", "")
    return problem(refused, status)
