"""Planning: everything is read and counted before anything can be sent, and no row is held in memory."""

import json
import re
import sqlite3
import tracemalloc
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulksms.input import CODES, BadRow, InputOptions, open_input
from bulksms.ledger import Draft, Selection, open_ledger
from bulksms.ledger.sqlite.draft import SqliteDraft
from bulksms.model.message import State
from bulksms.planning.plan import FIRST_EXAMPLES, GROUP_SHOWN, RANDOM_EXAMPLES, SHOWN, Group, Preview, build_plan

ANOTHER_TEXT = "W301"
MIXED = """recipient,text,Name
"CN=Anna,DC=x",Hello,Anna
"cn=anna, dc=x",Hello,Anna again
"CN=Anna,DC=x",Something else,Anna
7a4267ce-d354-44e7-8bd6-c681f1284a41,Hello,Guido
{7A4267CE-D354-44E7-8BD6-C681F1284A41},Hello,Guido again
S-1-5-21-3635565734-1729062999-1822655016-1627,Čau — hello,Sid
anna@example.com,Hello,Mail
"CN=Ben,DC=x",,Ben
"CN=Carl,DC=x",Hello,Carl
"CN=Dora,DC=x",Hello,Dora
"""


def planned(text: str | Path, draft: Draft, folder: Path, **options: object) -> Preview:
    path = text if isinstance(text, Path) else folder / "people.csv"
    if isinstance(text, str):
        path.write_text(text, encoding="utf-8", newline="")
    with open_input(path, InputOptions()) as source:
        return build_plan(source, draft, **options)  # type: ignore[arg-type]  # as the test gives them


def preview_of(text: str, folder: Path, **options: object) -> Preview:
    with SqliteDraft(None) as draft:
        return planned(text, draft, folder, **options)


def test_everything_in_an_input_is_counted_once(tmp_path: Path) -> None:
    rejected: list[BadRow] = []
    progress: list[int] = []
    preview = preview_of(
        MIXED,
        tmp_path,
        reject=rejected.append,
        suppressed=[("dn:cn=carl,dc=x", "suppressed by list.txt"), ("dn:cn=zoe,dc=x", "suppressed by list.txt")],
        already_sent=[("dn:cn=dora,dc=x", "sent in a.ledger.db"), ("dn:cn=carl,dc=x", "sent in a.ledger.db")],
        progress=progress.append,
    )
    assert (preview.rows, preview.bad, preview.duplicates, preview.suppressed, preview.already_sent) == (10, 2, 2, 1, 1)
    assert preview.to_send == sum(preview.sizes.values()) == sum(preview.kinds.values()) == 4
    assert preview.kinds == {"DN": 2, "GUID": 1, "SID": 1}
    assert preview.sizes == {("GSM-7", 1): 3, ("UCS-2", 1): 1}
    assert preview.columns == ("Name",)
    assert progress == [10]
    assert [(row.row, row.findings[0].code) for row in rejected] == [(8, "E101"), (9, "E111")]
    assert [finding.row for finding in preview.errors] == [8, 9]
    assert preview.error_count == 2


def test_the_same_person_with_another_text_is_sent_to_with_a_warning(tmp_path: Path) -> None:
    preview = preview_of(MIXED, tmp_path)
    warned = preview.warnings[ANOTHER_TEXT]
    assert (warned.count, [finding.row for finding in warned.first]) == (1, [4])
    assert "row 2" in warned.first[0].problem
    assert warned.first[0].name == CODES[ANOTHER_TEXT].name


def test_every_warning_has_a_code_of_the_contract(tmp_path: Path) -> None:
    preview = preview_of(MIXED + '"CN=E,DC=x",%name% and ((Name)),E\n', tmp_path)
    assert {"W204", "W205", "W209", ANOTHER_TEXT} <= set(preview.warnings) <= set(CODES)
    assert all(finding.name for group in preview.warnings.values() for finding in group.first)


