"""Configuration: what a file of settings says, held against the settings that there are.

Laws: a file is taken whole or refused. A secret does not stand in it, and what is wrong with it is said without its
values. Nothing is opened here but by `read`.
"""

import os
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime, time
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from bulksms.errors import UsageError

SECRETS = {"token": "token-file", "password": "password-file"}
"""What is refused in a file, and the setting that takes its place."""
_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")
"""`user:password@` in a URL."""
LIST = "`bulksms config` lists the settings that there are."


class Kind(Enum):
    """What a value must be, in words."""

    TRUTH = "true or false"
    WHOLE = "a whole number"
    NUMBER = "a number"
    TEXT = "a text"
    FILE = "the name of a file"


class Known(NamedTuple):
    """A setting that there is: the parameter that takes it, what it must be, whether it may be a list of that."""

    parameter: str
    kind: Kind
    several: bool = False


def read(file: Path) -> Mapping[str, Any]:
    """The file's table. Raises UsageError if it cannot be read or is no TOML."""
    import tomllib  # noqa: PLC0415 - the help starts without it

    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"The settings {file} cannot be read: {error.strerror}.", hint="Look at its name.") from error
    except UnicodeDecodeError:
        raise UsageError(f"The settings {file} are not UTF-8.", hint="Save the file as UTF-8.") from None
    except tomllib.TOMLDecodeError as error:
        hint = 'A line is such as: workers = 32, or: url = "https://HOST/restApi". Texts stand in quotes.'
        raise UsageError(f"The settings {file} are not TOML: {_first_lower(str(error))}.", hint=hint) from None


def checked(
    table: Mapping[str, Any], known: Mapping[str, Known], others: Collection[str], file: Path
) -> dict[str, Any]:
    """The values by the parameters that take them; files are taken as they lie beside `file`.

    `known` are the settings by name, such as `max-recipients`; `others` are the options that are none. Raises
    UsageError for a secret, a name that is none, one that stands there twice, or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise _no_setting(key, value, known, others, file)
        setting = known[name]
        if setting.parameter in values:
            raise UsageError(f"{file}: {name} stands there twice.", hint="- and _ are the same; leave one of them out.")
        values[setting.parameter] = _value(setting, value, file, name)
    return values


def _no_setting(key: str, value: object, known: Mapping[str, Known], others: Collection[str], file: Path) -> UsageError:
    name = key.replace("_", "-").lower()
    if name in SECRETS:
        return UsageError(
            f"{file}: {key} is a secret, which whoever may read this file could read.",
            hint=f"Put it into a file of its own that only you may read, and name that with {SECRETS[name]}.",
        )
    if isinstance(value, dict):
        return UsageError(
            f"{file}: [{key}] is a table.", hint="The settings stand one below the other, without tables."
        )
    if name in others:
        return UsageError(
            f"{file}: {key} is no setting.", hint=f"--{name} is about one call: say it on the command line each time."
        )
    from difflib import get_close_matches  # noqa: PLC0415 - needed after a mistake only

    near = get_close_matches(name, known, 1)
    return UsageError(f"{file}: there is no setting {key}.", hint=f"Did you mean {near[0]}?" if near else LIST)


def _value(setting: Known, value: object, file: Path, name: str) -> object:
    if setting.several:
        each = value if isinstance(value, list) else [value]
        return [_one(setting.kind, one, file, f"{name}[{place}]") for place, one in enumerate(each)]
    return _one(setting.kind, value, file, name)


def _one(kind: Kind, value: object, file: Path, name: str) -> object:
    """As the option takes it. TOML's numbers and moments are what a rate or a deadline is on the command line."""
    match kind, value:
        case (Kind.TRUTH, bool()) | (Kind.NUMBER, float()):
            return value
        case (_, bool()):
            pass
        case (Kind.TEXT, str()) if _PASSWORD.search(value):
            hint = f"Set BULKSMS_{name.replace('-', '_').upper()} to it instead."
            raise UsageError(
                f"{file}: {name} has a password in it, which whoever reads this file could read.", hint=hint
            )
        case (Kind.WHOLE | Kind.NUMBER, int()) | (Kind.TEXT, str()):
            return value
        case (Kind.TEXT, int() | float()):
            return str(value)
        case (Kind.TEXT, datetime()):
            return value.isoformat()
        case (Kind.TEXT, time()):
            return value.isoformat(timespec="minutes")
        case (Kind.FILE, str()):
            return str(file.parent / os.path.expanduser(value))  # noqa: PTH111 - it never fails for want of a home
    raise UsageError(f"{file}: {name} must be {kind.value}, not {_what(value)}.", hint=LIST)


def _what(value: object) -> str:
    names: Iterator[tuple[Any, str]] = iter(
        [(bool, "true or false"), (int, "a whole number"), (float, "a number"), (str, "a text"), (list, "a list")]
    )
    others = "a time" if isinstance(value, date | time) else "a table"
    return next((name for kind, name in names if isinstance(value, kind)), others)


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
