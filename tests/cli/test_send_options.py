"""Every option of a run shows its effect: on the wire, in the ledger, or in what is said."""

import hashlib
import json
import os
import ssl
import sys
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.ledger.reader import LedgerReader
from bulksms.message import State
from bulksms.sandbox import Account, Fault, SlowSends, Wait

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

SEND = ("send", "people.csv", "--yes")


def states(desk: "Desk") -> list[str]:
    return [line.state.value for line in desk.lines()]


# What is sent, and whether


def test_send_sends_each_row_once_and_keeps_a_ledger(desk: "Desk") -> None:
    server = desk.server()
    desk.people(12)
    said = desk(*SEND)
    assert said.code == 0
    assert "Handed to Adaxes: 12 of 12" in said.out
    assert "12 = 12 accepted" in said.out
    assert "Exit code 0: all accepted." in said.err
    assert desk.files == {"people.csv", "people.ledger.db"}
    sent = {(entry.recipient, entry.text) for entry in server.journal.received}
    assert sent == {(f"CN=Person {number} ,DC=example,DC=com", f"Outage {number}.") for number in range(12)}
    assert server.journal.total == 12


def test_yes_is_needed_where_nobody_can_be_asked(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1)
    said = desk("send", "people.csv")
    assert (said.code, said.out) == (2, "")
    assert said.err.splitlines()[-2:] == [
        "error: There is no terminal to ask at.",
        "hint: Add --yes to send without a question.",
    ]
    assert desk.files == {"people.csv"}
    assert server.journal.total == 0