def test_the_draft_says_of_each_row_why_it_is_left_out(tmp_path: Path) -> None:
    with SqliteDraft(tmp_path / "people.ledger.db") as draft:
        preview = planned(MIXED, draft, tmp_path, suppressed=[("dn:cn=carl,dc=x", "suppressed by list.txt")])
        path = draft.keep(
            source=preview.input,
            columns=list(preview.columns),
            fingerprint=preview.fingerprint,
            summary=json.dumps(preview.as_dict()),
            version="1.0",
        )
    with open_ledger(path) as reader:
        reader.check_counters()
        left_out = {line.row: (line.reason, line.error) for line in reader.messages(Selection.of(State.SKIPPED))}
        queued = {
            line.row: (line.recipient, line.text, line.other_columns)
            for line in reader.messages(Selection.of(State.QUEUED))
        }
        assert reader.counts().counts[State.QUEUED] == preview.to_send
        assert reader.plan().summary == preview.as_dict()
        assert reader.plan().columns == ("Name",)
    assert {row: reason for row, (reason, _) in left_out.items()} == {
        3: "duplicate",
        6: "duplicate",
        8: "bad_row",
        9: "bad_row",
        10: "suppressed",
    }
    assert left_out[3][1] == "duplicate of row 2"
    assert left_out[6][1] == "duplicate of row 5"
    assert left_out[10][1] == "suppressed by list.txt"
    assert str(left_out[8][1]).startswith("E101 bad-identifier: ")
    assert queued[4] == ("CN=Anna,DC=x", "Something else", {"Name": "Anna"})
    assert queued[7][1] == "Čau — hello"


def test_a_duplicate_of_a_suppressed_row_is_suppressed_and_counted_once(tmp_path: Path) -> None:
    text = 'recipient,text\n"CN=A,DC=x",Hi\n"CN=A,DC=x",Hi\n"CN=A,DC=x",Ho\n'
    preview = preview_of(text, tmp_path, suppressed=[("dn:cn=a,dc=x", "list")])
    assert (preview.suppressed, preview.duplicates, preview.to_send) == (3, 0, 0)
    assert ANOTHER_TEXT not in preview.warnings


def test_mistakes_and_warnings_are_all_counted_and_the_first_ones_kept(tmp_path: Path) -> None:
    bad = "".join(f"nobody{number},Hi\n" for number in range(50))
    expanding = "".join(f'"CN={number},DC=x",%mail%\n' for number in range(50))
    preview = preview_of("recipient,text\n" + bad + expanding, tmp_path)
    assert (preview.bad, preview.error_count, preview.to_send) == (50, 50, 50)
    assert [finding.row for finding in preview.errors] == list(range(2, 2 + SHOWN))
    group = preview.warnings["W205"]
    assert (group.count, [finding.row for finding in group.first]) == (50, list(range(52, 52 + GROUP_SHOWN)))


def test_examples_are_rendered_messages_of_the_first_rows_and_of_some_behind_them(tmp_path: Path) -> None:
    text = "recipient,text\n" + "".join(f'"CN={number},DC=x",Text {number}\n' for number in range(100))
    preview = preview_of(text, tmp_path)
    rows = [example.row for example in preview.examples]
    assert rows[:FIRST_EXAMPLES] == list(range(2, 2 + FIRST_EXAMPLES))
    assert FIRST_EXAMPLES < len(rows) <= FIRST_EXAMPLES + RANDOM_EXAMPLES
    for example in preview.examples:
        assert (example.recipient, example.text) == (f"CN={example.row - 2},DC=x", f"Text {example.row - 2}")
        assert (example.encoding, example.segments) == ("GSM-7", 1)
    assert len(preview_of(text, tmp_path, first_examples=20).examples) > 20


