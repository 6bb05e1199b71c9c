"""Whatever is done to copies of one ledger, nobody is sent to twice unasked; the long form is `random_histories`."""

from pathlib import Path

import pytest

from tests.crash.harness import CrashHarness
from tests.crash.random_histories import RandomHistory
from tests.forks import ForkServer
from tests.platforms import with_posix_signals


@with_posix_signals
@pytest.mark.parametrize("seed", range(32))
def test_nobody_is_sent_to_twice_unasked(seed: int, tmp_path: Path, forks: ForkServer) -> None:
    harness = CrashHarness(tmp_path, forks)
    try:
        RandomHistory(harness, seed).play()
    finally:
        harness.end()
