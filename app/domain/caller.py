"""Who is calling: the account that everything is scoped to, and the names that AWS would give its resources."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller."""

    account_id: int
    region: str

    @property
    def account_number(self) -> str:
        """Twelve digits, as AWS accounts have."""
        return f"{self.account_id:012d}"

    def collection_arn(self, name: str) -> str:
        """Name a collection as an ARN."""
        return f"arn:aws:rekognition:{self.region}:{self.account_number}:collection/{name}"
