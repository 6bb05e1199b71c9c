"""`retry`: what a person sends again, and what nobody can; the server's journal is the judge."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import LedgerReader
from bulksms.ledger.verification import verify

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Server

LEDGER = "people.ledger.db"
RETRY = ("retry", LEDGER, "--yes")
MARKS = {
    2: "",
    3: "[429*3]",
    4: "[result_failed]",
    5: "[504_processed]",
    6: "[504]",
    7: "[result_suspended]",
}
"""What each row's first requests meet; two attempts a message are made."""
STOOD = {
    2: "accepted",
    3: "failed:gave_up",
    4: "failed:refused",
    5: "unknown:doubtful_answer",
    6: "unknown:doubtful_answer",
    7: "awaiting_approval",
}


def name(row: int) -> str:
    return f"CN=Row {row} {MARKS[row]},DC=example,DC=com"


def sent(desk: "Desk") -> "Server":
    """A ledger with one message in each of the states that a run leaves, and the server that heard of them."""
    server = desk.server()
    desk.write("people.csv", "".join(["directoryObject,text\n", *(f'"{name(row)}",Outage {row}.\n' for row in MARKS)]))
    assert desk("send", "people.csv", "--yes", "--max-attempts", "2").code == 4
    assert stand(desk) == STOOD
    return server


def stand(desk: "Desk") -> dict[int, str]:
    return {
        line.row: line.state.value if line.reason is None else f"{line.state}:{line.reason}" for line in desk.lines()
    }


def hold(desk: "Desk") -> None:
    """The laws that can be seen in the ledger."""
    assert [(law, broken) for law, broken in verify(desk.folder / LEDGER) if broken] == []


def requests(server: "Server") -> dict[int, int]:
    return {row: server.journal.requests(name(row)) for row in MARKS}


# What is sent again


def test_by_itself_it_sends_what_gave_up_and_nothing_else(desk: "Desk") -> None:
    server = sent(desk)
    before = requests(server)
    said = desk(*RETRY)
    assert said.code == 4
    assert stand(desk) == STOOD | {3: "accepted"}
    assert requests(server) == before | {3: before[3] + 2}
    assert "1 of 6 in people.csv: 1 failed:gave_up" in said.err
    assert "Outage 3." in said.err
    assert "6 = 2 accepted + 1 awaiting_approval + 1 failed + 2 unknown" in said.out
    assert "may have been sent already" not in said.err
    hold(desk)


def test_its_attempts_begin_afresh_and_all_of_them_are_counted(desk: "Desk") -> None:
    sent(desk)
    desk(*RETRY)
    (line,) = [line for line in desk.lines() if line.row == 3]
    assert line.attempts == 4, "two of the first run, and two more although --max-attempts is 2"
    assert line.reason is None
    assert not line.may_have_sent_twice


@pytest.mark.parametrize(
    ("arguments", "sent_again"),
    [
        (("--only", "failed"), {3, 4}),
        (("--only", "failed:refused"), {4}),
        (("--only", "unknown"), {5, 6}),
        (("--only", "unknown:doubtful_answer,failed:gave_up"), {3, 5, 6}),
        (("--rows", "4"), {4}),
        (("--rows", "2-7"), {3, 4}),
        (("--rows", "2-7", "--only", "unknown"), {5, 6}),
        (("--rows", "3,5-6", "--only", "failed:gave_up,unknown"), {3, 5, 6}),
    ],
)
def test_states_and_rows_choose(arguments: tuple[str, ...], sent_again: set[int], desk: "Desk") -> None:
    server = sent(desk)
    before = requests(server)
    desk(*RETRY, *arguments)
    after = requests(server)
    assert {row for row in MARKS if after[row] > before[row]} == sent_again
    assert {row for row, state in stand(desk).items() if state == "accepted"} == {2} | sent_again
    hold(desk)


def test_from_chooses_people_by_the_identifiers_in_a_file(desk: "Desk") -> None:
    server = sent(desk)
    before = requests(server)
    desk.write("mended.csv", f'name,dn\nA,"{name(4).upper()}"\nB,"{name(2)}"\nC,"CN=Nobody,DC=x"\n')
    said = desk(*RETRY, "--from", "mended.csv")
    assert said.code == 4
    assert requests(server) == before | {4: before[4] + 1}
    assert f"warning: 1 in mended.csv are not in {LEDGER}: CN=Nobody,DC=x" in said.err
    assert "Of those that were named, these stay as they are: 1 accepted." in said.err


