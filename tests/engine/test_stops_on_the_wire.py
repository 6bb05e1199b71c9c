"""Trouble that is everybody's stops the run: few requests are made, and every untouched row is still queued."""

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.ledger import SettledElsewhere, open_ledger
from bulksms.model.message import State
from bulksms.model.run_settings import RunSettings, StopReason
from bulksms.sandbox import Away, Fault, FaultPlan, Sandbox

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.harness import EngineHarness

WORKERS = 8
PEOPLE = 200
SETTINGS = RunSettings(workers=WORKERS, timeout=5.0)

STOPS = {
    Fault.STATUS_401: StopReason.UNAUTHORIZED,
    Fault.STATUS_405: StopReason.WRONG_ENDPOINT,
    Fault.STATUS_407: StopReason.WRONG_ENDPOINT,
    Fault.STATUS_501: StopReason.WRONG_ENDPOINT,
    Fault.REDIRECT: StopReason.WRONG_ENDPOINT,
    Fault.REDIRECT_307: StopReason.WRONG_ENDPOINT,
}


@pytest.mark.parametrize(("fault", "why"), STOPS.items())
async def test_it_stops_the_run_and_leaves_every_row_queued(
    fault: Fault, why: StopReason, harness: "EngineHarness"
) -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = fault
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is why
    assert run.stop_signal.why
    assert record.count(State.QUEUED) == PEOPLE
    assert 1 <= server.journal.total <= WORKERS
    assert len(record.untouched) == PEOPLE - server.journal.total
    assert server.journal.calls.total() == 0, "no redirect is followed"


@pytest.mark.parametrize("fault", STOPS)
async def test_what_it_stopped_at_goes_again_with_all_its_attempts(fault: Fault, harness: "EngineHarness") -> None:
    """The operator fixes it and resumes: it has cost no message an attempt."""
    ledger = harness.plan_people(30)
    settings = RunSettings(workers=4, timeout=5.0, max_attempts=1)
    async with Sandbox() as server:
        server.everybody = fault
        await harness.work(ledger, server.url, settings)
        server.everybody = None
        run = await harness.work(ledger, server.url, settings)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is None
    assert record.count(State.ACCEPTED) == 30
    assert not any(line.possible_duplicate for line in record.lines.values())


async def test_a_wrong_token_costs_a_request_a_worker_and_no_recipient(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        run = await harness.work(ledger, server.url, SETTINGS, token="wrong")
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.UNAUTHORIZED
    assert server.journal.unauthorized == server.journal.total <= WORKERS
    assert record.count(State.QUEUED) == PEOPLE


async def test_a_wrong_path_stops_the_run(harness: "EngineHarness") -> None:
    """A wrong base was seen to answer 302, not 404."""
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        run = await harness.work(ledger, server.url.replace("/restApi", "/adaxes"), SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.WRONG_ENDPOINT
    assert server.journal.total == 0
    assert 1 <= server.journal.calls.total() <= WORKERS
    assert record.count(State.QUEUED) == PEOPLE


@pytest.mark.parametrize("fault", [Fault.STATUS_404, Fault.HTML_404, Fault.STATUS_403, Fault.HTML_403])
async def test_the_twentieth_refusal_with_nothing_else_before_it_stops_the_run(
    fault: Fault, harness: "EngineHarness"
) -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = fault
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.WRONG_ENDPOINT
    assert record.count(State.QUEUED) == PEOPLE
    assert 20 <= server.journal.total < 20 + WORKERS


async def test_a_resumed_run_does_not_stumble_over_the_same_rows_again(harness: "EngineHarness") -> None:
    """The first rows are stale: `resume` begins with those whom nobody has tried, and then knows what they are."""
    scripts = {f"CN=gone {number},DC=example": [Fault.STATUS_404] * 3 for number in range(30)}
    people = [*scripts, *(f"CN=here {number},DC=example" for number in range(40))]
    ledger = harness.plan((who, "Outage.") for who in people)
    async with Sandbox(faults=FaultPlan.of(scripts)) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4))
        assert run.stopped is StopReason.WRONG_ENDPOINT
        assert harness.record(ledger, run, server.journal).count(State.QUEUED) == 70
        run = await harness.work(ledger, server.url, RunSettings(workers=4))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is None
    assert record.count(State.ACCEPTED) == 40
    assert {record.of(who)[:2] for who in scripts} == {("failed", "rejected")}


async def test_a_canary_does_not_stumble_over_the_same_row_again(harness: "EngineHarness") -> None:
    gone = "CN=gone,DC=example"
    ledger = harness.plan((who, "Outage.") for who in (gone, *(f"CN=here {number},DC=example" for number in range(9))))
    async with Sandbox(faults=FaultPlan.of({gone: [Fault.STATUS_404] * 3})) as server:
        run = await harness.work(ledger, server.url, RunSettings(workers=4, canary=1))
        assert run.stopped is StopReason.CANARY_FAILED
        assert harness.record(ledger, run, server.journal).count(State.QUEUED) == 10
        run = await harness.work(ledger, server.url, RunSettings(workers=4, canary=1))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is None
    assert record.count(State.ACCEPTED) == 9
    assert record.of(gone)[:2] == ("failed", "rejected")


