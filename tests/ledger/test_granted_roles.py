"""The roles of `docs/how-to/postgresql.md`, as the page makes them: each can do what it is for, and nothing else."""

import re
from pathlib import Path

import pytest

from bulksms.errors import LedgerError
from bulksms.ledger import Author, ControlCommand, LedgerUrl, ledger_at, open_ledger
from bulksms.ledger.postgresql.publishing import publish
from bulksms.model.message import State
from bulksms.sandbox.postgresql import PostgresqlServer
from tests.ledger.harness import plan
from tests.ledger.machines import ACCEPTED, START, SUCCEEDED, UNKNOWN

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "postgresql.md"
ROLES = ("bulksms_plan", "bulksms_work", "bulksms_look")
ANNA = Author("anna", "server-1", "--yes")


@pytest.fixture
def database(postgresql: PostgresqlServer, database: str) -> str:
    """An empty database with the roles of the page; `postgres` in its URL is replaced by one of them."""
    (statements,) = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    name = database.rpartition("/")[2]
    own = {role: f"{role}_{name}" for role in ROLES}
    for role, here in own.items():
        statements = statements.replace(role, here)
        statements += f"ALTER ROLE {here} PASSWORD 'open';\n"
        postgresql.add_password(here, "open")
    postgresql.execute(name, statements.replace("messaging", name))
    return database


def as_role(database: str, role: str) -> LedgerUrl:
    name = database.rpartition("/")[2]
    return LedgerUrl.parse(f"{database.replace('postgres@', f'{role}_{name}@')}?ledger=people")


async def test_each_role_can_do_what_it_is_for_and_nothing_else(database: str, tmp_path: Path) -> None:
    planner, worker, looker = (as_role(database, role) for role in ROLES)
    file = plan(tmp_path / "people.ledger.db")
    for stranger in (worker, looker):
        with pytest.raises(LedgerError, match="does not allow this"):
            publish(file, stranger)
    publish(file, planner)

    for role in (worker, planner):
        writer = await ledger_at(role).open_for_run(START, UNKNOWN)
        (message,) = await writer.claim(State.QUEUED, 0, 1)
        message.attempts += 1
        message.tries += 1
        assert await writer.record_intent(message, 100.0)
        writer.record_outcome(message, SUCCEEDED, ACCEPTED)
        await writer.end_run(None, 1.0, 1)
        await writer.close()
    ledger_at(worker).send_command(ControlCommand.STOP, ANNA)
    ledger_at(worker).cancel(ANNA)

    with open_ledger(looker) as reader:
        assert reader.counts().counts[State.ACCEPTED] == 2
        assert [record.state for record in reader.messages()][-1] is State.CANCELLED
    assert not [name for name, problem in ledger_at(looker).verify() if problem]
    for forbidden in (looker, worker):
        with pytest.raises(LedgerError, match="Only the role that owns people"):
            ledger_at(forbidden).purge(ANNA)
    with pytest.raises(LedgerError, match="does not allow this"):
        ledger_at(looker).send_command(ControlCommand.STOP, ANNA)
    ledger_at(planner).purge(ANNA)
    with open_ledger(looker) as reader:
        assert {record.recipient for record in reader.messages()} == {""}
