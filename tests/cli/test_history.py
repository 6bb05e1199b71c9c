"""`history` and `purge`: the ledgers of a folder, and their names and texts removed when their time has come."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.ledger import open_ledger
from bulksms.ledger.sqlite.lock import RunLock

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

LEDGER = "people.ledger.db"


def dated(path: Path, moment: str) -> None:
    """Everything that happened to a ledger happened then."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE plan SET created_at = ?", (moment,))
        connection.execute("UPDATE run SET started_at = ?, ended_at = ?", (moment, moment))
        connection.execute("UPDATE decision SET decided_at = ?", (moment,))


def sent(cli: "CliHarness", name: str = "people", *, mark: str = "", count: int = 3) -> Path:
    cli.server()
    cli.people(count, f"{name}.csv", mark=mark)
    cli("send", f"{name}.csv", "--yes")
    return cli.folder / f"{name}.ledger.db"


def words(result: str) -> list[list[str]]:
    """The words of each line below the head."""
    return [line.split() for line in result.splitlines()[1:]]


# History


def test_each_ledger_is_one_line_the_earliest_first(cli: "CliHarness") -> None:
    dated(sent(cli, "late"), "2026-03-01T10:00:00Z")
    dated(sent(cli, "early", mark="[504]"), "2026-02-01T09:30:00Z")
    cli.people(4, "planned.csv")
    cli("plan", "planned.csv")
    dated(cli.folder / "planned.ledger.db", "2026-02-15T00:00:00Z")
    result = cli("history")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == [
        "ledger",
        *("early.ledger.db", "planned.ledger.db", "late.ledger.db"),
    ]
    early, planned, late = words(result.out)
    assert early[4:] == ["early.csv", *["3", "0", "0", "3", "0"], "2026-02-01", "09:30", "+00:00", "finished"]
    assert planned[4:] == ["planned.csv", *["4", "0", "0", "0", "4"], "not", "sent"]
    assert late[:4] == ["late.ledger.db", "2026-03-01", "10:00", "+00:00"]


def test_another_folder_can_be_named_and_an_empty_one_says_so(cli: "CliHarness") -> None:
    sent(cli)
    elsewhere = cli.folder / "elsewhere"
    elsewhere.mkdir()
    result = cli("history", elsewhere)
    assert (result.code, result.out) == (0, "")
    assert f"There are no ledgers in {elsewhere}." in result.err
    (cli.folder / LEDGER).rename(elsewhere / "moved.db")
    assert "moved.db" in cli("history", "elsewhere").out, "known by its content, not by its name"
    result = cli("history", "nowhere")
    assert result.code == 2
    assert "nowhere cannot be read: No such file or directory." in result.err


def test_what_runs_died_or_stopped_is_reported(cli: "CliHarness") -> None:
    path = sent(cli)
    lock = RunLock(path)
    lock.acquire("anna")
    assert "living" in cli("history").out
    lock.release()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET ended_at = NULL")
    assert "died" in cli("history").out
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET ended_at = started_at, stopped = 'away'")
    assert "away" in cli("history").out


def test_rehearsals_and_purged_ledgers_are_marked(cli: "CliHarness") -> None:
    sent(cli)
    cli.people(2, "drill.csv")
    cli("send", "drill.csv", "--sandbox", "--yes")
    cli("purge", LEDGER, "--yes")
    drill, people = sorted(cli("history").out.splitlines()[1:])
    assert "rehearsal" in drill
    assert "purged 20" in people


def test_other_files_are_passed_over_and_broken_ledgers_are_reported_and_stop_nothing(cli: "CliHarness") -> None:
    path = sent(cli)
    cli.write("foreign.ledger.db", "directoryObject,text\n")
    (cli.folder / "cut.ledger.db").write_bytes(path.read_bytes()[:9_000])
    (cli.folder / "link.ledger.db").symlink_to("nowhere")
    (cli.folder / "folder.ledger.db").mkdir()
    with closing(sqlite3.connect(cli.folder / "other.db")) as connection:
        connection.execute("CREATE TABLE t (a)")
    (cli.folder / ".people.ledger.db.1234.plan").write_bytes(path.read_bytes())
    result = cli("history")
    assert result.code == 6
    assert [line[0] for line in words(result.out)] == [LEDGER]
    assert "error: foreign.ledger.db is not a ledger." in result.err
    assert "error: The ledger cut.ledger.db is damaged" in result.err
    assert result.err.count("error: ") == 2


