"""LookUps: the stand-in server's answers about its directory.

Law: only DNs, GUIDs and SIDs are identifiers; anything else is a 400, an unknown one a 404. Asked properties that
an object has no value for are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import error, invalid, json_answer
from bulksms.sandbox.directory import Directory, DirectoryObject, is_identifier

_AND, _OR = 1, 2
_MOST_WITHOUT_LIMIT = 1000


class PropertyShape(StrEnum):
    """Where asked properties stand in an answer; public clients have seen all three."""

    FLAT = "flat"
    MAP = "map"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes of the answers; `search` is the member that holds the hits of a search (None: a bare list)."""

    properties: PropertyShape = PropertyShape.FLAT
    search: str | None = "objects"


class _Leaf(msgspec.Struct, tag=0, tag_field="type"):
    property: str
    operator: str
    values: list[dict[str, Any]]
    valueLogicalOperator: int = 0  # noqa: N815 - the API's own name


class _Group(msgspec.Struct, tag=1, tag_field="type"):
    logicalOperator: int  # noqa: N815 - the API's own name
    items: "list[_Leaf | _Group]"


class _Wanted(msgspec.Struct):
    type: str
    items: _Group


class _Criteria(msgspec.Struct):
    objectTypes: list[_Wanted]  # noqa: N815 - the API's own name


class _Select(msgspec.Struct):
    properties: str = ""


class _Search(msgspec.Struct):
    criteria: _Criteria
    select: _Select = msgspec.field(default_factory=_Select)
    sizeLimit: int = 0  # noqa: N815 - the API's own name


class LookUps:
    """Answers from one directory."""

    def __init__(self, directory: Directory, shapes: Shapes) -> None:
        self._directory = directory
        self._shapes = shapes

    async def one(self, request: web.BaseRequest) -> web.Response:
        """`GET /api/directoryObjects?directoryObject=…&properties=…`."""
        found = self._find(request, "directoryObject")
        if isinstance(found, web.Response):
            return found
        return json_answer(200, msgspec.json.encode(self._shaped(found, request.query.get("properties", ""))))

    async def group_members(self, request: web.BaseRequest) -> web.Response:
        """`GET /api/directoryObjects/groupMembers?group=…&includeIndirect=…&properties=…&sizeLimit=…`."""
        group = self._find(request, "group")
        if isinstance(group, web.Response):
            return group
        if group.object_type != "group":
            return invalid("group", "The object is not a group.")
        limit = request.query.get("sizeLimit", "0")
        if not limit.isdecimal():
            return invalid("sizeLimit", "It is not a number.")
        indirect = request.query.get("includeIndirect", "false").lower() == "true"
        members = list(self._directory.members(group, indirect=indirect))[: int(limit) or _MOST_WITHOUT_LIMIT]
        return json_answer(200, self._listed(members, request.query.get("properties", "")))

    async def search(self, request: web.BaseRequest) -> web.Response:
        """`POST /api/directoryObjects/search`."""
        try:
            asked = msgspec.json.decode(await request.read(), type=_Search)
            hits = [entry for entry in self._directory if _wanted(entry, asked.criteria.objectTypes)]
        except ValueError as problem:
            return invalid("criteria", str(problem))
        listed = self._listed(hits[: asked.sizeLimit or _MOST_WITHOUT_LIMIT], asked.select.properties)
        name = self._shapes.search
        return json_answer(200, listed if name is None else b'{"%s":%s}' % (name.encode(), listed))

    def _find(self, request: web.BaseRequest, parameter: str) -> DirectoryObject | web.Response:
        identifier = request.query.get(parameter, "")
        if not is_identifier(identifier):
            return invalid(parameter, "A distinguished name, GUID or SID is required.")
        return self._directory.find(identifier) or error(404, "notFound", "The directory object was not found.")

    def _listed(self, entries: Iterable[DirectoryObject], asked: str) -> bytes:
        return msgspec.json.encode([self._shaped(entry, asked) for entry in entries])

    def _shaped(self, entry: DirectoryObject, asked: str) -> dict[str, object]:
        """An object with its default members and the asked properties (a comma list), in the configured shape."""
        values: dict[str, object] = {
            name: entry.properties[name] for name in asked.split(",") if name in entry.properties
        }
        shown: dict[str, object] = {
            "guid": entry.guid,
            "dn": entry.dn,
            "displayName": entry.properties.get("displayName"),
            "objectType": entry.object_type,
        }
        if "objectSid" in asked.split(",") and entry.sid is not None:
            values["objectSid"] = entry.sid
        match self._shapes.properties:
            case PropertyShape.FLAT:
                return shown | values
            case PropertyShape.MAP:
                return shown | {"properties": values}
            case PropertyShape.LIST:
                return shown | {"properties": [_named(name, value) for name, value in values.items()]}


def _named(name: str, value: object) -> dict[str, object]:
    """One property of a list; mail addresses come as if there could be several, as some servers send them."""
    return {"name": name, "values": [value]} if name == "mail" else {"name": name, "value": value}


def _wanted(entry: DirectoryObject, types: Iterable[_Wanted]) -> bool:
    return any(wanted.type.casefold() == entry.object_type and _matches(entry, wanted.items) for wanted in types)


def _matches(entry: DirectoryObject, condition: _Leaf | _Group) -> bool:
    """Whether an object meets a condition; raises `ValueError` for one that this server does not know."""
    if isinstance(condition, _Group):
        if condition.logicalOperator not in (_AND, _OR):
            raise ValueError(f"There is no logical operator {condition.logicalOperator}.")
        together = all if condition.logicalOperator == _AND else any
        return together([_matches(entry, item) for item in condition.items])
    if condition.operator != "eq":
        raise ValueError(f"There is no operator {condition.operator!r} here.")
    value = str(entry.properties.get(condition.property, "")).casefold()
    return bool(value) and any(value == str(given.get("value", "")).casefold() for given in condition.values)