def test_a_file_of_people_that_names_nobody_plainly_sends_nothing(desk: "Desk") -> None:
    server = sent(desk)
    desk.write("mended.csv", f'dn\n"{name(4)}"\njsmith\n')
    total = server.journal.total
    said = desk(*RETRY, "--from", "mended.csv")
    assert said.code == 3
    assert "row 3 'jsmith'" in said.err
    assert "hint: Correct them: nobody can tell who is meant." in said.err
    assert server.journal.total == total


def test_what_is_unknown_is_sent_again_with_a_warning_and_counted_as_perhaps_twice(desk: "Desk") -> None:
    server = sent(desk)
    said = desk(*RETRY, "--only", "unknown")
    assert "warning: 2 of them may have been sent already; whoever was gets it twice." in said.err
    assert server.journal.delivered(name(5)) == 2
    assert server.journal.delivered(name(6)) == 1
    assert {line.row for line in desk.lines() if line.may_have_sent_twice} == {5, 6}
    assert "2 may have been sent twice." in said.out
    hold(desk)


def test_an_unknown_among_the_named_rows_is_left_alone_until_it_is_asked_for(desk: "Desk") -> None:
    sent(desk)
    said = desk(*RETRY, "--rows", "4-6")
    assert "these stay as they are: 2 unknown:doubtful_answer." in said.err
    assert "hint: --only unknown sends to those of whom nobody knows" in said.err
    assert stand(desk) == STOOD | {4: "accepted"}


@pytest.mark.parametrize("state", ["accepted", "awaiting_approval", "cancelled", "skipped", "queued", "processing"])
def test_other_states_are_never_sent_again(state: str, desk: "Desk") -> None:
    server = sent(desk)
    total = server.journal.total
    said = desk(*RETRY, "--only", f"failed,{state}")
    assert (said.code, said.out) == (2, "")
    assert f"error: Messages that are {state} are never sent again." in said.err
    assert "--only takes expired, failed, unknown" in said.err
    assert server.journal.total == total
    assert stand(desk) == STOOD


def test_what_was_cancelled_stays_so(desk: "Desk") -> None:
    server = desk.server()
    desk.people(3)
    desk("plan", "people.csv")
    desk("cancel", LEDGER)
    said = desk(*RETRY, "--rows", "2-4", "--only", "failed,unknown,expired")
    assert said.code == 0
    assert "Of those that were named, these stay as they are: 3 cancelled:cancelled." in said.err
    assert server.journal.total == 0


def test_what_a_person_sends_again_is_no_sign_of_a_server_in_trouble(desk: "Desk") -> None:
    """The budget for retries (100, and 2 a second) holds for what the program repeats by itself."""
    server = desk.server()
    desk.people(250, mark="[result_failed]")
    desk("send", "people.csv", "--yes", "--keep-going")
    assert desk(*RETRY, "--only", "failed").code == 0
    times = server.journal.times
    assert times[499] - times[250] < 20 * (times[249] - times[0])


def test_again_and_again_it_sends_to_nobody_who_was_reached(desk: "Desk") -> None:
    server = sent(desk)
    for only in ("failed,unknown,expired", "failed,unknown,expired", "failed"):
        desk(*RETRY, "--only", only)
    assert requests(server) == {2: 1, 3: 4, 4: 2, 5: 2, 6: 2, 7: 1}
    assert desk(*RETRY, "--only", "failed,unknown,expired").code == 1, "one awaits approval"
    hold(desk)


def test_what_is_left_to_send_goes_with_it_and_is_counted_in_the_question(desk: "Desk") -> None:
    server = desk.server()
    rows = ["[result_failed]", "[401*9]", "", ""]
    desk.write("people.csv", "".join(f'"CN=P{number} {mark}",x\n' for number, mark in enumerate(rows)))
    desk.write("people.csv", "directoryObject,text\n" + (desk.folder / "people.csv").read_text())
    assert desk("send", "people.csv", "--yes", "--workers", "1", "--no-adapt").code == 5
    desk.at(server)
    said = desk(*RETRY, "--only", "failed", "--max-recipients", "3")
    assert (said.code, server.journal.requests("CN=P0 [result_failed]")) == (3, 1)
    assert "The plan has 4 recipients; --max-recipients allows 3." in said.err
    said = desk(*RETRY, "--only", "failed")
    assert "3 that are still left to send" in said.err
    assert server.journal.requests("CN=P0 [result_failed]") == 2


