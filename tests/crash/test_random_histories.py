"""Whatever is done to copies of one ledger, nobody is sent to twice unasked; the long form is `random_histories`."""

import pytest

from tests.crash.harness import CrashHarness
from tests.crash.random_histories import RandomHistory
from tests.platforms import with_posix_signals


@with_posix_signals
@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(6, 20))])
def test_nobody_is_sent_to_twice_unasked(seed: int, harness: CrashHarness) -> None:
    RandomHistory(harness, seed).play()
