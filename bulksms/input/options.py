"""How an input is to be read. Invariant: an option that cannot do anything is refused, never ignored."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bulksms.errors import UsageError
from bulksms.input.finding import Finding

Format = Literal["csv", "jsonl", "xlsx"]


@dataclass(frozen=True, slots=True)
class InputOptions:
    """How to read an input and what text to make of each row."""

    format: Format | None = None
    """None: by the suffix of the file's name."""
    encoding: str | None = None
    """None: by byte-order mark, else UTF-8, else Windows-1252 with a warning."""
    delimiter: str | None = None
    """None: the one that the header has most of."""
    sheet: str | None = None
    recipient_column: str | None = None
    text_column: str | None = None
    text: str | None = None
    """The text for all, with placeholders."""
    values: Mapping[str, str] = field(default_factory=dict)
    """The value of `((name))` in `text`, for every row."""
    text_findings: tuple[Finding, ...] = ()
    """What was found when the text for all was read from its file."""
    no_template: bool = False
    """`text` is literal."""
    max_segments: int | None = None
    gsm7_replace: bool = False
    piped: bool = False
    """It comes through a pipe of a shell, which may have changed letters: such identifiers are refused."""
    include_hidden_rows: bool = False
    """Send to the rows of a workbook that are hidden or filtered out as well."""
    match: str | None = None
    """Recipients are not identifiers but values of this property, to be looked up before anything is sent."""
    country: str | None = None
    """That of telephone numbers without a country code, such as `DE` (ISO 3166)."""


def options_for_rows(options: InputOptions, recipient_column: str) -> InputOptions:
    """The same text for rows that are in no file: what says how to read one is left out."""
    return InputOptions(
        recipient_column=recipient_column,
        text=options.text,
        values=options.values,
        text_findings=options.text_findings,
        no_template=options.no_template,
        max_segments=options.max_segments,
        gsm7_replace=options.gsm7_replace,
    )


_PROPERTY = re.compile(r"[A-Za-z][A-Za-z0-9-]*").fullmatch
KNOWN_PROPERTIES = (
    "mail",
    "sAMAccountName",
    "userPrincipalName",
    "mobile",
    "telephoneNumber",
    "employeeID",
    "displayName",
)
"""The properties by which people are usually looked up, as the directory writes them."""


def property_name(name: str) -> str:
    """The name of a property for `--match`; a known one in the directory's own spelling.

    Raises:
        ValueError: it cannot be one.

    """
    if not _PROPERTY(name):
        raise ValueError(f"{name!r} is not the name of a property, such as {', '.join(KNOWN_PROPERTIES)}")
    return next((known for known in KNOWN_PROPERTIES if known.lower() == name.lower()), name)


def check_options(options: InputOptions, form: Format) -> None:
    """Refuse options that contradict each other or the format.

    Raises:
        UsageError: they do.

    """
    if options.text is not None and options.text_column is not None:
        raise UsageError("There are two sources of texts: one text for all and a column of texts.", hint="Choose one.")
    if options.text is not None and not options.text.strip():
        raise UsageError("The text for all is empty.", hint="Leave it out to send the texts of the file.")
    if options.text is None and options.no_template:
        raise UsageError(
            "--no-template is about the text for all, and there is none.",
            hint="Texts in a file are always sent as written.",
        )
    if options.values and (options.text is None or options.no_template):
        raise UsageError("--set fills in the text for all, and there is none to fill in.", hint="Leave it out.")
    if options.max_segments is not None and options.max_segments < 1:
        raise UsageError("--max-segments must be at least 1.", hint="Leave it out for no limit of your own.")
    _check_reading(options, form)


def _check_reading(options: InputOptions, form: Format) -> None:
    if options.sheet is not None and form != "xlsx":
        raise UsageError("--sheet is about Excel workbooks only.", hint="Leave it out.")
    if options.include_hidden_rows and form != "xlsx":
        raise UsageError("--include-hidden-rows is about Excel workbooks only.", hint="Leave it out.")
    if options.encoding is not None:
        if form == "xlsx":
            raise UsageError("--encoding has no meaning for an Excel workbook.", hint="Leave it out.")
        _check_encoding(options.encoding)
    if options.delimiter is not None:
        if form != "csv":
            raise UsageError("--delimiter is about CSV files only.", hint="Leave it out.")
        _delimiter(options.delimiter)


def _check_encoding(encoding: str) -> None:
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        raise UsageError(
            f"There is no encoding {encoding!r}.", hint="For example: utf-8, utf-16-le, windows-1252, iso-8859-15."
        ) from None


def _delimiter(given: str) -> str:
    delimiter = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}.get(given.lower(), given)
    if len(delimiter) != 1 or delimiter in '"\r\n\x00 ':
        raise UsageError(f"{given!r} cannot be a delimiter.", hint='One character such as , ; | or the word "tab".')
    return delimiter


def delimiter_of(options: InputOptions) -> str | None:
    """Give the delimiter that was asked for, the words for one turned into it."""
    return None if options.delimiter is None else _delimiter(options.delimiter)
