"""Each exit code of the contract, as the shell that started the program sees it."""

import signal
import time
from typing import TYPE_CHECKING

import pytest

from bulksms.report.summary import MEANINGS, ExitCode

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Start

SEND = ("send", "people.csv", "--yes")
BROKEN = """
import bulksms.cli.app, bulksms.cli.commands.send as sending
def broken(*_): raise RuntimeError("something impossible")
sending.read_into = broken
bulksms.cli.app.main()
"""
ENDS: dict[ExitCode, tuple[str, tuple[str, ...]]] = {
    ExitCode.ALL_ACCEPTED: ("", SEND),
    ExitCode.SOME_FAILED: ("[result_failed]", SEND),
    ExitCode.USAGE: ("", (*SEND, "--workers", "none")),
    ExitCode.REFUSED: ("", ("send", "missing.csv", "--yes")),
    ExitCode.SOME_UNKNOWN: ("[drop_after]", SEND),
    ExitCode.STOPPED: ("[result_failed]", (*SEND, "--canary", "1")),
    ExitCode.LEDGER: ("", ("resume", "people.csv")),
    ExitCode.INTERNAL_ERROR: ("", SEND),
    ExitCode.INTERRUPTED: ("[stall]", (*SEND, "--timeout", "1")),
    ExitCode.TERMINATED: ("[stall]", (*SEND, "--timeout", "1")),
}
"""What the people are marked with, and what is called."""
SIGNALS = {ExitCode.INTERRUPTED: signal.SIGINT, ExitCode.TERMINATED: signal.SIGTERM}
BEFORE_A_RUN = (ExitCode.USAGE, ExitCode.REFUSED, ExitCode.LEDGER, ExitCode.INTERNAL_ERROR)


@pytest.mark.parametrize("code", ExitCode, ids=lambda code: str(int(code)))
def test_the_shell_sees_the_code_of_the_contract(code: ExitCode, cli: "CliHarness", start: "Start") -> None:
    mark, arguments = ENDS[code]
    server = cli.server()
    cli.people(3, mark=mark)
    program = ("-c", BROKEN) if code is ExitCode.INTERNAL_ERROR else ("-m", "bulksms")
    process = start(*arguments, program=program)
    if code in SIGNALS:
        end = time.monotonic() + 60.0
        while server.journal.total < 3:
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(SIGNALS[code])
    result, talk = process.communicate(timeout=60)
    assert process.returncode == int(code), talk
    if code in BEFORE_A_RUN:
        assert result == ""
        assert "error: " in talk
        assert server.journal.total == 0
    else:
        meaning = MEANINGS[code]
        if code in SIGNALS:  # all three were under way
            meaning = meaning.replace("what is left stays queued", "nothing is left queued")
        assert f"Exit code {int(code)}: {meaning}." in talk
