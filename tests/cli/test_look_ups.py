"""Recipients are looked up before anything is sent: verified, matched by name, or the members of groups."""

import csv
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import pytest

from bulksms.model.message import State
from bulksms.policy.retry import RetryPolicy
from bulksms.sandbox import Directory, DirectoryObject, Fault, PropertyShape, Shapes

if TYPE_CHECKING:
    from tests.cli.harness import CliHarness, Server

LOOK_UP = "GET /api/directoryObjects"
SEARCH = "POST /api/directoryObjects/search"
MEMBERS = "GET /api/directoryObjects/groupMembers"
GROUP = "CN=Night shift,OU=Groups,DC=example,DC=com"
INNER = "CN=Inner,OU=Groups,DC=example,DC=com"
NOBODY = "00000000-0000-4000-8000-00000000dead"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bulksms.directory.lookup.RetryPolicy", partial(RetryPolicy, base=0.005, cap=0.02))


def guid(number: int) -> str:
    return f"7a4267ce-d354-44e7-8bd6-{number:012}"


def sid(number: int) -> str:
    return f"S-1-5-21-3635565734-1729062999-1822655016-{number}"


def person(number: int, **properties: object) -> DirectoryObject:
    """Somebody who can be reached; None takes a property away."""
    given = {
        "displayName": f"Person {number}",
        "givenName": f"P{number}",
        "mobile": f"+4915100{number:05}",
        "mail": f"p{number}@example.com",
        "sAMAccountName": f"p{number}",
        "userPrincipalName": f"p{number}@corp.example.com",
        "userAccountControl": 512,
    } | properties
    kept = {name: value for name, value in given.items() if value is not None}
    return DirectoryObject(
        f"CN=Person {number},OU=Staff,DC=example,DC=com",
        guid(number),
        "user",
        sid(number),
        kept,  # type: ignore[arg-type]  # what a property can be
    )


def directory(*people: DirectoryObject) -> Directory:
    made = Directory()
    for one in people:
        made.add(one)
    return made


def group(dn: str, *members: DirectoryObject, number: int = 900) -> DirectoryObject:
    return DirectoryObject(
        dn, guid(number), "group", sid(number), {"displayName": dn}, tuple(one.dn for one in members)
    )


def with_people(cli: "CliHarness", *people: DirectoryObject, **options: object) -> "Server":
    return cli.server(directory=directory(*people), **options)


def write_recipients(cli: "CliHarness", *recipients: str, text: str = "Hi") -> None:
    rows = ['"' + recipient.replace('"', '""') + f'",{text}\n' for recipient in recipients]
    cli.write("people.csv", "".join(["directoryObject,text\n", *rows]))


def test_a_person_who_cannot_be_reached_is_an_error_of_the_row(cli: "CliHarness") -> None:
    people = [
        person(1),
        person(2, mobile=None),
        person(3, userAccountControl=514),
        person(4, userAccountControl=66_050),
        group(GROUP),
    ]
    server = with_people(cli, *people)
    write_recipients(cli, guid(1), people[1].dn, sid(3), guid(4), NOBODY, GROUP)
    result = cli("send", "people.csv", "--verify-recipients", "--yes", "--rejects", "bad.csv")
    assert result.code == 3
    assert "5 of 6 rows of people.csv cannot be sent; nothing was sent." in result.err
    with (cli.folder / "bad.csv").open(encoding="utf-8-sig", newline="") as file:
        rejected = list(csv.DictReader(file))
    assert [(row["directoryObject"], row["text"], row["row"], row["code"]) for row in rejected] == [
        (people[1].dn, "Hi", "3", "E116"),
        (sid(3), "Hi", "4", "E117"),
        (guid(4), "Hi", "5", "E117"),
        (NOBODY, "Hi", "6", "E114"),
        (GROUP, "Hi", "7", "E115"),
    ]
    assert server.journal.total == 0
    assert not (cli.folder / "people.ledger.db").exists()


