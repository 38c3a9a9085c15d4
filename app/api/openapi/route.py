"""One route as the tables tell it, and how it is written in OpenAPI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.api.openapi import problems
from app.api.openapi.parameters import PARAMETERS, REQUEST_ID
from app.errors import ServiceError, ValidationError
from app.service_model.json_schema import Schema

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a call succeeds; headers are named as in the table of headers, and every answer has a request id."""

    text: str
    schema: Schema | None = None
    headers: tuple[str, ...] = ()
    content_type: str = JSON

    def document(self) -> dict[str, Any]:
        """Write it as a response of OpenAPI."""
        names = (REQUEST_ID, *self.headers)
        headers = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
        written: dict[str, Any] = {"description": self.text, "headers": headers}
        if self.schema is not None:
            written["content"] = {self.content_type: {"schema": self.schema}}
        return written


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path of our API; errors are those beside what every call may meet."""

    call: str  # method and path
    name: str
    tag: str
    text: str
    answers: Mapping[int, Answer]
    details: str = ""
    parameters: tuple[str, ...] = ()
    body: Mapping[str, Schema] = field(default_factory=dict)
    errors: tuple[type[ServiceError], ...] = ()
    body_may_lack: bool = False

    @property
    def method(self) -> str:
        """The HTTP method."""
        return self.call.partition(" ")[0]

    @property
    def path(self) -> str:
        """The path with its parameters in braces."""
        return self.call.partition(" ")[2]

    def document(self) -> dict[str, Any]:
        """Write it as an operation of OpenAPI."""
        written: dict[str, Any] = {"operationId": self.name, "tags": [self.tag], "summary": self.text}
        if self.details:
            written["description"] = self.details
        if self.parameters:
            written["parameters"] = [{"$ref": f"#/components/parameters/{name}"} for name in self.parameters]
        if self.body:
            content = {kind: {"schema": schema} for kind, schema in self.body.items()}
            written["requestBody"] = {"required": not self.body_may_lack, "content": content}
        answers = {str(status): answer.document() for status, answer in self.answers.items()}
        written["responses"] = answers | problems.responses(self.problems())
        return written

    def problems(self) -> set[str]:
        """Name every code that this route may answer with."""
        kinds: set[type[ServiceError]] = {*problems.ANYWHERE, *self.errors}
        of_http = {problems.MALFORMED}
        if self.method != "GET":  # a body is read also where none is wanted: a signature covers it
            of_http.add(problems.TOO_LARGE)
        if self.body:
            kinds |= {*problems.WITH_BODY}
        places = {PARAMETERS[name]["in"] for name in self.parameters}
        if places & {"query", "header"}:
            kinds.add(ValidationError)
        if "path" in places:
            of_http.add(problems.NO_PATH)
        return {kind.code for kind in kinds} | of_http
