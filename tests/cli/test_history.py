"""`history` and `purge`: the ledgers of a folder, and their names and texts removed when their time has come."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger.lock import RunLock
from bulksms.ledger.reader import LedgerReader

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

LEDGER = "people.ledger.db"


def dated(path: Path, moment: str) -> None:
    """Everything that happened to a ledger happened then."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE plan SET created_at = ?", (moment,))
        connection.execute("UPDATE run SET started_at = ?, ended_at = ?", (moment, moment))
        connection.execute("UPDATE decision SET decided_at = ?", (moment,))


def sent(desk: "Desk", name: str = "people", *, mark: str = "", count: int = 3) -> Path:
    desk.server()
    desk.people(count, f"{name}.csv", mark=mark)
    desk("send", f"{name}.csv", "--yes")
    return desk.folder / f"{name}.ledger.db"


def words(said: str) -> list[list[str]]:
    """The words of each line below the head."""
    return [line.split() for line in said.splitlines()[1:]]


# History


def test_each_ledger_is_one_line_the_earliest_first(desk: "Desk") -> None:
    dated(sent(desk, "late"), "2026-03-01T10:00:00Z")
    dated(sent(desk, "early", mark="[504]"), "2026-02-01T09:30:00Z")
    desk.people(4, "planned.csv")
    desk("plan", "planned.csv")
    dated(desk.folder / "planned.ledger.db", "2026-02-15T00:00:00Z")
    said = desk("history")
    assert said.code == 0
    assert words(said.out) == [
        [
            "early.ledger.db",
            "2026-02-01",
            "09:30",
            "early.csv",
            *["3", "0", "0", "3", "0"],
            "2026-02-01",
            "09:30",
            "finished",
        ],
        ["planned.ledger.db", "2026-02-15", "00:00", "planned.csv", *["4", "0", "0", "0", "4"], "not", "sent"],
        [
            "late.ledger.db",
            "2026-03-01",
            "10:00",
            "late.csv",
            *["3", "3", "0", "0", "0"],
            "2026-03-01",
            "10:00",
            "finished",
        ],
    ]


def test_another_folder_can_be_named_and_an_empty_one_says_so(desk: "Desk") -> None:
    sent(desk)
    elsewhere = desk.folder / "elsewhere"
    elsewhere.mkdir()
    said = desk("history", elsewhere)
    assert (said.code, said.out) == (0, "")
    assert f"There are no ledgers in {elsewhere}." in said.err
    (desk.folder / LEDGER).rename(elsewhere / "moved.db")
    assert "moved.db" in desk("history", "elsewhere").out, "known by its content, not by its name"
    said = desk("history", "nowhere")
    assert said.code == 2
    assert "nowhere cannot be read: No such file or directory." in said.err


def test_what_runs_died_or_stopped_is_told(desk: "Desk") -> None:
    path = sent(desk)
    lock = RunLock(path)
    lock.acquire("anna")
    assert "living" in desk("history").out
    lock.release()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET ended_at = NULL")
    assert "died" in desk("history").out
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET ended_at = started_at, stopped = 'away'")
    assert "away" in desk("history").out


def test_rehearsals_and_purged_ledgers_are_marked(desk: "Desk") -> None:
    sent(desk)
    desk.people(2, "drill.csv")
    desk("send", "drill.csv", "--sandbox", "--yes")
    desk("purge", LEDGER, "--yes")
    drill, people = sorted(desk("history").out.splitlines()[1:])
    assert "rehearsal" in drill
    assert "purged 20" in people


