"""The preview: every line fits, no escape sequence reaches the terminal, and the words are plain."""

import unicodedata
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulksms.cli.ui import preview as shown
from bulksms.cli.ui.preview import describe, show_mistakes, show_preview, show_warnings
from bulksms.input import Finding
from bulksms.model.recipient import EXPORT_GUIDS
from bulksms.model.run_settings import RunSettings
from bulksms.planning.estimate import CALL_SECONDS, estimate_seconds
from bulksms.planning.plan import SHOWN, Example, Preview, count_of, left_out
from bulksms.report.text import duration


def preview_of(*examples: Example, **values: object) -> Preview:
    preview = Preview("people.csv", rows=1, kinds={"DN": 1}, sizes=Counter({("GSM-7", 1): 1}), fingerprint="f" * 64)
    preview.examples = list(examples)
    preview.shown_first = len(examples)
    for name, value in values.items():
        setattr(preview, name, value)
    return preview


def lines_of(preview: Preview, width: int = 80, **values: object) -> list[str]:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        url = values.pop("url", None)
        show_preview(preview, lines.append, RunSettings().changed(values), None if url is None else str(url))
    return lines


def columns(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in line)


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@settings(max_examples=100)
@given(recipient=anything, text=anything, name=anything, value=anything, width=st.integers(78, 130))
def test_no_line_is_wider_than_the_terminal_and_nothing_is_obeyed(
    recipient: str, text: str, name: str, value: str, width: int
) -> None:
    finding = Finding("W204", "a problem", row=2, column=name[:60], value=value[:60], hint="write 'a'")
    preview = preview_of(Example(2, recipient, text, "UCS-2", 6), input=name[:100])
    preview.errors, preview.error_count = [finding], 1
    preview.warn(finding)
    for line in lines_of(preview, width):
        assert columns(line) <= min(width, shown.WIDEST)
        assert line.isprintable()


@pytest.mark.parametrize("text", ["Hello", 'He wrote "now".', "two  blanks", "שלום", "漢字 😀", "a" * 200, "a b " * 40])
def test_a_text_that_fits_is_shown_whole(text: str) -> None:
    lines = lines_of(preview_of(Example(2, "CN=Ann,DC=x", text, "GSM-7", 1)))
    begin = lines.index("row 2  CN=Ann,DC=x  GSM-7, 1 segment") + 1
    body = "".join(lines[begin : lines.index("")])
    assert "".join(body.split()) == "".join(text.split())


def test_a_text_that_is_too_long_is_cut_with_an_ellipsis() -> None:
    for text in ("word " * 100, "a" * 500):
        lines = lines_of(preview_of(Example(2, "CN=Ann,DC=x", text, "GSM-7", 4)))
        assert lines.index("") == 2 + shown.MOST_LINES
        assert lines[1 + shown.MOST_LINES].endswith("…")


def test_line_ends_and_invisible_characters_are_shown_as_what_they_are() -> None:
    lines = lines_of(preview_of(Example(2, "CN=Ann,DC=x", "one\ntwo\u200b\u202e\x1b[2J", "UCS-2", 1)))
    assert lines[2] == r"    one\ntwo\u200b\u202e\x1b[2J"


def test_the_numbers_are_last_above_the_question() -> None:
    preview = preview_of(
        rows=1_204,
        duplicates=1,
        duplicate_rows=[(9, 4)],
        suppressed=2,
        already_sent=3,
        bad=4,
        kinds={"DN": 1_190, "SID": 4},
        sizes=Counter({("GSM-7", 1): 1_190, ("UCS-2", 2): 4}),
    )
    assert lines_of(preview, url="https://h.example/restApi", rate=2.0) == [
        "",
        "from          people.csv: 1,204 rows, 1,194 to send, 1 duplicate, 2 suppressed,",
        "              3 sent before, 4 bad",
        "duplicates    row 9 of row 4: same person, same text",
        "identifiers   1,190 DN, 4 SID",
        "segments      1,198: 1,190 messages of 1, 4 of 2",
        "encoding      1,190 GSM-7, 4 UCS-2",
        "sending       to https://h.example/restApi, as many at once as the server takes,",
        "              at most 64, 2 a second at most",
        "duration      not known yet; 9 min 57 s to 9 min 58 s if a call takes 0.5 to 2 s",
        "fingerprint   " + "f" * 64,
    ]


