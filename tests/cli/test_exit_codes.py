"""Each exit code of the contract, as the shell that started the program sees it."""

import signal
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.report.summary import MEANINGS, Exit

if TYPE_CHECKING:
    from tests.cli.conftest import Desk, Start

SEND = ("send", "people.csv", "--yes")
BROKEN = """
import bulksms.cli, bulksms.cli.doing.sending as sending
def broken(*_): raise RuntimeError("something impossible")
sending.read_into = broken
bulksms.cli.main()
"""
ENDS: dict[Exit, tuple[str, tuple[str, ...]]] = {
    Exit.ALL_ACCEPTED: ("", SEND),
    Exit.SOME_FAILED: ("[result_failed]", SEND),
    Exit.USAGE: ("", (*SEND, "--workers", "none")),
    Exit.REFUSED: ("", ("send", "missing.csv", "--yes")),
    Exit.SOME_UNKNOWN: ("[drop_after]", SEND),
    Exit.STOPPED: ("[result_failed]", (*SEND, "--canary", "1")),
    Exit.LEDGER: ("", ("resume", "people.csv")),
    Exit.DEFECT: ("", SEND),
    Exit.INTERRUPTED: ("[stall]", (*SEND, "--timeout", "1")),
    Exit.TERMINATED: ("[stall]", (*SEND, "--timeout", "1")),
}
"""What the people are marked with, and what is called."""
SIGNALS = {Exit.INTERRUPTED: signal.SIGINT, Exit.TERMINATED: signal.SIGTERM}
BEFORE_A_RUN = (Exit.USAGE, Exit.REFUSED, Exit.LEDGER, Exit.DEFECT)


@pytest.mark.parametrize("code", Exit, ids=lambda code: str(int(code)))
def test_the_shell_sees_the_code_of_the_contract(code: Exit, desk: "Desk", start: "Start") -> None:
    mark, arguments = ENDS[code]
    server = desk.server()
    desk.people(3, mark=mark)
    program = ("-c", BROKEN) if code is Exit.DEFECT else ("-m", "bulksms")
    process = start(*arguments, program=program)
    if code in SIGNALS:
        end = time.monotonic() + 60.0
        while server.journal.total < 3:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(SIGNALS[code])
    said, talk = process.communicate(timeout=60)
    assert process.returncode == int(code), talk
    if code in BEFORE_A_RUN:
        assert said == ""
        assert "error: " in talk
        assert server.journal.total == 0
    else:
        assert f"Exit code {int(code)}: {MEANINGS[code]}." in talk