def test_other_files_are_passed_over_and_broken_ledgers_are_told_and_stop_nothing(desk: "Desk") -> None:
    path = sent(desk)
    desk.write("foreign.ledger.db", "directoryObject,text\n")
    (desk.folder / "cut.ledger.db").write_bytes(path.read_bytes()[:9_000])
    (desk.folder / "link.ledger.db").symlink_to("nowhere")
    (desk.folder / "folder.ledger.db").mkdir()
    with closing(sqlite3.connect(desk.folder / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    (desk.folder / ".people.ledger.db.1234.plan").write_bytes(path.read_bytes())
    said = desk("history")
    assert said.code == 6
    assert [line[0] for line in words(said.out)] == [LEDGER]
    assert "error: foreign.ledger.db is not a ledger." in said.err
    assert "error: The ledger cut.ledger.db cannot be used" in said.err
    assert said.err.count("error: ") == 2


def test_json_has_everything_of_each_ledger(desk: "Desk") -> None:
    path = sent(desk, mark="[result_failed]")
    desk.write("foreign.ledger.db", "x")
    told = desk("history", "--json").json
    assert list(told) == ["folder", "ledgers", "unreadable"]
    assert told["unreadable"] == [{"file": "foreign.ledger.db", "problem": "foreign.ledger.db is not a ledger."}]
    (entry,) = told["ledgers"]
    with LedgerReader(path) as reader:
        plan, (run,) = reader.plan(), reader.runs()
    assert entry == {
        "ledger": LEDGER,
        "planned_at": plan.created_at,
        "input": "people.csv",
        "url": plan.url,
        "fingerprint": plan.fingerprint,
        "total": 3,
        "counts": entry["counts"],
        "may_have_sent_twice": 0,
        "left": 0,
        "runs": 1,
        "last_run_at": run.started_at,
        "ended": "finished",
        "last_used_at": run.ended_at,
        "rehearsal": False,
        "purged_at": None,
    }
    assert entry["counts"]["failed"] == 3


# Purge


def traces(desk: "Desk", ledger: str = LEDGER) -> bool:
    return any(
        word in path.read_bytes()
        for path in desk.folder.glob(f"{ledger}*")
        for word in (b"Person", b"person", b"Outage")
    )


def test_names_and_texts_are_gone_and_the_counts_stay(desk: "Desk") -> None:
    path = sent(desk, mark="[504]")
    assert traces(desk)
    before = desk("status", LEDGER).out
    said = desk("purge", LEDGER, "--yes")
    assert (said.code, said.out) == (0, f"Purged: {LEDGER}\n")
    assert "Inputs, reports and logs that lie elsewhere still have the names." in said.err
    assert not traces(desk)
    assert desk.files == {"people.csv", LEDGER}
    after = desk("status", LEDGER).out
    assert after.startswith(before)
    assert "purge by " in after.removeprefix(before)
    assert desk("verify", LEDGER).code == 0
    with LedgerReader(path) as reader:
        assert [(line.row, line.state.value, line.text) for line in reader.lines()] == [
            (row, "unknown", "") for row in (2, 3, 4)
        ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry", LEDGER, "--only", "unknown", "--yes"),
        ("resume", LEDGER),
        ("send", LEDGER, "--yes"),
        ("send", "--told-in", LEDGER, "--text", "x", "--ledger", "other.db", "--yes"),
        ("send", "people.csv", "--not-told-in", LEDGER, "--ledger", "other.db", "--yes"),
    ],
)
def test_nothing_can_be_sent_from_a_purged_ledger(arguments: tuple[str, ...], desk: "Desk") -> None:
    sent(desk, mark="[504]")
    desk("purge", LEDGER, "--yes")
    server = desk.server()
    said = desk(*arguments)
    assert said.code == 3
    assert "removed" in said.err
    assert "hint: " in said.err
    assert server.journal.total == 0


def test_what_is_unknown_can_still_be_settled_by_row(desk: "Desk") -> None:
    sent(desk, mark="[504]")
    desk("report", LEDGER, "--format", "csv", "-o", "before.csv")
    desk("purge", LEDGER, "--yes")
    assert desk("resolve", LEDGER, "--accepted", "2").code == 0
    desk.write("before.csv", (desk.folder / "before.csv").read_text().replace(",unknown,", ",failed,", 3))
    assert desk("resolve", LEDGER, "--from", "before.csv").code == 3, "row 2 is accepted"


def test_a_ledger_with_something_left_is_refused(desk: "Desk") -> None:
    desk.people(3)
    desk("plan", "people.csv")
    said = desk("purge", LEDGER, "--yes")
    assert said.code == 3
    assert "people.ledger.db has 3 messages that are not finished" in said.err
    assert "hint: First `bulksms resume people.ledger.db`, or `bulksms cancel people.ledger.db`" in said.err
    assert traces(desk)
    desk("cancel", LEDGER)
    assert desk("purge", LEDGER, "--yes").code == 0


def test_a_living_run_is_left_alone(desk: "Desk") -> None:
    lock = RunLock(sent(desk))
    lock.acquire("anna")
    said = desk("purge", LEDGER, "--yes")
    lock.release()
    assert said.code == 6
    assert "A run is working on people.ledger.db." in said.err
    assert traces(desk)


def test_a_purge_is_confirmed(desk: "Desk") -> None:
    sent(desk)
    said = desk("purge", LEDGER)
    assert said.code == 2
    assert "hint: Add --yes to purge without a question." in said.err
    assert traces(desk)


def test_a_second_purge_says_when_the_first_was(desk: "Desk") -> None:
    sent(desk)
    desk("purge", LEDGER, "--yes")
    said = desk("purge", LEDGER)
    assert (said.code, said.out) == (0, "")
    assert f"{LEDGER} was purged on 20" in said.err


@pytest.mark.parametrize(
    ("age", "used", "purged"),
    [("90d", "2001-01-01T00:00:00Z", True), ("90d", None, False), ("13w", "2001-01-01T00:00:00Z", True)],
)
def test_older_than_leaves_a_ledger_that_was_used_since(age: str, used: str | None, purged: bool, desk: "Desk") -> None:
    path = sent(desk)
    if used is not None:
        dated(path, used)
    said = desk("purge", LEDGER, "--older-than", age, "--yes")
    assert said.code == 0
    assert traces(desk) is not purged
    assert ("it stays as it is" in said.err) is not purged


def test_a_decision_of_a_person_counts_as_use(desk: "Desk") -> None:
    dated(sent(desk, mark="[504]"), "2001-01-01T00:00:00Z")
    desk("resolve", LEDGER, "--accepted", "2")
    desk("purge", LEDGER, "--older-than", "30d", "--yes")
    assert traces(desk)


def test_of_several_ledgers_each_is_judged_for_itself(desk: "Desk") -> None:
    dated(sent(desk, "old"), "2001-01-01T00:00:00Z")
    sent(desk, "young")
    desk.people(2, "planned.csv")
    desk("plan", "planned.csv")
    dated(desk.folder / "planned.ledger.db", "2001-01-01T00:00:00Z")
    names = [f"{name}.ledger.db" for name in ("old", "young", "planned")]
    said = desk("purge", *names, "--older-than", "90d", "--yes")
    assert said.code == 3
    assert said.out == "Purged: old.ledger.db\n"
    assert "young.ledger.db was used on 20" in said.err
    assert "planned.ledger.db has 2 messages that are not finished" in said.err
    said = desk("purge", "nobody.db", *names, "--yes")
    assert said.code == 6
    assert said.out == "Purged: young.ledger.db\n"
    assert "There is no ledger nobody.db." in said.err


@pytest.mark.parametrize("age", ["90", "d", "3 months", "-1d", ""])
def test_what_is_no_age_is_told(age: str, desk: "Desk") -> None:
    said = desk("purge", LEDGER, "--older-than", age)
    assert said.code == 2
    assert "is no age; write days such as 90d, or weeks such as 12w" in said.err


def test_a_purge_that_did_not_come_to_its_end_is_told_and_done_again(desk: "Desk") -> None:
    path = sent(desk)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE plan SET purged_at = '2026-02-01T00:00:00Z'")
    assert "purge it again" in desk("history").out
    assert desk("purge", LEDGER, "--yes").out == f"Purged: {LEDGER}\n"
    assert not traces(desk)
    assert "purged 2026-02-01" in desk("history").out, "from then on nothing could be sent"
