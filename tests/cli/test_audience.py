"""The audience: groups, organizational units and searches together, and people found by any property of theirs."""

from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import Reason, State
from bulksms.sandbox import Directory, DirectoryObject
from bulksms.sandbox.faults import Fault

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server

HALL = "OU=Hall 3,DC=example,DC=com"
SALES = "CN=Sales,OU=Groups,DC=example,DC=com"
LEAVERS = "CN=Leavers,OU=Groups,DC=example,DC=com"
TEXT = ("--text", "Hello ((givenName|you))", "--ledger", "hall.db")


def guid(number: int) -> str:
    return f"7a4267ce-d354-44e7-8bd6-{number:012}"


def person(number: int, container: str = HALL, **properties: str) -> DirectoryObject:
    given = {
        "displayName": f"Person {number}",
        "givenName": f"P{number}",
        "sAMAccountName": f"p{number}",
        "employeeID": f"{4700 + number}",
        "department": "Sales" if number % 2 else "Support",
    }
    return DirectoryObject(f"CN=Person {number},{container}", guid(number), "user", None, given | properties)


def group(dn: str, number: int, *members: DirectoryObject) -> DirectoryObject:
    return DirectoryObject(dn, guid(number), "group", None, {"displayName": dn}, tuple(one.dn for one in members))


def serve(cli: "CliHarness", *objects: DirectoryObject) -> "Server":
    directory = Directory()
    for one in objects:
        directory.add(one)
    return cli.server(directory=directory)


def serve_a_hall(cli: "CliHarness") -> "Server":
    """Persons 1 and 2 in the hall, 3 in an office in it, 4 elsewhere; 1 and 4 in a group, 2 in that of the leavers."""
    people = [person(1), person(2), person(3, f"OU=Office,{HALL}"), person(4, "OU=Yard,DC=example,DC=com")]
    return serve(cli, *people, group(SALES, 901, people[0], people[3]), group(LEAVERS, 902, people[1]))


def recipients(cli: "CliHarness", ledger: str = "hall.db") -> list[str]:
    return [line.recipient for line in cli.lines(ledger)]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--ou", HALL), [1, 2]),
        (("--ou", HALL, "--subtree"), [3, 1, 2]),
        (("--search", "(department=Sales)"), [3, 1]),
        (("--search", "(&(objectCategory=person)(!(department=Sales)))"), [2, 4]),
        (("--search", '{"objectTypes": [{"type": "User", "items": {}}]}'), [3, 1, 2, 4]),
        (("--ou", HALL, "--group", SALES), [1, 2, 4]),
        (("--ou", HALL, "--group", SALES, "--search", "(employeeID=4703)"), [3, 1, 2, 4]),
        (("--ou", HALL, "--ou", "OU=Yard,DC=example,DC=com"), [1, 2, 4]),
    ],
)
def test_the_parts_of_an_audience_are_one_audience(
    cli: "CliHarness", options: tuple[str, ...], numbers: list[int]
) -> None:
    server = serve_a_hall(cli)
    assert cli("send", *options, *TEXT, "--yes").code == 0
    assert sorted(recipients(cli)) == sorted(map(guid, numbers))
    assert server.journal.total == len(numbers)


def test_the_plan_keeps_where_each_person_came_from(cli: "CliHarness") -> None:
    serve_a_hall(cli)
    result = cli("plan", "--ou", HALL, "--group", SALES, *TEXT)
    assert result.code == 0
    origins = {line.recipient: line.other_columns["audience"] for line in cli.lines("hall.db")}
    assert origins == {
        guid(1): f"members of {SALES}; users in {HALL}",
        guid(2): f"users in {HALL}",
        guid(4): f"members of {SALES}",
    }


def test_a_group_is_left_out_by_whatever_identifier_the_file_has(cli: "CliHarness") -> None:
    server = serve_a_hall(cli)
    assert cli("send", "--ou", HALL, "--not-group", LEAVERS, *TEXT, "--yes").code == 0
    assert [(line.recipient, line.state, line.reason) for line in cli.lines("hall.db")] == [
        (guid(1), State.ACCEPTED, None),
        (guid(2), State.SKIPPED, Reason.SUPPRESSED),
    ]
    cli.write("people.csv", f'dn,text\n"{person(1).dn}",Hi\n"{person(2).dn}",Hi\n')
    assert cli("send", "people.csv", "--not-group", LEAVERS, "--yes").code == 0
    assert [line.state for line in cli.lines()] == [State.ACCEPTED, State.SKIPPED]
    assert server.journal.total == 2


