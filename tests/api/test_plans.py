"""Reading and planning in a program: rows of its own or of a file, a ledger or only a preview."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import bulksms
from bulksms import BadRow, InMemoryRows, InputOptions, PlanOptions
from bulksms.ledger.sqlite.lock import RunLock
from bulksms.sandbox import Sandbox
from tests.api.harness import open_run

if TYPE_CHECKING:
    from tests.api.harness import Planned

Where = Callable[[Sandbox], bulksms.Endpoint]

ANN = {"dn": "CN=Ann,DC=x", "name": "Ann"}
BO = {"dn": "CN=Bo,DC=x", "name": "Bo"}
NOBODY = {"dn": "jsmith", "name": "J"}
HELLO = InputOptions(text="Hi ((name)).")


def texts(ledger: Path) -> list[str]:
    with bulksms.open_ledger(ledger) as reader:
        return [line.text for line in reader.messages()]


def test_rows_of_a_program_are_planned_like_a_file_s(tmp_path: Path) -> None:
    file = tmp_path / "people.csv"
    file.write_text('dn,name\n"CN=Ann,DC=x",Ann\n"CN=Bo,DC=x",Bo\n')
    with bulksms.open_input(file, HELLO) as people:
        from_file = bulksms.plan(people, tmp_path / "file.db")
    own = bulksms.plan(InMemoryRows(iter([ANN, BO]), HELLO), tmp_path / "own.db")
    assert own.fingerprint == from_file.fingerprint
    assert texts(tmp_path / "own.db") == texts(tmp_path / "file.db") == ["Hi Ann.", "Hi Bo."]
    assert bulksms.status(tmp_path / "own.db").counts[bulksms.State.QUEUED] == 2
    with bulksms.open_ledger(tmp_path / "own.db") as reader:
        assert [line.row for line in reader.messages()] == [1, 2]
        assert reader.plan().input == "the rows"
        assert reader.plan().columns == ("name",)


def test_a_preview_says_the_same_and_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read: list[int] = []
    seen = bulksms.preview(InMemoryRows([ANN, BO], HELLO), progress=read.append)
    assert list(tmp_path.iterdir()) == []
    assert read == [2]
    assert (seen.to_send, [example.text for example in seen.examples]) == (2, ["Hi Ann.", "Hi Bo."])
    assert seen.fingerprint == bulksms.plan(InMemoryRows([ANN, BO], HELLO), tmp_path / "people.db").fingerprint


def test_bad_rows_are_refused_with_a_preview_that_names_them_all(tmp_path: Path) -> None:
    rejected: list[BadRow] = []
    with pytest.raises(bulksms.NotSendableError, match="1 of 2 rows of the rows cannot be sent") as refused:
        bulksms.plan(InMemoryRows([ANN, NOBODY], HELLO), tmp_path / "people.db", reject=rejected.append)
    assert refused.value.hint
    assert [finding.code for finding in refused.value.preview.errors] == ["E101"]
    assert [row.recipient for row in rejected] == ["jsmith"]
    assert list(tmp_path.iterdir()) == []
    found = bulksms.plan(InMemoryRows([ANN, NOBODY], HELLO), tmp_path / "people.db", PlanOptions(skip_invalid=True))
    assert (found.to_send, found.bad) == (1, 1)


def test_nobody_to_send_to_is_refused(tmp_path: Path) -> None:
    with pytest.raises(bulksms.InputError, match="There are none of the guests"):
        InMemoryRows([], HELLO, name="the guests")
    never = tmp_path / "never.txt"
    never.write_text("CN=Ann,DC=x\n")
    with pytest.raises(bulksms.NotSendableError, match="nobody to send to") as refused:
        bulksms.preview(InMemoryRows([ANN], HELLO), PlanOptions(suppress=(never,)))
    assert refused.value.hint == "Left out: 1 suppressed."


def test_a_suppressed_recipient_is_left_out(tmp_path: Path) -> None:
    never = tmp_path / "never.txt"
    never.write_text("CN=Ann,DC=x\n")
    options = PlanOptions(suppress=(never,), first_examples=0)
    found = bulksms.plan(InMemoryRows([ANN, BO], HELLO), tmp_path / "people.db", options)
    assert (found.to_send, found.suppressed, found.examples) == (1, 1, [])


async def test_a_recipient_of_an_earlier_ledger_is_left_out(planned: "Planned", endpoint: "Where") -> None:
    ledger = planned(3)
    people = [{"dn": f"CN=Person {number} ,DC=x", "text": "Again."} for number in range(5)]
    options = PlanOptions(not_sent_in=(ledger,))
    assert bulksms.preview(InMemoryRows(people), options).already_sent == 0
    async with Sandbox() as server, open_run(ledger, endpoint(server)) as run:
        await run.work()
    found = bulksms.preview(InMemoryRows(people), options)
    assert (found.to_send, found.already_sent) == (2, 3)


def test_a_run_that_still_works_on_an_earlier_ledger_is_warned_of(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier.db"
    bulksms.plan(InMemoryRows([BO], HELLO), earlier)
    lock = RunLock(earlier)
    lock.acquire("another run")
    try:
        found = bulksms.preview(InMemoryRows([ANN], HELLO), PlanOptions(not_sent_in=(earlier,)))
    finally:
        lock.release()
    assert list(found.warnings) == ["W302"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (PlanOptions(suppress=(Path("none.txt"),)), bulksms.InputError),
        (PlanOptions(not_sent_in=(Path("none.db"),)), bulksms.LedgerError),
    ],
)
def test_a_missing_file_is_reported_before_a_row_is_read(
    options: PlanOptions, error: type[bulksms.BulksmsError]
) -> None:
    read: list[int] = []
    with pytest.raises(error):
        bulksms.preview(InMemoryRows([ANN], HELLO), options, progress=read.append)
    assert read == []


def test_a_ledger_is_never_overwritten(tmp_path: Path) -> None:
    ledger = tmp_path / "people.db"
    bulksms.plan(InMemoryRows([ANN], HELLO), ledger)
    before = ledger.read_bytes()
    with pytest.raises(bulksms.PlanError, match="never overwritten"):
        bulksms.plan(InMemoryRows([BO], HELLO), ledger)
    assert ledger.read_bytes() == before


def test_a_later_row_may_have_other_columns(tmp_path: Path) -> None:
    rows = [{"dn": "CN=Ann,DC=x", "text": "One"}, {"text": "Two", "dn": "CN=Bo,DC=x", "floor": "7"}]
    bulksms.plan(InMemoryRows(rows), tmp_path / "people.db")
    with bulksms.open_ledger(tmp_path / "people.db") as reader:
        assert [line.other_columns for line in reader.messages()] == [{}, {"floor": "7"}]


def test_options_that_are_about_a_file_are_refused_for_rows() -> None:
    with pytest.raises(bulksms.UsageError, match="delimiter"):
        InMemoryRows([ANN], InputOptions(text="Hi", delimiter=";"))


def test_findings_about_all_rows_are_warnings_of_the_preview() -> None:
    found = bulksms.preview(InMemoryRows([{**ANN, "text": "unused"}], HELLO))
    assert list(found.warnings) == ["W202"]