# The question


def test_nobody_is_sent_anything_without_a_yes(desk: "Desk") -> None:
    server = sent(desk)
    total = server.journal.total
    said = desk("retry", LEDGER)
    assert (said.code, said.out) == (2, "")
    assert "error: There is no terminal to ask at." in said.err
    assert server.journal.total == total
    assert stand(desk) == STOOD


def test_above_a_thousand_a_yes_alone_is_not_enough(desk: "Desk") -> None:
    server = desk.server(keep_entries=False)
    desk.people(1_001, mark="[result_failed]")
    desk("send", "people.csv", "--yes", "--max-recipients", "2000", "--keep-going")
    said = desk(*RETRY, "--only", "failed")
    assert said.code == 2
    assert "--yes alone is not enough for 1,001 recipients" in said.err
    assert desk(*RETRY, "--only", "failed", "--max-recipients", "1001", "--quiet").code == 0
    assert server.journal.total == 2_002


# Nothing to do


def test_nothing_to_send_again_says_so_and_exits_as_the_ledger_stands(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    desk("send", "people.csv", "--yes")
    said = desk(*RETRY)
    assert said.code == 0
    assert "Nothing is expired or failed:gave_up, so nothing is sent again." in said.err
    assert "2 = 2 accepted" in said.out
    assert json.loads(desk(*RETRY, "--json").out)["counts"]["accepted"] == 2
    assert server.journal.total == 2


def test_nothing_to_send_again_names_the_command_for_those_who_were_refused(desk: "Desk") -> None:
    desk.server()
    desk.people(2, mark="[422]")
    desk("send", "people.csv", "--yes")
    said = desk(*RETRY)
    assert said.code == 1
    assert "once that is mended:\n  bulksms retry people.ledger.db --only failed:refused\n" in said.err


def test_what_was_never_attempted_is_no_retry_s_business(desk: "Desk") -> None:
    server = desk.server()
    desk.people(2)
    desk("plan", "people.csv")
    said = desk(*RETRY)
    assert "2 are left; to continue:\n  bulksms resume people.ledger.db\n" in said.err
    assert server.journal.total == 0


def test_that_somebody_may_get_it_twice_is_said_whoever_is_quiet(desk: "Desk") -> None:
    sent(desk)
    said = desk(*RETRY, "--only", "unknown", "--quiet")
    assert said.err == "warning: 2 of them may have been sent already; whoever was gets it twice.\n"


# What a ledger was bound to, and when


def test_an_expired_message_does_not_expire_again_at_once(desk: "Desk") -> None:
    server = desk.server(latency=0.05)
    desk.people(12)
    desk("send", "people.csv", "--yes", "--deadline", "1s", "--rate", "5")
    expired = [line for line in desk.lines() if line.state == "expired"]
    assert expired
    said = desk(*RETRY, "--rate", "1000")
    assert said.code == 0
    assert "The deadline of this ledger has passed and holds no more; --deadline sets another one." in said.err
    assert server.journal.total == 12
    with LedgerReader(desk.folder / LEDGER) as reader:
        assert reader.plan().deadline is None
    hold(desk)


def test_a_new_deadline_holds_for_a_retry(desk: "Desk") -> None:
    desk.server(latency=0.05)
    desk.people(30)
    desk("send", "people.csv", "--yes", "--deadline", "1s", "--rate", "5")
    said = desk(*RETRY, "--rate", "5", "--deadline", "1s")
    assert said.code == 5
    assert "Stopped (deadline)" in said.err
    assert "holds no more" not in said.err
    assert "expired" in stand(desk)[31]


def test_a_run_that_lives_is_told_of_before_anything_is_asked(desk: "Desk") -> None:
    sent(desk)
    lock = RunLock(desk.folder / LEDGER)
    lock.acquire("anna on server-1")
    said = desk("retry", LEDGER)
    assert said.code == 6
    assert "A run is working on people.ledger.db" in said.err
    lock.release()


@pytest.mark.parametrize(("delivery", "found"), [("balanced", "unknown:crash"), ("at-least-once", "queued")])
def test_what_a_dead_run_left_is_counted_as_what_it_becomes(delivery: str, found: str, desk: "Desk") -> None:
    server = sent(desk)
    left_sending(desk.folder / LEDGER, row=6)
    said = desk("retry", LEDGER, "--only", "unknown:crash", "--delivery", delivery)
    assert said.code in (2, 4), "there is nobody to ask, or nothing to be asked about"
    assert stand(desk)[6] == found
    requested = server.journal.requests(name(6))
    desk(*RETRY, "--only", "unknown:crash,failed:gave_up", "--delivery", delivery)
    assert server.journal.requests(name(6)) == requested + 1
    assert [line.may_have_sent_twice for line in desk.lines() if line.row == 6] == [True]
    assert stand(desk)[5] == "unknown:doubtful_answer"
    hold(desk)


def left_sending(ledger: Path, row: int) -> None:
    """As a kill leaves a message: its second attempt is on disk, and no answer to it."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        connection.execute(
            "UPDATE message SET state = 'sending', reason = NULL, finished_at = NULL, attempts = 2, tries = 1, "
            "began_at = 5, may_have_sent_twice = 1 WHERE input_row = ?",
            (row,),
        )
        connection.execute("UPDATE tally SET messages = messages - 1 WHERE name = 'unknown'")
        connection.execute("UPDATE tally SET messages = messages + 1 WHERE name IN ('sending', 'may_have_sent_twice')")


def test_another_url_is_refused(desk: "Desk") -> None:
    sent(desk)
    other = desk.serve()
    said = desk(*RETRY, "--url", other.url)
    assert said.code == 3
    assert "is bound to" in said.err
    assert other.journal.total == 0


def test_whom_another_ledger_has_told_since_is_not_retried_from_this_one(desk: "Desk") -> None:
    server = sent(desk)
    desk("send", "people.csv", "--yes", "--new")
    total = server.journal.total
    said = desk(*RETRY)
    assert said.code == 3
    assert "The same plan" in said.err
    assert "nothing sent now" in said.err
    assert server.journal.total == total
    assert stand(desk) == STOOD


def test_settings_of_the_first_run_hold_and_a_flag_changes_them(desk: "Desk") -> None:
    sent(desk)
    desk.export("BULKSMS_MAX_ATTEMPTS", "7")
    desk(*RETRY)
    desk(*RETRY, "--only", "failed", "--max-attempts", "3")
    with LedgerReader(desk.folder / LEDGER) as reader:
        assert [run.settings["max_attempts"] for run in reader.runs()] == [2, 2, 3]


def test_a_rehearsal_is_not_retried(desk: "Desk") -> None:
    desk.server()
    desk.people(3, mark="[504]")
    desk("send", "people.csv", "--sandbox", "--yes")
    said = desk("retry", "people.sandbox.db", "--yes", "--only", "unknown")
    assert said.code == 3
    assert "is the ledger of a rehearsal" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--only", "unknwon"), "did you mean 'unknown'"),
        (("--only", "failed:gaveup"), "did you mean 'gave_up'"),
        (("--rows", "6-2"), "write 2-6"),
        (("--rows", "x"), "'x' is no row"),
        (("--rows", "3", "--from", "people.csv"), "Both --rows and --from name messages."),
    ],
)
def test_what_cannot_be_meant_is_told(arguments: tuple[str, ...], words: str, desk: "Desk") -> None:
    sent(desk)
    said = desk(*RETRY, *arguments)
    assert said.code == 2
    assert words in said.err


def test_rows_that_are_not_there_are_named(desk: "Desk") -> None:
    sent(desk)
    said = desk(*RETRY, "--rows", "3,90,400-500")
    assert said.code == 3
    assert "people.ledger.db has no row 90, 400-500" in said.err
    assert stand(desk) == STOOD


# History


def test_who_sent_again_stands_in_the_ledger_and_is_shown_by_status(desk: "Desk") -> None:
    sent(desk)
    desk(*RETRY, "--only", "failed")
    with LedgerReader(desk.folder / LEDGER) as reader:
        (decision,) = reader.decisions()
        run = reader.runs()[-1]
    assert (decision.what, decision.user, decision.host) == ("retry", run.user, run.host)
    assert run.confirmed_by == decision.confirmed_by == "--yes"
    for look in (("status", LEDGER), ("report", LEDGER, "--runs")):
        said = desk(*look)
        words = f"retry by {run.user} on {run.host}: 1 failed:gave_up to queued, 1 failed:refused to queued"
        assert words in " ".join(said.out.split())


def test_report_takes_the_same_words(desk: "Desk") -> None:
    sent(desk)
    said = desk("report", LEDGER, "--format", "jsonl", "--only", "failed:refused,unknown:crash,accepted")
    assert [json.loads(line)["row"] for line in said.out.splitlines()] == [2, 4]
