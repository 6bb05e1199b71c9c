"""People: names and ways to reach them come from the input's columns, else from the DN, and causes are in words."""

import pytest

from bulksms.model.message import Reason, State
from bulksms.report.triage import REASONS, PersonColumns, cause, first_value
from tests.report.test_triage import LINE


@pytest.mark.parametrize(
    ("columns", "names", "contacts"),
    [
        (["displayName", "Mobile", "mail"], ("displayName",), ("Mobile", "mail")),
        (
            ["Nachname", "Vorname", "Handy-Nr.", "E-Mail-Adresse"],
            ("Vorname", "Nachname"),
            ("Handy-Nr.", "E-Mail-Adresse"),
        ),
        (["GivenName", "sn", "Name"], ("Name",), ()),
        (["Surname"], ("Surname",), ()),
        (["office_phone", "note"], (), ("office_phone",)),
        ([], (), ()),
    ],
)
def test_columns_are_recognised_by_their_headings(
    columns: list[str], names: tuple[str, ...], contacts: tuple[str, ...]
) -> None:
    assert PersonColumns.of(columns) == PersonColumns(names, contacts)


@pytest.mark.parametrize(
    ("recipient", "name"),
    [
        ("CN=Anna Bee,OU=Staff,DC=x", "Anna Bee"),
        (r"cn = Roe\, Max\+Co ,DC=x", "Roe, Max+Co"),
        (r"CN=M\C3\BCller,DC=x", "Müller"),
        ("CN=a+UID=7,DC=x", "a"),
        ("{2bc8ff1c-7b5d-4f2a-9f2d-6a3f4f0c8a11}", None),
        ("S-1-5-21-1-2-3-500", None),
    ],
)
def test_the_first_value_of_a_dn_is_shown_unescaped(recipient: str, name: str | None) -> None:
    assert first_value(recipient) == name


def test_a_name_from_the_input_wins_over_the_dn_and_an_empty_one_does_not() -> None:
    columns = PersonColumns.of(["Vorname", "Nachname"])
    assert columns.name(LINE._replace(other_columns={"Vorname": " Anna ", "Nachname": "Bee"})) == "Anna Bee"
    assert columns.name(LINE._replace(other_columns={"Vorname": " "})) == "Anna"
    assert columns.name(LINE._replace(recipient="S-1-5-21-1", other_columns={})) == "S-1-5-21-1"


def test_every_reason_has_words() -> None:
    assert set(REASONS) == set(Reason)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"error": "CN=Anna,DC=x has 2 numbers"}, "… has … numbers"),
        ({"state": State.UNKNOWN, "error": "ServerDisconnectedError", "http_status": None}, REASONS[Reason.NO_ANSWER]),
        ({"state": State.UNKNOWN, "error": "Bad gateway", "http_status": 502}, "Bad gateway"),
        ({"state": State.AWAITING_APPROVAL, "reason": None}, "awaiting approval"),
        ({"state": State.QUEUED, "error": "503"}, "still queued"),
    ],
)
def test_a_cause_is_what_the_server_answered_or_else_the_reason(changes: dict[str, object], words: str) -> None:
    record = LINE._replace(state=State.FAILED, reason=Reason.NO_ANSWER)
    assert cause(record._replace(**changes)) == words  # type: ignore[arg-type]  # the fields of a record
