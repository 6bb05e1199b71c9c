"""Trouble that is everybody's stops the run: few requests are made, and every untouched row is still queued."""

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.config import RunSettings
from bulksms.delivery.retry import Stop
from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Away, Fault, FaultPlan, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.conftest import Crowd

WORKERS = 8
PEOPLE = 200
SETTINGS = RunSettings(workers=WORKERS, timeout=5.0)

STOPS = {
    Fault.STATUS_401: Stop.UNAUTHORIZED,
    Fault.STATUS_405: Stop.ENDPOINT,
    Fault.STATUS_407: Stop.ENDPOINT,
    Fault.STATUS_501: Stop.ENDPOINT,
    Fault.REDIRECT: Stop.ENDPOINT,
    Fault.REDIRECT_307: Stop.ENDPOINT,
}


@pytest.mark.parametrize(("fault", "why"), STOPS.items())
async def test_it_stops_the_run_and_leaves_every_row_queued(fault: Fault, why: Stop, crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = fault
        progress = await crowd.work(ledger, server.url, SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is why
    assert progress.why
    assert books.count(State.QUEUED) == PEOPLE
    assert 1 <= server.journal.total <= WORKERS
    assert len(books.untouched) == PEOPLE - server.journal.total
    assert server.journal.calls.total() == 0, "no redirect is followed"


@pytest.mark.parametrize("fault", STOPS)
async def test_what_it_stopped_at_goes_again_with_all_its_attempts(fault: Fault, crowd: "Crowd") -> None:
    """The operator mends it and resumes: nobody has lost an attempt by it."""
    ledger = crowd.plan_people(30)
    settings = RunSettings(workers=4, timeout=5.0, max_attempts=1)
    async with Sandbox() as server:
        server.everybody = fault
        await crowd.work(ledger, server.url, settings)
        server.everybody = None
        progress = await crowd.work(ledger, server.url, settings)
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is None
    assert books.count(State.ACCEPTED) == 30
    assert not any(line.may_have_sent_twice for line in books.lines.values())


async def test_a_wrong_token_costs_a_request_a_worker_and_no_recipient(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        progress = await crowd.work(ledger, server.url, SETTINGS, token="wrong")
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.UNAUTHORIZED
    assert server.journal.unauthorized == server.journal.total <= WORKERS
    assert books.count(State.QUEUED) == PEOPLE


async def test_a_wrong_path_stops_the_run(crowd: "Crowd") -> None:
    """A wrong base was seen to answer 302, not 404."""
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        progress = await crowd.work(ledger, server.url.replace("/restApi", "/adaxes"), SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.ENDPOINT
    assert server.journal.total == 0
    assert 1 <= server.journal.calls.total() <= WORKERS
    assert books.count(State.QUEUED) == PEOPLE


@pytest.mark.parametrize("fault", [Fault.STATUS_404, Fault.HTML_404, Fault.STATUS_403, Fault.HTML_403])
async def test_the_twentieth_refusal_with_nothing_else_before_it_stops_the_run(fault: Fault, crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = fault
        progress = await crowd.work(ledger, server.url, SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.ENDPOINT
    assert books.count(State.QUEUED) == PEOPLE
    assert 20 <= server.journal.total < 20 + WORKERS


async def test_a_resumed_run_does_not_stumble_over_the_same_rows_again(crowd: "Crowd") -> None:
    """The first rows are stale: `resume` begins with those whom nobody has tried, and then knows what they are."""
    scripts = {f"CN=gone {number},DC=example": [Fault.STATUS_404] * 3 for number in range(30)}
    people = [*scripts, *(f"CN=here {number},DC=example" for number in range(40))]
    ledger = crowd.plan((who, "Outage.") for who in people)
    async with Sandbox(faults=FaultPlan.of(scripts)) as server:
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4))
        assert progress.stopped is Stop.ENDPOINT
        assert crowd.books(ledger, progress, server.journal).count(State.QUEUED) == 70
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4))
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is None
    assert books.count(State.ACCEPTED) == 40
    assert {books.of(who)[:2] for who in scripts} == {("failed", "refused")}


async def test_a_canary_does_not_stumble_over_the_same_row_again(crowd: "Crowd") -> None:
    gone = "CN=gone,DC=example"
    ledger = crowd.plan((who, "Outage.") for who in (gone, *(f"CN=here {number},DC=example" for number in range(9))))
    async with Sandbox(faults=FaultPlan.of({gone: [Fault.STATUS_404] * 3})) as server:
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, canary=1))
        assert progress.stopped is Stop.CANARY
        assert crowd.books(ledger, progress, server.journal).count(State.QUEUED) == 10
        progress = await crowd.work(ledger, server.url, RunSettings(workers=4, canary=1))
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is None
    assert books.count(State.ACCEPTED) == 9
    assert books.of(gone)[:2] == ("failed", "refused")


