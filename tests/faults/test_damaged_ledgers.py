"""A damaged ledger is reported as one, by every command: never an internal error, never a traceback."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.harness import TOKEN, Server
from tests.faults.damage import failures, make_ledgers


@pytest.fixture
def ledgers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], Path]]:
    """A planned ledger and a sent one, by turns."""
    server = Server()
    monkeypatch.setenv("BULKSMS_URL", server.url)
    monkeypatch.setenv("BULKSMS_TOKEN", TOKEN)
    made = make_ledgers(tmp_path)
    yield lambda seed: made[seed % 2]
    server.end()


@pytest.mark.parametrize("seed", range(12))
def test_every_command_survives_flipped_bytes(seed: int, ledgers: Callable[[int], Path]) -> None:
    assert list(failures(ledgers(seed), seed)) == []