def test_json_has_everything_of_each_ledger(cli: "CliHarness") -> None:
    path = sent(cli, mark="[result_failed]")
    cli.write("foreign.ledger.db", "x")
    printed = cli("history", "--json").json
    assert list(printed) == ["format", "folder", "ledgers", "unreadable"]
    assert printed["unreadable"] == [{"file": "foreign.ledger.db", "problem": "foreign.ledger.db is not a ledger."}]
    (entry,) = printed["ledgers"]
    with open_ledger(path) as reader:
        plan, (run,) = reader.plan(), reader.runs()
    assert entry == {
        "ledger": LEDGER,
        "planned_at": plan.created_at,
        "input": "people.csv",
        "url": plan.url,
        "fingerprint": plan.fingerprint,
        "total": 3,
        "counts": entry["counts"],
        "possible_duplicate": 0,
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


def traces(cli: "CliHarness", ledger: str = LEDGER) -> bool:
    return any(
        word in path.read_bytes()
        for path in cli.folder.glob(f"{ledger}*")
        for word in (b"Person", b"person", b"Outage")
    )


def test_names_and_texts_are_gone_and_the_counts_stay(cli: "CliHarness") -> None:
    path = sent(cli, mark="[504]")
    assert traces(cli)
    before = cli("status", LEDGER).out
    result = cli("purge", LEDGER, "--yes")
    assert (result.code, result.out) == (0, f"Purged: {LEDGER}\n")
    assert "Inputs, reports and logs that lie elsewhere still have the names." in result.err
    assert not traces(cli)
    assert cli.files == {"people.csv", LEDGER}
    after = cli("status", LEDGER).out
    assert after.startswith(before)
    assert "purge by " in after.removeprefix(before)
    assert cli("verify", LEDGER).code == 0
    with open_ledger(path) as reader:
        assert [(line.row, line.state.value, line.text) for line in reader.messages()] == [
            (row, "unknown", "") for row in (2, 3, 4)
        ]


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry", LEDGER, "--only", "unknown", "--yes"),
        ("resume", LEDGER),
        ("send", LEDGER, "--yes"),
        ("send", "--sent-in", LEDGER, "--text", "x", "--ledger", "other.db", "--yes"),
        ("send", "people.csv", "--not-sent-in", LEDGER, "--ledger", "other.db", "--yes"),
    ],
)
def test_nothing_can_be_sent_from_a_purged_ledger(arguments: tuple[str, ...], cli: "CliHarness") -> None:
    sent(cli, mark="[504]")
    cli("purge", LEDGER, "--yes")
    server = cli.server()
    result = cli(*arguments)
    assert result.code == 3
    assert "removed" in result.err
    assert "hint: " in result.err
    assert server.journal.total == 0


def test_what_is_unknown_can_still_be_settled_by_row(cli: "CliHarness") -> None:
    sent(cli, mark="[504]")
    cli("report", LEDGER, "--format", "csv", "-o", "before.csv")
    cli("purge", LEDGER, "--yes")
    assert cli("resolve", LEDGER, "--accepted", "2").code == 0
    cli.write("before.csv", (cli.folder / "before.csv").read_text().replace(",unknown,", ",failed,", 3))
    assert cli("resolve", LEDGER, "--from", "before.csv").code == 3, "row 2 is accepted"


