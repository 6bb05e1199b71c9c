"""Ledgers of earlier runs."""

from pathlib import Path

import pytest

from tests.planning.harness import Earlier, keep_earlier


@pytest.fixture
def earlier(tmp_path: Path) -> Earlier:
    """Keep the ledger of an earlier run under a name."""
    return lambda name, people, **options: keep_earlier(tmp_path / name, people, **options)
