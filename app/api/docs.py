"""What the API says about itself: /openapi.json, the pages under /docs, and the pages that the `type` of a problem points to.

All of it is made on the server from the OpenAPI document, once per process; the pages need neither scripts nor other hosts.
"""

import json
from functools import lru_cache
from typing import Any

from flask import Blueprint, Response, abort, render_template, request

from app.api.errors import PROBLEMS_PATH
from app.api.openapi import pages
from app.api.openapi.document import document
from app.api.problems import catalogue
from app.service_model import TARGET_PREFIX

blueprint = Blueprint("docs", __name__, template_folder="templates")

#: What templates call.
_WORDS = {"rich": pages.rich, "type_of": pages.type_of, "limits_of": pages.limits_of, "members": pages.members}

_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "public, max-age=300",
}


@blueprint.app_context_processor
def _words() -> dict[str, Any]:
    return _WORDS


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """Give the OpenAPI document."""
    return _answer(_document(), "application/json")


@blueprint.get("/docs")
def page() -> Response:
    """Show all of it on one page."""
    return _answer(_page(), "text/html; charset=utf-8")


@blueprint.get("/docs/style.css")
def style() -> Response:
    """Give the pages' one style sheet."""
    return _answer(_style(), "text/css; charset=utf-8")


@blueprint.get(PROBLEMS_PATH)
def problems() -> Response:
    """List all problem types; `type` of a problem names one of the anchors."""
    return _answer(_problems(), "text/html; charset=utf-8")


@blueprint.get(f"{PROBLEMS_PATH}/<code>")
def problem(code: str) -> Response:
    """Explain one problem type."""
    if code not in catalogue():
        abort(404)
    return _answer(_problem(code), "text/html; charset=utf-8")


def _answer(body: str, content_type: str) -> Response:
    answer = Response(body, content_type=content_type, headers=_HEADERS)
    answer.add_etag()
    return answer.make_conditional(request)  # type: ignore[return-value]  # werkzeug names the base class


@lru_cache(maxsize=1)
def _document() -> str:
    return json.dumps(document(), separators=(",", ":"))


@lru_cache(maxsize=1)
def _page() -> str:
    about = document()
    return render_template(
        "docs.html",
        info=about["info"],
        security=about["components"]["securitySchemes"],
        groups=pages.groups(),
        operations=pages.operation_rows(),
        schemas=pages.schemas(),
        target_prefix=TARGET_PREFIX,
    )


@lru_cache(maxsize=1)
def _style() -> str:
    return render_template("style.css")


@lru_cache(maxsize=1)
def _problems() -> str:
    return render_template("problems.html", problems=catalogue().values())


@lru_cache(maxsize=64)
def _problem(code: str) -> str:
    return render_template("problem.html", problem=catalogue()[code], calls=pages.routes_with(code))
