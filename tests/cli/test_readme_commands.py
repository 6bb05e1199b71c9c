"""Each command in the README is run as it stands there, in its section's order, against the stand-in server.

Law: what the README shows works. `--yes` stands for the person at the terminal, and for nothing else.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulksms.sandbox import Directory, DirectoryObject

if TYPE_CHECKING:
    from tests.cli.conftest import Desk

README = Path(__file__).parents[2].joinpath("README.md").read_text(encoding="utf-8")
URL = "https://adaxes.example.com/restApi"
SECTIONS = re.findall(r"^###? (.+?)\n(.*?)(?=^###? |\Z)", README, re.MULTILINE | re.DOTALL)
SESSIONS = {
    title: [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]
    for title, text in SECTIONS
    if "\n$ " in text
}
ASKS = ("send", "resume", "retry")
STAFF = ("Anna", "Björn", "Chloé", "David", "Emil")
EDITED_ROW = 3
UNKNOWN_ROWS = (EDITED_ROW, 7, 12, *range(40, 46))


def staff(desk: "Desk", mark: str = "") -> None:
    """The staff as a file, with names; `mark` is the server's word for the last of them."""
    rows = [f'"CN={name},OU=Staff,DC=example,DC=com",{name}\n' for name in STAFF]
    rows.append(f'"CN=Fatima {mark},OU=Staff,DC=example,DC=com",Fatima\n')
    desk.write("staff.csv", "".join(["directoryObject,name\n", *rows]))


def told_staff(desk: "Desk") -> None:
    """A run to the staff, after which one of them was not told."""
    staff(desk, "[404]")
    assert desk("send", "staff.csv", "--text", "((name)), the VPN is down.", "--yes", "--quiet").code == 1


def planned_staff(desk: "Desk") -> None:
    """A plan of which nothing was sent."""
    staff(desk)
    assert desk("plan", "staff.csv", "--text", "((name)), the VPN is down.", "--quiet").code == 0


def people(desk: "Desk") -> None:
    """Some people, and a text for them."""
    desk.people(3)
    desk.write("outage.txt", "The VPN is down since 02:40.\n")


def told_people(desk: "Desk") -> None:
    """A run after which all are told."""
    desk.people(3)
    assert desk("send", "people.csv", "--yes", "--quiet").code == 0


def unknown_people(desk: "Desk") -> None:
    """A run after which it is unknown of some whether they were told."""
    rows = [
        f'"CN=Person {row}{" [drop_after]" if row in UNKNOWN_ROWS else ""},DC=example,DC=com",Outage {row}.\n'
        for row in range(2, 50)
    ]
    desk.write("people.csv", "".join(["directoryObject,text\n", *rows]))
    assert desk("send", "people.csv", "--yes", "--quiet", "--no-adapt").code == 4


def settings(desk: "Desk") -> None:
    """A file of settings."""
    desk.write("bulksms.toml", f'url = "{URL}"\nmax-recipients = 5000\n')


def edit(desk: "Desk") -> None:
    """What a person does in a spreadsheet: one of those of whom it was unknown is told of as accepted."""
    path = desk.folder / "people.unknown.csv"
    told = path.read_text(encoding="utf-8")
    path.write_text(re.sub(rf"^({EDITED_ROW},.*?),unknown,", r"\1,accepted,", told, flags=re.MULTILINE), "utf-8")


BEFORE: Mapping[str, Callable[["Desk"], None]] = {
    "A real session": people,
    "Configuration": settings,
    "Connecting: credentials, check, groups, look-ups": lambda _: None,
    "Outage alert to staff, in two minutes": staff,
    "Follow-up: all clear": told_staff,
    "Wrong text, stop now": told_staff,
    "Rehearsal": staff,
    "Moving a run to another machine": planned_staff,
    "Settling an unknown": unknown_people,
    "The report": told_people,
}
"""What each section takes for granted."""

BETWEEN: Mapping[str, Callable[["Desk"], None]] = {"bulksms resolve people.ledger.db --from": edit}
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


def test_every_section_with_commands_is_run() -> None:
    assert set(SESSIONS) == set(BEFORE)


@pytest.mark.parametrize("title", SESSIONS)
def test_the_commands_of_a_section_work_as_they_stand_there(title: str, desk: "Desk") -> None:
    server = desk.server(**({"directory": night_shift()} if title.startswith("Connecting") else {}))
    token_file = desk.write("the-token", desk.token)
    BEFORE[title](desk)
    for line in SESSIONS[title]:
        for beginning, act in BETWEEN.items():
            if line.startswith(beginning):
                act(desk)
        here = line.replace(URL, server.url).replace("/run/secrets/bulksms", str(token_file))
        words = shlex.split(here, comments=True)
        while words and ("=" in words[0] or words[0] == "export"):
            name, equals, value = words.pop(0).partition("=")
            if equals:
                desk.export(name, value)
        if words:
            program, command, *arguments = words
            assert program == "bulksms"
            yes = ["--yes"] if command in ASKS and not {"--yes", "--dry-run"} & set(arguments) else []
            said = desk(command, *arguments, *yes)
            assert said.code == 0, (line, said)
