"""The page that the `type` of every problem points to: each code, its status, and what it means."""

import html

from flask import Blueprint, Response

from app import errors
from app.api.errors import PROBLEMS_PATH, problem_status
from app.errors import ServiceError

blueprint = Blueprint("problems", __name__)

NOT_WELL_FORMED = "What came is no well-formed HTTP request, or its body broke off."

#: Errors of HTTP itself: no operation was reached.
_OF_HTTP = {
    "BadRequest": (400, NOT_WELL_FORMED),
    "NotFound": (404, "No such path."),
    "MethodNotAllowed": (405, "The path does not know this method."),
    "RequestEntityTooLarge": (413, "The body is larger than 16 MB."),
}


@blueprint.get(PROBLEMS_PATH)
def page() -> Response:
    """List all problem types."""
    rows = "".join(_row(code, status, text) for code, (status, text) in sorted(_problems().items()))
    table = f"<table><tr><th>code</th><th>status</th><th>meaning</th></tr>{rows}</table>"
    style = "body{font:16px/1.5 sans-serif;margin:2rem auto;max-width:60rem}td,th{text-align:left;padding:.3rem 1rem .3rem 0}"
    head = f"<title>Rekollect: problems</title><style>{style}</style>"
    return Response(f"<!doctype html><html lang=en><meta charset=utf-8>{head}<h1>Problems</h1>{table}</html>")


def _row(code: str, status: int, text: str) -> str:
    return f"<tr id={html.escape(code)}><td>{html.escape(code)}</td><td>{status}</td><td>{html.escape(text)}</td></tr>"


def _problems() -> dict[str, tuple[int, str]]:
    found: dict[str, tuple[int, str]] = dict(_OF_HTTP)
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, ServiceError) and "code" in vars(kind):
            sample = ServiceError(kind.default_message)
            sample.code = kind.code
            text = kind.__doc__ or kind.default_message
            status = problem_status(sample)
            known = found.get(kind.code)
            found[kind.code] = (status, text if known is None else f"{known[1]} {text}")
    return found
