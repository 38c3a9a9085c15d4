"""What an access key may do: operations and collections, with wildcards.

A key without scopes may do everything in its account. A scope allows an operation when one of its operation patterns and, for
a call that names a collection, one of its collection patterns match; patterns know `*` and `?` alone, so that a name with a
bracket means itself.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: What a scope names to allow all of /v1/webhooks, which is no operation of AWS.
MANAGE_WEBHOOKS = "ManageWebhooks"

#: The same for /v1/schedules.
MANAGE_SCHEDULES = "ManageSchedules"

#: What a scope names to allow saying how a collection is searched.
SEARCH_MODE = "SetSearchMode"
#: The same for reading the audit log.
READ_AUDIT_LOG = "ReadAuditLog"

#: What a scope names to allow moving a collection to another face model version, and deciding on its crops.
REPROCESS = "ReprocessCollection"

#: All permissions that are no operation of AWS.
OWN = frozenset({MANAGE_WEBHOOKS, MANAGE_SCHEDULES, READ_AUDIT_LOG, REPROCESS})


@dataclass(frozen=True, slots=True)
class Scope:
    """One permission: these operations on these collections."""

    operations: tuple[str, ...] = ("*",)
    collections: tuple[str, ...] = ("*",)

    def document(self) -> dict[str, list[str]]:
        """Give the form that is stored and shown."""
        return {"Operations": list(self.operations), "Collections": list(self.collections)}


def read(stored: Iterable[dict[str, Any]] | None) -> tuple[Scope, ...] | None:
    """Read stored scopes; None means that there is no limit."""
    if stored is None:
        return None
    return tuple(Scope(tuple(one["Operations"]), tuple(one["Collections"])) for one in stored)


def allows(scopes: tuple[Scope, ...] | None, operation: str, collection: str | None) -> bool:
    """Tell whether an operation on a collection, or on none, is within the scopes."""
    if scopes is None:
        return True
    return any(
        _any_matches(scope.operations, operation)
        and (collection is None or _any_matches(scope.collections, collection))
        for scope in scopes
    )


def allows_everywhere(scopes: tuple[Scope, ...] | None, operation: str) -> bool:
    """Tell whether an operation on all collections together is within the scopes: one of them must not name collections."""
    return scopes is None or any(
        _any_matches(scope.operations, operation) and "*" in scope.collections for scope in scopes
    )


def _any_matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(_matches(pattern, text) for pattern in patterns)


def _matches(pattern: str, text: str) -> bool:
    regular = "".join({"*": ".*", "?": "."}.get(sign, re.escape(sign)) for sign in pattern)
    return re.fullmatch(regular, text, re.DOTALL) is not None
