"""`retry`: what a person sends again, and what nobody can; the server's journal is the judge."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from bulksms.ledger.sqlite.invariants import verify
from bulksms.ledger.sqlite.lock import RunLock

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server

LEDGER = "people.ledger.db"
RETRY = ("retry", LEDGER, "--yes")
MARKS = {
    2: "",
    3: "[408*3]",
    4: "[result_failed]",
    5: "[504_processed]",
    6: "[504]",
    7: "[result_suspended]",
}
"""What each row's first requests meet; two attempts a message are made."""
STATES_BEFORE = {
    2: "accepted",
    3: "failed:attempts_exhausted",
    4: "failed:rejected",
    5: "unknown:ambiguous_answer",
    6: "unknown:ambiguous_answer",
    7: "awaiting_approval",
}


def name(row: int) -> str:
    return f"CN=Row {row} {MARKS[row]},DC=example,DC=com"


def sent(cli: "CliHarness") -> "Server":
    """A ledger with one message in each of the states that a run leaves, and the server that heard of them."""
    server = cli.server()
    cli.write("people.csv", "".join(["directoryObject,text\n", *(f'"{name(row)}",Outage {row}.\n' for row in MARKS)]))
    assert cli("send", "people.csv", "--yes", "--max-attempts", "2", "--workers", "1").code == 4
    assert states_of(cli) == STATES_BEFORE
    return server


def states_of(cli: "CliHarness") -> dict[int, str]:
    return {
        line.row: line.state.value if line.reason is None else f"{line.state}:{line.reason}" for line in cli.lines()
    }


def hold(cli: "CliHarness") -> None:
    """The invariants that can be seen in the ledger."""
    assert [(invariant, violation) for invariant, violation in verify(cli.folder / LEDGER) if violation] == []


def requests(server: "Server") -> dict[int, int]:
    return {row: server.journal.requests(name(row)) for row in MARKS}


# What is sent again


def test_by_itself_it_sends_what_is_exhausted_and_nothing_else(cli: "CliHarness") -> None:
    server = sent(cli)
    before = requests(server)
    result = cli(*RETRY)
    assert result.code == 4
    assert states_of(cli) == STATES_BEFORE | {3: "accepted"}
    assert requests(server) == before | {3: before[3] + 2}
    assert "1 of 6 in people.csv: 1 failed:attempts_exhausted" in result.err
    assert "Outage 3." in result.err
    assert "6 = 2 accepted + 1 awaiting_approval + 1 failed + 2 unknown" in result.out
    assert "may have been sent already" not in result.err
    hold(cli)


def test_its_attempts_begin_afresh_and_all_of_them_are_counted(cli: "CliHarness") -> None:
    sent(cli)
    cli(*RETRY)
    (line,) = [line for line in cli.lines() if line.row == 3]
    assert line.attempts == 4, "two of the first run, and two more although --max-attempts is 2"
    assert line.reason is None
    assert not line.possible_duplicate


@pytest.mark.parametrize(
    ("arguments", "sent_again"),
    [
        (("--only", "failed"), {3, 4}),
        (("--only", "failed:rejected"), {4}),
        (("--only", "unknown"), {5, 6}),
        (("--only", "unknown:ambiguous_answer,failed:attempts_exhausted"), {3, 5, 6}),
        (("--rows", "4"), {4}),
        (("--rows", "2-7"), {3, 4}),
        (("--rows", "2-7", "--only", "unknown"), {5, 6}),
        (("--rows", "3,5-6", "--only", "failed:attempts_exhausted,unknown"), {3, 5, 6}),
    ],
)
def test_states_and_rows_choose(arguments: tuple[str, ...], sent_again: set[int], cli: "CliHarness") -> None:
    server = sent(cli)
    before = requests(server)
    cli(*RETRY, *arguments)
    after = requests(server)
    assert {row for row in MARKS if after[row] > before[row]} == sent_again
    assert {row for row, state in states_of(cli).items() if state == "accepted"} == {2} | sent_again
    hold(cli)


def test_from_chooses_people_by_the_identifiers_in_a_file(cli: "CliHarness") -> None:
    server = sent(cli)
    before = requests(server)
    cli.write("fixed.csv", f'name,dn\nA,"{name(4).upper()}"\nB,"{name(2)}"\nC,"CN=Nobody,DC=x"\n')
    result = cli(*RETRY, "--from", "fixed.csv")
    assert result.code == 4
    assert requests(server) == before | {4: before[4] + 1}
    assert f"warning: 1 in fixed.csv are not in {LEDGER}: CN=Nobody,DC=x" in result.err
    assert "Of those that were named, these stay as they are: 1 accepted." in result.err


