"""How an input is to be read. Law: an option that cannot do anything is refused, never ignored."""

from dataclasses import dataclass
from typing import Literal

from bulksms.errors import UsageError

Format = Literal["csv", "jsonl", "xlsx"]
Match = Literal["mail", "sAMAccountName", "userPrincipalName"]


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
    no_template: bool = False
    """`text` is literal."""
    max_segments: int | None = None
    gsm7_replace: bool = False
    match: Match | None = None
    """Recipients are not identifiers but values of this property, to be looked up before anything is sent."""


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
            hint="Texts in a file are always sent as they stand.",
        )
    if options.max_segments is not None and options.max_segments < 1:
        raise UsageError("--max-segments must be at least 1.", hint="Leave it out for no limit of your own.")
    _check_reading(options, form)


def _check_reading(options: InputOptions, form: Format) -> None:
    if options.sheet is not None and form != "xlsx":
        raise UsageError("--sheet is about Excel workbooks only.", hint="Leave it out.")
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
