"""Every option of `plan` shows its effect: in the ledger that is kept, in the preview, or in who is asked."""

import shutil
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from bulksms.sandbox import Account, Directory, DirectoryObject

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.harness import CliHarness, CliResult, Server

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
OTHER = "7a4267ce-d354-44e7-8bd6-c681f1284a42"
WORKBOOK = Path(__file__).parents[1] / "input" / "corpus" / "two-sheets.xlsx"


def messages(cli: "CliHarness", result: "CliResult") -> list[tuple[str, str]] | None:
    """What the plan would send, recipient and text; None if it was refused. The ledger is taken away again."""
    if result.code:
        return None
    lines = [(line.recipient, line.text) for line in cli.lines() if line.state == "queued"]
    (cli.folder / "people.ledger.db").unlink()
    return lines


class Reading(NamedTuple):
    """An option with its value, an input, and what the plan has with it and without it; None is a refusal."""

    option: tuple[str, ...]
    input: bytes
    expected: list[tuple[str, str]] | None
    without: list[tuple[str, str]] | None
    more: tuple[str, ...] = ()


ANN = (GUID, "A")
NAMED = f"guid,name\n{GUID},Anna\n".encode()
READINGS = [
    Reading(("--format", "csv"), b"", [(GUID, "Hello")], None, ("people.txt2",)),
    Reading(("--text", "Hi ((name))"), NAMED, [(GUID, "Hi Anna")], None),
    Reading(("--text-file", "text.txt"), NAMED, [(GUID, "Dear Anna")], None),
    Reading(("--no-template",), NAMED, [(GUID, "Hi ((name))")], [(GUID, "Hi Anna")], ("--text", "Hi ((name))")),
    Reading(
        ("--recipient-column", "who"), f"guid,who,text\n{GUID},{OTHER},A\n".encode(), [(OTHER, "A")], [(GUID, "A")]
    ),
    Reading(("--text-column", "words"), f"guid,text,words\n{GUID},A,B\n".encode(), [(GUID, "B")], [(GUID, "A")]),
    Reading(("--delimiter", ";"), f"guid;text;a,b,c,d\n{GUID};A, b;1\n".encode(), [(GUID, "A, b")], None),
    Reading(("--encoding", "cp850"), f"guid,text\n{GUID},ö\n".encode("cp850"), [(GUID, "ö")], [(GUID, "”")]),
    Reading(("--skip-invalid",), f"guid,text\n{GUID},A\njsmith,B\n".encode(), [(GUID, "A")], None),
    Reading(
        ("--suppress", "never.txt"),
        f"guid,text\n{GUID},A\n{OTHER},B\n".encode(),
        [(GUID, "A")],
        [(GUID, "A"), (OTHER, "B")],
    ),
    Reading(("--max-segments", "1"), f"guid,text\n{GUID},{'x' * 161}\n".encode(), None, [(GUID, "x" * 161)]),
    Reading(("--gsm7", "replace"), f"guid,text\n{GUID},a…\n".encode(), [(GUID, "a...")], [(GUID, "a…")]),
]


@pytest.mark.parametrize("reading", READINGS, ids=[reading.option[0] for reading in READINGS])
def test_what_the_option_makes_of_the_input_is_in_the_ledger(reading: Reading, cli: "CliHarness") -> None:
    (cli.folder / "people.csv").write_bytes(reading.input)
    cli.write("people.txt2", f"guid,text\n{GUID},Hello\n")
    cli.write("text.txt", "Dear ((name))\n")
    cli.write("never.txt", f"{OTHER}\n")
    source, *more = reading.more if reading.more[:1] == ("people.txt2",) else ("people.csv", *reading.more)
    assert messages(cli, cli("plan", source, *more, "--ledger", "people.ledger.db")) == reading.without
    result = cli("plan", source, *more, *reading.option, "--ledger", "people.ledger.db")
    assert messages(cli, result) == reading.expected


