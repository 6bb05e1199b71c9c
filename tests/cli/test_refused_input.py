"""An input that cannot be sent is previewed all the same, and reported what is wrong once."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness

REFUSED = "directoryObject,text\n" + "".join(
    f"{row}\n"
    for row in (
        '"CN=Anna,DC=example,DC=com",Water off at 18:00.',
        "jsmith,Water off at 18:00.",
        '"CN=Anna,DC=example,DC=com",Water off at 18:00.',
        '"CN=Ben,DC=example,DC=com",Water off at 18:00.',
        '"cn=ben, dc=example, dc=com",Water off at 18:00.',
    )
)
"""One bad row, and two duplicates."""


@pytest.mark.parametrize("command", [("send", "people.csv", "--dry-run"), ("plan", "people.csv")])
def test_a_refused_file_is_previewed_all_the_same(command: tuple[str, ...], cli: "CliHarness") -> None:
    cli.write("people.csv", REFUSED)
    result = cli(*command)
    assert result.code == 3
    assert "row 2  CN=Anna,DC=example,DC=com" in result.out, "what could be sent"
    assert "row 5  CN=Ben,DC=example,DC=com" in result.out
    assert "people.csv: 5 rows, 2 to send, 2 duplicates, 1 bad" in result.out
    assert "duplicates    row 4 of row 2, row 6 of row 5: same person, same text" in result.out
    assert result.err.count("error: row 3") == 1
    assert "error" not in result.out, "it is reported once"
    assert "error: 1 of 5 rows of people.csv cannot be sent; nothing was sent." in result.err
    assert cli.files == {"people.csv"}


def test_a_preview_of_nobody_shows_why(cli: "CliHarness") -> None:
    cli.write("people.csv", "directoryObject,text\njsmith,Water off.\n")
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 3
    assert "people.csv: 1 row, 0 to send, 1 bad" in result.out
    assert "identifiers" not in result.out
    assert "sending" not in result.out


def test_send_itself_shows_what_is_wrong_and_no_more(cli: "CliHarness") -> None:
    cli.server()
    cli.write("people.csv", REFUSED)
    result = cli("send", "people.csv", "--yes")
    assert (result.code, result.out) == (3, "")
    assert "error: row 3" in result.err
    assert "CN=Anna" not in result.err
