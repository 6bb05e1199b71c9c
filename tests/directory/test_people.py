"""Who is who: all identifiers of a person lead to the first that was seen."""

from hypothesis import given
from hypothesis import strategies as st

from bulksms.planning.follow_up import IdentityMap

FORMS = ("dn", "guid", "sid")


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(FORMS)), min_size=1, max_size=40))
def test_a_person_has_one_key_whatever_they_are_called(seen: list[tuple[int, str]]) -> None:
    first: dict[int, str] = {}
    with IdentityMap() as people:
        for person, form in seen:
            given_key = f"{form}:{person}"
            everything = dict.fromkeys((given_key, *(f"{known}:{person}" for known in FORMS)))
            assert people.canonical(list(everything)) == first.setdefault(person, given_key)
        for person in range(9):
            assert {people.known(f"{form}:{person}") for form in FORMS} == {first.get(person)}


def test_people_who_are_unwanted_under_one_name_are_unwanted_under_all() -> None:
    with IdentityMap() as people:
        people.canonical(["dn:ann", "guid:1", "sid:1"])
        people.canonical(["guid:2"])
        unwanted = people.with_aliases([("sid:1", "asked"), ("guid:2", "left"), ("dn:stranger", "gone")])
        assert list(unwanted) == [("sid:1", "asked"), ("dn:ann", "asked"), ("guid:2", "left"), ("dn:stranger", "gone")]


def test_every_plan_begins_with_nobody() -> None:
    with IdentityMap() as people:
        people.canonical([f"dn:{number}" for number in range(1000)])
        assert people.known("dn:999") == "dn:0"
    with IdentityMap() as fresh:
        assert fresh.known("dn:999") is None
