"""Every option of `resume` and `retry` shows its effect: on the wire, in the ledger, or in what is said."""

import json
import sqlite3
import ssl
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.sandbox import Account, Fault, SlowSends, Wait

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Said

LEDGER = "people.ledger.db"


@dataclass(frozen=True)
class Again:
    """A command that works on a ledger, and how the ledger comes to have something for it."""

    desk: "Desk"
    call: tuple[str, ...]

    def planned(self, count: int, *, mark: str = "") -> None:
        """A ledger of so many people: for `resume` with everything queued, for `retry` given up before."""
        (self.desk.folder / LEDGER).unlink(missing_ok=True)
        self.desk.people(count, mark=mark)
        assert self.desk("plan", "people.csv", "--quiet").code == 0
        if self.call[0] == "retry":
            with closing(sqlite3.connect(self.desk.folder / LEDGER)) as connection, connection:
                connection.execute("UPDATE message SET state = 'failed', reason = 'gave_up'")
                connection.execute(
                    "UPDATE tally SET messages = (SELECT COUNT(*) FROM message WHERE state = tally.name)"
                )


@pytest.fixture(params=["resume", "retry"])
def again(request: pytest.FixtureRequest, desk: "Desk") -> Again:
    """Each of the two."""
    return Again(desk, {"resume": ("resume", LEDGER), "retry": ("retry", LEDGER, "--yes")}[request.param])


def states(desk: "Desk") -> list[str]:
    return [line.state.value for line in desk.lines()]


