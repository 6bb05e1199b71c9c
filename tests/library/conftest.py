"""A program that uses the library: people in a ledger, and a stand-in server in the same event loop."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import bulksms
from bulksms.delivery.retry import RetryPolicy
from bulksms.sandbox import Journal, Sandbox, compare

Planned = Callable[..., Path]
Agree = Callable[[Path, Journal], None]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits between attempts and polls are milliseconds here; the decisions are the real ones."""
    monkeypatch.setattr("bulksms.engine.run.RetryPolicy", partial(RetryPolicy, base=0.005, cap=0.02))
    monkeypatch.setattr("bulksms.delivery.operation.FIRST_POLL", 0.02)
    monkeypatch.setattr("bulksms.delivery.operation.LONGEST_PAUSE", 0.1)


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Plan so many people into a ledger; `mark` is in their names, such as `[503]`."""

    def plan(count: int, name: str = "people.ledger.db", *, mark: str = "") -> Path:
        people = ({"dn": f"CN=Person {number} {mark},DC=x", "text": f"Outage {number}."} for number in range(count))
        bulksms.plan(bulksms.OwnRows(people), tmp_path / name)
        return tmp_path / name

    return plan


@pytest.fixture
def agree() -> Agree:
    """Hold what a ledger says against what the server received, and against its own counters."""

    def compared(ledger: Path, journal: Journal) -> None:
        with bulksms.LedgerReader(ledger) as reader:
            reader.check_counters()
            lines = list(reader.lines())
            assert not reader.standing().is_living
        comparison = compare(journal, ((it.recipient, it.state, it.may_have_sent_twice, it.text) for it in lines))
        assert comparison.agrees, comparison
        assert bulksms.State.SENDING not in {line.state for line in lines}

    return compared


def endpoint_of(server: Sandbox) -> bulksms.Endpoint:
    """The stand-in server, as a program names it."""
    return bulksms.Endpoint.at(server.url, bulksms.AccessToken("sandbox"))


@pytest.fixture
def endpoint() -> Callable[[Sandbox], bulksms.Endpoint]:
    """Where a stand-in server is."""
    return endpoint_of
