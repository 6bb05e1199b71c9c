"""Short waits, a plan, a server, and the comparison of both."""

from collections.abc import Callable
from pathlib import Path

import pytest

import bulksms
from bulksms.sandbox import Journal, Sandbox
from tests.api.harness import Agree, Planned, endpoint_of
from tests.invariants import hold


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plan so many people into a ledger; `mark` is in their names, such as `[503]`."""

    def plan(count: int, name: str = "people.ledger.db", *, mark: str = "") -> Path:
        people = ({"dn": f"CN=Person {number} {mark},DC=x", "text": f"Outage {number}."} for number in range(count))
        bulksms.plan(bulksms.InMemoryRows(people), tmp_path / name)
        return tmp_path / name

    return plan


@pytest.fixture
def agree() -> Agree:
    """Hold what a ledger says against what the server received, and against its own counters."""

    def compared(ledger: Path, journal: Journal) -> None:
        assert not hold(journal, ledger).summary.is_living

    return compared


@pytest.fixture
def endpoint() -> Callable[[Sandbox], bulksms.Endpoint]:
    """The endpoint of a simulator."""
    return endpoint_of