def test_yes_answers_the_question(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.cli.doing.sending.on_terminal", lambda: True)
    server = desk.server()
    Again(desk, ("resume", LEDGER)).planned(2)
    assert desk("resume", LEDGER).code == 2  # it is asked, and the terminal is none
    assert server.journal.total == 0
    assert desk("resume", LEDGER, "--yes").code == 0
    assert server.journal.total == 2


def test_url_and_token_file_say_where_and_as_whom(again: Again, desk: "Desk") -> None:
    server = desk.serve()
    again.planned(2)
    desk.write("a-token", desk.token)
    assert desk(*again.call).code == 2
    assert desk(*again.call, "--url", server.url).code == 2
    assert desk(*again.call, "--url", server.url, "--token-file", "a-token").code == 0
    assert server.journal.total == 2


def test_password_file_logs_in(again: Again, desk: "Desk") -> None:
    account = Account(password="a-password-4711")
    server = desk.serve(token=None, account=account)
    again.planned(2)
    desk.write("password-token", account.password)
    desk.export("BULKSMS_USERNAME", account.username)
    assert desk(*again.call, "--url", server.url, "--password-file", "password-token").code == 0
    assert server.journal.calls["POST /api/auth"] == 1


def test_proxy_and_insecure_http_lead_to_another_host(again: Again, desk: "Desk") -> None:
    """The stand-in server is the proxy here: what is asked of it names a host that does not exist."""
    server = desk.server()
    again.planned(2)
    there = ("--url", "http://adaxes.invalid/restApi", "--proxy", server.url.removesuffix("/restApi"))
    assert desk(*again.call, *there).code == 2
    assert server.journal.total == 0
    assert desk(*again.call, *there, "--insecure-http").code == 0
    assert server.journal.total == 2


def test_ca_file_makes_an_authority_known(again: Again, desk: "Desk") -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(desk.folder / "ca.pem")
    server = desk.server(tls=context)
    again.planned(2)
    assert desk(*again.call).code == 5
    assert server.journal.total == 0
    again.planned(2, mark="anew")  # the same plan is not started twice
    assert desk(*again.call, "--ca-file", "ca.pem").code == 0
    assert server.journal.total == 2


def test_workers_and_no_adapt_fix_how_many_are_in_flight(again: Again, desk: "Desk") -> None:
    server = desk.server(latency=0.3)
    again.planned(12)
    assert desk(*again.call, "--workers", "12", "--no-adapt").code == 0
    assert server.journal.max_in_flight == 12


def test_rate_is_never_exceeded(again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(10)
    assert desk(*again.call, "--rate", "20").code == 0
    assert server.journal.times[-1] - server.journal.times[0] >= 9 / 20 - 0.03


def test_timeout_ends_the_wait_for_an_answer(again: Again, desk: "Desk") -> None:
    desk.server()
    again.planned(2, mark="[stall]")
    began = time.monotonic()
    assert desk(*again.call, "--timeout", "0.3").code == 4
    assert time.monotonic() - began < 25.0
    assert {line.reason for line in desk.lines()} == {"lost_answer"}


@pytest.mark.parametrize(("seconds", "statuses"), [("0", {200}), ("5", {200, 400})])
def test_server_wait_sends_the_header_or_leaves_it_out(
    seconds: str, statuses: set[int], again: Again, desk: "Desk"
) -> None:
    server = desk.server(slow_sends=SlowSends(wait=Wait.REFUSED))
    again.planned(2)
    assert desk(*again.call, "--server-wait", seconds).code == 0
    assert {entry.status for entry in server.journal.received} == statuses


def test_poll_timeout_gives_an_operation_up(again: Again, desk: "Desk") -> None:
    desk.server()
    again.planned(1, mark="[202_stuck]")
    assert desk(*again.call, "--poll-timeout", "0.2").code == 4
    assert [line.reason for line in desk.lines()] == ["operation_lost"]


def test_max_attempts_bounds_the_requests(again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(1, mark="[429*4]")
    assert desk(*again.call, "--max-attempts", "2").code == 1
    assert server.journal.total == 2


@pytest.mark.parametrize(("mode", "code", "requests"), [("at-most-once", 4, 1), ("at-least-once", 0, 2)])
def test_delivery_says_what_may_go_again(mode: str, code: int, requests: int, again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(1, mark="[drop_after]")
    assert desk(*again.call, "--delivery", mode).code == code
    assert server.journal.total == requests


def test_max_failures_and_keep_going_decide_when_refusals_stop_the_run(again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(60, mark="[result_failed]")
    assert desk(*again.call, "--max-failures", "3", "--workers", "1").code == 5
    assert server.journal.total == 3
    again.planned(60, mark="anew [result_failed]")
    assert desk(*again.call, "--keep-going", "--workers", "1").code == 1
    assert server.journal.total == 3 + 60


def test_canary_sends_the_first_alone_and_stops_if_it_is_not_accepted(again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(10, mark="[result_suspended]")
    assert "Stopped (canary)" in desk(*again.call, "--canary", "2").err
    assert server.journal.total == 1


def test_test_to_sends_the_first_text_to_oneself_before_anything_else(again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(3)
    assert desk(*again.call, "--test-to", "CN=Myself,DC=x").code == 0
    assert [server.journal.received[0].recipient, server.journal.total] == ["CN=Myself,DC=x", 4]


def test_deadline_lets_nothing_new_begin(again: Again, desk: "Desk") -> None:
    server = desk.server()
    again.planned(30)
    assert "Stopped (deadline)" in desk(*again.call, "--deadline", "1s", "--rate", "5").err
    assert states(desk).count("expired") == 30 - server.journal.total > 0


def test_max_pause_bounds_the_wait_for_a_server_that_is_away(
    again: Again, desk: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.delivery.brake.FIRST_PAUSE", 0.05)
    server = desk.server()
    server.sandbox.everybody = Fault.HTML_503
    again.planned(30)
    assert "Stopped (away)" in desk(*again.call, "--max-pause", "0.3").err
    assert set(states(desk)) == {"queued"}


def test_quiet_and_json_leave_the_result_alone(again: Again, desk: "Desk") -> None:
    desk.server()
    again.planned(3)
    said = desk(*again.call, "--quiet", "--json")
    assert said.err == ""
    assert said.json["counts"]["accepted"] == 3


@pytest.mark.parametrize(("level", "told"), [("debug", 3), ("warning", 0)])
def test_the_log_is_written_where_and_as_it_was_asked_for(level: str, told: int, again: Again, desk: "Desk") -> None:
    desk.server()
    again.planned(3)
    options = ("--log-level", level, "--log-format", "json", "--log-file", "run.log")
    said: Said = desk(*again.call, *options, "--quiet")
    assert (said.code, said.err) == (0, "")
    events = [json.loads(line)["event"] for line in (desk.folder / "run.log").read_text().splitlines()]
    assert events.count("message settled") == told