@pytest.mark.parametrize("command", [("plan", "--json"), ("send", "--dry-run", "--json")], ids=["plan", "send"])
def test_sheet_chooses_among_those_of_a_workbook(command: tuple[str, ...], cli: "CliHarness") -> None:
    shutil.copy(WORKBOOK, cli.folder / "people.xlsx")
    name, *options = command
    result = cli(name, "people.xlsx", *options)
    assert (result.code, "E010" in result.err) == (3, True)
    assert cli(name, "people.xlsx", *options, "--skip-invalid", "--sheet", "Old").json["to_send"] == 1


def test_rejects_show_and_quiet(cli: "CliHarness") -> None:
    rows = "".join(f'"CN=Person {number},DC=x",Hello {number}\n' for number in range(12))
    cli.write("people.csv", f"dn,text\n{rows}jsmith,Bad\n")
    assert cli("plan", "people.csv", "--rejects", "bad.csv").code == 3
    assert "jsmith,Bad" in (cli.folder / "bad.csv").read_text(encoding="utf-8-sig")
    found = cli("plan", "people.csv", "--skip-invalid", "--show", "0", "--json").json
    assert found["examples"] == []
    result = cli("plan", "people.csv", "--skip-invalid", "--quiet", "--ledger", "quiet.db")
    assert result.out == "Planned: quiet.db.\nTo send it:\n  bulksms send quiet.db\n"
    assert "Hello 0" in cli("plan", "people.csv", "--skip-invalid", "--ledger", "loud.db").out


def test_who_was_reported_is_the_input_or_is_left_out(cli: "CliHarness") -> None:
    cli.server()
    cli.people(2)
    assert cli("send", "people.csv", "--yes").code == 0
    cli.people(3, "more.csv")
    left = cli("plan", "more.csv", "--not-sent-in", "people.ledger.db", "--json").json
    assert (left["rows"], left["sent_before"], left["to_send"]) == (3, 2, 1)
    again = cli("plan", "--sent-in", "people.ledger.db", "--text", "All clear.", "--ledger", "clear.db", "--json").json
    assert [example["text"] for example in again["examples"]] == ["All clear."] * 2


def test_url_workers_and_rate_are_what_the_preview_counts_with(cli: "CliHarness") -> None:
    cli.people(100)
    usual = cli("plan", "people.csv", "--json").json
    assert (usual["url"], usual["workers"], usual["rate"]) == (None, 64, None)
    there = ("--url", "https://Adaxes.example/restApi/", "--workers", "4", "--rate", "2", "--ledger", "slow.db")
    result = cli("plan", "people.csv", *there, "--json").json
    assert (result["url"], result["workers"], result["rate"]) == ("https://adaxes.example/restApi", 4, 2.0)
    assert result["seconds"][0] > usual["seconds"][0]
    assert result["seconds"][0] == pytest.approx(99 / 2 + 0.5)


# Who is asked about the recipients


def people() -> list[DirectoryObject]:
    """Two persons with a number, the second one at work only; a group of both by way of another one."""

    def made(number: int, kind: str, members: tuple[str, ...] = (), **properties: str) -> DirectoryObject:
        guid, sid = f"7a4267ce-d354-44e7-8bd6-{number:012}", f"S-1-5-21-3635565734-1729062999-1822655016-{number}"
        return DirectoryObject(f"CN=Object {number},DC=x", guid, kind, sid, {**properties}, members)

    ann = made(1, "user", mail="ann@example.com", mobile="+49151001")
    bo = made(2, "user", mail="bo@example.com", telephoneNumber="+49151002")
    inner = made(4, "group", (bo.dn,))
    return [ann, bo, made(3, "group", (ann.dn, inner.dn)), inner]


def knowing(serve: "Callable[..., Server]", **options: object) -> "Server":
    """A server that knows them."""
    directory = Directory()
    for one in people():
        directory.add(one)
    return serve(directory=directory, **options)


def to_send(cli: "CliHarness", *arguments: str) -> int | None:
    """How many a plan would send to; None if it is refused."""
    result = cli("plan", *arguments, "--json", "--ledger", "people.ledger.db")
    (cli.folder / "people.ledger.db").unlink(missing_ok=True)
    return None if result.code else int(result.json["to_send"])


