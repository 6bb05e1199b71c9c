"""Every command line in the documentation that begins with `$` is run as it is, page by page, against the simulator.

Invariant: what the documentation shows works. `--yes` replaces the person at the terminal, and nothing else. A command
succeeds unless a comment behind it says `exits with N`; one with `press Ctrl-C` is interrupted once it has sent a few.
"""

import re
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bulksms.sandbox import Directory, DirectoryObject
from bulksms.sandbox.postgresql import PostgresqlServer
from docs.__main__ import pages

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Start

ROOT = Path(__file__).parents[2]
URL = "https://adaxes.example.com/restApi"
SIMULATOR = "http://127.0.0.1:8080/restApi"
COMMAND = re.compile(r"^\$ ((?:bulksms |export |[A-Z_]+=).*)$", re.MULTILINE)
GIVEN = re.compile(r"<!-- given: (\w+) -->")
INTERRUPT = "# press Ctrl-C"


def sessions() -> Iterator[tuple[str, str, list[str]]]:
    """Each session: the page, what it takes for granted, and its commands. A `given` comment begins a session."""
    for page in pages():
        before, *parts = GIVEN.split(page.read_text(encoding="utf-8"))
        name = str(page.relative_to(ROOT))
        assert not COMMAND.search(before), f"{name} has a command before its first `given` comment"
        for given, text in zip(parts[::2], parts[1::2], strict=True):
            yield name, given, COMMAND.findall(text)


SESSIONS = {f"{page} {number} {given}": (given, lines) for number, (page, given, lines) in enumerate(sessions())}
ASKS = ("send", "resume", "retry")
STAFF = ("Anna", "Björn", "Chloé", "David", "Emil")
EDITED_ROW = 3
UNKNOWN_ROWS = (EDITED_ROW, 7, 12, *range(40, 46))


def staff(cli: "CliHarness", mark: str = "") -> None:
    """The staff as a file, with names; `mark` is the server's word for the last of them."""
    rows = [f'"CN={name},OU=Staff,DC=example,DC=com",{name}\n' for name in STAFF]
    rows.append(f'"CN=Fatima {mark},OU=Staff,DC=example,DC=com",Fatima\n')
    cli.write("staff.csv", "".join(["directoryObject,name\n", *rows]))


def sent_staff(cli: "CliHarness") -> None:
    """A run to the staff, after which one of them has no message."""
    staff(cli, "[404]")
    assert cli("send", "staff.csv", "--text", "((name)), the VPN is down.", "--yes", "--quiet").code == 1


def planned_staff(cli: "CliHarness") -> None:
    """A plan of which nothing was sent."""
    staff(cli)
    assert cli("plan", "staff.csv", "--text", "((name)), the VPN is down.", "--quiet").code == 0


def people(cli: "CliHarness") -> None:
    """Some people, and a text for them."""
    cli.people(3)
    cli.write("outage.txt", "The VPN is down since 02:40.\n")


def sent_people(cli: "CliHarness") -> None:
    """A run after which all have the message."""
    cli.people(3)
    assert cli("send", "people.csv", "--yes", "--quiet").code == 0


def unknown_people(cli: "CliHarness") -> None:
    """A run after which the outcome of some is unknown."""
    rows = [
        f'"CN=Person {row}{" [drop_after]" if row in UNKNOWN_ROWS else ""},DC=example,DC=com",Outage {row}.\n'
        for row in range(2, 50)
    ]
    cli.write("people.csv", "".join(["directoryObject,text\n", *rows]))
    assert cli("send", "people.csv", "--yes", "--quiet", "--no-adapt").code == 4


def settings(cli: "CliHarness") -> None:
    """A file of settings."""
    cli.write("bulksms.toml", f'url = "{URL}"\nmax-recipients = 5000\n')


def edit(cli: "CliHarness") -> None:
    """What a person does in a spreadsheet: one of the unknown messages becomes accepted."""
    path = cli.folder / "people.unknown.csv"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"^({EDITED_ROW},.*?),unknown,", r"\1,accepted,", text, flags=re.MULTILINE), "utf-8")


def outage(cli: "CliHarness") -> None:
    """The samples of a clone."""
    shutil.copytree(ROOT / "samples", cli.folder / "samples")


def tutorial(cli: "CliHarness") -> None:
    """The file that the tutorial has its reader write, and nothing in the environment."""
    page = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    outage(cli)
    cli.write("people.csv", page.partition("```csv\n")[2].partition("```")[0])


def answered_staff(cli: "CliHarness") -> None:
    """A run to the staff; two people have answered."""
    sent_staff(cli)
    cli.write("answered.csv", "dn\n" + "".join(f'"CN={name},OU=Staff,DC=example,DC=com"\n' for name in STAFF[:2]))