def test_the_good_ones_are_sent_as_they_were_given_and_the_bad_ones_are_in_the_ledger(cli: "CliHarness") -> None:
    server = with_people(cli, person(1), person(2, mobile=None), person(3))
    write_recipients(cli, guid(1).upper(), guid(2), person(3).dn)
    result = cli("send", "people.csv", "--verify-recipients", "--skip-invalid", "--yes")
    assert result.code == 1
    assert [(line.recipient, line.state, line.error_code) for line in cli.lines()] == [
        (guid(1).upper(), State.ACCEPTED, None),
        (guid(2), State.SKIPPED, "E116"),
        (person(3).dn, State.ACCEPTED, None),
    ]
    assert server.journal.calls[LOOK_UP] == 3


def test_all_identifiers_of_a_person_are_one_person(cli: "CliHarness") -> None:
    with_people(cli, person(1), person(2))
    write_recipients(cli, person(1).dn, guid(1), sid(1), guid(2))
    result = cli("send", "people.csv", "--verify-recipients", "--yes")
    assert result.code == 0
    assert [(line.state, line.error) for line in cli.lines()] == [
        (State.ACCEPTED, None),
        (State.SKIPPED, "duplicate of row 2"),
        (State.SKIPPED, "duplicate of row 2"),
        (State.ACCEPTED, None),
    ]


def test_the_same_person_with_another_text_is_sent_both_with_a_warning(cli: "CliHarness") -> None:
    with_people(cli, person(1))
    cli.write("people.csv", f'directoryObject,text\n"{person(1).dn}",One\n{sid(1)},Two\n')
    result = cli("send", "people.csv", "--verify-recipients", "--dry-run")
    assert result.code == 0
    assert "W301" in result.out
    assert "the same person as in row 2, with another text" in " ".join(result.out.split())


def test_without_verification_identifiers_are_only_compared_as_written(cli: "CliHarness") -> None:
    server = with_people(cli, person(1))
    write_recipients(cli, person(1).dn, guid(1))
    assert cli("send", "people.csv", "--yes").code == 0
    assert [line.state for line in cli.lines()] == [State.ACCEPTED] * 2
    assert server.journal.calls[LOOK_UP] == 0


@pytest.mark.parametrize("named", ["dn", "guid", "sid"])
def test_suppression_under_one_identifier_holds_for_all(cli: "CliHarness", named: str) -> None:
    with_people(cli, person(1), person(2))
    identifiers = {"dn": person(1).dn, "guid": "{" + guid(1).upper() + "}", "sid": sid(1)}
    cli.write("never.txt", identifiers.pop(named) + "\n")
    for given in identifiers.values():
        write_recipients(cli, given, guid(2))
        result = cli("send", "people.csv", "--verify-recipients", "--suppress", "never.txt", "--dry-run", "--json")
        assert (result.json["suppressed"], result.json["to_send"]) == (1, 1)


def test_recipients_of_one_identifier_are_left_out_under_all(cli: "CliHarness") -> None:
    with_people(cli, person(1), person(2))
    write_recipients(cli, person(1).dn)
    assert cli("send", "people.csv", "--yes", "--ledger", "first.db").code == 0
    write_recipients(cli, guid(1), guid(2))
    result = cli("send", "people.csv", "--not-sent-in", "first.db", "--verify-recipients", "--dry-run", "--json")
    assert (result.json["sent_before"], result.json["to_send"]) == (1, 1)


def test_a_row_with_two_errors_has_both(cli: "CliHarness") -> None:
    with_people(cli, person(1, mobile=None))
    write_recipients(cli, guid(1), text="")
    result = cli("send", "people.csv", "--verify-recipients", "--yes")
    assert result.code == 3
    assert "E111" in result.err
    assert "E116" in result.err


