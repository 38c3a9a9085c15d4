"""The catalogue of problem types: each code, the statuses it comes with, what it means, and whether trying again can help.

It is read from the classes in `app/errors.py`; only what HTTP itself refuses before any operation is listed here.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TypeGuard

from app import errors
from app.api.errors import problem_status
from app.errors import ServiceError

#: Two images of 5 MB in base64 (CompareFaces) and the JSON around them.
MAX_BODY_BYTES = 16 * 1024 * 1024

NOT_WELL_FORMED = "What came is no well-formed HTTP request, or its body broke off."


@dataclass(frozen=True, slots=True)
class Problem:
    """One type of problem; `meanings` has a sentence for each cause that shares the code."""

    code: str
    statuses: tuple[int, ...]
    meanings: tuple[str, ...]
    retryable: bool = False


#: Problems of HTTP itself: no operation was reached.
_OF_HTTP = (
    Problem("BadRequest", (400,), (NOT_WELL_FORMED,)),
    Problem("NotFound", (404,), ("No such path.",)),
    Problem("MethodNotAllowed", (405,), ("The path does not know this method.",)),
    Problem("RequestEntityTooLarge", (413,), (f"The body is larger than {MAX_BODY_BYTES // 2**20} MB.",)),
)


@lru_cache(maxsize=1)
def catalogue() -> dict[str, Problem]:
    """Give every problem type by its code, sorted."""
    found = {problem.code: problem for problem in _OF_HTTP}
    for kind in vars(errors).values():
        if _is_type_of_problem(kind):
            found[kind.code] = _joined(found.get(kind.code), kind)
    return dict(sorted(found.items()))


def _is_type_of_problem(kind: object) -> TypeGuard[type[ServiceError]]:
    """Whether it is an error with a code of its own; others tell a cause of one that is there already."""
    own = isinstance(kind, type) and issubclass(kind, ServiceError) and "code" in vars(kind)
    return own and kind is not ServiceError


def _joined(known: Problem | None, kind: type[ServiceError]) -> Problem:
    sample = ServiceError(kind.default_message)
    sample.code, sample.unavailable = kind.code, kind.unavailable
    status, meaning = problem_status(sample), " ".join((kind.__doc__ or kind.default_message).split())
    if known is None:
        return Problem(kind.code, (status,), (meaning,), kind.retryable)
    statuses = tuple(sorted({*known.statuses, status}))
    return Problem(kind.code, statuses, (*known.meanings, meaning), known.retryable or kind.retryable)
