"""Write the addresses of the repository into pyproject.toml: `python release/project_urls.py https://host/owner/name`.

The release workflow calls it before it builds, so that a fork or a move needs no edit.
"""

import sys
from pathlib import Path

HEADING = "[project.urls]\n"


def with_urls(text: str, repository: str) -> str:
    """The text of pyproject.toml with the addresses under `[project.urls]`."""
    base = repository.rstrip("/")
    addresses = {
        "Source": base,
        "Changelog": f"{base}/blob/main/CHANGELOG.md",
        "Documentation": f"{base}/blob/main/README.md",
        "Issues": f"{base}/issues",
    }
    lines = "".join(f'"{name}" = "{address}"\n' for name, address in addresses.items())
    before, heading, after = text.partition(HEADING)
    if not heading:
        raise SystemExit("pyproject.toml has no [project.urls].")
    return before + heading + lines + after


if __name__ == "__main__":
    path = Path(__file__).parents[1] / "pyproject.toml"
    path.write_text(with_urls(path.read_text(encoding="utf-8"), sys.argv[1]), encoding="utf-8")