def test_the_number_may_be_in_another_property(cli: "CliHarness") -> None:
    with_people(cli, person(1), person(2, mobile=None, pager="+49 1"))
    write_recipients(cli, guid(1), guid(2))
    result = cli("send", "people.csv", "--verify-recipients", "--number-property", "pager", "--skip-invalid", "--yes")
    assert result.code == 1
    assert [line.error_code for line in cli.lines()] == ["E116", None]


def test_a_plan_can_be_verified_and_is_then_sent_without_looking_up_again(cli: "CliHarness") -> None:
    server = with_people(cli, person(1), person(2))
    write_recipients(cli, guid(1), guid(2))
    result = cli("plan", "people.csv", "--verify-recipients", "--rate", "1000")
    assert result.code == 0
    assert server.url in result.out
    assert server.journal.calls[LOOK_UP] == 2
    assert cli("send", "people.ledger.db", "--yes").code == 0
    assert server.journal.calls[LOOK_UP] == 2
    assert server.journal.total == 2


def test_people_of_an_earlier_ledger_can_be_verified(cli: "CliHarness") -> None:
    server = with_people(cli, person(1), person(2))
    write_recipients(cli, guid(1), guid(2))
    assert cli("send", "people.csv", "--yes").code == 0
    server.sandbox.directory.add(person(2, mobile=None))
    result = cli("send", "--sent-in", "people.ledger.db", "--text", "It is over.", "--verify-recipients", "--dry-run")
    assert result.code == 3
    assert "E116" in result.err


@pytest.mark.parametrize("shape", PropertyShape)
def test_more_people_than_one_batch_are_verified_in_order(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch, shape: PropertyShape
) -> None:
    monkeypatch.setattr("bulksms.directory.lookup.BATCH", 7)
    people = [person(number) for number in range(1, 31)]
    with_people(cli, *people, shapes=Shapes(shape))
    write_recipients(cli, *(guid(number) for number in range(1, 31)))
    assert cli("send", "people.csv", "--verify-recipients", "--yes").code == 0
    assert [line.recipient for line in cli.lines()] == [guid(number) for number in range(1, 31)]


@pytest.mark.parametrize("match", ["mail", "sAMAccountName", "userPrincipalName"])
def test_people_are_found_by_what_they_are_called(cli: "CliHarness", match: str) -> None:
    server = with_people(cli, *(person(number) for number in range(1, 131)))
    names = {"mail": "P{}@Example.com", "sAMAccountName": "P{}", "userPrincipalName": "p{}@CORP.example.com"}[match]
    rows = [f"{names.format(number)},{number}\n" for number in range(1, 131)]
    cli.write("people.csv", "".join([f"{match},shift\n", *rows]))
    result = cli("send", "people.csv", "--match", match, "--text", "Shift ((shift))", "--yes")
    assert result.code == 0
    lines = cli.lines()
    assert [line.recipient for line in lines] == [guid(number) for number in range(1, 131)]
    assert lines[4].other_columns == {match: names.format(5), "shift": "5"}
    assert server.journal.calls[SEARCH] == 3, "many of them fit one request"
    assert server.journal.calls[LOOK_UP] == 0


def test_a_name_of_nobody_or_of_several_is_an_error_of_the_row(cli: "CliHarness") -> None:
    twin = person(2, mail="p1@example.com")
    server = with_people(cli, person(1), twin, person(3))
    cli.write("people.csv", "mail,text\np1@example.com,Hi\nnobody@example.com,Hi\np3@example.com,\n,Hi\n")
    result = cli("send", "people.csv", "--match", "mail", "--yes", "--rejects", "bad.csv")
    assert result.code == 3
    rejected = (cli.folder / "bad.csv").read_text(encoding="utf-8-sig")
    for code in ("E119", "E118", "E111", "E102"):
        assert code in rejected
    assert person(1).dn in result.err.replace("\n       ", " ")
    assert server.journal.total == 0