def test_a_file_of_people_that_names_nobody_plainly_sends_nothing(cli: "CliHarness") -> None:
    server = sent(cli)
    cli.write("fixed.csv", f'dn\n"{name(4)}"\njsmith\n')
    total = server.journal.total
    result = cli(*RETRY, "--from", "fixed.csv")
    assert result.code == 3
    assert "row 3 'jsmith'" in result.err
    assert "hint: Correct them: nobody can tell who is meant." in result.err
    assert server.journal.total == total


def test_what_is_unknown_is_sent_again_with_a_warning_and_counted_as_perhaps_twice(cli: "CliHarness") -> None:
    server = sent(cli)
    result = cli(*RETRY, "--only", "unknown")
    assert "warning: 2 of them may have been sent already; those people then get it twice." in result.err
    assert server.journal.delivered(name(5)) == 2
    assert server.journal.delivered(name(6)) == 1
    assert {line.row for line in cli.lines() if line.possible_duplicate} == {5, 6}
    assert "2 may have been sent twice." in result.out
    hold(cli)


def test_an_unknown_among_the_named_rows_is_left_alone_until_it_is_asked_for(cli: "CliHarness") -> None:
    sent(cli)
    result = cli(*RETRY, "--rows", "4-6")
    assert "these stay as they are: 2 unknown:ambiguous_answer." in result.err
    assert "hint: --only unknown sends the unknown messages again" in result.err
    assert states_of(cli) == STATES_BEFORE | {4: "accepted"}


@pytest.mark.parametrize("state", ["accepted", "awaiting_approval", "cancelled", "skipped", "queued", "processing"])
def test_other_states_are_never_sent_again(state: str, cli: "CliHarness") -> None:
    server = sent(cli)
    total = server.journal.total
    result = cli(*RETRY, "--only", f"failed,{state}")
    assert (result.code, result.out) == (2, "")
    assert f"error: Messages that are {state} are never sent again." in result.err
    assert "--only takes expired, failed, unknown" in result.err
    assert server.journal.total == total
    assert states_of(cli) == STATES_BEFORE