def test_the_counts_as_plain_values_agree_with_each_other(tmp_path: Path) -> None:
    long = "x" * 161
    text = f'recipient,text\n"CN=A,DC=x",{long}\n"CN=B,DC=x",Hi\n"CN=C,DC=x",{"č" * 71}\n"CN=D,DC=x",Hi\n'
    preview = preview_of(text, tmp_path)
    shown = preview.as_dict()
    assert shown["segments_histogram"] == {"1": 2, "2": 2}
    assert shown["encodings"] == {"GSM-7": 3, "UCS-2": 1}
    assert shown["segments"] == preview.segments == 6
    assert (shown["rows"], shown["to_send"], shown["bad_rows"]) == (4, 4, 0)
    assert shown["identifiers"] == {"DN": 4}
    assert json.loads(json.dumps(shown)) == shown


people = st.lists(
    st.tuples(
        st.sampled_from(["CN=A,DC=x", "cn=a,dc=X", "CN=B,DC=x", "nobody", ""]), st.sampled_from(["Hi", "Ho", ""])
    ),
    min_size=1,
    max_size=25,
)


@given(people)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_dry_run_and_a_plan_say_the_same_and_every_row_is_somewhere(
    tmp_path: Path, rows: list[tuple[str, str]]
) -> None:
    text = "recipient,text,n\n" + "".join(f'"{who}","{what}",{n}\n' for n, (who, what) in enumerate(rows))
    dry = preview_of(text, tmp_path)
    with SqliteDraft(tmp_path / "people.ledger.db") as draft:
        kept = planned(text, draft, tmp_path)
        states = dict(draft.connection.execute("SELECT state, COUNT(*) FROM message GROUP BY state").fetchall())
    assert kept.as_dict() == dry.as_dict()
    assert kept.fingerprint == dry.fingerprint
    assert states.get("queued", 0) == dry.to_send
    assert sum(states.values()) == dry.rows == len(rows)
    good = {(who.lower(), what) for who, what in rows if who.startswith(("CN", "cn")) and what}
    assert dry.to_send == len(good)
    warned = dry.warnings.get(ANOTHER_TEXT, Group())
    assert warned.count == len(good) - len({who for who, _ in good})


def many(path: Path, count: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.write("recipient,text,Name\n")
        file.writelines(f'"CN=User {n},OU=Staff,DC=example,DC=com",Hello {n % 7},Name {n}\n' for n in range(count))
    return path


def peak_of_planning(path: Path) -> int:
    """The most bytes that Python held at once while it planned."""
    tracemalloc.start()
    try:
        with SqliteDraft(None) as draft:
            planned(path, draft, path.parent)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_rows(tmp_path: Path) -> None:
    few, more = (peak_of_planning(many(tmp_path / f"{count}.csv", count)) for count in (10_000, 60_000))
    # Sixty thousand rows are four megabytes as a file, and many times that as objects.
    assert more < few * 1.5
    assert more < 10_000_000


def test_what_is_planned_is_what_is_kept_byte_by_byte(tmp_path: Path) -> None:
    texts = ['quotes "" and \'', "lines\r\nand\nmore", "emoji 👩‍👩‍👧", "עברית", "zero\u200bwidth", "tab\there"]
    text = "recipient,text\r\n" + "".join(f'"CN={n},DC=x","{what}"\r\n' for n, what in enumerate(texts))
    with SqliteDraft(tmp_path / "people.ledger.db") as draft:
        preview = planned(text, draft, tmp_path)
        draft.keep(source="", columns=[], fingerprint=preview.fingerprint, summary="{}", version="1.0")
    with closing(sqlite3.connect(tmp_path / "people.ledger.db")) as connection:
        kept = [row for (row,) in connection.execute("SELECT text FROM message ORDER BY number")]
    assert kept == [what.replace('""', '"') for what in texts]
    assert [example.text for example in preview.examples[:5]] == kept[:5]
    assert re.fullmatch("[0-9a-f]{64}", preview.fingerprint)
