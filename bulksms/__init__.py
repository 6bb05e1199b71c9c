"""bulksms: bulk SMS through the Adaxes REST API, with a ledger that tells the truth after any crash.

The public names are in `__init__.pyi`, and the command line is built on them. Read messages (`open_input`,
`InMemoryRows`), `plan` them into a ledger or only `preview` them, `open_run` on it, and look at the result
(`OpenRun.outcomes`, `status`, `open_ledger`). A name is imported when it is first used, so that importing the package
costs nothing.
"""

__version__ = "0.1.0"
_homes: dict[str, str] = {}


def _public_names() -> dict[str, str]:
    """Each public name and its module, as the stub for type checkers lists them."""
    if not _homes:
        import ast  # noqa: PLC0415 - the command line starts without it
        from pathlib import Path  # noqa: PLC0415 - as above

        stub = ast.parse(Path(__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
        imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
        _homes.update((alias.name, str(node.module)) for node in imports for alias in node.names)
    return _homes


def __getattr__(name: str) -> object:
    if name.startswith("__") and name != "__all__":  # what the import system looks for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "__all__":
        return sorted(_public_names())
    if name not in _public_names():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as above

    value = getattr(import_module(_public_names()[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_public_names()})