def test_dry_run_makes_no_request_and_leaves_no_file(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    said = desk("send", "people.csv", "--dry-run")
    assert said.code == 0
    assert "3 rows, 3 to send" in said.out
    assert "Outage 0." in said.out
    assert server.url in said.out
    assert "Dry run: nothing was sent" in said.out
    assert desk.files == {"people.csv"}
    assert server.journal.total == server.journal.calls.total() == 0


def test_dry_run_needs_neither_url_nor_token(desk: "Desk") -> None:
    desk.people(1)
    assert desk("send", "people.csv", "--dry-run").code == 0


def test_ledger_names_the_ledger(desk: "Desk") -> None:
    desk.server()
    desk.people(2)
    said = desk(*SEND, "--ledger", "mine.db")
    assert said.code == 0
    assert desk.files == {"people.csv", "mine.db"}


def test_new_starts_another_ledger_and_sends_again(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    assert desk(*SEND).code == 0
    assert desk(*SEND, "--new").code == 0
    assert server.journal.total == 4
    (other,) = desk.files - {"people.csv", "people.ledger.db"}
    assert other.startswith("people.2")
    assert other.endswith("Z.ledger.db")


def test_the_same_file_again_makes_no_request_and_exits_3(desk: "Desk") -> None:
    server = desk.server()
    desk.people(4)
    desk(*SEND)
    said = desk(*SEND)
    assert (said.code, said.out) == (3, "")
    assert "was already sent to 4 on 20" in said.err
    assert "nothing sent now" in said.err
    assert "--new" in said.err
    assert server.journal.total == 4


def test_another_plan_in_the_same_ledger_is_refused_with_what_differs(desk: "Desk") -> None:
    server = desk.server()
    desk.people(4)
    desk(*SEND)
    desk.people(5)
    said = desk(*SEND)
    assert (said.code, said.out) == (3, "")
    assert "is about another plan: 4 messages" in said.err
    assert "now makes 5" in said.err
    assert server.journal.total == 4


def test_a_ledger_as_argument_starts_its_plan(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    assert desk("plan", "people.csv").code == 0
    said = desk("send", "people.ledger.db", "--yes")
    assert said.code == 0
    assert server.journal.total == 3
    assert desk("send", "people.ledger.db", "--yes").code == 3


@pytest.mark.parametrize("option", ["--dry-run", "--sandbox"])
def test_what_needs_an_input_is_refused_for_a_ledger(option: str, desk: "Desk") -> None:
    desk.people(1)
    desk("plan", "people.csv")
    said = desk("send", "people.ledger.db", "--yes", option)
    assert said.code == 2
    assert "need an input file, not a ledger" in said.err


def test_max_recipients_refuses_more(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    said = desk(*SEND, "--max-recipients", "2")
    assert said.code == 3
    assert "error: The plan has 3 recipients; --max-recipients allows 2. Nothing was sent." in said.err
    assert desk.files == {"people.csv"}
    assert desk("send", "people.csv", "--dry-run", "--max-recipients", "2").code == 3
    assert server.journal.total == 0
    assert desk(*SEND, "--max-recipients", "3").code == 0


def test_expect_refuses_a_plan_that_is_not_the_previewed_one(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    fingerprint = desk("send", "people.csv", "--dry-run", "--json").json["fingerprint"]
    desk.people(3, mark="changed")
    said = desk(*SEND, "--expect", fingerprint)
    assert said.code == 3
    assert "fingerprint" in said.err
    assert server.journal.total == 0
    desk.people(3)
    assert desk(*SEND, "--expect", fingerprint.upper()).code == 0
    assert server.journal.total == 3


def test_more_than_a_thousand_without_a_terminal_need_a_limit_beside_yes(desk: "Desk") -> None:
    server = desk.server(keep_entries=False)
    desk.people(1_001)
    said = desk(*SEND)
    assert said.code == 2
    assert "error: --yes alone is not enough for 1,001 recipients without a terminal." in said.err
    assert "--max-recipients 1001" in said.err
    assert desk.files == {"people.csv"}
    assert server.journal.total == 0
    assert desk(*SEND, "--max-recipients", "1001", "--quiet").code == 0
    assert server.journal.total == 1_001


# Where


def test_url_on_the_command_line_beats_the_environment(desk: "Desk") -> None:
    server = desk.server()
    desk.export("BULKSMS_URL", "http://127.0.0.1:9/restApi")
    desk.people(1)
    assert desk(*SEND, "--url", f"{server.url}/api/").code == 0
    assert server.journal.total == 1


def test_the_ledger_is_bound_to_its_first_url(desk: "Desk") -> None:
    server, other = desk.serve(), desk.serve()
    desk.at(server)
    desk.people(3, mark="[result_failed]")
    desk(*SEND, "--max-failures", "1", "--workers", "1")
    desk.at(other)
    said = desk("resume", "people.ledger.db")
    assert said.code == 3
    assert f"is bound to {server.url}, not to {other.url}" in said.err
    assert other.journal.total == 0
    desk.at(server)
    desk("resume", "people.ledger.db", "--max-failures", "99")
    assert server.journal.total == 3


@pytest.mark.parametrize("how", ["--token-file", "BULKSMS_TOKEN_FILE", "CREDENTIALS_DIRECTORY", "BULKSMS_TOKEN"])
def test_the_token_comes_from_a_file_or_the_environment(
    how: str, desk: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    server = desk.serve()
    desk.people(1)
    file = desk.write("bulksms-token", f"{desk.token}\n")
    options = ["--url", server.url]
    if how == "--token-file":
        monkeypatch.setenv("BULKSMS_TOKEN", "another")
        options += ["--token-file", str(file)]
    else:
        desk.export(
            how, {"BULKSMS_TOKEN_FILE": str(file), "CREDENTIALS_DIRECTORY": str(desk.folder)}.get(how, desk.token)
        )
    assert desk(*SEND, *options).code == 0
    assert server.journal.unauthorized == 0


@pytest.mark.parametrize("how", ["--password-file", "BULKSMS_PASSWORD"])
def test_an_account_logs_in(how: str, desk: "Desk") -> None:
    account = Account(password="a-password-4711")
    server = desk.serve(token=None, account=account)
    desk.people(3)
    desk.export("BULKSMS_USERNAME", account.username)
    options = ["--url", server.url]
    if how == "--password-file":
        desk.write("password-token", account.password + "\n")
        options += ["--password-file", "password-token"]
    else:
        desk.export("BULKSMS_PASSWORD", account.password)
    said = desk(*SEND, *options)
    assert said.code == 0, said.err
    assert server.journal.calls["POST /api/auth"] == 1
    assert account.password not in said.out + said.err
    assert account.password.encode() not in (desk.folder / "people.ledger.db").read_bytes()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def test_ca_file_makes_an_authority_known(desk: "Desk", authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(desk.folder / "ca.pem")
    server = desk.server(tls=context)
    desk.people(3)
    said = desk(*SEND)
    assert said.code == 5
    assert "Stopped (endpoint)" in said.err
    assert states(desk) == ["queued"] * 3
    assert desk("resume", "people.ledger.db", "--ca-file", "ca.pem").code == 0
    assert server.journal.total == 3


def test_proxy_and_insecure_http_lead_to_another_host(desk: "Desk") -> None:
    """The stand-in server is the proxy here: what is asked of it names a host that does not exist."""
    server = desk.server()
    desk.people(2)
    there = ("--url", "http://adaxes.invalid/restApi")
    said = desk(*SEND, *there)
    assert said.code == 2
    assert "--insecure-http" in said.err
    proxy = server.url.removesuffix("/restApi")
    assert desk(*SEND, *there, "--insecure-http", "--proxy", proxy).code == 0
    assert server.journal.total == 2


def test_the_proxy_of_the_environment_is_used(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1)
    desk.export("http_proxy", server.url.removesuffix("/restApi"))
    assert desk(*SEND, "--url", "http://adaxes.invalid/restApi", "--insecure-http").code == 0
    assert server.journal.total == 1


# How


def test_workers_and_no_adapt_fix_how_many_are_in_flight(desk: "Desk") -> None:
    server = desk.server(latency=1.0)
    desk.people(12)
    assert desk(*SEND, "--workers", "12", "--no-adapt").code == 0
    assert server.journal.max_in_flight == 12


def test_without_it_a_run_begins_with_few(desk: "Desk") -> None:
    server = desk.server(latency=0.4)
    desk.people(24)
    assert desk(*SEND, "--workers", "12").code == 0
    assert server.journal.between(server.journal.times[0], server.journal.times[0] + 0.39) <= 4
    assert 4 < server.journal.max_in_flight <= 12


def test_rate_is_never_exceeded(desk: "Desk") -> None:
    server = desk.server()
    desk.people(15)
    assert desk(*SEND, "--rate", "600/min").code == 0
    times = server.journal.times
    # A busy machine receives a request later than it left, and the next one at once.
    assert times[-1] - times[0] >= 14 / 10 - 0.5
    assert sum(later - earlier >= 0.03 for earlier, later in pairwise(times)) >= 7


def test_timeout_ends_the_wait_for_an_answer(desk: "Desk") -> None:
    desk.server()
    desk.people(2, mark="[stall]")
    began = time.monotonic()
    said = desk(*SEND, "--timeout", "0.3")
    assert said.code == 4
    assert time.monotonic() - began < 25.0
    assert {line.reason for line in desk.lines()} == {"lost_answer"}


def test_server_wait_sends_the_header_and_0_leaves_it_out(desk: "Desk") -> None:
    refusing = desk.server(slow_sends=SlowSends(wait=Wait.REFUSED))
    desk.people(2)
    assert desk(*SEND, "--server-wait", "0").code == 0
    assert [entry.status for entry in refusing.journal.received] == [200, 200]
    desk(*SEND, "--server-wait", "5", "--new")
    assert 400 in [entry.status for entry in refusing.journal.received]


def test_poll_timeout_gives_an_operation_up(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1, mark="[202_stuck]")
    assert desk(*SEND, "--poll-timeout", "0.2").code == 4
    assert [line.reason for line in desk.lines()] == ["operation_lost"]
    assert server.journal.total == 1


def test_max_attempts_bounds_the_requests(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1, mark="[429*4]")
    assert desk(*SEND, "--max-attempts", "2").code == 1
    assert [(line.state, line.reason, line.attempts) for line in desk.lines()] == [("failed", "gave_up", 2)]
    assert server.journal.total == 2


@pytest.mark.parametrize(
    ("mode", "code", "requests"), [("at-most-once", 4, [1, 1]), ("balanced", 4, [2, 1]), ("at-least-once", 0, [2, 2])]
)
def test_delivery_says_what_may_go_again(mode: str, code: int, requests: list[int], desk: "Desk") -> None:
    server = desk.server()
    people = ["CN=[500],DC=x", "CN=[drop_after],DC=x"]
    desk.write("people.csv", "directoryObject,text\n" + "".join(f'"{who}",Hello\n' for who in people))
    assert desk(*SEND, "--delivery", mode).code == code
    assert [server.journal.requests(who) for who in people] == requests


@pytest.mark.parametrize("limit", ["3", "10%"])
def test_max_failures_stops_the_run(limit: str, desk: "Desk") -> None:
    server = desk.server()
    desk.people(100, mark="[result_failed]")
    said = desk(*SEND, "--max-failures", limit, "--workers", "1", "--keep-going")
    assert said.code == 5
    assert "Stopped (failures)" in said.err
    assert server.journal.total == {"3": 3, "10%": 50}[limit]
    assert "bulksms resume people.ledger.db" in said.err


def test_keep_going_goes_on_though_all_are_refused_alike(desk: "Desk") -> None:
    server = desk.server()
    desk.people(60, mark="[result_failed]")
    said = desk(*SEND, "--workers", "1")
    assert said.code == 5
    assert server.journal.total == 50
    assert desk("resume", "people.ledger.db", "--keep-going").code == 1
    assert server.journal.total == 60


def test_canary_sends_the_first_alone_and_stops_if_it_is_not_accepted(desk: "Desk") -> None:
    server = desk.server()
    desk.people(10, mark="[result_suspended]")
    said = desk(*SEND, "--canary", "2")
    assert said.code == 5
    assert "Stopped (canary)" in said.err
    assert server.journal.total == 1


def test_canary_goes_on_when_it_was_accepted(desk: "Desk") -> None:
    server = desk.server(latency=0.3)
    desk.people(12)
    assert desk(*SEND, "--canary", "2", "--no-adapt").code == 0
    first, second, third = server.journal.times[:3]
    assert second - first >= 0.3
    assert third - second >= 0.3
    assert server.journal.max_in_flight > 1


def test_test_to_sends_the_first_text_to_oneself_before_anything_else(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    me = "CN=Myself,DC=example,DC=com"
    assert desk(*SEND, "--test-to", me).code == 0
    first = server.journal.received[0]
    assert (first.recipient, first.text) == (me, "Outage 0.")
    assert server.journal.total == 4
    assert len(desk.lines()) == 3


def test_a_test_that_is_not_accepted_stops_the_run(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    assert desk(*SEND, "--test-to", "CN=Myself [result_failed],DC=x").code == 5
    assert server.journal.total == 1
    assert set(states(desk)) == {"queued"}


def test_a_test_that_awaits_approval_says_so(desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    said = desk(*SEND, "--test-to", "CN=Myself [result_suspended],DC=x")
    assert said.code == 5
    assert "the test message was not accepted: it awaits approval" in said.err


def test_deadline_lets_nothing_new_begin(desk: "Desk") -> None:
    server = desk.server()
    desk.people(30)
    said = desk(*SEND, "--deadline", "1s", "--rate", "5")
    assert said.code == 5
    assert "Stopped (deadline)" in said.err
    assert 1 <= server.journal.total <= 15
    found = states(desk)
    assert found.count("accepted") == server.journal.total
    assert found.count("expired") == 30 - server.journal.total


def test_the_last_deadline_that_was_given_holds_for_resume(desk: "Desk") -> None:
    server = desk.server()
    server.sandbox.everybody = Fault.STATUS_401
    desk.people(3)
    moment = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    assert desk(*SEND, "--deadline", "1h").code == 5
    for options in ((), ("--deadline", moment), (), ("--deadline", "2h"), ()):
        assert desk("resume", "people.ledger.db", *options).code == 5
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        *runs, last = [run.settings["deadline"] for run in reader.runs()]
        kept = reader.plan().deadline
    assert kept is not None
    given = {"at": datetime.fromisoformat(moment).timestamp(), "after": None}
    assert runs[0] == {"at": None, "after": 3_600.0}
    assert runs[1]["at"] == pytest.approx(time.time() + 3_600.0, abs=120.0)
    assert runs[2:] == [given, given, {"at": None, "after": 7_200.0}]
    assert last == {"at": kept, "after": None}
    assert kept == pytest.approx(time.time() + 7_200.0, abs=120.0)


def test_max_pause_bounds_the_wait_for_a_server_that_is_away(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.delivery.brake.FIRST_PAUSE", 0.05)
    server = desk.server()
    server.sandbox.everybody = Fault.HTML_503
    desk.people(30)
    said = desk(*SEND, "--max-pause", "0.3")
    assert said.code == 5
    assert "Stopped (away)" in said.err
    assert set(states(desk)) == {"queued"}


# What is said


def test_quiet_leaves_the_result_alone_on_the_screen(desk: "Desk") -> None:
    desk.server()
    desk.people(2)
    said = desk(*SEND, "--quiet")
    assert said.err == ""
    assert said.out.startswith("Handed to Adaxes: 2 of 2")
    desk.people(2, "others.csv", mark="other")
    assert desk("send", "others.csv", "--yes", "-q").err == ""


RESULT = ["ledger", "run", "input", "url", "fingerprint", "total", "counts", "may_have_sent_twice", "stopped"]
RESULT += ["elapsed_seconds", "messages_per_second"]


def test_json_is_the_documented_object_and_nothing_else_on_stdout(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3, mark="[500]")
    told = desk(*SEND, "--json").json
    assert list(told) == RESULT
    assert list(told["counts"]) == [state.value for state in State]
    assert told["counts"]["accepted"] == told["total"] == 3
    assert (told["ledger"], told["run"], told["input"]) == ("people.ledger.db", 1, "people.csv")
    assert told["url"] == server.url
    assert told["may_have_sent_twice"] == 3
    assert told["stopped"] is None
    assert told["elapsed_seconds"] > 0
    assert told["messages_per_second"] > 0
    assert len(told["fingerprint"]) == 64


def test_json_says_why_a_run_stopped(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk.export("BULKSMS_TOKEN", "wrong")
    said = desk(*SEND, "--json")
    assert said.code == 5
    assert said.json["stopped"] == "unauthorized"
    assert said.json["counts"]["queued"] == 3
    assert server.journal.unauthorized == server.journal.total >= 1


def test_the_log_tells_rows_and_never_names_texts_or_tokens(desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    said = desk(*SEND, "--log-level", "debug", "--log-format", "json", "--log-file", "run.log", "--quiet")
    assert said.err == ""
    events = [json.loads(line) for line in (desk.folder / "run.log").read_text().splitlines()]
    settled = [event for event in events if event["event"] == "message settled"]
    assert sorted(event["row"] for event in settled) == [2, 3, 4]
    assert all({"state", "attempts", "status", "timestamp", "level"} <= set(event) for event in settled)
    everything = (desk.folder / "run.log").read_text()
    assert "Person" not in everything
    assert "Outage" not in everything


def test_log_recipients_names_them_and_still_no_text(desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    log = ("--log-file", "run.log", "--log-format", "json")
    said = desk(*SEND, "--log-recipients", *log)
    assert said.code == 2
    assert "Add --log-level debug" in said.err
    assert desk(*SEND, "--log-level", "debug", "--log-recipients", *log).code == 0
    events = [json.loads(line) for line in (desk.folder / "run.log").read_text().splitlines()]
    named = {event["recipient"]: event["row"] for event in events if event["event"] == "message settled"}
    assert named == {f"CN=Person {number} ,DC=example,DC=com": number + 2 for number in range(3)}
    assert "Outage" not in (desk.folder / "run.log").read_text()


def test_log_level_and_format_decide_what_stands_on_stderr(desk: "Desk") -> None:
    server = desk.server()
    server.sandbox.everybody = Fault.STATUS_401
    desk.people(2)
    assert "run stopping" not in desk(*SEND).err
    said = desk("resume", "people.ledger.db", "--log-level", "info")
    assert "run stopping" in said.err
    said = desk("resume", "people.ledger.db", "--log-level", "info", "--log-format", "json", "--quiet")
    assert any(json.loads(line)["event"] == "run stopping" for line in said.err.splitlines())


def test_the_digest_of_the_ledger_is_said_at_the_end(desk: "Desk") -> None:
    desk.server()
    desk.people(3)
    said = desk(*SEND)
    digest = hashlib.sha256((desk.folder / "people.ledger.db").read_bytes()).hexdigest()
    assert f"SHA-256 {digest}" in said.err


@pytest.mark.skipif(sys.platform != "linux", reason="systemd's way of keeping a machine awake")
@pytest.mark.parametrize("there", [True, False])
def test_the_machine_is_kept_awake_while_the_run_lives(desk: "Desk", *, there: bool) -> None:
    folder = desk.folder / "bin"
    folder.mkdir()
    if there:
        program = desk.write(
            "bin/systemd-inhibit", f'#!/bin/sh\necho "$@" > {folder}/asked; echo $$ > {folder}/pid; exec sleep 60'
        )
        program.chmod(0o755)
    desk.export("PATH", f"{folder}:/usr/bin:/bin" if there else str(folder))
    desk.server(latency=0.2)
    desk.people(20)
    assert desk(*SEND).code == 0
    if there:
        asked = (folder / "asked").read_text()
        assert "--what=sleep:idle" in asked
        assert f"--pid={os.getpid()}" in asked
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / "pid").read_text()), 0)


# resume


def test_resume_goes_on_with_what_the_run_was_started_with(desk: "Desk") -> None:
    server = desk.server()
    desk.people(4, mark="[429*2]")
    server.sandbox.everybody = Fault.STATUS_401
    assert desk(*SEND, "--max-attempts", "2").code == 5
    server.sandbox.everybody = None
    assert desk("resume", "people.ledger.db").code == 1
    assert {(line.reason, line.attempts) for line in desk.lines()} <= {("gave_up", 2), ("gave_up", 3)}
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        assert [run.settings["max_attempts"] for run in reader.runs()] == [2, 2]


def test_a_flag_changes_it(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2, mark="[429*2]")
    server.sandbox.everybody = Fault.STATUS_401
    desk(*SEND, "--max-attempts", "2")
    server.sandbox.everybody = None
    assert desk("resume", "people.ledger.db", "--yes", "--max-attempts", "3", "--json").json["counts"]["accepted"] == 2


def test_resume_of_a_plan_that_is_larger_than_allowed_is_refused(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk("plan", "people.csv")
    assert desk("resume", "people.ledger.db", "--max-recipients", "2").code == 3
    assert server.journal.total == 0


def test_resume_with_nothing_left_says_how_it_ended(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2, mark="[result_failed]")
    assert desk(*SEND).code == 1
    said = desk("resume", "people.ledger.db")
    assert said.code == 1
    assert "Nothing is left to send." in said.err
    assert "2 = 2 failed" in said.out
    assert desk("resume", "people.ledger.db", "--json").json["counts"]["failed"] == 2
    assert server.journal.total == 2


def test_who_ran_what_is_kept_in_the_ledger(desk: "Desk") -> None:
    server = desk.server()
    desk.people(1)
    desk(*SEND, "--workers", "3")
    with LedgerReader(desk.folder / "people.ledger.db") as reader:
        (run,) = reader.runs()
    assert run.confirmed_by == "--yes"
    assert run.url == server.url
    assert run.settings["workers"] == 3
    assert run.user
    assert run.host
    assert run.settled == 1


@pytest.mark.parametrize(
    ("mark", "code"), [("[result_failed]", 1), ("[drop_after]", 4), ("[result_suspended]", 1), ("", 0)]
)
def test_the_exit_code_describes_the_whole_ledger(mark: str, code: int, desk: "Desk") -> None:
    desk.server()
    desk.people(2, mark=mark)
    assert desk(*SEND).code == code
