"""Directory: a small synthetic directory, the same for the same seed and size.

Pure. Invariant: each object is found by its DN (ignoring case and blanks around commas), its GUID (ignoring braces and
case) and its SID, if it has one. Contacts have no SID; some users have no mobile number or are disabled.
"""

import random
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

_FIRST = ("Anna", "Björn", "Chloé", "David", "Emil", "Fatima", "Greta", "Hugo", "Ines", "Jürgen", "Katja", "Liam")
_LAST = ("Berg", "O'Neill", "Smith, Jr.", "Müller", "Nováková", "Rossi", "Schmidt", "Tanaka", "van Dijk", "Øster")
_DEPARTMENTS = ("Operations", "Sales", "Support")
_SUFFIX = "DC=example,DC=com"
_SEPARATOR = re.compile(r"\s*([,=+;])\s*")
_GUID = re.compile(r"\{?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?", re.IGNORECASE)
_SID = re.compile(r"S-1-\d+(-\d+)+", re.IGNORECASE)
_DN = re.compile(r"\s*[a-z][a-z0-9-]*\s*=.*", re.IGNORECASE | re.DOTALL)

EVERYBODY = f"CN=Everybody,OU=Groups,{_SUFFIX}"
"""The group that holds the department groups and all contacts."""

Property = str | int | bool


@dataclass(frozen=True, slots=True)
class DirectoryObject:
    """One object; `properties` has those with a value, `members` (of a group) are DNs."""

    dn: str
    guid: str
    object_type: str
    sid: str | None = None
    properties: Mapping[str, Property] = field(default_factory=dict)
    members: tuple[str, ...] = ()


class Directory:
    """Objects, found by any of their identifiers. `everybody_exists` invents a user for any other identifier."""

    def __init__(self, *, everybody_exists: bool = False) -> None:
        self._objects: dict[str, DirectoryObject] = {}
        self._by_identifier: dict[str, DirectoryObject] = {}
        self._everybody_exists = everybody_exists

    @classmethod
    def synthetic(cls, *, seed: int = 1, size: int = 60, everybody_exists: bool = False) -> Self:
        """`size` people (every tenth a contact), a computer, a group for each department, one group of all."""
        directory = cls(everybody_exists=everybody_exists)
        chance = random.Random(seed)  # noqa: S311 - reproducible on purpose
        people = [_person(number, chance) for number in range(1, size + 1)]
        for person in people:
            directory.add(person)
        contacts = tuple(person.dn for person in people if person.object_type == "contact")
        groups = []
        for department in _DEPARTMENTS:
            members = tuple(person.dn for person in people if person.properties.get("department") == department)
            groups.append(_group(f"CN={department},OU=Groups,{_SUFFIX}", members, chance))
            directory.add(groups[-1])
        directory.add(_group(EVERYBODY, (*(group.dn for group in groups), *contacts), chance))
        computer = {"sAMAccountName": "PC0001$", "displayName": "PC0001"}
        directory.add(
            DirectoryObject(f"CN=PC0001,CN=Computers,{_SUFFIX}", _guid(chance), "computer", _sid(9999), computer)
        )
        return directory

    def __iter__(self) -> Iterator[DirectoryObject]:
        return iter(self._objects.values())

    def add(self, added: DirectoryObject) -> None:
        """Add an object, or replace the one with the same DN."""
        self._objects[_key(added.dn)] = added
        for identifier in (added.dn, added.guid, added.sid):
            if identifier is not None:
                self._by_identifier[_key(identifier)] = added

    def find(self, identifier: str) -> DirectoryObject | None:
        """The object with a DN, GUID or SID."""
        found = self._by_identifier.get(_key(identifier))
        return _made_up(identifier) if found is None and self._everybody_exists else found

    def find_container(self, identifier: str) -> str | None:
        """The key of the container with this DN or GUID, if anything is in it or it is an object itself."""
        found = self._by_identifier.get(_key(identifier))
        key = _key(identifier if found is None else found.dn)
        has_children = any(parent_of(entry.dn).endswith(key) for entry in self)
        return key if found is not None or has_children else None

    def members(self, group: DirectoryObject, *, indirect: bool) -> Iterator[DirectoryObject]:
        """The members of a group, each once; with `indirect` also those of nested groups."""
        waiting, seen = list(group.members), {_key(group.dn)}
        for dn in waiting:
            member = self._by_identifier.get(_key(dn))
            if member is None or _key(dn) in seen:
                continue
            seen.add(_key(dn))
            yield member
            if indirect:
                waiting.extend(member.members)


def parent_of(dn: str) -> str:
    """The key of what an object is in: the rest of its DN after the first comma that is not escaped."""
    return re.split(r"(?<!\\),", _key(dn), maxsplit=1)[-1]


def is_identifier(text: str) -> bool:
    """Whether the API accepts this as the identifier of an object: a DN, a GUID or a SID."""
    return any(form.fullmatch(text) for form in (_GUID, _SID, _DN))


def _key(identifier: str) -> str:
    return _SEPARATOR.sub(r"\1", identifier.strip().strip("{}")).casefold()


def _guid(chance: random.Random) -> str:
    return str(uuid.UUID(int=chance.getrandbits(128), version=4))


def _sid(number: int) -> str:
    return f"S-1-5-21-3635565734-1729062999-1822655016-{number}"


def _group(dn: str, members: tuple[str, ...], chance: random.Random) -> DirectoryObject:
    name = dn.removeprefix("CN=").partition(",")[0]
    return DirectoryObject(dn, _guid(chance), "group", None, {"displayName": name, "sAMAccountName": name}, members)


def _person(number: int, chance: random.Random) -> DirectoryObject:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    contact, name = number % 10 == 0, f"{first} {last} {number}"
    account = f"user{number:04}"
    properties: dict[str, Property] = {
        "displayName": name,
        "givenName": first,
        "sn": last,
        "mail": f"{account}@example.com",
        "department": _DEPARTMENTS[number % len(_DEPARTMENTS)],
    }
    if number % 15 != 1:
        properties["mobile"] = f"+49151{chance.randrange(10**8):08}"
    if not contact:
        disabled = number % 20 == 7
        properties |= {
            "sAMAccountName": account,
            "userPrincipalName": f"{account}@example.com",
            "userAccountControl": 514 if disabled else 512,
            "accountDisabled": disabled,
        }
    dn = f"CN={name.replace(',', chr(92) + ',')},OU={'Contacts' if contact else 'Staff'},{_SUFFIX}"
    sid = None if contact else _sid(1000 + number)
    return DirectoryObject(dn, _guid(chance), "contact" if contact else "user", sid, properties)


def _made_up(identifier: str) -> DirectoryObject:
    """A user with a number, the same for the same identifier."""
    guid = uuid.uuid5(uuid.NAMESPACE_X500, _key(identifier))
    dn = identifier if "=" in identifier else f"CN={guid},OU=Staff,{_SUFFIX}"
    mobile = f"+49152{guid.int % 10**8:08}"
    return DirectoryObject(dn, str(guid), "user", None, {"displayName": str(guid), "mobile": mobile})
