"""What a preview says of the duration: not known yet before the first run to a server, its speed afterwards."""

import json
from pathlib import Path

import pytest

from bulksms.cli.ui import progress
from tests.cli.harness import CliHarness


def test_a_preview_says_what_this_users_earlier_runs_have_learnt(
    cli: CliHarness, own_state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TELL_EVERY", 0.01)
    server = cli.server(latency=0.01)
    cli.people(150)
    preview = ("send", "people.csv", "--dry-run", "--workers", "4")
    before = cli(*preview)
    assert "duration      not known yet; 19 s to 1 min 15 s if a call takes 0.5 to 2 s" in before.out
    assert json.loads(cli(*preview, "--json").out)["learnt_from"] == 0

    assert cli("send", "people.csv", "--yes", "--workers", "4").code == 0
    assert ", at the speed of the last run to this server" in cli(*preview).out
    shown = json.loads(cli(*preview, "--json").out)
    assert shown["learnt_from"] == 1
    assert 0 < shown["seconds"][0] <= shown["seconds"][1] < 18.8

    (kept,) = (own_state / "bulksms" / "speeds").iterdir()
    text = kept.read_text(encoding="utf-8")
    assert "CN=" not in text
    assert "Outage" not in text
    server.end()
    cli.server()
    assert "not known yet" in cli(*preview).out, "of another server nothing was learnt"
