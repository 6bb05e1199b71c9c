"""The files beside the input: rejects can be put right and sent, and a bad suppression list is no list."""

import csv
import stat
from pathlib import Path

import pytest

from bulksms.errors import InputError, UsageError
from bulksms.input import BadRow, InputOptions, Row, open_input, read_suppressed, write_rejects
from tests.platforms import with_posix_files

GUID = "7a4267ce-d354-44e7-8bd6-c681f1284a41"
OTHER = "0f8fad5b-d9cb-469f-a165-70867728950e"
DN = "CN=Lee\\, Ann,OU=Ops,DC=example,DC=com"


def rejected(source: Path, target: Path) -> list[list[str]]:
    with (
        open_input(source, InputOptions()) as opened,
        write_rejects(target, opened.columns, delimiter=opened.delimiter) as rejects,
    ):
        bad = [row for row in opened if isinstance(row, BadRow)]
        for row in bad:
            rejects.write(row)
        assert rejects.written == len(bad)
    with target.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file, delimiter=opened.delimiter or ",", strict=True))


def test_rejects_are_in_the_columns_of_the_input(tmp_path: Path) -> None:
    source, target = tmp_path / "people.csv", tmp_path / "rejects.csv"
    source.write_text(
        f'Name;guid;text\nAnn;{GUID};hello\nBob;bob;"two\nlines; ""x"""\nCy;;\nDee;{GUID}\nEd;{GUID};a;b\n',
        encoding="utf-8",
    )
    assert rejected(source, target) == [
        ["Name", "guid", "text", "row", "code", "problem"],
        ["Bob", "bob", 'two\nlines; "x"', "3", "E101", "guid: looks like a user name; needs a DN, GUID or SID"],
        ["Cy", "", "", "4", "E102 | E111", "guid: there is no recipient | text: there is no text"],
        ["Dee", GUID, "", "5", "E103", "the row has 2 cells, the header 3"],
        ["Ed", GUID, "a;b", "6", "E103", "the row has 4 cells, the header 3"],
    ]


def test_rejects_that_are_put_right_can_be_sent_and_rejected_again(tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("people.csv", "rejects.csv", "again.csv"))
    first.write_text("guid,text\nbob,hello\ncy,hello\n", encoding="utf-8")
    rejected(first, second)
    second.write_bytes(second.read_bytes().replace(b"bob", GUID.encode()))
    with open_input(second, InputOptions()) as opened:
        rows = list(opened)
    assert [isinstance(row, Row) for row in rows] == [True, False]
    assert rejected(second, third) == [
        ["guid", "text", "row", "code", "problem"],
        ["cy", "hello", "3", "E101", "guid: looks like a user name; needs a DN, GUID or SID"],
    ]


def test_rejects_of_json_lines_are_in_the_columns_of_the_first(tmp_path: Path) -> None:
    source, target = tmp_path / "people.jsonl", tmp_path / "rejects.csv"
    source.write_text(
        f'{{"guid": "{GUID}", "text": "x"}}\n{{"text": "y", "sid": "S-1"}}\n'
        'nonsense\n{"guid": "a", "text": "\\ud800"}\n'
    )
    assert [row[:4] for row in rejected(source, target)] == [
        ["guid", "text", "row", "code"],
        ["", "y", "2", "E101"],
        ["nonsense", "", "3", "E108"],
        ['{"guid": "a", "text": "\\ud800"}', "", "4", "E106"],
    ]


@with_posix_files
def test_nobody_else_may_read_the_rejects(tmp_path: Path) -> None:
    target = tmp_path / "rejects.csv"
    target.touch(mode=0o644)
    target.chmod(0o644)
    with write_rejects(target, ("guid", "text")):
        assert stat.S_IMODE(target.stat().st_mode) == 0o600


@with_posix_files
def test_rejects_may_go_to_a_device() -> None:
    mode = Path("/dev/null").stat().st_mode
    with write_rejects(Path("/dev/null"), ("guid", "text")):
        pass
    assert Path("/dev/null").stat().st_mode == mode


def test_rejects_that_cannot_be_written_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_rejects(tmp_path / "nowhere" / "rejects.csv", ("guid",))


def test_the_input_is_never_taken_for_its_rejects(tmp_path: Path) -> None:
    source = tmp_path / "people.csv"
    source.write_text("guid,text\nbob,hello\n")
    (tmp_path / "same.csv").symlink_to(source)
    for path in (source, tmp_path / "same.csv"):
        with pytest.raises(UsageError, match="is the input itself"):
            write_rejects(path, ("guid", "text"), source=source)
    assert source.read_text() == "guid,text\nbob,hello\n"
    with write_rejects(tmp_path / "rejects.csv", ("guid", "text"), source=source):
        pass


KEYS = [f"guid:{GUID}", "dn:cn=lee\\, ann,ou=ops,dc=example,dc=com"]


@pytest.mark.parametrize(
    "content",
    [
        f"{GUID}\n{DN}\n",
        f"\n{GUID}\n\n  {DN}  \n\n",
        f'{GUID}\n"{DN}"\n',
        f'"{GUID}"\r\n"{DN}"\r\n',
        f"guid\n{GUID}\n{DN}\n",
        f'"DN"\n{GUID}\n"{DN}"\n',
        f'name,recipient\nAnn,{GUID}\nBob,"{DN}"\n',
        f"sid;Directory Object\n;{GUID}\n;{DN}\n",
        f"\ufeff{GUID}\n{DN}",
    ],
)
def test_a_list_of_people_not_to_be_sent_to_is_read_as_it_comes(tmp_path: Path, content: str) -> None:
    path = tmp_path / "leavers.txt"
    path.write_text(content, encoding="utf-8", newline="")
    assert list(read_suppressed(path)) == KEYS


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("name,site\nAnn,x\n", "neither an identifier nor a header"),
        ("alee\nbray\n", "neither an identifier nor a header"),
        (f"{GUID}\nalee\n{OTHER}\nbray\n", "row 2 'alee': .*row 4 'bray'"),
        (f"guid,x\n{GUID},1\nalee,2\n,3\n", "row 3 'alee': .*row 4 '': there is no recipient"),
        (f'guid,x\n{GUID},"a\n', "row 2"),
        (f"{GUID}\n" + "alee\n" * 30, "row 11 .* and 20 more"),
    ],
)
def test_a_list_with_a_line_that_is_nobody_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "leavers.txt"
    path.write_text(content, encoding="utf-8", newline="")
    with pytest.raises(InputError, match=sentence):
        list(read_suppressed(path))


def test_a_list_that_is_not_there_is_reported_in_words(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file"):
        list(read_suppressed(tmp_path / "leavers.txt"))