def test_recipients_are_verified_by_the_number_of_a_property(cli: "CliHarness") -> None:
    cli.at(knowing(cli.serve))
    ann, bo, *_ = people()
    cli.write("people.csv", f'dn,text\n"{ann.dn}",Hi\n"{bo.dn}",Hi\n')
    plan = ("people.csv", "--skip-invalid")
    assert to_send(cli, *plan) == 2
    assert to_send(cli, *plan, "--verify-recipients") == 1
    assert to_send(cli, *plan, "--verify-recipients", "--number-property", "telephoneNumber") == 1
    assert to_send(cli, *plan, "--verify-recipients", "--number-property", "mail") == 2


def test_recipients_are_matched_by_name(cli: "CliHarness") -> None:
    cli.at(knowing(cli.serve))
    cli.write("people.csv", "recipient,text\nann@example.com,Hi\n")
    assert to_send(cli, "people.csv") is None
    assert cli("plan", "people.csv", "--match", "mail").code == 0
    assert [line.recipient for line in cli.lines()] == [people()[0].guid]


def test_a_group_is_its_members_as_far_as_allowed(cli: "CliHarness") -> None:
    cli.at(knowing(cli.serve))
    group = ("--group", "CN=Object 3,DC=x", "--text", "Hi")
    assert to_send(cli, *group) == 2
    assert to_send(cli, *group, "--direct-only") == 1
    assert to_send(cli, *group, "--size-limit", "1") is None
    assert to_send(cli, *group, "--size-limit", "3") == 2


def test_url_and_token_lead_to_the_directory(cli: "CliHarness") -> None:
    server = knowing(cli.serve)
    cli.write("people.csv", f'dn,text\n"{people()[0].dn}",Hi\n')
    cli.write("a-token", cli.token)
    plan = ("people.csv", "--verify-recipients", "--url", server.url)
    assert to_send(cli, *plan) is None
    assert to_send(cli, *plan, "--token-file", "a-token") == 1
    assert server.journal.calls["GET /api/directoryObjects"] == 1


def test_an_account_logs_in_to_look_people_up(cli: "CliHarness") -> None:
    account = Account(password="a-password-4711")
    server = knowing(cli.serve, token=None, account=account)
    cli.write("people.csv", f'dn,text\n"{people()[0].dn}",Hi\n')
    cli.write("password-token", account.password)
    cli.export("BULKSMS_USERNAME", account.username)
    plan = ("people.csv", "--verify-recipients", "--url", server.url)
    assert to_send(cli, *plan, "--password-file", "password-token") == 1
    assert server.journal.calls["POST /api/auth"] == 1


def test_a_proxy_and_plain_http_lead_to_the_directory(cli: "CliHarness") -> None:
    """The simulator is the proxy here: what is asked of it names a host that does not exist."""
    server = knowing(cli.serve)
    cli.export("BULKSMS_TOKEN", cli.token)
    cli.write("people.csv", f'dn,text\n"{people()[0].dn}",Hi\n')
    plan = ("people.csv", "--verify-recipients", "--url", "http://adaxes.invalid/restApi")
    proxy = server.url.removesuffix("/restApi")
    assert to_send(cli, *plan, "--proxy", proxy) is None
    assert server.journal.calls.total() == 0
    assert to_send(cli, *plan, "--insecure-http", "--proxy", proxy) == 1
    assert server.journal.calls["GET /api/directoryObjects"] == 1


def test_a_file_of_authorities_makes_the_directory_s_certificate_good(cli: "CliHarness") -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(cli.folder / "ca.pem")
    cli.at(knowing(cli.serve, tls=context))
    cli.write("people.csv", f'dn,text\n"{people()[0].dn}",Hi\n')
    assert to_send(cli, "people.csv", "--verify-recipients") is None
    assert to_send(cli, "people.csv", "--verify-recipients", "--ca-file", "ca.pem") == 1
