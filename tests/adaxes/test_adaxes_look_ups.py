"""Look-ups: what the directory says, in every shape that was seen."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.adaxes import (
    AccessToken,
    Client,
    ClientSettings,
    DirectoryObject,
    group_members,
    has_any,
    look_up,
    search,
)
from bulksms.adaxes.lookups import read_object
from bulksms.sandbox import Directory, PropertyShape, Sandbox, Shapes
from bulksms.sandbox import DirectoryObject as SandboxObject
from bulksms.sandbox.directory import EVERYBODY

DN = "CN=O'Neill\\, Anna & Søn,OU=100% Real,DC=example,DC=com"
GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
SID = "S-1-5-21-3635565734-1729062999-1822655016-1627"


def client(sandbox: Sandbox) -> Client:
    return Client(ClientSettings(sandbox.url), AccessToken("sandbox"))


def directory() -> Directory:
    made = Directory.synthetic(size=40)
    made.add(
        SandboxObject(
            DN,
            GUID,
            "user",
            SID,
            {
                "displayName": "Anna",
                "mobile": "+49 151 1",
                "mail": "anna@example.com",
                "userAccountControl": 514,
            },
        )
    )
    return made


@pytest.mark.parametrize("shape", PropertyShape)
@pytest.mark.parametrize("identifier", [DN, GUID, SID, "{" + GUID.upper() + "}"])
async def test_one_object_is_read_in_every_shape(shape: PropertyShape, identifier: str) -> None:
    async with Sandbox(directory=directory(), shapes=Shapes(shape)) as sandbox, client(sandbox) as one:
        answer = await look_up(one, identifier, ("mobile", "mail", "pager"))
    assert answer.attempt.status == 200
    assert answer.found == DirectoryObject(
        dn=DN,
        guid=GUID,
        sid=SID,
        display_name="Anna",
        object_type="user",
        properties={"mobile": "+49 151 1", "mail": "anna@example.com"},
        disabled=True,
    )


@pytest.mark.parametrize(("identifier", "status"), [("CN=Nobody,DC=example,DC=com", 404), ("anna", 400)])
async def test_who_is_not_there_is_none_with_a_status(identifier: str, status: int) -> None:
    async with Sandbox() as sandbox, client(sandbox) as one:
        answer = await look_up(one, identifier)
    assert (answer.found, answer.attempt.status) == (None, status)


@pytest.mark.parametrize("shape", PropertyShape)
async def test_a_group_gives_all_its_members_or_the_direct_ones(shape: PropertyShape) -> None:
    async with Sandbox(directory=directory(), shapes=Shapes(shape)) as sandbox, client(sandbox) as one:
        all_of_them = await group_members(one, EVERYBODY, ("mobile", "department"))
        direct = await group_members(one, EVERYBODY, direct_only=True)
        few = await group_members(one, EVERYBODY, size_limit=5)
        nobody = await group_members(one, "CN=None,DC=example,DC=com")
    assert all_of_them.objects is not None
    people = [member for member in all_of_them.objects if member.object_type in ("user", "contact")]
    assert len(people) == 40
    assert not all_of_them.cut
    assert any("department" in member.properties for member in people)
    assert direct.objects is not None
    assert 0 < len(direct.objects) < len(all_of_them.objects)
    assert few.objects is not None
    assert (len(few.objects), few.cut) == (5, True)
    assert (nobody.objects, nobody.attempt.status) == (None, 404)


async def test_a_group_larger_than_an_answer_to_a_send_is_read_whole() -> None:
    big = Directory.synthetic(size=3000)
    async with Sandbox(directory=big) as sandbox, client(sandbox) as one:
        listing = await group_members(one, EVERYBODY)
    assert listing.objects is not None
    assert len(listing.objects) > 3000
    assert not listing.cut


async def test_exactly_a_thousand_looks_cut() -> None:
    made = Directory()
    people = [SandboxObject(f"CN={number}", f"{number:032x}", "user") for number in range(1000)]
    for person in people:
        made.add(person)
    made.add(SandboxObject("CN=Group", f"{10_000:032x}", "group", members=tuple(person.dn for person in people)))
    async with Sandbox(directory=made) as sandbox, client(sandbox) as one:
        listing = await group_members(one, "CN=Group")
    assert listing.cut


@pytest.mark.parametrize("member", [None, "objects", "value", "items", "results"])
async def test_many_people_are_found_in_one_search(member: str | None) -> None:
    shapes = Shapes(PropertyShape.LIST, member)
    async with Sandbox(directory=directory(), shapes=shapes) as sandbox, client(sandbox) as one:
        hits = await search(
            one, has_any("mail", ["anna@example.com", "USER0001@example.com", "who@example.com"]), ("mail",)
        )
        single = await search(one, has_any("mail", ["anna@example.com"]), ("mail",))
    assert hits.objects is not None
    found = {hit.properties["mail"]: hit.guid for hit in hits.objects}
    assert found.keys() == {"anna@example.com", "user0001@example.com"}
    assert found["anna@example.com"] == GUID
    assert single.objects is not None
    assert [hit.dn for hit in single.objects] == [DN]


async def test_a_search_that_is_refused_has_no_hits() -> None:
    async with Sandbox() as sandbox, Client(ClientSettings(sandbox.url), AccessToken("wrong")) as one:
        hits = await search(one, has_any("mail", ["anna@example.com"]))
    assert (hits.objects, hits.attempt.status) == (None, 401)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"guid": "g", "Mobile": " 1 "}, DirectoryObject(guid="g", properties={"mobile": "1"})),
        ({"objectGUID": "g", "distinguishedName": "CN=a"}, DirectoryObject(dn="CN=a", guid="g")),
        ({"dn": "d", "properties": {"MOBILE": ["", "2"]}}, DirectoryObject(dn="d", properties={"mobile": "2"})),
        (
            {"dn": "d", "properties": [{"name": "mobile", "values": ["3"]}]},
            DirectoryObject("d", properties={"mobile": "3"}),
        ),
        ({"dn": "d", "properties": [{"name": "mobile", "value": 4}]}, DirectoryObject("d", properties={"mobile": "4"})),
        ({"dn": "d", "properties": ["x", {"name": 7}], "mobile": None}, DirectoryObject(dn="d")),
        ({"dn": "d", "objectSid": "AQUAAA=="}, DirectoryObject(dn="d")),
        ({"dn": "d", "accountDisabled": True}, DirectoryObject(dn="d", disabled=True)),
        ({"dn": "d", "accountDisabled": False}, DirectoryObject(dn="d", disabled=False)),
        ({"dn": "d", "userAccountControl": "512"}, DirectoryObject(dn="d", disabled=False)),
        ({"dn": "d", "userAccountControl": "many"}, DirectoryObject(dn="d")),
        ({"mobile": "1"}, None),
        ({}, None),
        ([], None),
        (None, None),
    ],
)
def test_an_object_is_read_leniently(value: object, found: DirectoryObject | None) -> None:
    assert read_object(value, ("mobile",)) == found


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dn", "guid", "properties", "name", "value", "values", "mobile", "userAccountControl"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(ANY)
def test_no_answer_makes_an_exception(value: object) -> None:
    found = read_object(value, ("mobile",))
    assert found is None or all(found.properties.values())


async def test_the_recipient_is_not_in_a_snippet_of_a_look_up() -> None:
    async with Sandbox() as sandbox:
        wrong = re.sub("restApi", "elsewhere", sandbox.url)
        async with Client(ClientSettings(wrong), AccessToken("sandbox")) as one:
            answer = await look_up(one, DN)
    assert answer.found is None
    assert "Neill" not in repr(answer)