def two_shifts(cli: "CliHarness") -> None:
    """Runs to two shifts, in both of which somebody is."""
    for name, people in (("early", range(3)), ("late", range(2, 5))):
        rows = [f'"CN=Person {number},DC=example,DC=com"\n' for number in people]
        cli.write(f"{name}.csv", "".join(["dn\n", *rows]))
        assert cli("send", f"{name}.csv", "--text", f"The water is off, {name} shift.", "--yes", "--quiet").code == 0


def incident(cli: "CliHarness") -> None:
    """The staff, and a later shift with people who are in both."""
    staff(cli)
    people = (*STAFF[:2], "Gustav", "Hanna")
    rows = [f'"CN={name},OU=Staff,DC=example,DC=com",{name}\n' for name in people]
    cli.write("late-shift.csv", "".join(["directoryObject,name\n", *rows]))


def database(cli: "CliHarness") -> None:
    """The samples of a clone; the fixture `sandbox_database` has the rest."""
    outage(cli)


BEFORE: Mapping[str, Callable[["CliHarness"], None]] = {
    "answered_staff": answered_staff,
    "incident": incident,
    "database": database,
    "night_shift": lambda _: None,
    "two_shifts": two_shifts,
    "outage": outage,
    "people": people,
    "planned_staff": planned_staff,
    "settings": settings,
    "staff": staff,
    "sent_people": sent_people,
    "sent_staff": sent_staff,
    "tutorial": tutorial,
    "unknown_people": unknown_people,
}
"""What a session takes for granted, by the name in its `given` comment."""

BETWEEN: Mapping[str, Callable[["CliHarness"], None]] = {"bulksms resolve people.ledger.db --from": edit}
"""What a person does before a command that begins so."""


def night_shift() -> Directory:
    """A directory with a group that has members."""
    directory = Directory()
    members = []
    for number in range(3):
        members.append(f"CN=Night {number},OU=Staff,DC=example,DC=com")
        properties = {"givenName": f"Guard {number}", "mobile": "+49 30 1234"}
        guid = f"7a4267ce-d354-44e7-8bd6-c681f1284a4{number}"
        directory.add(DirectoryObject(members[-1], guid, "user", None, properties))
    group = "CN=Night shift,OU=Groups,DC=example,DC=com"
    guid = "7a4267ce-d354-44e7-8bd6-c681f1284b41"
    directory.add(DirectoryObject(group, guid, "group", None, {}, tuple(members)))
    return directory


SERVERS: Mapping[str, dict[str, Any]] = {"night_shift": {"directory": night_shift()}, "tutorial": {"latency": 0.2}}
"""How the simulator of a session differs from an empty one that answers at once."""


@pytest.fixture
def sandbox_database(postgresql: PostgresqlServer, cli: "CliHarness") -> Iterator[None]:
    """The database `sandbox` of a throw-away server, and the variables with which it is found."""
    postgresql.create_database("sandbox")
    for name, value in postgresql.environment.items():
        cli.export(name, value)
    yield
    postgresql.drop_database("sandbox")


def test_every_precondition_is_used() -> None:
    assert {given for given, _ in SESSIONS.values()} == set(BEFORE)


@pytest.mark.parametrize("session", SESSIONS)
def test_documented_commands_work(
    session: str, cli: "CliHarness", start: "Start", request: pytest.FixtureRequest
) -> None:
    given, lines = SESSIONS[session]
    if given == "database":
        request.getfixturevalue("sandbox_database")
    server = cli.server(**SERVERS.get(given, {}))
    token_file = cli.write("the-token", cli.token)
    BEFORE[given](cli)
    for line in lines:
        for beginning, act in BETWEEN.items():
            if line.startswith(beginning):
                act(cli)
        here = line.replace(URL, server.url).replace(SIMULATOR, server.url)
        here = here.replace("/run/secrets/bulksms", str(token_file)).replace("TOKEN=sandbox", f"TOKEN={cli.token}")
        words = shlex.split(here, comments=True)
        while words and ("=" in words[0] or words[0] == "export"):
            name, equals, value = words.pop(0).partition("=")
            if equals:
                cli.export(name, value)
        if not words:
            continue
        program, command, *arguments = words
        assert program == "bulksms"
        yes = ["--yes"] if command in ASKS and not {"--yes", "--dry-run"} & set(arguments) else []
        if INTERRUPT in line:
            before = server.journal.total
            process = start(command, *arguments, *yes)
            while server.journal.total < before + 3:
                assert process.poll() is None
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
            assert process.returncode == 130
            continue
        expected = re.search(r"# exits with (\d+)", line)
        called = cli(command, *arguments, *yes)
        assert called.code == (int(expected[1]) if expected else 0), (line, called)