async def test_refusals_of_a_short_list_are_its_recipients_own(harness: "EngineHarness") -> None:
    """Fewer than twenty, and nothing else came: the end of the run settles them."""
    ledger = harness.plan_people(19)
    async with Sandbox() as server:
        server.everybody = Fault.STATUS_404
        run = await harness.work(ledger, server.url, SETTINGS)
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is None
    assert {(line.state, line.reason) for line in record.lines.values()} == {("failed", "rejected")}
    assert server.journal.total == 19


async def test_one_good_answer_shows_refusals_to_be_the_recipients_own(harness: "EngineHarness") -> None:
    scripts = {f"CN=gone {number},DC=example": [Fault.STATUS_404] for number in range(19)}
    scripts["CN=here,DC=example"] = [Fault.OK]
    scripts |= {f"CN=gone later {number},DC=example": [Fault.STATUS_403] for number in range(25)}
    record = await harness.run_scripted(scripts, RunSettings(workers=1, timeout=5.0), between=0)
    assert record.run.stopped is None
    assert record.count(State.FAILED) == 44
    assert record.of("CN=here,DC=example") == ("accepted", None, 1, False)
    assert record.journal.total == 45


@pytest.mark.parametrize("most", [1, 5])
async def test_so_many_failures_stop_the_run(most: int, harness: "EngineHarness") -> None:
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = Fault.RESULT_FAILED
        run = await harness.work(ledger, server.url, RunSettings(workers=WORKERS, max_failures=str(most)))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.TOO_MANY_FAILURES
    assert most <= record.count(State.FAILED) == server.journal.total < most + WORKERS
    assert len(record.untouched) == PEOPLE - server.journal.total


async def test_failures_on_other_machines_count_as_well(
    harness: "EngineHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.ledger.sqlite.writer.SqliteWriter.settled_elsewhere", SettledElsewhere(failed=99))
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(latency=0.01) as server:
        server.everybody = Fault.RESULT_FAILED
        run = await harness.work(ledger, server.url, RunSettings(workers=WORKERS, max_failures="100"))
    assert run.stopped is StopReason.TOO_MANY_FAILURES
    assert server.journal.total <= WORKERS


def _tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


async def test_a_bad_certificate_stops_the_run_before_anything_left(harness: "EngineHarness", tmp_path: "Path") -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ledger = harness.plan_people(PEOPLE)
    async with Sandbox(tls=_tls(authority, "elsewhere.example")) as server:
        for ca_file in (None, tmp_path / "ca.pem"):  # an unknown authority, then a wrong name
            run = await harness.work(ledger, server.url, SETTINGS, ca_file=ca_file)
            assert run.stopped is StopReason.WRONG_ENDPOINT
    record = harness.record(ledger, run, server.journal)
    assert server.journal.total == 0
    assert record.count(State.QUEUED) == PEOPLE


async def test_a_certificate_of_a_known_authority_is_good(harness: "EngineHarness", tmp_path: "Path") -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ledger = harness.plan_people(20)
    async with Sandbox(tls=_tls(authority, "127.0.0.1")) as server:
        run = await harness.work(ledger, server.url, SETTINGS, ca_file=tmp_path / "ca.pem")
    assert harness.record(ledger, run, server.journal).count(State.ACCEPTED) == 20


async def test_what_never_left_goes_again_until_it_can(harness: "EngineHarness") -> None:
    """The server is not there at first; nobody gets a second request for it."""
    ledger = harness.plan_people(3)
    async with Sandbox() as server:
        await server.go_away(Away.REFUSED)

        def have_all_gone_again() -> bool:
            with open_ledger(ledger) as reader:
                return all(line.attempts > 1 for line in reader.messages())

        async def come_back() -> None:
            await harness.until(have_all_gone_again)
            await server.come_back()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(come_back())
            run = await harness.work(ledger, server.url, RunSettings(workers=4, max_attempts=100))
    record = harness.record(ledger, run, server.journal)
    assert record.count(State.ACCEPTED) == 3
    assert server.journal.total == 3
    assert all(line.attempts > 1 and not line.possible_duplicate for line in record.lines.values())


async def test_what_never_left_says_nothing_of_its_recipient_and_stays_queued(harness: "EngineHarness") -> None:
    ledger = harness.plan_people(3)
    async with Sandbox() as server:
        url = server.url
    run = await harness.work(ledger, url, RunSettings(workers=4, max_attempts=3, max_outage=0.3))
    record = harness.record(ledger, run, server.journal)
    assert run.stopped is StopReason.SERVER_UNAVAILABLE
    assert {(line.state, line.reason) for line in record.lines.values()} == {("queued", None)}
    assert all(line.attempts > 3 for line in record.lines.values())
