"""A sample of failing system calls; the long form is `python -m tests.faults.system_calls --cases 40`."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.system_calls import COMMANDS, try_cases


def can_trace() -> bool:
    """Whether this machine has strace and lets it trace."""
    if sys.platform != "linux" or shutil.which("strace") is None:
        return False
    return (
        subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not can_trace(), reason="strace is missing, or may not trace here")
@pytest.mark.parametrize(("command", "number"), [("send", 3), ("resume", 2), ("plan", 2), ("cancel", 2)])
async def test_a_failing_system_call_breaks_no_promise(command: str, number: int, tmp_path: Path) -> None:
    assert await try_cases(tmp_path, 11, [command], number) == []


def test_the_long_form_knows_every_command_that_opens_a_ledger() -> None:
    assert {"plan", "send", "resume", "retry", "resolve", "cancel", "purge", "report"} <= COMMANDS.keys()
