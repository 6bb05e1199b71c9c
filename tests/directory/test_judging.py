"""What the directory's answers mean."""

import pytest

from bulksms.adaxes import DirectoryObject
from bulksms.directory.verification import (
    Meaning,
    RecipientProblem,
    identifier_of,
    keys_of,
    matched,
    meaning_of,
    not_found,
    recipient_problems,
)
from bulksms.input import CODES
from bulksms.model.attempt import ApiError, Attempt, Failure

NUMBER = {"mobile": "+49 151"}


def answered(status: int | None, failure: Failure | None = None, *, by_the_api: bool = True) -> Attempt:
    error = ApiError("No.", "notFound") if by_the_api and failure is None else None
    return Attempt(headers_sent=True, status=status, failure=failure, api_error=error)


@pytest.mark.parametrize(
    ("attempt", "meaning"),
    [
        (answered(200, by_the_api=False), Meaning.ANSWER),
        (answered(404), Meaning.ANSWER),
        (answered(403), Meaning.ANSWER),
        (answered(400), Meaning.ANSWER),
        (answered(404, by_the_api=False), Meaning.TROUBLE),
        (answered(403, by_the_api=False), Meaning.TROUBLE),
        (answered(302, by_the_api=False), Meaning.TROUBLE),
        (answered(401), Meaning.TROUBLE),
        (answered(405), Meaning.TROUBLE),
        (answered(501), Meaning.TROUBLE),
        (answered(505), Meaning.TROUBLE),
        (answered(429), Meaning.PASSING),
        (answered(408), Meaning.PASSING),
        *(
            (answered(status, by_the_api=api), Meaning.PASSING)
            for status in (500, 502, 503, 504)
            for api in (False, True)
        ),
        (answered(None, Failure.UNRESOLVED), Meaning.PASSING),
        (answered(None, Failure.REFUSED), Meaning.PASSING),
        (answered(200, Failure.READ_TIMEOUT), Meaning.PASSING),
        (answered(None, Failure.BAD_CERTIFICATE), Meaning.TROUBLE),
        (answered(407, Failure.PROXY_REFUSED), Meaning.TROUBLE),
        (answered(502, Failure.PROXY_REFUSED), Meaning.PASSING),
        (answered(None, Failure.BAD_URL), Meaning.TROUBLE),
    ],
)
def test_an_answer_is_one_persons_or_everybodys(attempt: Attempt, meaning: Meaning) -> None:
    assert meaning_of(attempt) is meaning


@pytest.mark.parametrize(
    ("found", "codes"),
    [
        (DirectoryObject(guid="g", object_type="user", properties=NUMBER), []),
        (DirectoryObject(guid="g", object_type="contact", properties=NUMBER, disabled=False), []),
        (DirectoryObject(guid="g", properties=NUMBER), []),
        (DirectoryObject(guid="g", object_type="group", properties=NUMBER), ["E115"]),
        (DirectoryObject(guid="g", object_type="computer", disabled=True), ["E115"]),
        (DirectoryObject(guid="g", object_type="user"), ["E116"]),
        (DirectoryObject(guid="g", object_type="user", properties={"telephoneNumber": "1"}), ["E116"]),
        (DirectoryObject(guid="g", object_type="user", properties=NUMBER, disabled=True), ["E117"]),
        (DirectoryObject(guid="g", object_type="user", disabled=True), ["E116", "E117"]),
    ],
)
def test_people_without_a_way_to_reach_them_are_named_with_the_reason(found: DirectoryObject, codes: list[str]) -> None:
    result = list(recipient_problems(found, "mobile"))
    assert [flaw.code for flaw in result] == codes
    assert all(flaw.code in CODES and flaw.hint for flaw in result)


def test_a_name_belongs_to_exactly_one_person() -> None:
    people = [DirectoryObject(dn=f"CN={number},DC=x", guid=str(number)) for number in range(5)]
    assert matched("mail", people[:1]) is people[0]
    nobody, several = matched("mail", []), matched("mail", people)
    assert isinstance(nobody, RecipientProblem)
    assert nobody.code == "E118"
    assert isinstance(several, RecipientProblem)
    assert several.code == "E119"
    assert "5 people" in several.problem
    assert "CN=0,DC=x; CN=1,DC=x; CN=2,DC=x …" in several.problem


def test_an_object_that_may_not_be_seen_is_different_from_a_missing_one() -> None:
    assert not_found(answered(404)).problem == "the directory has no such object"
    assert "403 No." in not_found(answered(403)).problem


def test_a_person_is_sent_to_by_what_stays_and_known_by_everything() -> None:
    person = DirectoryObject(
        dn="CN=Ann,DC=x", guid="7A4267CE-d354-44e7-8bd6-c681f1284a41", sid="S-1-5-21-1-2-3-4", object_type="user"
    )
    assert identifier_of(person) == person.guid
    assert identifier_of(DirectoryObject(dn="CN=Ann,DC=x")) == "CN=Ann,DC=x"
    assert list(keys_of(person)) == [
        "guid:7a4267ce-d354-44e7-8bd6-c681f1284a41",
        "dn:cn=ann,dc=x",
        "sid:s-1-5-21-1-2-3-4",
    ]
    assert list(keys_of(DirectoryObject(guid="no guid", dn="no dn"))) == []