@pytest.mark.parametrize(
    ("examples", "first", "head"),
    [
        (1, 1, "The first message, as they would be sent:"),
        (4, 1, "The first message and 3 from anywhere, as they would be sent:"),
        (8, 5, "The first 5 messages and 3 from anywhere, as they would be sent:"),
    ],
)
def test_the_head_says_how_many_are_shown(examples: int, first: int, head: str) -> None:
    preview = preview_of(*[Example(row, "CN=Ann,DC=x", "Hello", "GSM-7", 1) for row in range(examples)])
    preview.shown_first = first
    assert lines_of(preview)[0] == head


def test_nothing_is_shown_of_no_examples() -> None:
    assert lines_of(preview_of())[0] == ""


def test_the_first_errors_are_shown_all_are_counted_and_a_hint_is_printed_once() -> None:
    finding = Finding(
        "E101", "not a GUID", row=3, column="guid", value="7a42", hint=f"export the GUIDs: {EXPORT_GUIDS}"
    )
    preview = preview_of(errors=[finding] * SHOWN, error_count=SHOWN + 2, bad=21)
    lines: list[str] = []
    show_mistakes(preview, lines.append)
    assert lines[:3] == [
        "error: row 3, column guid: E101 bad-identifier: not a GUID ('7a42')",
        "  hint: export the GUIDs:",
        EXPORT_GUIDS,  # whole, to be copied
    ]
    assert lines[3:] == [lines[0]] * (SHOWN - 1) + ["… and 2 more mistakes in 21 rows."]


def test_warnings_are_grouped_with_their_number_and_each_hint() -> None:
    preview = preview_of()
    for row, character in enumerate("áëëëë", 2):
        hint = f"write '{'a' if character == 'á' else 'e'}'"
        preview.warn(Finding("W204", "is not in GSM-7", row=row, value=character, hint=hint))
    preview.warn(Finding("W203", "chosen"))
    lines: list[str] = []
    show_warnings(preview, lines.append)
    assert lines == [
        "warning: W203 several-columns",
        "  chosen",
        "warning: W204 needs-ucs2, 5 times",
        "  row 2: is not in GSM-7 ('á')",
        "  hint: write 'a'",
        "  row 3: is not in GSM-7 ('ë')",
        "  hint: write 'e'",
        "  row 4: is not in GSM-7 ('ë')",
        "  … and 2 more",
    ]


def test_a_value_is_shown_as_in_the_file() -> None:
    assert describe(Finding("E101", "a name", value="EXAMPLE\\ann")) == "E101 bad-identifier: a name ('EXAMPLE\\ann')"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.5, "0.5 s"),
        (2, "2 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.6, "1 h 00 min"),
        (4_812_345, "1,336 h 45 min"),
    ],
)
def test_a_duration_is_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_one_is_not_many() -> None:
    assert [count_of(count, "row") for count in (0, 1, 2, 1_000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert left_out(preview_of(duplicates=1, already_sent=2)) == "1 duplicate, 2 sent before"
    assert left_out(preview_of()) == ""
    assert left_out(preview_of(has_suppressions=True, has_earlier=True)) == "0 suppressed, 0 sent before"


@given(st.integers(1, 10**6), st.integers(1, 1024), st.floats(0.01, 10**4) | st.none())
def test_an_estimate_is_never_shorter_than_a_call_the_workers_or_the_rate_allow(
    messages: int, workers: int, rate: float | None
) -> None:
    for seconds, call in zip(estimate_seconds(messages, workers, rate), CALL_SECONDS, strict=True):
        assert seconds >= max(call if messages >= workers else 0, messages * call / workers)
        assert rate is None or seconds >= (messages - 1) / rate
    assert estimate_seconds(0, workers, rate) == (0.0, 0.0)