def test_a_ledger_with_something_left_is_refused(cli: "CliHarness") -> None:
    cli.people(3)
    cli("plan", "people.csv")
    result = cli("purge", LEDGER, "--yes")
    assert result.code == 3
    assert "people.ledger.db has 3 messages that are not finished" in result.err
    assert "hint: First `bulksms resume people.ledger.db`, or `bulksms cancel people.ledger.db`" in result.err
    assert traces(cli)
    cli("cancel", LEDGER)
    assert cli("purge", LEDGER, "--yes").code == 0


def test_a_living_run_is_left_alone(cli: "CliHarness") -> None:
    lock = RunLock(sent(cli))
    lock.acquire("anna")
    result = cli("purge", LEDGER, "--yes")
    lock.release()
    assert result.code == 6
    assert "A run is working on people.ledger.db." in result.err
    assert traces(cli)


def test_a_purge_is_confirmed(cli: "CliHarness") -> None:
    sent(cli)
    result = cli("purge", LEDGER)
    assert result.code == 2
    assert "hint: Add --yes to purge without a question." in result.err
    assert traces(cli)


def test_a_second_purge_says_when_the_first_was(cli: "CliHarness") -> None:
    sent(cli)
    cli("purge", LEDGER, "--yes")
    result = cli("purge", LEDGER)
    assert (result.code, result.out) == (0, "")
    assert f"{LEDGER} was purged on 20" in result.err


@pytest.mark.parametrize(
    ("age", "used", "purged"),
    [("90d", "2001-01-01T00:00:00Z", True), ("90d", None, False), ("13w", "2001-01-01T00:00:00Z", True)],
)
def test_older_than_leaves_a_ledger_that_was_used_since(
    age: str, used: str | None, purged: bool, cli: "CliHarness"
) -> None:
    path = sent(cli)
    if used is not None:
        dated(path, used)
    result = cli("purge", LEDGER, "--older-than", age, "--yes")
    assert result.code == 0
    assert traces(cli) is not purged
    assert ("it stays as it is" in result.err) is not purged


def test_a_decision_of_a_person_counts_as_use(cli: "CliHarness") -> None:
    dated(sent(cli, mark="[504]"), "2001-01-01T00:00:00Z")
    cli("resolve", LEDGER, "--accepted", "2")
    cli("purge", LEDGER, "--older-than", "30d", "--yes")
    assert traces(cli)


def test_of_several_ledgers_each_is_judged_for_itself(cli: "CliHarness") -> None:
    dated(sent(cli, "old"), "2001-01-01T00:00:00Z")
    sent(cli, "young")
    cli.people(2, "planned.csv")
    cli("plan", "planned.csv")
    dated(cli.folder / "planned.ledger.db", "2001-01-01T00:00:00Z")
    names = [f"{name}.ledger.db" for name in ("old", "young", "planned")]
    result = cli("purge", *names, "--older-than", "90d", "--yes")
    assert result.code == 3
    assert result.out == "Purged: old.ledger.db\n"
    assert "young.ledger.db was last used on 20" in result.err
    assert "planned.ledger.db has 2 messages that are not finished" in result.err
    result = cli("purge", "nobody.db", *names, "--yes")
    assert result.code == 6
    assert result.out == "Purged: young.ledger.db\n"
    assert "There is no ledger nobody.db." in result.err


@pytest.mark.parametrize("age", ["90", "d", "3 months", "-1d", ""])
def test_what_is_no_age_is_reported(age: str, cli: "CliHarness") -> None:
    result = cli("purge", LEDGER, "--older-than", age)
    assert result.code == 2
    assert "is no age; write days such as 90d, or weeks such as 12w" in result.err


def test_a_purge_that_did_not_come_to_its_end_is_reported_and_done_again(cli: "CliHarness") -> None:
    path = sent(cli)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE plan SET purged_at = '2026-02-01T00:00:00Z'")
    assert "purge it again" in cli("history").out
    assert cli("purge", LEDGER, "--yes").out == f"Purged: {LEDGER}\n"
    assert not traces(cli)
    assert "purged 2026-02-01" in cli("history").out, "from then on nothing could be sent"