def test_what_was_cancelled_stays_so(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(3)
    cli("plan", "people.csv")
    cli("cancel", LEDGER)
    result = cli(*RETRY, "--rows", "2-4", "--only", "failed,unknown,expired")
    assert result.code == 0
    assert "Of those that were named, these stay as they are: 3 cancelled:cancelled." in result.err
    assert server.journal.total == 0


def test_what_a_person_sends_again_is_no_sign_of_a_server_in_trouble(cli: "CliHarness") -> None:
    """The budget for retries (100, and 2 a second) holds for what the program repeats by itself."""
    server = cli.server()
    cli.people(250, mark="[result_failed]")
    cli("send", "people.csv", "--yes", "--keep-going")
    assert cli(*RETRY, "--only", "failed").code == 0
    times = server.journal.times
    assert times[499] - times[250] < 20 * (times[249] - times[0])


def test_again_and_again_it_sends_to_nobody_who_was_reached(cli: "CliHarness") -> None:
    server = sent(cli)
    for only in ("failed,unknown,expired", "failed,unknown,expired", "failed"):
        cli(*RETRY, "--only", only)
    assert requests(server) == {2: 1, 3: 4, 4: 2, 5: 2, 6: 2, 7: 1}
    assert cli(*RETRY, "--only", "failed,unknown,expired").code == 1, "one awaits approval"
    hold(cli)


def test_what_is_left_to_send_goes_with_it_and_is_counted_in_the_question(cli: "CliHarness") -> None:
    server = cli.server()
    rows = ["[result_failed]", "[401*9]", "", ""]
    cli.write("people.csv", "".join(f'"CN=P{number} {mark}",x\n' for number, mark in enumerate(rows)))
    cli.write("people.csv", "directoryObject,text\n" + (cli.folder / "people.csv").read_text())
    assert cli("send", "people.csv", "--yes", "--workers", "1", "--no-adapt").code == 5
    cli.at(server)
    result = cli(*RETRY, "--only", "failed", "--max-recipients", "3")
    assert (result.code, server.journal.requests("CN=P0 [result_failed]")) == (3, 1)
    assert "The plan has 4 recipients; --max-recipients allows 3." in result.err
    result = cli(*RETRY, "--only", "failed")
    assert "3 that are still left to send" in result.err
    assert server.journal.requests("CN=P0 [result_failed]") == 2


# The question


def test_nobody_is_sent_anything_without_a_yes(cli: "CliHarness") -> None:
    server = sent(cli)
    total = server.journal.total
    result = cli("retry", LEDGER)
    assert (result.code, result.out) == (2, "")
    assert "error: There is no terminal to ask at." in result.err
    assert server.journal.total == total
    assert states_of(cli) == STATES_BEFORE


def test_above_a_thousand_a_yes_alone_is_not_enough(cli: "CliHarness") -> None:
    server = cli.server(keep_entries=False)
    cli.people(1_001, mark="[result_failed]")
    cli("send", "people.csv", "--yes", "--max-recipients", "2000", "--keep-going")
    result = cli(*RETRY, "--only", "failed")
    assert result.code == 2
    assert "--yes alone is not enough for 1,001 recipients" in result.err
    assert cli(*RETRY, "--only", "failed", "--max-recipients", "1001", "--quiet").code == 0
    assert server.journal.total == 2_002


# Nothing to do


def test_nothing_to_send_again_says_so_and_exits_as_the_ledger_is(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    cli("send", "people.csv", "--yes")
    result = cli(*RETRY)
    assert result.code == 0
    assert "Nothing is expired or failed:attempts_exhausted, so nothing is sent again." in result.err
    assert "2 = 2 accepted" in result.out
    assert json.loads(cli(*RETRY, "--json").out)["counts"]["accepted"] == 2
    assert server.journal.total == 2


def test_nothing_to_send_again_names_the_command_for_those_who_were_refused(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2, mark="[422]")
    cli("send", "people.csv", "--yes")
    result = cli(*RETRY)
    assert result.code == 1
    assert "once that is fixed:\n  bulksms retry people.ledger.db --only failed:rejected\n" in result.err


def test_what_was_never_attempted_is_no_retry_s_business(cli: "CliHarness") -> None:
    server = cli.server()
    cli.people(2)
    cli("plan", "people.csv")
    result = cli(*RETRY)
    assert "2 are queued; to start:\n  bulksms send people.ledger.db\n" in result.err
    assert server.journal.total == 0


def test_that_somebody_may_get_it_twice_is_reported_who_is_quiet(cli: "CliHarness") -> None:
    sent(cli)
    result = cli(*RETRY, "--only", "unknown", "--quiet")
    assert result.err == "warning: 2 of them may have been sent already; those people then get it twice.\n"


# What a ledger was bound to, and when


def test_an_expired_message_does_not_expire_again_at_once(cli: "CliHarness") -> None:
    server = cli.server(latency=0.05)
    cli.people(12)
    cli("send", "people.csv", "--yes", "--deadline", "1s", "--rate", "5")
    expired = [line for line in cli.lines() if line.state == "expired"]
    assert expired
    result = cli(*RETRY, "--rate", "1000")
    assert result.code == 0
    assert "The deadline of this ledger has passed and holds no more; --deadline sets another one." in result.err
    assert server.journal.total == 12
    with open_ledger(cli.folder / LEDGER) as reader:
        assert reader.plan().deadline is None
    hold(cli)


def test_a_new_deadline_holds_for_a_retry(cli: "CliHarness") -> None:
    cli.server(latency=0.05)
    cli.people(30)
    cli("send", "people.csv", "--yes", "--deadline", "1s", "--rate", "5")
    result = cli(*RETRY, "--rate", "5", "--deadline", "1s")
    assert result.code == 5
    assert "Stopped (deadline)" in result.err
    assert "holds no more" not in result.err
    assert "expired" in states_of(cli)[31]


def test_a_run_that_lives_is_reported_of_before_anything_is_asked(cli: "CliHarness") -> None:
    sent(cli)
    lock = RunLock(cli.folder / LEDGER)
    lock.acquire("anna on server-1")
    result = cli("retry", LEDGER)
    assert result.code == 6
    assert "A run is working on people.ledger.db" in result.err
    lock.release()


@pytest.mark.parametrize(("delivery", "found"), [("balanced", "unknown:crash"), ("at-least-once", "queued")])
def test_what_a_dead_run_left_is_counted_as_what_it_becomes(delivery: str, found: str, cli: "CliHarness") -> None:
    server = sent(cli)
    left_sending(cli.folder / LEDGER, row=6)
    result = cli("retry", LEDGER, "--only", "unknown:crash", "--delivery", delivery)
    assert result.code in (2, 4), "there is nobody to ask, or nothing to be asked about"
    assert states_of(cli)[6] == found
    requested = server.journal.requests(name(6))
    cli(*RETRY, "--only", "unknown:crash,failed:attempts_exhausted", "--delivery", delivery)
    assert server.journal.requests(name(6)) == requested + 1
    assert [line.possible_duplicate for line in cli.lines() if line.row == 6] == [True]
    assert states_of(cli)[5] == "unknown:ambiguous_answer"
    hold(cli)


def left_sending(ledger: Path, row: int) -> None:
    """As a kill leaves a message: its second attempt is on disk, and no answer to it."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(
            "UPDATE message SET state = 'sending', reason = NULL, finished_at = NULL, attempts = 2, tries = 1, "
            "began_at = 5, possible_duplicate = 1 WHERE input_row = ?",
            (row,),
        )
        connection.execute("UPDATE tally SET messages = messages - 1 WHERE name = 'unknown'")
        connection.execute(
            "UPDATE tally SET messages = messages + 1 WHERE name IN ('sending', 'possible_duplicate', 'attempts')"
        )


def test_another_url_is_refused(cli: "CliHarness") -> None:
    sent(cli)
    other = cli.serve()
    result = cli(*RETRY, "--url", other.url)
    assert result.code == 3
    assert "is bound to" in result.err
    assert other.journal.total == 0


def test_whom_another_ledger_has_reported_since_is_not_retried_from_this_one(cli: "CliHarness") -> None:
    server = sent(cli)
    cli("send", "people.csv", "--yes", "--new")
    total = server.journal.total
    result = cli(*RETRY)
    assert result.code == 3
    assert "The same plan" in result.err
    assert "nothing sent now" in result.err
    assert server.journal.total == total
    assert states_of(cli) == STATES_BEFORE


def test_settings_of_the_first_run_hold_and_a_flag_changes_them(cli: "CliHarness") -> None:
    sent(cli)
    cli.export("BULKSMS_MAX_ATTEMPTS", "7")
    cli(*RETRY)
    cli(*RETRY, "--only", "failed", "--max-attempts", "3")
    with open_ledger(cli.folder / LEDGER) as reader:
        assert [run.settings["max_attempts"] for run in reader.runs()] == [2, 2, 3]


def test_a_rehearsal_is_not_retried(cli: "CliHarness") -> None:
    cli.server()
    cli.people(3, mark="[504]")
    cli("send", "people.csv", "--sandbox", "--yes")
    result = cli("retry", "people.sandbox.db", "--yes", "--only", "unknown")
    assert result.code == 3
    assert "is the ledger of a rehearsal" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "unknwon"), "did you mean 'unknown'"),
        (("--only", "failed:attempts_exhuasted"), "did you mean 'attempts_exhausted'"),
        (("--rows", "6-2"), "write 2-6"),
        (("--rows", "x"), "'x' is no row"),
        (("--rows", "3", "--from", "people.csv"), "Both --rows and --from name messages."),
    ],
)
def test_what_cannot_be_meant_is_reported(arguments: tuple[str, ...], words: str, cli: "CliHarness") -> None:
    sent(cli)
    result = cli(*RETRY, *arguments)
    assert result.code == 2
    assert words in result.err


def test_rows_that_are_not_there_are_named(cli: "CliHarness") -> None:
    sent(cli)
    result = cli(*RETRY, "--rows", "3,90,400-500")
    assert result.code == 3
    assert "people.ledger.db has no row 90, 400-500" in result.err
    assert states_of(cli) == STATES_BEFORE


# History


def test_who_sent_again_is_in_the_ledger_and_is_shown_by_status(cli: "CliHarness") -> None:
    sent(cli)
    cli(*RETRY, "--only", "failed")
    with open_ledger(cli.folder / LEDGER) as reader:
        (decision,) = reader.operator_actions()
        run = reader.runs()[-1]
    assert (decision.action, decision.user, decision.host) == ("retry", run.user, run.host)
    assert run.confirmed_by == decision.confirmed_by == "--yes"
    for look in (("status", LEDGER), ("report", LEDGER, "--runs")):
        result = cli(*look)
        words = f"retry by {run.user} on {run.host}: 1 failed:attempts_exhausted to queued, 1 failed:rejected to queued"
        assert words in " ".join(result.out.split())


def test_report_takes_the_same_words(cli: "CliHarness") -> None:
    sent(cli)
    result = cli("report", LEDGER, "--format", "jsonl", "--only", "failed:rejected,unknown:crash,accepted")
    assert [json.loads(line)["row"] for line in result.out.splitlines()] == [2, 4]
