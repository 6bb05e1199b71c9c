"""Every option of a run shows its effect: on the wire, in the ledger, or in the output."""

import hashlib
import json
import ssl
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import trustme

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox import Account, Fault, SlowSends, Wait

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

SEND = ("send", "people.csv", "--yes")


def states(cli: "CliHarness") -> list[str]:
    return [line.state.value for line in cli.lines()]


# What is sent, and whether


def test_send_sends_each_row_once_and_keeps_a_ledger(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(12)
    result = cli(*SEND)
    assert result.code == 0
    assert "Handed to Adaxes: 12 of 12" in result.out
    assert "12 = 12 accepted" in result.out
    assert "Exit code 0: all accepted." in result.err
    assert cli.files == {"people.csv", "people.ledger.db"}
    sent = {(entry.recipient, entry.text) for entry in server.journal.received}
    assert sent == {(f"CN=Person {number} ,DC=example,DC=com", f"Outage {number}.") for number in range(12)}
    assert server.journal.total == 12


def test_yes_is_needed_where_nobody_can_be_asked(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(1)
    result = cli("send", "people.csv")
    assert (result.code, result.out) == (2, "")
    assert result.err.splitlines()[-2:] == [
        "error: There is no terminal to ask at.",
        "hint: Add --yes to send without a question.",
    ]
    assert cli.files == {"people.csv"}
    assert server.journal.total == 0


def test_dry_run_makes_no_request_and_leaves_no_file(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 0
    assert "3 rows, 3 to send" in result.out
    assert "Outage 0." in result.out
    assert server.url in result.out
    assert "Dry run: nothing was sent" in result.out
    assert cli.files == {"people.csv"}
    assert server.journal.total == server.journal.calls.total() == 0


def test_dry_run_needs_neither_url_nor_token(cli: "CliHarness") -> None:
    cli.people(1)
    assert cli("send", "people.csv", "--dry-run").code == 0


def test_ledger_names_the_ledger(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2)
    result = cli(*SEND, "--ledger", "mine.db")
    assert result.code == 0
    assert cli.files == {"people.csv", "mine.db"}


def test_new_starts_another_ledger_and_sends_again(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    assert cli(*SEND).code == 0
    assert cli(*SEND, "--new").code == 0
    assert server.journal.total == 4
    (other,) = cli.files - {"people.csv", "people.ledger.db"}
    assert other.startswith("people.2")
    assert other.endswith("Z.ledger.db")


def test_the_same_file_again_makes_no_request_and_exits_3(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(4)
    cli(*SEND)
    result = cli(*SEND)
    assert (result.code, result.out) == (3, "")
    assert "was already sent to 4 on 20" in result.err
    assert "nothing sent now" in result.err
    assert "--new" in result.err
    assert server.journal.total == 4


def test_another_plan_in_the_same_ledger_is_refused_with_what_differs(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(4)
    cli(*SEND)
    cli.people(5)
    result = cli(*SEND)
    assert (result.code, result.out) == (3, "")
    assert "is about another plan: 4 messages" in result.err
    assert "now makes 5" in result.err
    assert server.journal.total == 4


def test_a_ledger_as_argument_starts_its_plan(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    assert cli("plan", "people.csv").code == 0
    result = cli("send", "people.ledger.db", "--yes")
    assert result.code == 0
    assert server.journal.total == 3
    assert cli("send", "people.ledger.db", "--yes").code == 3


@pytest.mark.parametrize("option", ["--dry-run", "--sandbox"])
def test_what_needs_an_input_is_refused_for_a_ledger(option: str, cli: "CliHarness") -> None:
    cli.people(1)
    cli("plan", "people.csv")
    result = cli("send", "people.ledger.db", "--yes", option)
    assert result.code == 2
    assert "need an input file, not a ledger" in result.err


def test_max_recipients_refuses_more(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    result = cli(*SEND, "--max-recipients", "2")
    assert result.code == 3
    assert "error: The plan has 3 recipients; --max-recipients allows 2. Nothing was sent." in result.err
    assert cli.files == {"people.csv"}
    assert cli("send", "people.csv", "--dry-run", "--max-recipients", "2").code == 3
    assert server.journal.total == 0
    assert cli(*SEND, "--max-recipients", "3").code == 0


def test_expect_refuses_a_plan_that_is_not_the_previewed_one(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    fingerprint = cli("send", "people.csv", "--dry-run", "--json").json["fingerprint"]
    cli.people(3, mark="changed")
    result = cli(*SEND, "--expect", fingerprint)
    assert result.code == 3
    assert "fingerprint" in result.err
    assert server.journal.total == 0
    cli.people(3)
    assert cli(*SEND, "--expect", fingerprint.upper()).code == 0
    assert server.journal.total == 3


def test_more_than_a_thousand_without_a_terminal_need_a_limit_beside_yes(cli: "CliHarness") -> None:
    server = cli.server(keep_entries=False)
    cli.people(1_001)
    result = cli(*SEND)
    assert result.code == 2
    assert "error: --yes alone is not enough for 1,001 recipients without a terminal." in result.err
    assert "--max-recipients 1001" in result.err
    assert cli.files == {"people.csv"}
    assert server.journal.total == 0
    assert cli(*SEND, "--max-recipients", "1001", "--quiet").code == 0
    assert server.journal.total == 1_001


# Where


def test_url_on_the_command_line_beats_the_environment(cli: "CliHarness") -> None:
    server = cli.server()
    cli.export("BULKSMS_URL", "http://127.0.0.1:9/restApi")
    cli.people(1)
    assert cli(*SEND, "--url", f"{server.url}/api/").code == 0
    assert server.journal.total == 1


def test_the_ledger_is_bound_to_its_first_url(cli: "CliHarness") -> None:
    server, other = cli.serve(), cli.serve()
    cli.at(server)
    cli.people(3, mark="[result_failed]")
    cli(*SEND, "--max-failures", "1", "--workers", "1")
    cli.at(other)
    result = cli("resume", "people.ledger.db")
    assert result.code == 3
    assert f"is bound to {server.url}, not to {other.url}" in result.err
    assert other.journal.total == 0
    cli.at(server)
    cli("resume", "people.ledger.db", "--max-failures", "99")
    assert server.journal.total == 3


@pytest.mark.parametrize("how", ["--token-file", "BULKSMS_TOKEN_FILE", "CREDENTIALS_DIRECTORY", "BULKSMS_TOKEN"])
def test_the_token_comes_from_a_file_or_the_environment(
    how: str, cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    server = cli.serve()
    cli.people(1)
    file = cli.write("bulksms-token", f"{cli.token}\n")
    options = ["--url", server.url]
    if how == "--token-file":
        monkeypatch.setenv("BULKSMS_TOKEN", "another")
        options += ["--token-file", str(file)]
    else:
        cli.export(how, {"BULKSMS_TOKEN_FILE": str(file), "CREDENTIALS_DIRECTORY": str(cli.folder)}.get(how, cli.token))
    assert cli(*SEND, *options).code == 0
    assert server.journal.unauthorized == 0


@pytest.mark.parametrize("how", ["--password-file", "BULKSMS_PASSWORD"])
def test_an_account_logs_in(how: str, cli: "CliHarness") -> None:
    account = Account(password="a-password-4711")
    server = cli.serve(token=None, account=account)
    cli.people(3)
    cli.export("BULKSMS_USERNAME", account.username)
    options = ["--url", server.url]
    if how == "--password-file":
        cli.write("password-token", account.password + "\n")
        options += ["--password-file", "password-token"]
    else:
        cli.export("BULKSMS_PASSWORD", account.password)
    result = cli(*SEND, *options)
    assert result.code == 0, result.err
    assert server.journal.calls["POST /api/auth"] == 1
    assert account.password not in result.out + result.err
    assert account.password.encode() not in (cli.folder / "people.ledger.db").read_bytes()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def test_ca_file_makes_an_authority_known(cli: "CliHarness", authority: trustme.CA) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(cli.folder / "ca.pem")
    server = cli.server(tls=context)
    cli.people(3)
    result = cli(*SEND)
    assert result.code == 5
    assert "Stopped (wrong_endpoint)" in result.err
    assert states(cli) == ["queued"] * 3
    assert cli("resume", "people.ledger.db", "--ca-file", "ca.pem").code == 0
    assert server.journal.total == 3


def test_proxy_and_insecure_http_lead_to_another_host(cli: "CliHarness") -> None:
    """The simulator is the proxy here: what is asked of it names a host that does not exist."""
    server = cli.server()
    cli.people(2)
    there = ("--url", "http://adaxes.invalid/restApi")
    result = cli(*SEND, *there)
    assert result.code == 2
    assert "--insecure-http" in result.err
    proxy = server.url.removesuffix("/restApi")
    assert cli(*SEND, *there, "--insecure-http", "--proxy", proxy).code == 0
    assert server.journal.total == 2


def test_the_proxy_of_the_environment_is_used(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(1)
    cli.export("http_proxy", server.url.removesuffix("/restApi"))
    assert cli(*SEND, "--url", "http://adaxes.invalid/restApi", "--insecure-http").code == 0
    assert server.journal.total == 1


# How


def test_workers_and_no_adapt_fix_how_many_are_in_flight(cli: "CliHarness") -> None:
    server = cli.server(latency=1.0)
    cli.people(12)
    assert cli(*SEND, "--workers", "12", "--no-adapt").code == 0
    assert server.journal.max_in_flight == 12


def test_without_it_a_run_begins_with_few(cli: "CliHarness") -> None:
    server = cli.server(latency=0.4)
    cli.people(24)
    assert cli(*SEND, "--workers", "12").code == 0
    assert server.journal.between(server.journal.times[0], server.journal.times[0] + 0.39) <= 4
    assert 4 < server.journal.max_in_flight <= 12


def test_rate_is_never_exceeded(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(15)
    assert cli(*SEND, "--rate", "600/min").code == 0
    times = server.journal.times
    # A busy machine receives a request later than it left, and the next one at once.
    assert times[-1] - times[0] >= 14 / 10 - 0.5
    assert sum(later - earlier >= 0.03 for earlier, later in pairwise(times)) >= 7


def test_timeout_ends_the_wait_for_an_answer(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2, mark="[stall]")
    began = time.monotonic()
    result = cli(*SEND, "--timeout", "0.3")
    assert result.code == 4
    assert time.monotonic() - began < 25.0
    assert {line.reason for line in cli.lines()} == {"no_answer"}


def test_server_wait_sends_the_header_and_0_leaves_it_out(cli: "CliHarness") -> None:
    refusing = cli.server(slow_sends=SlowSends(wait=Wait.REFUSED))
    cli.people(2)
    assert cli(*SEND, "--server-wait", "0").code == 0
    assert [entry.status for entry in refusing.journal.received] == [200, 200]
    cli(*SEND, "--server-wait", "5", "--new")
    assert 400 in [entry.status for entry in refusing.journal.received]


def test_poll_timeout_gives_an_operation_up(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(1, mark="[202_stuck]")
    assert cli(*SEND, "--poll-timeout", "0.2").code == 4
    assert [line.reason for line in cli.lines()] == ["operation_lost"]
    assert server.journal.total == 1


def test_max_attempts_bounds_the_requests(cli: "CliHarness") -> None:
    server = cli.server()
    people = ["CN=Somebody,DC=x", "CN=[503*9],DC=x"]
    cli.write("people.csv", "directoryObject,text\n" + "".join(f'"{who}",Hello\n' for who in people))
    assert cli(*SEND, "--max-attempts", "2", "--workers", "1").code == 1
    assert [(line.state, line.reason, line.attempts) for line in cli.lines()] == [
        ("accepted", None, 1),
        ("failed", "attempts_exhausted", 2),
    ]
    assert server.journal.total == 3


@pytest.mark.parametrize(
    ("mode", "code", "requests"), [("at-most-once", 4, [1, 1]), ("balanced", 4, [2, 1]), ("at-least-once", 0, [2, 2])]
)
def test_delivery_says_what_may_go_again(mode: str, code: int, requests: list[int], cli: "CliHarness") -> None:
    server = cli.server()
    people = ["CN=[500],DC=x", "CN=[drop_after],DC=x"]
    cli.write("people.csv", "directoryObject,text\n" + "".join(f'"{who}",Hello\n' for who in people))
    assert cli(*SEND, "--delivery", mode).code == code
    assert [server.journal.requests(who) for who in people] == requests


@pytest.mark.parametrize("limit", ["3", "10%"])
def test_max_failures_stops_the_run(limit: str, cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(100, mark="[result_failed]")
    result = cli(*SEND, "--max-failures", limit, "--workers", "1", "--keep-going")
    assert result.code == 5
    assert "Stopped (too_many_failures)" in result.err
    assert server.journal.total == {"3": 3, "10%": 50}[limit]
    assert "bulksms resume people.ledger.db" in result.err


def test_keep_going_goes_on_though_all_are_refused_alike(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(60, mark="[result_failed]")
    result = cli(*SEND, "--workers", "1")
    assert result.code == 5
    assert server.journal.total == 50
    assert cli("resume", "people.ledger.db", "--keep-going").code == 1
    assert server.journal.total == 60


def test_canary_sends_the_first_alone_and_stops_if_it_is_not_accepted(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(10, mark="[result_suspended]")
    result = cli(*SEND, "--canary", "2")
    assert result.code == 5
    assert "Stopped (canary_failed)" in result.err
    assert server.journal.total == 1


def test_canary_goes_on_when_it_was_accepted(cli: "CliHarness") -> None:
    server = cli.server(latency=0.3)
    cli.people(12)
    assert cli(*SEND, "--canary", "2", "--no-adapt").code == 0
    first, second, third = server.journal.times[:3]
    assert second - first >= 0.3
    assert third - second >= 0.3
    assert server.journal.max_in_flight > 1


def test_test_to_sends_the_first_text_to_oneself_before_anything_else(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    me = "CN=Myself,DC=example,DC=com"
    assert cli(*SEND, "--test-to", me).code == 0
    first = server.journal.received[0]
    assert (first.recipient, first.text) == (me, "Outage 0.")
    assert server.journal.total == 4
    assert len(cli.lines()) == 3


def test_a_test_that_is_not_accepted_stops_the_run(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    assert cli(*SEND, "--test-to", "CN=Myself [result_failed],DC=x").code == 5
    assert server.journal.total == 1
    assert set(states(cli)) == {"queued"}


def test_a_test_that_awaits_approval_says_so(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    result = cli(*SEND, "--test-to", "CN=Myself [result_suspended],DC=x")
    assert result.code == 5
    assert "the test message was not accepted: it awaits approval" in result.err


def test_deadline_lets_nothing_new_begin(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(30)
    result = cli(*SEND, "--deadline", "1s", "--rate", "5")
    assert result.code == 5
    assert "Stopped (deadline)" in result.err
    assert 1 <= server.journal.total <= 15
    found = states(cli)
    assert found.count("accepted") == server.journal.total
    assert found.count("expired") == 30 - server.journal.total


def test_the_last_deadline_that_was_given_holds_for_resume(cli: "CliHarness") -> None:
    server = cli.server()
    server.sandbox.everybody = Fault.STATUS_401
    cli.people(3)
    moment = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    assert cli(*SEND, "--deadline", "1h").code == 5
    for options in ((), ("--deadline", moment), (), ("--deadline", "2h"), ()):
        assert cli("resume", "people.ledger.db", *options).code == 5
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        *runs, last = [run.settings["deadline"] for run in reader.runs()]
        kept = reader.plan().deadline
    assert kept is not None
    given = {"at": datetime.fromisoformat(moment).timestamp(), "after": None}
    assert runs[0] == {"at": None, "after": 3_600.0}
    assert runs[1]["at"] == pytest.approx(time.time() + 3_600.0, abs=120.0)
    assert runs[2:] == [given, given, {"at": None, "after": 7_200.0}]
    assert last == {"at": kept, "after": None}
    assert kept == pytest.approx(time.time() + 7_200.0, abs=120.0)


def test_max_outage_bounds_the_wait_for_a_server_that_is_away(cli: "CliHarness") -> None:
    server = cli.server()
    server.sandbox.everybody = Fault.HTML_503
    cli.people(30)
    result = cli(*SEND, "--max-outage", "0.3")
    assert result.code == 5
    assert "Stopped (server_unavailable)" in result.err
    assert set(states(cli)) == {"queued"}


# Output


def test_quiet_leaves_the_result_alone_on_the_screen(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2)
    result = cli(*SEND, "--quiet")
    assert result.err == ""
    assert result.out.startswith("Handed to Adaxes: 2 of 2")
    cli.people(2, "others.csv", mark="other")
    assert cli("send", "others.csv", "--yes", "-q").err == ""


RESULT = ["format", "ledger", "run", "input", "url", "fingerprint", "total", "counts", "possible_duplicate", "stopped"]
RESULT += ["elapsed_seconds", "messages_per_second", "machines"]


def test_json_is_the_documented_object_and_nothing_else_on_stdout(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3, mark="[500]")
    printed = cli(*SEND, "--json").json
    assert list(printed) == RESULT
    assert list(printed["counts"]) == [state.value for state in State]
    assert printed["counts"]["accepted"] == printed["total"] == 3
    assert (printed["ledger"], printed["run"], printed["input"]) == ("people.ledger.db", 1, "people.csv")
    assert printed["url"] == server.url
    assert printed["possible_duplicate"] == 3
    assert printed["stopped"] is None
    assert printed["elapsed_seconds"] > 0
    assert printed["messages_per_second"] > 0
    assert len(printed["fingerprint"]) == 64


def test_json_says_why_a_run_stopped(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli.export("BULKSMS_TOKEN", "wrong")
    result = cli(*SEND, "--json")
    assert result.code == 5
    assert result.json["stopped"] == "unauthorized"
    assert result.json["counts"]["queued"] == 3
    assert server.journal.unauthorized == server.journal.total >= 1


def test_the_log_tells_rows_and_never_names_texts_or_tokens(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    result = cli(*SEND, "--log-level", "debug", "--log-format", "json", "--log-file", "run.log", "--quiet")
    assert result.err == ""
    events = [json.loads(line) for line in (cli.folder / "run.log").read_text().splitlines()]
    settled = [event for event in events if event["event"] == "message settled"]
    assert sorted(event["row"] for event in settled) == [2, 3, 4]
    assert all({"state", "attempts", "status", "timestamp", "level"} <= set(event) for event in settled)
    everything = (cli.folder / "run.log").read_text()
    assert "Person" not in everything
    assert "Outage" not in everything


def test_log_recipients_names_them_and_still_no_text(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    log = ("--log-file", "run.log", "--log-format", "json")
    result = cli(*SEND, "--log-recipients", *log)
    assert result.code == 2
    assert "Add --log-level debug" in result.err
    assert cli(*SEND, "--log-level", "debug", "--log-recipients", *log).code == 0
    events = [json.loads(line) for line in (cli.folder / "run.log").read_text().splitlines()]
    named = {event["recipient"]: event["row"] for event in events if event["event"] == "message settled"}
    assert named == {f"CN=Person {number} ,DC=example,DC=com": number + 2 for number in range(3)}
    assert "Outage" not in (cli.folder / "run.log").read_text()


def test_log_level_and_format_decide_what_is_on_stderr(cli: "CliHarness") -> None:
    server = cli.server()
    server.sandbox.everybody = Fault.STATUS_401
    cli.people(2)
    assert "run stopping" not in cli(*SEND).err
    result = cli("resume", "people.ledger.db", "--log-level", "info")
    assert "run stopping" in result.err
    result = cli("resume", "people.ledger.db", "--log-level", "info", "--log-format", "json", "--quiet")
    assert any(json.loads(line)["event"] == "run stopping" for line in result.err.splitlines())


def test_the_digest_of_the_ledger_is_reported_at_the_end(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3)
    result = cli(*SEND)
    digest = hashlib.sha256((cli.folder / "people.ledger.db").read_bytes()).hexdigest()
    assert f"SHA-256 {digest}" in result.err


# resume


def test_resume_goes_on_with_what_the_run_was_started_with(cli: "CliHarness") -> None:
    server = cli.server()
    people = ["CN=Somebody,DC=x", *(f"CN=Person {number} [503*9],DC=x" for number in range(3))]
    cli.write("people.csv", "directoryObject,text\n" + "".join(f'"{who}",Hello\n' for who in people))
    server.sandbox.everybody = Fault.STATUS_401
    assert cli(*SEND, "--max-attempts", "2", "--workers", "1").code == 5
    server.sandbox.everybody = None
    assert cli("resume", "people.ledger.db").code == 1
    assert {(line.reason, line.attempts) for line in cli.lines()[1:]} <= {
        ("attempts_exhausted", 2),
        ("attempts_exhausted", 3),
    }
    with open_ledger(cli.folder / "people.ledger.db") as reader:
        assert [run.settings["max_attempts"] for run in reader.runs()] == [2, 2]


def test_a_flag_changes_it(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2, mark="[429*2]")
    server.sandbox.everybody = Fault.STATUS_401
    cli(*SEND, "--max-attempts", "2")
    server.sandbox.everybody = None
    assert cli("resume", "people.ledger.db", "--yes", "--max-attempts", "3", "--json").json["counts"]["accepted"] == 2


def test_resume_of_a_plan_that_is_larger_than_allowed_is_refused(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli("plan", "people.csv")
    assert cli("resume", "people.ledger.db", "--max-recipients", "2").code == 3
    assert server.journal.total == 0


def test_resume_with_nothing_left_says_how_it_ended(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2, mark="[result_failed]")
    assert cli(*SEND).code == 1
    result = cli("resume", "people.ledger.db")
    assert result.code == 1
    assert "Nothing is left to send." in result.err
    assert "2 = 2 failed" in result.out
    assert cli("resume", "people.ledger.db", "--json").json["counts"]["failed"] == 2
    assert server.journal.total == 2


def test_who_ran_what_is_kept_in_the_ledger(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(1)
    cli(*SEND, "--workers", "3")
    with open_ledger(cli.folder / "people.ledger.db") as reader:
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
def test_the_exit_code_describes_the_whole_ledger(mark: str, code: int, cli: "CliHarness") -> None:
    cli.server()
    cli.people(2, mark=mark)
    assert cli(*SEND).code == code