async def test_refusals_of_a_short_list_are_its_recipients_own(crowd: "Crowd") -> None:
    """Fewer than twenty, and nothing else came: the end of the run settles them."""
    ledger = crowd.plan_people(19)
    async with Sandbox() as server:
        server.everybody = Fault.STATUS_404
        progress = await crowd.work(ledger, server.url, SETTINGS)
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is None
    assert {(line.state, line.reason) for line in books.lines.values()} == {("failed", "refused")}
    assert server.journal.total == 19


async def test_one_good_answer_shows_refusals_to_be_the_recipients_own(crowd: "Crowd") -> None:
    scripts = {f"CN=gone {number},DC=example": [Fault.STATUS_404] for number in range(19)}
    scripts["CN=here,DC=example"] = [Fault.OK]
    scripts |= {f"CN=gone later {number},DC=example": [Fault.STATUS_403] for number in range(25)}
    books = await crowd.told(scripts, RunSettings(workers=1, timeout=5.0), between=0)
    assert books.progress.stopped is None
    assert books.count(State.FAILED) == 44
    assert books.of("CN=here,DC=example") == ("accepted", None, 1, False)
    assert books.journal.total == 45


@pytest.mark.parametrize("most", [1, 5])
async def test_so_many_failures_stop_the_run(most: int, crowd: "Crowd") -> None:
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = Fault.RESULT_FAILED
        progress = await crowd.work(ledger, server.url, RunSettings(workers=WORKERS, max_failures=str(most)))
    books = crowd.books(ledger, progress, server.journal)
    assert progress.stopped is Stop.FAILURES
    assert most <= books.count(State.FAILED) == server.journal.total < most + WORKERS
    assert len(books.untouched) == PEOPLE - server.journal.total


def _tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_a_bad_certificate_stops_the_run_before_anything_left(crowd: "Crowd", tmp_path: "Path") -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ledger = crowd.plan_people(PEOPLE)
    async with Sandbox(tls=_tls(authority, "elsewhere.example")) as server:
        for ca_file in (None, tmp_path / "ca.pem"):  # an unknown authority, then a wrong name
            progress = await crowd.work(ledger, server.url, SETTINGS, ca_file=ca_file)
            assert progress.stopped is Stop.ENDPOINT
    books = crowd.books(ledger, progress, server.journal)
    assert server.journal.total == 0
    assert books.count(State.QUEUED) == PEOPLE


async def test_a_certificate_of_a_known_authority_is_good(crowd: "Crowd", tmp_path: "Path") -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ledger = crowd.plan_people(20)
    async with Sandbox(tls=_tls(authority, "127.0.0.1")) as server:
        progress = await crowd.work(ledger, server.url, SETTINGS, ca_file=tmp_path / "ca.pem")
    assert crowd.books(ledger, progress, server.journal).count(State.ACCEPTED) == 20


async def test_what_never_left_goes_again_until_it_can(crowd: "Crowd") -> None:
    """The server is not there at first; nobody gets a second request for it."""
    ledger = crowd.plan_people(3)
    async with Sandbox() as server:
        await server.go_away(Away.REFUSED)

        def have_all_gone_again() -> bool:
            with LedgerReader(ledger) as reader:
                return all(line.attempts > 1 for line in reader.lines())

        async def come_back() -> None:
            await crowd.until(have_all_gone_again)
            await server.come_back()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(come_back())
            progress = await crowd.work(ledger, server.url, RunSettings(workers=4, max_attempts=100))
    books = crowd.books(ledger, progress, server.journal)
    assert books.count(State.ACCEPTED) == 3
    assert server.journal.total == 3
    assert all(line.attempts > 1 and not line.may_have_sent_twice for line in books.lines.values())


async def test_what_never_left_fails_for_certain_when_its_attempts_are_used_up(crowd: "Crowd") -> None:
    ledger = crowd.plan_people(3)
    async with Sandbox() as server:
        url = server.url
    progress = await crowd.work(ledger, url, RunSettings(workers=4, max_attempts=3))
    books = crowd.books(ledger, progress, server.journal)
    assert {(line.state, line.reason, line.attempts) for line in books.lines.values()} == {("failed", "gave_up", 3)}
