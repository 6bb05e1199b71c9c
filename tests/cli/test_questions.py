"""The one question before anything is sent: what counts as a yes."""

import click
import pytest

from bulksms.cli.ui.prompts import TYPED_ABOVE, TYPED_TRIES, confirm

URL = "https://adaxes.example.com/restApi"
NUMBER = 12_345


class Person:
    """Types these lines, one at each question."""

    def __init__(self, *lines: str) -> None:
        self.lines = list(lines)
        self.asked: list[str] = []

    def prompt(self, question: str, **_: object) -> str:
        self.asked.append(question)
        return self.lines.pop(0)

    def confirm(self, question: str, **_: object) -> bool:
        self.asked.append(question)
        return self.lines.pop(0) == "y"


def asks(monkeypatch: pytest.MonkeyPatch, *lines: str) -> Person:
    """Somebody sits at the terminal."""
    person = Person(*lines)
    monkeypatch.setattr("bulksms.cli.ui.prompts.on_terminal", lambda: True)
    monkeypatch.setattr("bulksms.cli.ui.prompts.click.prompt", person.prompt)
    monkeypatch.setattr("bulksms.cli.ui.prompts.click.confirm", person.confirm)
    return person


@pytest.mark.parametrize("typed", ["12345", "12,345", "12.345", "12 345", "12'345", "12_345", " 12345 ", "12\u202f345"])
def test_the_number_counts_however_people_write_it(typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    person = asks(monkeypatch, typed)
    assert confirm(NUMBER, URL, yes=False, limited=False) == "at the terminal"
    assert person.asked == ["Type 12,345 to send, or Enter to stop"]


def test_a_slip_is_asked_about_again(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asks(monkeypatch, "y", "1234", "12345")
    assert confirm(NUMBER, URL, yes=False, limited=False) == "at the terminal"
    printed = capsys.readouterr().err
    assert f"Send 12,345 messages to {URL}?" in printed
    assert "'y' is not 12,345." in printed
    assert "'1234' is not 12,345." in printed


@pytest.mark.parametrize("lines", [[""], ["n"], ["No"], ["q"], ["1234"] * TYPED_TRIES])
def test_whatever_is_no_number_sends_nothing(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    person = asks(monkeypatch, *lines)
    with pytest.raises(click.Abort):
        confirm(NUMBER, URL, yes=False, limited=False)
    assert person.lines == []


@pytest.mark.parametrize(("count", "asked"), [(1, "Send 1 message to"), (TYPED_ABOVE, "Send 1,000 messages to")])
def test_up_to_a_thousand_a_yes_is_enough(count: int, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    person = asks(monkeypatch, "y")
    assert confirm(count, URL, yes=False, limited=False) == "at the terminal"
    assert person.asked == [f"{asked} {URL}?"]
