"""The settings file, `bulksms.toml`: read whole, held against the declared settings, and trusted with care.

Invariants: a file is taken whole or refused. It holds no secret, and a message about it shows none of its values. A
file that merely lies in the working directory decides where secrets go only if nobody else can write it.
"""

import os
import re
import stat
from collections.abc import Collection, Mapping
from datetime import datetime, time
from pathlib import Path
from typing import Any

import click

from bulksms.cli.options.declaration import DeclaredOption, OptionsCommand, options_of, settings_of
from bulksms.errors import UsageError

FILE_NAME = Path("bulksms.toml")
"""The file that is read where no other is named, if it is there."""
DECIDE_WHERE_SECRETS_GO = ("url", "proxy", "ca-file", "insecure-http", "token-command", "on-finish")
"""With one of these somebody else's file could have the token sent to a server of theirs, or a program run."""
SECRETS = {"token": "token-file", "password": "password-file"}
"""What is refused in a file, and the setting that takes its place."""
_PASSWORD = re.compile(r"//[^/@]*:[^/@]*@")
"""`user:password@` in a URL."""
LIST = "`bulksms config` lists the settings that there are."
_WRONG = re.compile(r"Expected `(?P<expected>[^`]*)`, got `(?P<got>\w+)` - at `\$\.(?P<name>[^`]*)`")
"""What msgspec says of a value of the wrong type."""
_WORDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a text"} | {
    "array": "a list",
    "object": "a table",
    "date": "a time",
    "file": "the name of a file",
}
"""msgspec's names of types, in words."""


def read_settings(context: click.Context, _: click.Parameter, file: Path | None) -> Path | None:
    """`--config FILE`, or `bulksms.toml` in the working directory: its settings hold where no option and no variable
    gives another.

    The file that was read, if any. Raises UsageError if it cannot be used, or may not be trusted.
    """
    named = file is not None
    if file is None and FILE_NAME.exists():
        file = FILE_NAME
    if file is None or context.resilient_parsing or not isinstance(context.command, OptionsCommand):
        return file if named else None
    known = settings_of(context.command.all_kinds)
    table = read(file)
    if not named:
        require_trusted(file, [key.replace("_", "-") for key in table])
    others = {one.key for one in options_of(context.command.all_kinds)} - known.keys()
    context.default_map = checked(table, known, others, file)
    return file


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
        hint = 'A line is such as: workers = 32, or: url = "https://HOST/restApi". Texts are in quotes.'
        raise UsageError(f"The settings {file} are not TOML: {_first_lower(str(error))}.", hint=hint) from None


def require_trusted(file: Path, names: Collection[str]) -> None:
    """Refuse a file that decides where secrets go, and that another user owns or can write. Raises UsageError.

    As git does with a repository of another user (git-config, `safe.directory`). Windows has no such owner to ask.
    """
    decided = [name for name in DECIDE_WHERE_SECRETS_GO if name in names]
    if not decided or os.name != "posix":
        return
    for path in dict.fromkeys([file, file.absolute().parent, file.resolve().parent]):
        found = path.stat()
        shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        # In a sticky folder, such as /tmp, nobody else can replace a file of ours.
        if found.st_uid not in (0, os.geteuid()):
            why = f"{path} belongs to another user"
        elif shared and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
            why = f"other users can write {path}"
        else:
            continue
        raise UsageError(
            f"{file} sets {', '.join(decided)}, which decides where the token goes or what is run, and {why}; "
            "nothing was sent.",
            hint=f"If you trust this file, name it: --config {file}, or set BULKSMS_CONFIG={file}. "
            f"If it is yours, take the others' right to write away: chmod go-w {path}",
        )


def checked(
    table: Mapping[str, Any], known: Mapping[str, DeclaredOption], others: Collection[str], file: Path
) -> dict[str, Any]:
    """The values by the parameters that take them; files are taken as they lie beside `file`.

    `known` are the settings by name, such as `max-recipients`; `others` are the options that are none. Raises
    UsageError for a secret, a name that is none, one that is there twice, or a value of the wrong kind.
    """
    plain: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise _no_setting(key, value, known, others, file)
        if name in plain:
            raise UsageError(f"{file}: {name} is there twice.", hint="- and _ are the same; leave one of them out.")
        plain[name] = _plain(value)
    values = _typed(plain, known, file)
    return {known[name].name or name: _taken(known[name], value, file) for name, value in values.items()}


def _plain(value: object) -> object:
    """TOML's moments as they are written: a deadline takes one, and all else refuses it as a text."""
    if isinstance(value, datetime):
        return value.isoformat()
    return value.isoformat(timespec="minutes") if isinstance(value, time) else value


def _typed(plain: dict[str, Any], known: Mapping[str, DeclaredOption], file: Path) -> dict[str, Any]:
    """The values, each of the type that its setting has. Raises UsageError."""
    import msgspec  # noqa: PLC0415 - only where there is a file

    types = [(known[name].name or name, known[name].file_type | msgspec.UnsetType, msgspec.UNSET) for name in plain]
    # Strict, so that "3" is no number; the names are those of the file.
    shape = msgspec.defstruct("Settings", types, rename={known[name].name or name: name for name in plain})
    try:
        made = msgspec.convert(plain, shape)
    except msgspec.ValidationError as error:
        found = _WRONG.search(str(error))
        if found is None:  # msgspec promises no wording
            raise UsageError(f"{file}: {error}.", hint=LIST) from None
        name = found["name"].partition("[")[0]
        expected = "file" if isinstance(known[name].type, click.Path) else found["expected"].split(" | ")[-1]
        expected = "str" if expected == "array" else expected
        got = _WORDS.get(found["got"], "a time")
        raise UsageError(f"{file}: {found['name']} must be {_WORDS[expected]}, not {got}.", hint=LIST) from None
    return {name: getattr(made, known[name].name or name) for name in plain}


def _taken(setting: DeclaredOption, value: Any, file: Path) -> object:  # noqa: ANN401 - of any setting
    """As the option takes it."""
    if setting.multiple:
        return [_one(setting, each, file) for each in (value if isinstance(value, list) else [value])]
    return _one(setting, value, file)


def _one(setting: DeclaredOption, value: object, file: Path) -> object:
    if isinstance(value, str) and _PASSWORD.search(value):
        hint = f"Set {setting.envvar} to it instead."
        raise UsageError(
            f"{file}: {setting.key} has a password in it, which everybody who can read this file could read.", hint=hint
        )
    if isinstance(setting.type, click.Path):
        return str(file.parent / os.path.expanduser(str(value)))  # noqa: PTH111 - it never fails for want of a home
    return str(value) if setting.takes_text and not isinstance(value, str) else value


def _no_setting(
    key: str, value: object, known: Mapping[str, DeclaredOption], others: Collection[str], file: Path
) -> UsageError:
    name = key.replace("_", "-").lower()
    if name in SECRETS:
        return UsageError(
            f"{file}: {key} is a secret, which everybody who can read this file could read.",
            hint=f"Put it into a file of its own that only you may read, and name that with {SECRETS[name]}.",
        )
    if isinstance(value, dict):
        return UsageError(
            f"{file}: [{key}] is a table.", hint="Write the settings one below the other, without tables."
        )
    if name in others:
        return UsageError(
            f"{file}: {key} is no setting.", hint=f"--{name} is about one call: give it on the command line each time."
        )
    from difflib import get_close_matches  # noqa: PLC0415 - needed after a mistake only

    near = get_close_matches(name, known, 1)
    return UsageError(f"{file}: there is no setting {key}.", hint=f"Did you mean {near[0]}?" if near else LIST)


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:]
