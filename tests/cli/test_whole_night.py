"""A whole night against the simulator: every command is taken from what the one before it printed."""

import re
import shlex
import signal
import time
from typing import TYPE_CHECKING

from bulksms.ledger import open_ledger
from bulksms.model.message import State
from bulksms.sandbox.server import Away
from tests.platforms import on_terminals

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server
    from tests.harness import Terminal, TerminalFactory

LEDGER = "vpn-down.ledger.db"
PEOPLE = 60
PATIENCE = 180.0
IN_A_SENTENCE = re.compile(r"`bulksms ([^`]+)`")
ON_A_LINE = re.compile(r"^  (?:bulksms|\S*python\S* -m bulksms) (.+?)\s*$", re.MULTILINE)
TO_BE_COPIED = ("  ", "fingerprint", "ledger SHA-256")
"""What is shown whole, however narrow the terminal."""
VALUES = {"until": "18:00", "next": "16:00"}


def printed(text: str, beginning: str) -> list[str]:
    """The words of the first command that was printed and begins so, with values for each `…`."""
    found = [*ON_A_LINE.findall(text), *IN_A_SENTENCE.findall(text)]
    words = shlex.split(next(command for command in found if command.startswith(beginning)))
    return [f"{word[:-1]}{VALUES[word[:-2]]}" if word.endswith("=…") else word for word in words]


def until_received(server: "Server", messages: int) -> None:
    end = time.monotonic() + PATIENCE
    while server.journal.total < messages:
        assert time.monotonic() < end
        time.sleep(0.01)


def by_day(cli: "CliHarness") -> list[str]:
    """Write the mailing and check it; the command that sends it."""
    written = cli("new", "vpn-down.toml")
    rows = [f'"CN=Person {number},OU=Staff,DC=example,DC=com",P{number}\n' for number in range(PEOPLE)]
    cli.write("staff.csv", "".join(["directoryObject,name\n", *rows]))
    alert = (cli.folder / "vpn-down.toml").read_text(encoding="utf-8")
    cli.write("vpn-down.toml", alert.replace('text = "The', 'text = "((name)), the'))
    checked = cli(*printed(written.err, "check"))
    assert checked.code == 0
    send = printed(checked.err, "send")
    assert send == ["send", "vpn-down.toml", "--set", "until=18:00", "--set", "next=16:00"]
    return send


def exactly(cli: "CliHarness", send: list[str]) -> list[str]:
    """The dry run; what sends exactly that."""
    dry = cli(*send, "--dry-run")
    assert dry.code == 0
    assert "P0, the VPN is down until 18:00. Next news at 16:00." in dry.out
    found = re.search(r"^  (--expect [0-9a-f]{64})$", dry.out, re.MULTILINE)
    assert found is not None
    return [*send, *found[1].split()]


def endure_outage(cli: "CliHarness", server: "Server", screen: "Terminal") -> None:
    """The server goes away in the middle, and comes back; the display and another shell say so."""
    until_received(server, 10)
    server.go_away(Away.REFUSED)
    screen.until("server away for ")
    screen.until("it is waited for until ")
    end = time.monotonic() + PATIENCE
    while "server away for " not in (beside := cli("status", LEDGER).out):
        assert time.monotonic() < end, beside
        time.sleep(0.1)
    assert "it is waited for until " in beside
    server.come_back()
    until_received(server, 20)


def settle(cli: "CliHarness", ended: str) -> str:
    """What the outage left in doubt is settled by a person who looked; what that printed."""
    if f"report {LEDGER} --only unknown --format csv" not in ended:
        return ended
    file = printed(ended, f"report {LEDGER} --only unknown --format csv")
    assert cli(*file).code == 0
    doubtful = cli.folder / file[-1]
    doubtful.write_text(doubtful.read_text(encoding="utf-8").replace(",unknown,", ",accepted,"), encoding="utf-8")
    resolved = cli(*printed(ended, "resolve"))
    assert resolved.code == 0
    return resolved.err


@on_terminals
def test_a_whole_night(cli: "CliHarness", terminal: "TerminalFactory") -> None:
    send = by_day(cli)
    server = cli.server(latency=0.2)
    send = exactly(cli, send)
    assert server.journal.total == 0
    screen = terminal(*send, columns=80)
    screen.until(f"Send {PEOPLE} messages to {server.url}?")
    screen.type("y")
    screen.until("The canary was accepted. Go on with all the others?")
    assert server.journal.total == 3
    screen.type("y")
    endure_outage(cli, server, screen)

    # Somebody stops it, and goes on.
    screen.signal(signal.SIGINT)
    assert screen.end() == 130
    ended = "\n".join(screen.lines)
    assert re.search(r"Stopped \(interrupted\): by .+ on .+ with Ctrl-C\.", " ".join(ended.split()))
    assert not [line for line in screen.lines if len(line) > 80 and not line.startswith(TO_BE_COPIED)]
    screen = terminal(*printed(ended, "resume"), columns=80)
    assert screen.end() in (0, 4)
    ended = "\n".join(screen.lines)
    assert re.search(r"staff\.csv, planned .+: \d+ of 60 are left to send, to http", " ".join(ended.split()))
    ended = settle(cli, ended)
    with open_ledger(cli.folder / LEDGER) as reader:
        assert reader.counts().counts[State.ACCEPTED] == PEOPLE

    # The page for the ticket, and the correction to those who got it.
    page, correction = printed(ended, "report"), printed(ended, "send --sent-in")
    assert cli(*page).code == 0
    assert "Person 59" in (cli.folder / page[-1]).read_text(encoding="utf-8")
    cli.write("follow-up.txt", "((name)), it is the mail that is down, not the VPN.\n")
    corrected = cli(*correction, "--yes")
    assert corrected.code == 0
    assert cli(*printed(corrected.err, "report")).code == 0
    texts = [entry.text for entry in server.journal.received]
    alerts = [text for text in texts if "the VPN is down" in text]
    assert len(alerts) == len(set(alerts)), "nobody got it twice"
    assert len({text for text in texts if "it is the mail" in text}) == len(texts) - len(alerts) == PEOPLE
