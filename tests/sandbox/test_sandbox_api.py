"""The simulator's log-in and directory."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from bulksms.sandbox import Account, Directory, DirectoryObject, Fault, PropertyShape, Sandbox, Shapes
from bulksms.sandbox.directory import EVERYBODY, is_identifier

CREDENTIALS = {"username": "operator@example.com", "password": "sandbox"}
TOKEN = {"Adm-Authorization": "sandbox"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


class Client:
    """Requests to one sandbox, answered as (status, JSON)."""

    def __init__(self, session: aiohttp.ClientSession, sandbox: Sandbox) -> None:
        self._session = session
        self._url = sandbox.url

    async def __call__(
        self, method: str, path: str, body: object = None, *, token: str | None = None, **query: str
    ) -> tuple[int, Any]:
        headers = {} if token is None else {"Adm-Authorization": token}
        url = URL(f"{self._url}/api/{path}", encoded="?" in path)
        async with self._session.request(method, url, json=body, params=query, headers=headers) as answer:
            attempt = await answer.read()
            return answer.status, json.loads(attempt) if attempt else None

    async def log_in(self) -> str:
        _, session = await self("POST", "authSessions/create", CREDENTIALS)
        _, token = await self("POST", "auth", {"sessionId": session["sessionId"]})
        return str(token["token"])

    async def is_good(self, token: str) -> bool:
        return (await self("GET", "directoryObjects", token=token, directoryObject=EVERYBODY))[0] == 200


async def test_a_log_in_takes_two_steps_and_gives_a_token_that_is_good(session: aiohttp.ClientSession) -> None:
    async with Sandbox(token=None) as sandbox:
        client = Client(session, sandbox)
        status, given = await client("POST", "authSessions/create", CREDENTIALS)
        assert status == 200
        status, token = await client("POST", "auth", {"sessionId": given["sessionId"]})
        assert status == 200
        for answer in (given, token):
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", answer["expiresAtUtc"])
        assert given["expiresAtUtc"] < token["expiresAtUtc"]
        assert await client.is_good(token["token"])
        assert not await client.is_good("sandbox")
        assert sandbox.log_ins.issued == 1
        assert sandbox.journal.calls["POST /api/auth"] == 1


async def test_a_log_out_ends_token_and_session(session: aiohttp.ClientSession) -> None:
    async with Sandbox(token=None) as sandbox:
        client = Client(session, sandbox)
        _, given = await client("POST", "authSessions/create", CREDENTIALS)
        _, token = await client("POST", "auth", {"sessionId": given["sessionId"]})
        assert (sandbox.log_ins.open_sessions, sandbox.log_ins.open_tokens) == (1, 1)
        assert (await client("DELETE", "auth", token=token["token"]))[0] == 400
        assert await client("DELETE", "auth?token=" + token["token"], token=token["token"]) == (204, None)
        assert not await client.is_good(token["token"])
        assert await client("DELETE", "authSessions", id=given["sessionId"]) == (204, None)
        assert (await client("DELETE", "authSessions", id=given["sessionId"]))[0] == 404
        assert (await client("POST", "auth", {"sessionId": given["sessionId"]}))[0] == 401
        assert (sandbox.log_ins.open_sessions, sandbox.log_ins.open_tokens) == (0, 0)
        assert not any("token=" in call.path or "id=" in call.path for call in sandbox.journal.called)


async def test_a_token_and_a_session_end_with_their_life_time(session: aiohttp.ClientSession) -> None:
    async with Sandbox(token=None, account=Account(token_lifetime=0.0, session_lifetime=60)) as sandbox:
        client = Client(session, sandbox)
        assert not await client.is_good(await client.log_in())
    async with Sandbox(account=Account(session_lifetime=0.0)) as sandbox:
        client = Client(session, sandbox)
        _, given = await client("POST", "authSessions/create", CREDENTIALS)
        assert (await client("POST", "auth", {"sessionId": given["sessionId"]}))[0] == 401


async def test_revoked_tokens_are_no_longer_good(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        client = Client(session, sandbox)
        token = await client.log_in()
        assert await client.is_good(token)
        sandbox.log_ins.revoke()
        assert not await client.is_good(token)
        assert await client.is_good("sandbox")


async def test_wrong_passwords_count_down_and_lock_the_account(session: aiohttp.ClientSession) -> None:
    wrong = CREDENTIALS | {"password": "guess"}
    async with Sandbox(account=Account(delay=0.0)) as sandbox:
        client = Client(session, sandbox)
        lines = [await client("POST", "authSessions/create", wrong) for _ in range(6)]
        assert {status for status, _ in lines} == {403}
        inner = [answer["innerError"] for _, answer in lines]
        assert [error["attemptsLeft"] for error in inner] == [4, 3, 2, 1, 0, 0]
        assert [error["code"] for error in inner] == ["invalidCredentials"] * 4 + ["accountLockedOut"] * 2
        assert all(error["message"] for error in inner)
        assert (await client("POST", "authSessions/create", CREDENTIALS))[0] == 403


async def test_a_good_log_in_forgives_earlier_failures(session: aiohttp.ClientSession) -> None:
    async with Sandbox(account=Account(delay=0.0)) as sandbox:
        client = Client(session, sandbox)
        for _ in range(3):
            await client("POST", "authSessions/create", CREDENTIALS | {"username": "other"})
            assert (await client("POST", "authSessions/create", CREDENTIALS))[0] == 200


async def test_from_the_third_failure_on_answers_come_later(session: aiohttp.ClientSession) -> None:
    async with Sandbox(account=Account(delay=0.1)) as sandbox:
        client = Client(session, sandbox)
        waits = []
        for _ in range(4):
            sent = sandbox.journal.called[-1].clock if sandbox.journal.called else None
            await client("POST", "authSessions/create", CREDENTIALS | {"password": "guess"})
            waits.append(0.0 if sent is None else sandbox.journal.called[-1].clock - sent)
    assert waits[2] >= 0.1
    assert waits[3] >= 0.2


@pytest.mark.parametrize("code", ["accessDenied", "accountIsDisabled", "accountExpired", "logonTimeIncorrect", "new"])
async def test_a_log_in_can_be_refused_for_any_reason(session: aiohttp.ClientSession, code: str) -> None:
    async with Sandbox() as sandbox:
        sandbox.log_ins.refusal = code
        status, result = await Client(session, sandbox)("POST", "authSessions/create", CREDENTIALS)
    assert (status, result["innerError"]["code"]) == (403, code)


@pytest.mark.parametrize("path", ["authSessions/create", "auth"])
async def test_a_log_in_with_another_body_is_a_400(session: aiohttp.ClientSession, path: str) -> None:
    async with Sandbox() as sandbox:
        assert (await Client(session, sandbox)("POST", path, {"other": "x"}))[0] == 400


async def test_trouble_meets_the_next_calls_of_its_kind(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        client = Client(session, sandbox)
        sandbox.trouble["POST /api/authSessions/create"] = [Fault.STATUS_503, Fault.DROP_BEFORE]
        assert (await client("POST", "authSessions/create", CREDENTIALS))[0] == 503
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await client("POST", "authSessions/create", CREDENTIALS)
        assert (await client("POST", "authSessions/create", CREDENTIALS))[0] == 200


# The directory.


def test_a_directory_is_the_same_for_the_same_seed() -> None:
    assert list(Directory.synthetic(seed=3)) == list(Directory.synthetic(seed=3))
    assert list(Directory.synthetic(seed=3)) != list(Directory.synthetic(seed=4))


def test_a_directory_has_one_of_every_kind_that_matters() -> None:
    entries = list(Directory.synthetic())
    assert {entry.object_type for entry in entries} == {"user", "contact", "group", "computer"}
    people = [entry for entry in entries if entry.object_type in ("user", "contact")]
    assert len(people) == 60
    assert any("mobile" not in person.properties for person in people)
    assert any(person.properties.get("accountDisabled") for person in people)
    assert any("\\," in person.dn for person in people)
    assert all((person.sid is None) == (person.object_type == "contact") for person in people)


def test_an_object_is_found_by_each_of_its_identifiers_however_written() -> None:
    directory = Directory.synthetic()
    for entry in directory:
        assert is_identifier(entry.dn)
        forms = [entry.dn, entry.dn.upper(), entry.dn.replace(",OU", " , OU"), entry.guid, f"{{{entry.guid.upper()}}}"]
        forms += [entry.sid] if entry.sid else []
        assert [directory.find(form) for form in forms] == [entry] * len(forms)
    assert directory.find("CN=Nobody,DC=example,DC=com") is None


@pytest.mark.parametrize("text", ["anna", "anna@example.com", "EXAMPLE\\anna", "", "S-1", "7a4267ce"])
def test_names_and_addresses_are_no_identifiers(text: str) -> None:
    assert not is_identifier(text)


def test_everybody_can_be_made_to_exist() -> None:
    directory = Directory(everybody_exists=True)
    for identifier in ("CN=Anna,DC=x", "7a4267ce-d354-44e7-8bd6-c681f1284a41", "S-1-5-21-1-2-3-4"):
        found = directory.find(identifier)
        assert found is not None
        assert found == directory.find(identifier.upper()) if "=" not in identifier else found.dn == identifier


SHAPES = list(PropertyShape)


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_look_up_answers_in_the_chosen_shape(session: aiohttp.ClientSession, shape: PropertyShape) -> None:
    async with Sandbox(shapes=Shapes(properties=shape)) as sandbox:
        entry = next(iter(sandbox.directory))
        status, result = await Client(session, sandbox)(
            "GET", "directoryObjects", token="sandbox", directoryObject=entry.guid, properties="mail,objectSid,nothing"
        )
    shown = {"guid": entry.guid, "dn": entry.dn, "objectType": "user", "displayName": entry.properties["displayName"]}
    mail, sid = entry.properties["mail"], entry.sid
    more: dict[str, dict[str, object]] = {
        "flat": {"mail": mail, "objectSid": sid},
        "map": {"properties": {"mail": mail, "objectSid": sid}},
        "list": {"properties": [{"name": "mail", "values": [mail]}, {"name": "objectSid", "value": sid}]},
    }
    assert (status, result) == (200, shown | more[shape])


@pytest.mark.parametrize(
    ("query", "status"),
    [({}, 400), ({"directoryObject": "anna@example.com"}, 400), ({"directoryObject": "CN=Nobody,DC=x"}, 404)],
)
async def test_a_look_up_of_nothing_is_an_error_of_the_api(
    session: aiohttp.ClientSession, query: dict[str, str], status: int
) -> None:
    async with Sandbox() as sandbox:
        seen, result = await Client(session, sandbox)("GET", "directoryObjects", token="sandbox", **query)
    assert seen == status
    assert result["code"]


async def members(session: aiohttp.ClientSession, sandbox: Sandbox, **query: str) -> tuple[int, Any]:
    return await Client(session, sandbox)("GET", "directoryObjects/groupMembers", token="sandbox", **query)


async def test_group_members_are_direct_or_indirect(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        _, direct = await members(session, sandbox, group=EVERYBODY)
        _, indirect = await members(session, sandbox, group=EVERYBODY, includeIndirect="true", properties="mobile")
    assert {member["objectType"] for member in direct} == {"group", "contact"}
    names = [member["dn"] for member in indirect]
    assert len(names) == len(set(names)) == 60 + 3
    assert any("mobile" in member for member in indirect)


async def test_a_list_of_members_stops_at_a_thousand_without_a_limit(session: aiohttp.ClientSession) -> None:
    async with Sandbox(directory=Directory.synthetic(size=1100)) as sandbox:
        seen = [
            len((await members(session, sandbox, group=EVERYBODY, includeIndirect="True", **limit))[1])
            for limit in ({}, {"sizeLimit": "5000"}, {"sizeLimit": "7"})
        ]
    assert seen == [1000, 1103, 7]


async def test_groups_in_circles_end(session: aiohttp.ClientSession) -> None:
    directory = Directory()
    directory.add(DirectoryObject("CN=A,DC=x", "a", "group", members=("CN=B,DC=x", "CN=Gone,DC=x")))
    directory.add(DirectoryObject("CN=B,DC=x", "b", "group", members=("CN=A,DC=x", "CN=B,DC=x")))
    async with Sandbox(directory=directory) as sandbox:
        _, result = await members(session, sandbox, group="CN=A,DC=x", includeIndirect="true")
    assert [member["dn"] for member in result] == ["CN=B,DC=x"]


async def test_members_of_what_is_no_group_are_an_error(session: aiohttp.ClientSession) -> None:
    async with Sandbox() as sandbox:
        person = next(iter(sandbox.directory))
        assert (await members(session, sandbox, group=person.dn))[0] == 400
        assert (await members(session, sandbox, group="CN=Nobody,DC=x"))[0] == 404
        assert (await members(session, sandbox, group=EVERYBODY, sizeLimit="many"))[0] == 400


def leaf(name: str, *values: str, operator: str = "eq") -> dict[str, object]:
    listed = [{"type": 2, "value": value} for value in values]
    return {"type": 0, "property": name, "operator": operator, "values": listed, "valueLogicalOperator": 0}


def search_for(operator: int, *items: object, kind: str = "User", limit: int = 0) -> dict[str, object]:
    group = {"type": 1, "logicalOperator": operator, "items": items}
    criteria = {"objectTypes": [{"type": kind, "items": group}]}
    return {"criteria": criteria, "select": {"properties": "mail"}, "sizeLimit": limit}


MAIL_1, MAIL_2 = leaf("mail", "USER0001@example.com"), leaf("mail", "user0002@example.com")
SEARCHES = [
    (search_for(1, MAIL_1), 1),
    (search_for(0, MAIL_1, MAIL_2), 2),
    (search_for(1, MAIL_1, MAIL_2), 0),
    (search_for(1, leaf("mail", "user0001@example.com", "user0002@example.com")), 2),
    (search_for(0, MAIL_1, MAIL_2, limit=1), 1),
    (search_for(1, MAIL_1, kind="Contact"), 0),
    (
        search_for(1, {"type": 1, "logicalOperator": 0, "items": [MAIL_1, MAIL_2]}, leaf("sAMAccountName", "user0002")),
        1,
    ),
    (search_for(1, leaf("nothing", "")), 0),
]


@pytest.mark.parametrize(("body", "hits"), SEARCHES)
async def test_a_search_finds_what_meets_its_criteria(
    session: aiohttp.ClientSession, body: dict[str, object], hits: int
) -> None:
    async with Sandbox() as sandbox:
        status, result = await Client(session, sandbox)("POST", "directoryObjects/search", body, token="sandbox")
    assert status == 200
    assert len(result["objects"]) == hits
    assert all(hit["mail"].startswith("user000") for hit in result["objects"])


STAFF = "OU=Staff,DC=example,DC=com"
EVERY_USER = {"objectTypes": [{"type": "user", "items": {}}]}


@pytest.mark.parametrize(
    ("condition", "hits"),
    [
        ("(mail=user0001@example.com)", 1),
        ("(&(objectClass=user)(department=Sales))", 18),
        ("(&(objectCategory=person)(department=Sales)(!(objectClass=user)))", 2),
        ("(|(mail=user0001@*)(sAMAccountName=USER0002))", 2),
        ("(displayName=*Berg*)", 9),
        ("(mobile=*)", 56),
    ],
)
async def test_an_ldap_filter_selects_by_criteria_and_by_the_older_query(
    session: aiohttp.ClientSession, condition: str, hits: int
) -> None:
    item = {"type": "Compound", "logicalOperator": "And", "items": [{"type": "Advanced", "ldapFilter": condition}]}
    criteria = {"objectTypes": [{"type": "User", "items": item}, {"type": "contact", "items": item}]}
    async with Sandbox() as sandbox:
        client = Client(session, sandbox)
        _, result = await client("POST", "directoryObjects/search", {"criteria": criteria}, token="sandbox")
        path = f"directoryObjects/search?filter={quote(condition, safe='')}"
        status, older = await client("GET", path, token="sandbox")
    assert status == 200
    assert len(result["objects"]) == len(older["objects"]) == hits


@pytest.mark.parametrize(
    ("base", "one_level", "hits"),
    [
        (STAFF, True, 54),
        ("dc=example,dc=com", True, 0),
        ("DC=example,DC=com", False, 54),
        ("OU=None,DC=x", False, None),
    ],
)
async def test_a_search_can_be_confined_to_a_container(
    session: aiohttp.ClientSession, base: str, one_level: bool, hits: int | None
) -> None:
    body = {"criteria": EVERY_USER, "baseObject": base, "oneLevel": one_level}
    async with Sandbox() as sandbox:
        status, result = await Client(session, sandbox)("POST", "directoryObjects/search", body, token="sandbox")
    assert status == (404 if hits is None else 200)
    assert hits is None or len(result["objects"]) == hits


@pytest.mark.parametrize("condition", ["", "mail=x", "(mail=x", "(mail=x))", "(&)", "(mail>=x)", "(^(a=b))"])
async def test_a_filter_that_cannot_be_read_is_a_400(session: aiohttp.ClientSession, condition: str) -> None:
    async with Sandbox() as sandbox:
        path = f"directoryObjects/search?filter={quote(condition, safe='')}"
        status, _ = await Client(session, sandbox)("GET", path, token="sandbox")
    assert status == 400


@pytest.mark.parametrize("name", ["value", "items", "results", None])
async def test_the_hits_of_a_search_are_where_chosen(session: aiohttp.ClientSession, name: str | None) -> None:
    async with Sandbox(shapes=Shapes(search=name)) as sandbox:
        client = Client(session, sandbox)
        _, result = await client("POST", "directoryObjects/search", search_for(1, MAIL_1), token="sandbox")
    assert len(result if name is None else result[name]) == 1


@pytest.mark.parametrize("body", [{}, search_for(3, MAIL_1), search_for(1, leaf("mail", "x", operator="like"))])
async def test_a_search_that_is_not_understood_is_a_400(
    session: aiohttp.ClientSession, body: dict[str, object]
) -> None:
    async with Sandbox() as sandbox:
        status, result = await Client(session, sandbox)("POST", "directoryObjects/search", body, token="sandbox")
    assert status == 400
    assert result["modelState"]["criteria"]
