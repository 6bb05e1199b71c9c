"""Invariants of templates: names are found whatever their case and blanks, and a value is never read as a template."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulksms.input.template import Renderer, Template, folded, nearest


def rendered(template: str, **values: str) -> str | None:
    return Renderer(Template(template), list(values)).render(list(values.values()))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("Hello ((name))!", "Hello Ann!"),
        ("((name))", "Ann"),
        ("((NAME)) (( n a m e ))", "Ann Ann"),
        ("((name))((site))", "AnnBerlin"),
        ("(((name)))", "(Ann)"),
        ("((empty|friend))", "friend"),
        ("((name|friend))", "Ann"),
        ("x((empty|))y", "xy"),
        ("((nosuch|friend))", "friend"),
        ("((empty|a (b) c))", "a (b) c"),
        ("100% %s %(name)s {name} $name {{name}}", "100% %s %(name)s {name} $name {{name}}"),
        ("100% ((name)) %s", "100% Ann %s"),
        ("no placeholder", "no placeholder"),
        ("Hello ((empty))", None),
        ("Hello ((name)) ((empty))", None),
        ("Hello ((blank))", None),
        ("Hello ((nosuch))", None),
        ("line one\nline ((name))", "line one\nline Ann"),
    ],
)
def test_placeholders_take_the_values_of_their_columns(template: str, expected: str | None) -> None:
    assert rendered(template, name="Ann", site="Berlin", empty="", blank="  ") == expected


def test_a_literal_text_has_no_placeholders() -> None:
    template = Template("Hello ((name)) ((", literal=True)
    assert Renderer(template, ["name"]).render(["Ann"]) == "Hello ((name)) (("


def test_a_name_may_have_brackets_inside() -> None:
    renderer = Renderer(Template("Call ((Phone (home))) or ((Phone(work)|none))."), ["phone (HOME)", "Phone (work)"])
    assert renderer.render(["1", ""]) == "Call 1 or none."


@pytest.mark.parametrize("text", ["((name)", "((", "(( ", "((|x))", "((())", "a ((b((name))", "((a|b|(c))"])
def test_what_only_looks_like_a_placeholder_is_noticed(text: str) -> None:
    assert Template(text).leftover() is not None


@pytest.mark.parametrize("text", ["((name))", "(name)", "a ( (b) )", "(((name)))", "((a|b)) )) ("])
def test_what_is_none_does_not_look_like_one(text: str) -> None:
    assert Template(text).leftover() is None


def test_each_empty_column_is_named_once() -> None:
    renderer = Renderer(Template("((Name)) ((site)) ((NAME)) ((nosuch)) ((gone|x))"), ["name", "site"])
    assert renderer.empty(["", "Berlin"]) == ["name", "nosuch"]
    assert renderer.unknown == ("nosuch", "gone")


def test_the_nearest_name_is_found() -> None:
    assert nearest("nmae", ["site", "Name"]) == "Name"
    assert nearest("FIRSTNAME", ["First Name", "Last Name"]) == "First Name"
    assert nearest("xyz", ["site", "name"]) is None


@given(st.text(), st.text().filter(str.strip))
def test_a_value_is_put_in_as_it_is(prefix: str, value: str) -> None:
    prefix = prefix.replace("(", "[")
    assert rendered(prefix + "((name))%", name=value) == prefix + value + "%"


@given(st.lists(st.tuples(st.text("ab%{}", max_size=5), st.sampled_from(["name", "site"])), max_size=5), st.text("c"))
def test_each_character_is_traced_to_its_column(parts: list[tuple[str, str]], end: str) -> None:
    template = "".join(f"{literal}(({column}))" for literal, column in parts) + end
    values = {"name": "XY", "site": "Z"}
    renderer = Renderer(Template(template), list(values))
    origins = [
        renderer.source(list(values.values()), index)
        for index in range(len(renderer.render(list(values.values())) or ""))
    ]
    expected: list[str | None] = []
    for literal, column in parts:
        expected += [None] * len(literal) + [column] * len(values[column])
    assert origins == expected + [None] * len(end)
    assert renderer.source(list(values.values()), len(origins)) is None


@given(st.text())
def test_any_text_can_be_read_as_a_template(text: str) -> None:
    template = Template(text)
    assert len(template.literals) == len(template.placeholders) + 1


def test_names_are_compared_without_case_and_blanks() -> None:
    assert folded(" First\u00a0 NAME ") == folded("firstname") == "firstname"
    assert folded("STRASSE") == folded("Straße")
