"""Lookups: what the directory says about recipients, groups, organizational units and searches.

Invariant: an answer is read in every shape that was seen; a person missing in it was not found, or may not be seen.
Sources: Adaxes REST API, "Get directory object", "Get group members", "Search directory", "Criteria"; the shape of the
item that holds an LDAP filter is inferred from the class `AdvancedCriteriaItem` (Adaxes 2023 and later).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bulksms.adaxes import wire
from bulksms.adaxes.client import Client
from bulksms.model.attempt import Attempt

SERVERS_OWN_LIMIT = 1000
"""Where servers stop that were given no size limit, and some that were."""
_BYTES_EACH = 8 * 1024
_ASKED_ALWAYS = ("userAccountControl", "objectSid")
_DISABLED = 0x2
"""ADS_UF_ACCOUNTDISABLE, a bit of `userAccountControl` (Microsoft, "User-Account-Control attribute")."""
_SIMPLE, _COMPOUND = 0, 1
_OR, _AND = 0, 1
_STRING, _BOOLEAN = 2, 6
"""Types of values in criteria."""
_NOT_UNDERSTOOD = frozenset({400, 404, 405})
PERSON_TYPES = ("User", "Contact")
_LISTS = ("objects", "value", "items", "results")


@dataclass(frozen=True, slots=True)
class DirectoryObject:
    """One object of the directory. `properties` are the asked ones that have a value, under the names asked for.

    `object_type` is in lower case, such as `user`, `contact` or `group`; `disabled` is None if nothing tells.
    """

    dn: str | None = None
    guid: str | None = None
    sid: str | None = None
    display_name: str | None = None
    object_type: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    disabled: bool | None = None


@dataclass(frozen=True, slots=True)
class LookupAnswer:
    """One object, or None: a 404 in the attempt means that there is none, anything else that it could not be asked."""

    attempt: Attempt
    found: DirectoryObject | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """Several objects, or None if they could not be read. `cut` says that there may be more than were returned."""

    attempt: Attempt
    objects: tuple[DirectoryObject, ...] | None = None
    cut: bool = False


async def look_up(client: Client, identifier: str, properties: Iterable[str] = ("mobile",)) -> LookupAnswer:
    """One object by its DN, GUID or SID."""
    asked = tuple(properties)
    path = f"/api/directoryObjects?directoryObject={quote(identifier, safe='')}&properties={_names(asked)}"
    attempt, value = await client.ask("GET", path, secrets=(identifier,))
    return LookupAnswer(attempt, read_object(value, asked) if attempt.status == 200 else None)


async def group_members(
    client: Client,
    group: str,
    properties: Iterable[str] = ("mobile",),
    *,
    direct_only: bool = False,
    size_limit: int = 100_000,
) -> Listing:
    """The members of a group, by default those of the groups in it as well."""
    asked = tuple(properties)
    path = (
        f"/api/directoryObjects/groupMembers?group={quote(group, safe='')}"
        f"&includeIndirect={str(not direct_only).lower()}&properties={_names(asked)}&sizeLimit={size_limit}"
    )
    limit = wire.BODY_LIMIT + size_limit * _BYTES_EACH
    attempt, value = await client.ask("GET", path, secrets=(group,), limit=limit)
    return _listing(attempt, value, asked, size_limit)


Criteria = dict[str, Any]
"""What is searched for, as the JSON of the API's page "Criteria"."""


async def search(  # noqa: PLR0913 - the parts of a search, all but the criteria by name or default
    client: Client,
    criteria: Criteria,
    properties: Iterable[str] = ("mobile",),
    *,
    base_object: str | None = None,
    one_level: bool = False,
    size_limit: int = SERVERS_OWN_LIMIT,
    secrets: tuple[str, ...] = (),
) -> Listing:
    """The objects that meet the criteria, in the whole directory or below `base_object` (a DN or GUID)."""
    asked = tuple(properties)
    body: dict[str, Any] = {
        "criteria": criteria,
        "select": {"properties": ",".join((*asked, *_ASKED_ALWAYS))},
        "sizeLimit": size_limit,
    }
    if base_object is not None:
        body |= {"baseObject": base_object, "oneLevel": one_level}
    limit = wire.BODY_LIMIT + size_limit * _BYTES_EACH
    attempt, value = await client.ask("POST", "/api/directoryObjects/search", value=body, secrets=secrets, limit=limit)
    return _listing(attempt, value, asked, size_limit)


