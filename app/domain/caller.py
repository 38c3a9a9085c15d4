"""Who is calling: the account that everything is scoped to, and the names that AWS would give its resources."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from app.domain.audit import Actor, ActorKind
from app.domain.scopes import Scope, allows, allows_everywhere
from app.errors import AccessDenied

# CreateCollection answers an ARN without its prefix, and callers hand on what they got.
_COLLECTION_ARN = re.compile(
    r"(?:arn:)?aws:rekognition:[a-z0-9-]+:(?P<account>\d{12}):collection/(?P<name>[a-zA-Z0-9_.\-]+)"
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    account_id: int
    region: str
    access_key_id: str
    scopes: tuple[Scope, ...] | None = None  # none: everything in the account
    source_address: str | None = None
    request_id: str | None = None

    @property
    def account_number(self) -> str:
        """Twelve digits, as AWS accounts have."""
        return f"{self.account_id:012d}"

    def collection_arn(self, name: str) -> str:
        """Name a collection as an ARN."""
        return f"arn:aws:rekognition:{self.region}:{self.account_number}:collection/{name}"

    def collection_of_arn(self, arn: str) -> str | None:
        """Give the name of the collection that an ARN of this account means, or None."""
        match = _COLLECTION_ARN.fullmatch(arn)
        return match["name"] if match is not None and match["account"] == self.account_number else None

    def collection_in(self, input_: Mapping[str, Any]) -> str | None:
        """Give the name of the collection that an operation's input means, by name or by ARN, or None."""
        if "ResourceArn" in input_:
            return self.collection_of_arn(input_["ResourceArn"])
        return input_.get("CollectionId")

    @property
    def actor(self) -> Actor:
        """Who this is in the audit log."""
        return Actor(ActorKind.KEY, self.access_key_id, self.source_address, self.request_id)

    def check_allowed(self, operation: str, collection: str | None) -> None:
        """Raise AccessDenied unless the key's scopes hold the operation on the collection."""
        if not allows(self.scopes, operation, collection):
            self._deny(operation, "*" if collection is None else self.collection_arn(collection))

    def check_allowed_everywhere(self, operation: str) -> None:
        """Raise AccessDenied unless the key's scopes hold the operation on whatever collection."""
        if not allows_everywhere(self.scopes, operation):
            self._deny(operation, "*")

    def _deny(self, operation: str, resource_arn: str) -> NoReturn:
        raise AccessDenied(f"arn:aws:iam::{self.account_number}:user/{self.access_key_id}", operation, resource_arn)
