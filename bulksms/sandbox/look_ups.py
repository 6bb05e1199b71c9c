"""LookUps: the simulator's answers about its directory, and which objects a search selects.

Invariants: only DNs, GUIDs and SIDs are identifiers; anything else is a 400, an unknown one a 404. Requested properties
without a value are left out. A condition that the simulator does not know raises `ValueError`; it never selects
everybody. Sources: Adaxes REST API, "Criteria"; RFC 4515 for LDAP filters.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
from aiohttp import web

from bulksms.sandbox.answers import error, invalid, json_answer
from bulksms.sandbox.directory import Directory, DirectoryObject, is_identifier, parent_of

Condition = Callable[[DirectoryObject], bool]
_TYPES: Mapping[object, str] = {0: "Simple", 1: "Compound", 2: "Advanced"}
_OPERATORS: Mapping[object, Callable[[list[bool]], bool]] = {0: any, "Or": any, 1: all, "And": all}


def selects(criteria: Any) -> Condition:  # noqa: ANN401 - JSON
    """The condition that criteria make. Raises ValueError for what they cannot be."""
    types = criteria.get("objectTypes") if isinstance(criteria, dict) else None
    if not isinstance(types, list) or not types:
        raise ValueError("The criteria name no object types.")
    wanted = [(str(each.get("type", "")).casefold(), _item(each.get("items") or {})) for each in types]
    return lambda entry: any(kind in ("", entry.object_type) and meets(entry) for kind, meets in wanted)


def _item(item: Any) -> Condition:  # noqa: ANN401 - JSON
    if item == {}:
        return lambda _: True
    kind = _TYPES.get(item.get("type"), item.get("type"))
    if kind == "Compound":
        together = _operator(item.get("logicalOperator", 0))
        items = [_item(each) for each in item.get("items") or []]
        return lambda entry: not items or together([meets(entry) for meets in items])
    if kind == "Advanced":
        return ldap_filter(str(item.get("ldapFilter", "")))
    if kind == "Simple":
        return _simple(item)
    raise ValueError(f"There is no criteria item of type {kind!r}.")


def _operator(name: object) -> Callable[[list[bool]], bool]:
    together = _OPERATORS.get(name)
    if together is None:
        raise ValueError(f"There is no logical operator {name!r}.")
    return together


def _simple(item: Mapping[str, Any]) -> Condition:
    name, operator = str(item.get("property", "")), item.get("operator")
    values = [each.get("value") for each in item.get("values") or [] if isinstance(each, dict)]
    together = _operator(item.get("valueLogicalOperator", 0))
    if operator == "empty":
        return lambda entry: together([(not _value(entry, name)) is bool(value) for value in values])
    compare = _COMPARISONS.get(operator)
    if compare is None:
        raise ValueError(f"There is no operator {operator!r} here.")
    texts = [str(value).casefold() for value in values]
    return lambda entry: bool(_value(entry, name)) and together([compare(_value(entry, name), text) for text in texts])


_COMPARISONS: Mapping[object, Callable[[str, str], bool]] = {
    "eq": lambda own, value: own == value,
    "contains": lambda own, value: value in own,
    "startsWith": lambda own, value: own.startswith(value),
}


def _value(entry: DirectoryObject, name: str) -> str:
    """A property for comparing; the classes of an object are those of its type."""
    name = name.casefold()
    if name == "objectclass":
        return entry.object_type
    if name == "objectcategory":
        return "person" if entry.object_type in ("user", "contact") else entry.object_type
    if name in ("distinguishedname", "objectguid"):
        return (entry.dn if name == "distinguishedname" else entry.guid).casefold()
    found = next((value for known, value in entry.properties.items() if known.casefold() == name), "")
    return str(found).casefold()


_LEAF = re.compile(r"\(([A-Za-z][A-Za-z0-9-]*)(=|>=|<=|~=)([^()]*)\)").match


def ldap_filter(text: str) -> Condition:
    """The condition of an LDAP filter: `&`, `|`, `!`, equality and `*`. Raises ValueError for any other."""
    condition, end = _filter(text.strip(), 0)
    if end != len(text.strip()):
        raise ValueError("The filter goes on after its end.")
    return condition


def _filter(text: str, start: int) -> tuple[Condition, int]:
    if leaf := _LEAF(text, start):
        name, comparison, value = leaf.groups()
        if comparison not in ("=", "~="):
            raise ValueError(f"There is no comparison {comparison} here.")
        pattern = ".*".join(re.escape(_unescaped(part).casefold()) for part in value.split("*"))
        matches = re.compile(pattern, re.DOTALL).fullmatch
        return lambda entry: bool(_value(entry, name) and matches(_value(entry, name))), leaf.end()
    if text[start : start + 1] != "(" or (operator := text[start + 1 : start + 2]) not in ("&", "|", "!"):
        raise ValueError("The filter cannot be read.")
    parts, end = [], start + 2
    while text[end : end + 1] == "(":
        part, end = _filter(text, end)
        parts.append(part)
    if text[end : end + 1] != ")" or not parts:
        raise ValueError("The filter cannot be read.")
    if operator == "!":
        return lambda entry: not parts[0](entry), end + 1
    together = all if operator == "&" else any
    return lambda entry: together([meets(entry) for meets in parts]), end + 1


def _unescaped(value: str) -> str:
    return re.sub(r"\\([0-9A-Fa-f]{2})", lambda found: chr(int(found[1], 16)), value)


_MOST_WITHOUT_LIMIT = 1000


class PropertyShape(StrEnum):
    """Where an answer has the requested properties; public clients handle all three."""

    FLAT = "flat"
    MAP = "map"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Shapes:
    """The shapes of the answers; `search` is the member that holds the hits of a search (None: a bare list)."""

    properties: PropertyShape = PropertyShape.FLAT
    search: str | None = "objects"


class _Select(msgspec.Struct):
    properties: str = ""


class _Search(msgspec.Struct):
    criteria: dict[str, Any]
    select: _Select = msgspec.field(default_factory=_Select)
    baseObject: str | None = None  # noqa: N815 - the API's own name
    oneLevel: bool = False  # noqa: N815 - the API's own name
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
        """`POST /api/directoryObjects/search` with criteria, and the older `GET` with an LDAP filter."""
        try:
            if request.method == "GET":
                asked, condition = _older(request), ldap_filter(request.query.get("filter", ""))
            else:
                asked = msgspec.json.decode(await request.read(), type=_Search)
                condition = selects(asked.criteria)
        except (ValueError, AttributeError) as problem:
            return invalid("criteria", str(problem))
        base = None
        if asked.baseObject is not None:
            base = self._directory.find_container(asked.baseObject)
            if base is None:
                return error(404, "notFound", "The base object was not found.")
        hits = [
            entry for entry in self._directory if condition(entry) and _is_below(entry, base, one_level=asked.oneLevel)
        ]
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
        """An object with its default members and the requested properties (a comma list), in the configured shape."""
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
    """One property of a list; mail addresses come as a list, as some servers send them."""
    return {"name": name, "values": [value]} if name == "mail" else {"name": name, "value": value}


def _older(request: web.BaseRequest) -> _Search:
    query = request.query
    return _Search(
        {},
        _Select(query.get("properties", "")),
        query.get("baseObject"),
        query.get("oneLevel", "").lower() == "true",
        int(query.get("sizeLimit", "0")),
    )


def _is_below(entry: DirectoryObject, base: str | None, *, one_level: bool) -> bool:
    """Whether an object is in a container, given by its key, or below it."""
    if base is None:
        return True
    parent = parent_of(entry.dn)
    return parent == base or (not one_level and parent.endswith(f",{base}"))