def test_matched_people_can_be_verified_without_another_question(cli: "CliHarness") -> None:
    server = with_people(cli, person(1), person(2, mobile=None))
    cli.write("people.csv", "recipient,text\np1@example.com,Hi\np2@example.com,Hi\n")
    result = cli("send", "people.csv", "--match", "mail", "--verify-recipients", "--skip-invalid", "--yes")
    assert result.code == 1
    assert [(line.recipient, line.error_code) for line in cli.lines()] == [(guid(1), None), ("p2@example.com", "E116")]
    assert server.journal.calls[LOOK_UP] == 0


def test_two_names_of_one_person_are_one_recipient(cli: "CliHarness") -> None:
    with_people(cli, person(1))
    cli.write("people.csv", "mail,text\np1@example.com,Hi\nP1@EXAMPLE.COM,Hi\n")
    assert cli("send", "people.csv", "--match", "mail", "--yes").code == 0
    assert [line.error for line in cli.lines()] == [None, "duplicate of row 2"]


def test_more_hits_than_an_answer_holds_are_asked_for_in_halves(
    cli: "CliHarness", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bulksms.directory.lookup.NAMES_A_SEARCH", 8)
    everybody = [person(number, mail="everybody@example.com") for number in range(100, 1100)]
    server = with_people(cli, person(1), person(2), person(3), *everybody)
    cli.write(
        "people.csv",
        "mail,text\np1@example.com,Hi\np2@example.com,Hi\np3@example.com,Hi\neverybody@example.com,Hi\n",
    )
    result = cli("send", "people.csv", "--match", "mail", "--skip-invalid", "--yes")
    assert result.code == 1
    assert [line.recipient for line in cli.lines()][:3] == [guid(1), guid(2), guid(3)]
    assert [line.error_code for line in cli.lines()][3] == "E119"
    assert server.journal.calls[SEARCH] > 1


def test_a_server_without_search_is_reported_in_a_sentence(cli: "CliHarness") -> None:
    server = with_people(cli, person(1))
    server.sandbox.trouble[SEARCH] = [Fault.STATUS_400]
    cli.write("people.csv", "mail,text\np1@example.com,Hi\n")
    result = cli("send", "people.csv", "--match", "mail", "--yes")
    assert result.code == 5
    assert "The directory does not answer a search: The request is invalid." in result.err
    assert server.journal.total == 0


def test_the_hint_for_names_in_a_file_names_the_option_that_takes_them(cli: "CliHarness") -> None:
    cli.write("people.csv", "recipient,text\nann@example.com,Hi\nDOMAIN\\ann,Hi\n")
    result = cli("send", "people.csv", "--dry-run")
    assert result.code == 3
    assert "--match mail" in result.err.replace("\n", " ")
    assert "--match sAMAccountName" in result.err.replace("\n", " ")


def a_group_of(cli: "CliHarness", **options: object) -> "Server":
    """A group of two people and a group, which has the third, a contact without account, and a computer."""
    inner_people = [person(3), person(1)]
    computer = DirectoryObject("CN=PC1,CN=Computers,DC=example,DC=com", guid(800), "computer", sid(800), {})
    inner = group(INNER, *inner_people, computer, number=901)
    outer = group(GROUP, person(2), person(1), inner)
    return with_people(cli, person(1), person(2), person(3), computer, inner, outer, **options)


def test_the_members_of_a_group_are_sent_to_each_once_with_their_own_names(cli: "CliHarness") -> None:
    server = a_group_of(cli)
    result = cli("send", "--group", GROUP, "--text", "Hello ((givenName))!", "--ledger", "night.db", "--yes")
    assert result.code == 0
    assert [(line.recipient, line.text) for line in cli.lines("night.db")] == [
        (guid(number), f"Hello P{number}!") for number in (1, 2, 3)
    ]
    assert cli.lines("night.db")[0].other_columns == {"displayName": "Person 1", "givenName": "P1"}
    assert "W211" in result.err
    assert server.journal.calls[MEMBERS] == 1


@pytest.mark.parametrize("named", [GROUP, guid(900), sid(900)])
def test_direct_members_are_those_of_the_group_alone(cli: "CliHarness", named: str) -> None:
    a_group_of(cli)
    result = cli("send", "--group", named, "--direct-only", "--text", "Hi", "--dry-run", "--json")
    assert result.json["to_send"] == 2


def test_several_groups_are_one_set_of_people(cli: "CliHarness") -> None:
    a_group_of(cli)
    groups = ("--group", GROUP, "--group", INNER, "--direct-only")
    result = cli("send", *groups, "--text", "Hi", "--dry-run", "--json")
    assert (result.json["rows"], result.json["to_send"]) == (3, 3)


def test_the_same_group_is_the_same_plan(cli: "CliHarness") -> None:
    server = a_group_of(cli)
    command = ("send", "--group", GROUP, "--text", "Hi", "--ledger", "night.db", "--yes")
    assert cli(*command).code == 0
    result = cli(*command)
    assert result.code == 3
    assert "already sent to 3" in result.err
    server.sandbox.directory.add(group(GROUP, person(2)))
    result = cli(*command)
    assert result.code == 3
    assert "about another plan" in result.err
    assert server.journal.total == 3


def test_members_can_be_verified_suppressed_and_left_out(cli: "CliHarness") -> None:
    server = a_group_of(cli)
    server.sandbox.directory.add(person(2, mobile=None))
    cli.write("never.txt", person(3).dn + "\n")
    result = cli(
        "send",
        *("--group", GROUP, "--text", "Hi", "--verify-recipients", "--skip-invalid", "--suppress", "never.txt"),
        *("--ledger", "night.db", "--yes"),
    )
    assert result.code == 1
    assert [(line.state, line.error_code or line.reason) for line in cli.lines("night.db")] == [
        (State.ACCEPTED, None),
        (State.SKIPPED, "E116"),
        (State.SKIPPED, "suppressed"),
    ]
    assert server.journal.calls[LOOK_UP] == 0


def test_a_member_without_a_value_for_the_text_is_an_error_of_the_row(cli: "CliHarness") -> None:
    with_people(cli, person(1), person(2, givenName=None), group(GROUP, person(1), person(2)))
    result = cli("send", "--group", GROUP, "--text", "Hi ((givenname))", "--dry-run")
    assert result.code == 3
    assert "E112" in result.err
    assert cli("send", "--group", GROUP, "--text", "Hi ((givenname|you))", "--dry-run").code == 0


def test_a_group_that_is_larger_than_allowed_is_refused_and_one_that_looks_cut_is_warned_of(cli: "CliHarness") -> None:
    everybody = [person(number) for number in range(1, 1001)]
    with_people(cli, *everybody, group(GROUP, *everybody))
    result = cli("send", "--group", GROUP, "--text", "Hi", "--dry-run", "--size-limit", "999")
    assert result.code == 3
    assert f"There are more than 999 members of {GROUP} (E014 too-many-members)" in result.err
    result = cli("send", "--group", GROUP, "--text", "Hi", "--dry-run", "--size-limit", "1000")
    assert result.code == 0
    assert "W210" in result.out


@pytest.mark.parametrize(("named", "code"), [(NOBODY, "E013"), (guid(1), "E013"), (guid(900), "E002")])
def test_a_group_that_is_none_is_refused(cli: "CliHarness", named: str, code: str) -> None:
    server = with_people(cli, person(1), group(GROUP))
    result = cli("send", "--group", named, "--text", "Hi", "--dry-run")
    assert result.code == 3
    assert code in result.err
    assert server.journal.total == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("send", "people.csv", "--direct-only"), "--direct-only is about the members"),
        (("send", "people.csv", "--size-limit", "5"), "--size-limit is about groups"),
        (("send", "people.csv", "--number-property", "pager"), "--number-property is about"),
        (("send", "people.csv", "--verify-recipients", "--sandbox"), "knows nobody"),
        (("send", "people.csv", "--group", GROUP, "--text", "Hi"), "Both people.csv and --group"),
        (("send", "--group", GROUP), "needs a text of its own"),
        (("send", "--group", GROUP, "--text", "Hi", "--match", "mail"), "--match is about"),
        (("send", "--group", "Night shift", "--text", "Hi", "--dry-run"), "names no group"),
        (("send", "--group", GROUP, "--text", "Hi", "--yes"), "A group has no name for the ledger"),
        (("send", "--group", GROUP, "--text", "Hi", "--sent-in", "x.db"), "Both --sent-in and --group"),
        (("send", "--group", GROUP, "--text", "Hi", "--format", "csv"), "--format is about an input file"),
        (("plan", "people.csv", "--token-file", "token"), "a plan asks it only for look-ups"),
        (("plan", "people.csv", "--insecure-http"), "a plan asks it only for look-ups"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anybody_is_asked(
    cli: "CliHarness", arguments: tuple[str, ...], words: str
) -> None:
    server = with_people(cli, person(1))
    write_recipients(cli, guid(1))
    result = cli(*arguments)
    assert result.code == 2
    assert words in result.err
    assert "hint:" in result.err
    assert server.journal.calls.total() == server.journal.total == 0


def test_look_ups_need_a_url_and_somebody_to_ask_as(cli: "CliHarness") -> None:
    write_recipients(cli, guid(1))
    assert "There is no URL" in cli("plan", "people.csv", "--verify-recipients").err
    cli.export("BULKSMS_URL", "https://adaxes.example.com/restApi")
    result = cli("plan", "people.csv", "--verify-recipients")
    assert result.code == 2
    assert "There is no access token and no account." in result.err


def test_a_server_that_cannot_be_asked_ends_it_with_nothing_sent_and_no_ledger(cli: "CliHarness") -> None:
    server = with_people(cli, person(1))
    write_recipients(cli, guid(1))
    cli.export("BULKSMS_TOKEN", "wrong")
    result = cli("send", "people.csv", "--verify-recipients", "--yes")
    assert result.code == 5
    assert "The server does not accept the access token." in result.err
    server.sandbox.trouble[LOOK_UP] = [Fault.HTML_200]
    cli.export("BULKSMS_TOKEN", cli.token)
    result = cli("send", "people.csv", "--verify-recipients", "--yes")
    assert result.code == 5
    assert "cannot be read" in result.err
    assert cli.files == {"people.csv"}
    assert server.journal.total == 0


def test_a_ledger_that_is_there_is_compared_with_what_was_looked_up(cli: "CliHarness") -> None:
    server = with_people(cli, person(1), person(2))
    write_recipients(cli, person(1).dn, guid(1), guid(2))
    command = ("send", "people.csv", "--verify-recipients", "--yes")
    assert cli(*command).code == 0
    assert "already sent to 2" in cli(*command).err
    assert server.journal.total == 2


def test_options_of_look_ups_are_refused_where_a_ledger_is_sent(cli: "CliHarness") -> None:
    with_people(cli, person(1))
    write_recipients(cli, guid(1))
    assert cli("plan", "people.csv").code == 0
    result = cli("send", "people.ledger.db", "--verify-recipients", "--yes")
    assert result.code == 2
    assert "--verify-recipients is about an input" in result.err


def test_the_keys_of_an_unverified_ledger_stay_as_they_were_given(cli: "CliHarness") -> None:
    """What other ledgers are compared with is the identifier of the file, so that both kinds find each other."""
    with_people(cli, person(1), person(2))
    write_recipients(cli, person(1).dn, sid(2))
    assert cli("plan", "people.csv", "--verify-recipients").code == 0
    with sqlite3.connect(cli.folder / "people.ledger.db") as connection:
        keys = [key for (key,) in connection.execute("SELECT recipient_key FROM message ORDER BY number")]
    connection.close()
    assert keys == ["dn:cn=person 1,ou=staff,dc=example,dc=com", f"sid:{sid(2).lower()}"]
