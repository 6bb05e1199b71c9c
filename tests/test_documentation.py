"""The documentation agrees with the code: generated blocks are up to date, links lead somewhere, commands parse."""

import re
import shlex
from pathlib import Path

import click
import pytest

from bulksms.cli.app import COMMANDS, commands, run
from bulksms.cli.options.mailing import TEMPLATE
from docs.__main__ import BLOCK, ROOT, drifted, pages, regenerate
from docs.blocks import BLOCKS, EVENTS, logged

PAGES = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in pages()}
README = PAGES["README.md"]


def examples() -> set[str]:
    """Each command line in a block of code, of whichever shell."""
    blocks = [
        block for text in PAGES.values() for block in re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]
    lines = [re.sub(r"^(\$|PS>) ", "", line) for block in blocks for line in block.splitlines()]
    return {line.partition(" #")[0].strip() for line in lines if re.match("bulksms [a-z]", line)}


def test_generated_blocks_are_up_to_date() -> None:
    """`python -m docs` rewrites them."""
    assert [str(page.relative_to(ROOT)) for page, *_ in drifted()] == []


def test_a_drifted_block_is_rewritten_and_nothing_else_is() -> None:
    assert regenerate("a\n<!-- generated: exit codes -->\nold\n<!-- end -->\nb\n") == (
        f"a\n<!-- generated: exit codes -->\n{BLOCKS['exit codes']()}\n<!-- end -->\nb\n"
    )


def test_every_kind_of_block_is_used() -> None:
    assert {found["name"] for text in PAGES.values() for found in BLOCK.finditer(text)} == set(BLOCKS)


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 220


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_relative_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (ROOT / page).parent / path if path else ROOT / page
        assert linked.is_file(), target
        if anchor:
            assert anchor in anchors(linked.read_text(encoding="utf-8")), target


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as forges and mkdocs make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for page in set(PAGES) - {"README.md"}:
        assert f" {page.removeprefix('docs/')}\n" in site, page


def test_every_page_is_listed_in_the_index() -> None:
    listed = set(re.findall(r"\]\(([^)#]+\.md)\)", PAGES["docs/index.md"]))
    assert {f"docs/{page}" for page in listed} | {"README.md", "docs/index.md"} == set(PAGES)


@pytest.mark.parametrize("example", sorted(examples()))
def test_a_documented_command_parses(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vpn-down.toml").write_text(TEMPLATE.format(name="vpn-down.toml"), encoding="utf-8")
    _, name, *arguments = shlex.split(example)
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    command.make_context(name, arguments, resilient_parsing=False)


def test_documented_options_exist() -> None:
    known = {"--help", "--version"}
    for name in COMMANDS:
        command = commands.get_command(click.Context(commands), name)
        assert command is not None
        known.update(flag for parameter in command.params for flag in parameter.opts)
    for page, text in PAGES.items():
        for option in re.findall(r"(?<!python -m docs )(?<![\w-])`(--[a-z0-9-]+)", text):
            assert option in known, (page, option)


def test_the_documented_settings_file_is_accepted(tmp_path: Path) -> None:
    file = tmp_path / "bulksms.toml"
    file.write_text(PAGES["docs/reference/configuration.md"].partition("```toml\n")[2].partition("```")[0])
    assert run(["config", "--config", str(file)]) == 0


def test_every_room_is_documented_and_every_documented_path_exists() -> None:
    design = PAGES["docs/design.md"]
    rooms = re.findall(r"^\| `(\w+/)` \|", design, re.MULTILINE)
    assert set(rooms) == {f"{path.parent.name}/" for path in (ROOT / "bulksms").glob("*/__init__.py")}
    for path in re.findall(r"`((?:tests|bulksms)/[\w/]+\.py)`", design):
        assert (ROOT / path).exists(), path
    for path in re.findall(rf"`((?:{'|'.join(rooms)})[\w/]*(?:\.py)?)`", design):
        assert (ROOT / "bulksms" / path).exists(), path


def test_every_log_event_is_explained() -> None:
    assert set(EVENTS) == set(logged())
