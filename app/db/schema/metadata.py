"""What all tables share: one metadata, the naming of constraints, and columns that many have."""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


def moment(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[object]:
    """Make a column of a point in time."""
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=sa.func.now() if now else None)


def owner() -> sa.Column[object]:
    """Make the column that scopes a row to its account."""
    return sa.Column("account_id", sa.Integer, sa.ForeignKey("accounts.account_id"), nullable=False)