async def search_by_filter(
    client: Client, ldap_filter: str, properties: Iterable[str] = ("mobile",), *, size_limit: int = SERVERS_OWN_LIMIT
) -> Listing:
    """The objects that an LDAP filter selects: by criteria, or as in Adaxes 2021.1 where those are refused."""
    asked = tuple(properties)
    listing = await search(client, filter_criteria(ldap_filter), asked, size_limit=size_limit)
    if listing.attempt.status not in _NOT_UNDERSTOOD:
        return listing
    path = (
        f"/api/directoryObjects/search?filter={quote(ldap_filter, safe='')}&properties={_names(asked)}"
        f"&sizeLimit={size_limit}"
    )
    attempt, value = await client.ask("GET", path, limit=wire.BODY_LIMIT + size_limit * _BYTES_EACH)
    older = _listing(attempt, value, asked, size_limit)
    return listing if older.objects is None else older


def everybody(object_types: Iterable[str] = ("User",)) -> Criteria:
    """Criteria that every object of these types meets."""
    return {"objectTypes": [{"type": object_type, "items": {}} for object_type in object_types]}


def has_any(name: str, values: Iterable[str], object_types: Iterable[str] = PERSON_TYPES) -> Criteria:
    """Criteria: the property is equal to one of the values."""
    return _criteria(
        {
            "type": _SIMPLE,
            "property": name,
            "operator": "eq",
            "values": [{"type": _STRING, "value": value} for value in values],
            "valueLogicalOperator": _OR,
        },
        object_types,
    )


def has_some(name: str, object_types: Iterable[str] = PERSON_TYPES) -> Criteria:
    """Criteria: the property has a value."""
    values = [{"type": _BOOLEAN, "value": False}]
    item = {"type": _SIMPLE, "property": name, "operator": "empty", "values": values, "valueLogicalOperator": _OR}
    return _criteria(item, object_types)


def filter_criteria(ldap_filter: str, object_types: Iterable[str] = PERSON_TYPES) -> Criteria:
    """Criteria: an LDAP filter."""
    return _criteria({"type": "Advanced", "ldapFilter": ldap_filter}, object_types)


def _criteria(item: dict[str, Any], object_types: Iterable[str]) -> Criteria:
    group = {"type": _COMPOUND, "logicalOperator": _AND, "items": [item]}
    return {"objectTypes": [{"type": object_type, "items": group} for object_type in object_types]}


def read_object(value: Any, asked: Iterable[str]) -> DirectoryObject | None:  # noqa: ANN401 - a stranger's JSON
    """An object with its asked properties beside its other members, in a map, or in a list of names and values."""
    if not isinstance(value, dict):
        return None
    members = {name.lower(): text for name, text in _members(value) if text}
    guid = members.get("guid") or members.get("objectguid")
    dn = members.get("dn") or members.get("distinguishedname")
    if guid is None and dn is None:
        return None
    sid = members.get("sid") or members.get("objectsid") or ""
    object_type = members.get("objecttype")
    return DirectoryObject(
        dn=dn,
        guid=guid,
        sid=sid if sid.upper().startswith("S-1-") else None,
        display_name=members.get("displayname"),
        object_type=object_type.lower() if object_type else None,
        properties={name: members[name.lower()] for name in asked if name.lower() in members},
        disabled=_disabled(members),
    )


def _listing(
    attempt: Attempt,
    value: Any,  # noqa: ANN401 - a stranger's JSON
    asked: tuple[str, ...],
    size_limit: int,
) -> Listing:
    if isinstance(value, dict):
        value = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None)
    if attempt.status != 200 or not isinstance(value, list):
        return Listing(attempt)
    objects = tuple(found for one in value if (found := read_object(one, asked)) is not None)
    return Listing(attempt, objects, cut=len(value) >= size_limit or len(value) == SERVERS_OWN_LIMIT)


def _members(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and texts: the object's own members first, the properties asked for after them."""
    nested = value.get("properties")
    if isinstance(nested, list):
        named = [one for one in nested if isinstance(one, dict) and isinstance(one.get("name"), str)]
        nested = {one["name"]: one.get("value", one.get("values")) for one in named}
    for members in (value, nested if isinstance(nested, dict) else {}):
        for name, member in members.items():
            if (text := _text(member)) is not None:
                yield name, text


def _text(value: Any) -> str | None:  # noqa: ANN401 - as read_object
    """The first value of a property as text."""
    if isinstance(value, list):
        return next((text for one in value if (text := _text(one))), None)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int, float)):
        return str(value).strip()
    return None


def _disabled(members: Mapping[str, str]) -> bool | None:
    if (disabled := members.get("accountdisabled")) in ("true", "false"):
        return disabled == "true"
    control = members.get("useraccountcontrol", "")
    return bool(int(control) & _DISABLED) if control.isascii() and control.isdigit() else None


def _names(properties: Iterable[str]) -> str:
    return ",".join(quote(name, safe="") for name in dict.fromkeys((*properties, *_ASKED_ALWAYS)))
