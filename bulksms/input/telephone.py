"""Telephone numbers: the many spellings of one number, compared by the international form (E.164).

Pure. phonenumberslite, Google's libphonenumber without its data about places and carriers, knows the plans of all
countries; it takes a tenth of a second to import, so only those who look up numbers wait for it.
"""

import re
from typing import Any

from bulksms.model.recipient import BadRecipient, IdentifierKind, Recipient, prepared

_PROPERTIES = frozenset(
    (
        *("mobile", "telephonenumber", "homephone", "pager", "ipphone", "facsimiletelephonenumber"),
        *("othermobile", "othertelephone", "otherhomephone", "otherpager", "primaryinternationalisdnnumber"),
    )
)
"""Properties of Active Directory that hold telephone numbers, in lower case (Microsoft, Active Directory schema)."""
_EXPONENT = re.compile(r"\d[.,]\d+[Ee]\+?\d+").fullmatch


class BadNumber(BadRecipient):
    """The value is not a telephone number that can be looked up."""


def is_telephone_property(name: str) -> bool:
    """Whether a property holds telephone numbers."""
    return name.lower() in _PROPERTIES


def telephone_recipient(value: str, country: str | None) -> Recipient:
    """Take a telephone number by which the directory knows a person; two spellings of one number are one person.

    `country` (ISO 3166, such as `DE`) is that of numbers without a country code.

    Raises:
        BadRecipient: there is none.
        BadNumber: it is not a telephone number, or a national one without a country.

    """
    given = value.strip()
    if not given:
        raise BadRecipient("there is no recipient", "give the telephone number that the directory has")
    if _EXPONENT(given):
        raise BadNumber(
            "a number that the spreadsheet has rounded; its last digits are lost",
            "format the column as text, and enter the numbers again",
        )
    key = telephone_key(given, country)
    if key is not None:
        return Recipient(given, IdentifierKind.NAME, f"telephone:{key}")
    if country is None and _digits(given):
        raise BadNumber("a number without a country code", "--country DE reads 0171 … as +49 171 …")
    raise BadNumber("not a telephone number", "write it with its country code, as in +49 171 1234567")


def telephone_key(value: str, country: str | None) -> str | None:
    """The number as `+491711234567`; None if it is none, or none without a country."""
    number = _parsed(value, country)
    return None if number is None else str(_library().format_number(number, _library().PhoneNumberFormat.E164))


def spellings(value: str, country: str | None) -> tuple[str, ...]:
    """The ways in which directories commonly write the number, without its extension; the given one first."""
    number = _parsed(value, country)
    if number is None:
        return (value.strip(),)
    library = _library()
    formats = library.PhoneNumberFormat
    international = str(library.format_number(number, formats.INTERNATIONAL))
    national = str(library.format_number(number, formats.NATIONAL))
    digits = re.sub(r"\D", "", national)
    plain = str(library.format_number(number, formats.E164))
    code, _, rest = international.partition(" ")
    area, _, end = rest.partition(" ")
    written = (
        *(value.strip(), plain, international, "00" + plain[1:], plain[1:], national, digits),
        *(f"{code} {rest.replace(' ', '').replace('-', '')}", f"{code} ({area}) {end}", f"{code} {area}/{end}"),
        *(national.replace(" ", "/", 1), national.replace(" ", "-", 1), international.replace(" ", "-")),
        *(f"{code} (0) {rest}", f"{code} (0){rest}"),
    )
    return tuple(dict.fromkeys(written))


def is_country(code: str) -> bool:
    """Whether there is a country with this code of two letters."""
    return code.upper() in _library().SUPPORTED_REGIONS


def _parsed(value: str, country: str | None) -> Any:  # noqa: ANN401 - the library has no types here
    library = _library()
    # `(0)` is only dialled within the country.
    text = re.sub(r"(?<=\d)\s*\(0\)\s*", " ", prepared(value).strip())
    if not _digits(text):
        return None
    region = None if country is None else country.upper()
    try:
        if region is not None and re.fullmatch(r"[1-9]\d{9,14}", text):
            # An international number whose + was lost, as spreadsheets do, if it is one of this country.
            number = library.parse(f"+{text}", None)
            own = library.country_code_for_region(region)
            if number.country_code == own and library.is_valid_number(number):
                return number
        number = library.parse(text, region)
    except library.NumberParseException:
        return None
    return number if library.is_possible_number(number) else None


def _digits(text: str) -> bool:
    """Whether the text is written as a number at all: letters would be read as the keys of a telephone."""
    return re.fullmatch(r"[+\d][\d\s()/.\-+\u2010-\u2015]*|\([\d\s()/.\-+\u2010-\u2015]*", text) is not None and any(
        map(str.isdigit, text)
    )


def _library() -> Any:  # noqa: ANN401 - as above
    import phonenumbers  # noqa: PLC0415 - only for those who look up numbers

    return phonenumbers
