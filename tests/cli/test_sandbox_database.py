"""`bulksms sandbox --postgresql`: a database beside the simulator, for trying out several machines."""

import re
import signal
from typing import TYPE_CHECKING

import pytest

from bulksms.errors import LedgerError
from bulksms.ledger import LedgerUrl
from bulksms.ledger.postgresql.export import export
from bulksms.ledger.postgresql.publishing import publish
from tests.ledger.harness import plan

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Start

LAST_LINE = "A ledger for several machines is then called postgresql:///sandbox?ledger=NAME.\n"


@pytest.mark.usefixtures("postgresql")
def test_sandbox_brings_a_database_until_it_ends(cli: "CliHarness", start: "Start") -> None:
    process = start("sandbox", "--postgresql")
    assert process.stderr is not None
    for line in iter(process.stderr.readline, LAST_LINE):
        for variable, value in re.findall(r"(PG\w+)\s*=\s*'?([^'\n]+)", line):
            cli.export(variable, value)
    people = LedgerUrl.parse("postgresql:///sandbox?ledger=people")
    publish(plan(cli.folder / "people.ledger.db"), people)
    assert export(people, cli.folder / "copy.ledger.db") is False
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with pytest.raises(LedgerError, match="does not answer"):
        export(people, cli.folder / "other.ledger.db")
