"""Which hits of a search are meant: the same name or number, and nothing that a directory finds beside it."""

import pytest

from bulksms.adaxes import DirectoryObject
from bulksms.directory.verification import Matcher, RecipientProblem
from bulksms.input.telephone import spellings, telephone_key


def hit(name: str, value: str, guid: str = "1") -> DirectoryObject:
    return DirectoryObject(dn=f"CN={value}", guid=guid, properties={name: value})


def test_a_hit_of_a_tolerant_directory_is_named_and_not_sent_to() -> None:
    matcher = Matcher("displayName")
    (problem,) = matcher.settle(["Jurgen Muller"], [hit("displayName", "Jürgen Müller")])
    assert isinstance(problem, RecipientProblem)
    assert problem.code == "E118"
    assert "'Jürgen Müller'" in problem.problem


def test_an_exact_hit_beside_a_similar_one_is_the_person() -> None:
    matcher = Matcher("displayName")
    exact = hit("displayName", "Jürgen Müller")
    assert matcher.settle(["JÜRGEN MÜLLER"], [hit("displayName", "Jurgen Muller", "2"), exact]) == [exact]


@pytest.mark.parametrize(
    "written",
    [
        "+49 171 1234567",
        "+491711234567",
        "00491711234567",
        "0171 1234567",
        "0171/1234567",
        "0171-123 45 67",
        "(0171) 1234567",
        "+49 (0) 171 1234567",
        "+49(171)1234567",
        "491711234567",
        "1711234567",
        " +49\u00a0171\u00a01234567 ",
        "+49\u2013171\u20131234567",
    ],
)
def test_one_number_has_one_key_however_it_is_written(written: str) -> None:
    assert telephone_key(written, "DE") == "+491711234567"


@pytest.mark.parametrize("written", ["", "CALL-HOME", "1", "+49", "ann@example.com", "0171 1234567 ext. nine"])
def test_what_is_no_number_has_no_key(written: str) -> None:
    assert telephone_key(written, "DE") is None


def test_the_spellings_of_directories_are_all_searched_for() -> None:
    written = spellings("0171 1234567", "DE")
    assert {"+491711234567", "+49 171 1234567", "00491711234567", "01711234567", "+49 (171) 1234567"} <= set(written)
    assert {telephone_key(spelling, "DE") for spelling in written} == {"+491711234567"}
