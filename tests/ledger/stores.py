"""The stores that the contract suite runs on; a further one is added here, and only here."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bulksms.ledger import Ledger, LedgerUrl, ledger_at
from bulksms.ledger.postgresql.publishing import publish
from bulksms.ledger.postgresql.store import PostgresqlLedger
from tests.ledger.harness import plan


def _sqlite(_: pytest.FixtureRequest, folder: Path, messages: int) -> Ledger:
    return ledger_at(plan(folder / "people.ledger.db", messages))


def _postgresql(request: pytest.FixtureRequest, folder: Path, messages: int) -> Ledger:
    return PostgresqlLedger(published(request.getfixturevalue("database"), folder, messages))


def published(database: str, folder: Path, messages: int) -> LedgerUrl:
    """The name of a ledger of so many messages in this database."""
    url = LedgerUrl.parse(f"{database}?ledger=people")
    publish(plan(folder / "planned.ledger.db", messages), url)
    return url


STORES: Mapping[str, Callable[[pytest.FixtureRequest, Path, int], Ledger]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
}
"""By name: what plans a ledger of so many messages, with what it needs in a folder."""
