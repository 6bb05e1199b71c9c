"""`python -m docs` rewrites what is generated from the code; `python -m docs --check` fails if it has drifted.

A block of a page is between `<!-- generated: NAME -->` and `<!-- end -->`; its content is the result of the function
of that name in `docs.blocks`. Everything outside the blocks is written by people and left alone. `api.txt` is the
snapshot of the public names of the library, whose changes a reviewer sees as changes of that file; the JSON Schemas are
files of their own, too.
"""

import argparse
import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from docs.api import snapshot
from docs.blocks import BLOCKS, schemas

ROOT = Path(__file__).parent.parent
SNAPSHOT = ROOT / "docs" / "api.txt"
BLOCK = re.compile(
    r"(<!-- generated: (?P<name>[a-z ]+?)(?: (?P<argument>[\w.-]+\.\w+))? -->\n).*?(<!-- end -->)", re.DOTALL
)


def pages() -> list[Path]:
    """The README and every page below `docs/`."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def regenerate(text: str) -> str:
    """The text of a page with every generated block made anew. Raises KeyError if a block is not known."""

    def made(found: re.Match[str]) -> str:
        arguments = (found["argument"],) if found["argument"] else ()
        return f"{found[1]}{BLOCKS[found['name']](*arguments).strip()}\n{found[4]}"

    return BLOCK.sub(made, text)


def generated() -> Iterator[tuple[Path, str, str]]:
    """Each file with generated text: the file, its text, and what the text should be."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        yield page, text, regenerate(text)
    for file, fresh in {SNAPSHOT: snapshot(), **schemas()}.items():
        yield file, file.read_text(encoding="utf-8") if file.exists() else "", fresh


def drifted() -> Iterator[tuple[Path, str, str]]:
    """Each file whose generated text differs from the code."""
    return ((path, text, fresh) for path, text, fresh in generated() if fresh != text)


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing, and fail if a page has drifted")
    check = parser.parse_args().check
    found = list(drifted())
    for path, text, fresh in found:
        name = str(path.relative_to(ROOT))
        if check:
            sys.stdout.writelines(difflib.unified_diff(text.splitlines(True), fresh.splitlines(True), name, name, n=1))
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(fresh, encoding="utf-8")
            print(f"{name} rewritten")  # noqa: T201 - the result of the command
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main())