def test_an_older_server_is_asked_for_a_filter_by_its_own_query(cli: "CliHarness") -> None:
    server = serve_a_hall(cli)
    server.sandbox.trouble["POST /api/directoryObjects/search"] = [Fault.STATUS_400]
    assert cli("send", "--search", "(department=Sales)", *TEXT, "--yes").code == 0
    assert server.journal.calls["GET /api/directoryObjects/search"] == 1
    assert len(recipients(cli)) == 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--ou", "OU=None,DC=example,DC=com"), 3, "E013"),
        (("--ou", HALL, "--size-limit", "1"), 3, "E014"),
        (("--search", "(department=None)"), 3, "E002"),
        (("--not-group", guid(777), "--ou", HALL), 3, "E013"),
        (("--ou", "Hall 3"), 2, "names no organizational unit"),
        (("--ou", "S-1-5-21-1-2-3-4"), 2, "is a SID"),
        (("--search", "department=Sales"), 2, "is no LDAP filter"),
        (("--search", "(department=Sales"), 2, "its brackets do not match"),
        (("--search", '{"a": '), 2, "cannot be read"),
        (("--group", SALES, "--subtree"), 2, "--subtree is about"),
        (("--group", SALES, "--country", "DE"), 2, "--country is about"),
        (("people.csv", "--ou", HALL), 2, "Both people.csv and --ou"),
    ],
)
def test_an_audience_that_cannot_be_is_refused_with_nothing_sent(
    cli: "CliHarness", options: tuple[str, ...], code: int, words: str
) -> None:
    server = serve_a_hall(cli)
    cli.write("people.csv", f"guid\n{guid(1)}\n")
    result = cli("send", *options, *TEXT, "--yes")
    assert result.code == code
    assert words in result.err
    assert server.journal.total == 0


NUMBERS = {1: "+49 171 1234501", 2: "0171/1234502", 3: "(0171) 12345-03", 4: "+49 (0) 171 1234504"}


def serve_numbers(cli: "CliHarness") -> "Server":
    return serve(cli, *(person(number, mobile=written) for number, written in NUMBERS.items()))


def test_people_are_found_by_telephone_number_however_it_is_written(cli: "CliHarness") -> None:
    server = serve_numbers(cli)
    cli.write("people.csv", "Handy,text\n0171 1234501,Hi\n+49-171-1234502,Hi\n491711234503,Hi\n00491711234504,Hi\n")
    options = ("--recipient-column", "Handy", "--match", "mobile", "--country", "de")
    result = cli("send", "people.csv", *options, "--yes")
    assert result.code == 0, result.err
    assert recipients(cli, "people.ledger.db") == [guid(number) for number in NUMBERS]
    assert server.journal.total == 4


def test_two_spellings_of_one_number_are_one_person(cli: "CliHarness") -> None:
    serve_numbers(cli)
    cli.write("people.csv", "mobile,text\n0171 1234501,Hi\n+49 171 1234501,Hi\n")
    assert cli("send", "people.csv", "--match", "mobile", "--country", "DE", "--yes").code == 0
    assert [line.reason for line in cli.lines()] == [None, Reason.DUPLICATE]


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        ("0171 1234501", "E123", "--country DE"),
        ("4,91711E+11", "E123", "format the column as text"),
        ("call me", "E123", "not a telephone number"),
        ("+49 171 7654321", "E118", "nobody's mobile is this"),
        ("", "E102", "there is no recipient"),
    ],
)
def test_a_number_that_leads_to_nobody_is_an_error_of_the_row(
    cli: "CliHarness", number: str, code: str, words: str
) -> None:
    server = serve_numbers(cli)
    cli.write("people.csv", f'mobile,text\n"{number}",Hi\n')
    result = cli("send", "people.csv", "--match", "mobile", "--yes")
    assert result.code == 3
    assert code in result.err
    assert words in " ".join(result.err.split())
    assert server.journal.total == 0


def test_a_number_of_several_people_is_an_error_of_the_row(cli: "CliHarness") -> None:
    serve(cli, person(1, mobile="+49 171 1234501"), person(2, mobile="0171 1234501"))
    cli.write("people.csv", "mobile,text\n+49 171 1234501,Hi\n")
    result = cli("send", "people.csv", "--match", "mobile", "--country", "DE", "--yes")
    assert result.code == 3
    assert "E119" in result.err


@pytest.mark.parametrize(("match", "value"), [("employeeid", "4701"), ("displayName", "person 1"), ("department", "x")])
def test_people_are_found_by_any_property(cli: "CliHarness", match: str, value: str) -> None:
    serve(cli, person(1, department="x"), person(2))
    cli.write("people.csv", f"{match},text\n{value},Hi\n")
    result = cli("send", "people.csv", "--match", match, "--yes")
    assert result.code == 0, result.err
    assert recipients(cli, "people.ledger.db") == [guid(1)]


def test_what_is_no_property_is_wrong_usage(cli: "CliHarness") -> None:
    serve(cli, person(1))
    cli.write("people.csv", "mail,text\nx,Hi\n")
    assert cli("send", "people.csv", "--match", "e mail", "--yes").code == 2
    assert cli("send", "people.csv", "--match", "mobile", "--country", "XX", "--yes").code == 2


def test_a_name_in_both_forms_of_unicode_is_one_person(cli: "CliHarness") -> None:
    serve(cli, person(1, displayName="Jürgen Müller"))
    cli.write("people.csv", "displayName,text\nJürgen Müller,Hi\nJu\u0308rgen Mu\u0308ller,Hi\n")
    assert cli("send", "people.csv", "--match", "displayName", "--yes").code == 0
    assert [line.reason for line in cli.lines()] == [None, Reason.DUPLICATE]


def test_a_domain_before_a_user_name_is_named_with_what_is_right(cli: "CliHarness") -> None:
    serve(cli, person(1))
    cli.write("people.csv", "sAMAccountName,text\nEXAMPLE\\p1,Hi\n")
    result = cli("send", "people.csv", "--match", "sAMAccountName", "--yes")
    assert result.code == 3
    assert "write p1;" in " ".join(result.err.split())
