"""The public names of the library, read from its source: signatures for the snapshot, docstrings for the page.

The source is the same for every version of Python, while `inspect` prints annotations differently.
"""

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import bulksms

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
NAMES: list[str] = sorted(bulksms.__all__)


def snapshot() -> str:
    """Every public name with its signature, and the public members of the classes."""
    blocks = ["\n".join(_lines(definition_of(name))) for name in NAMES]
    return "\n\n".join(blocks) + "\n"


def reference() -> str:
    """A section for each public name: its signature and docstring, and those of the members of a class."""
    return "\n\n".join("\n\n".join(_section(name)) for name in NAMES)


def definition_of(name: str) -> Definition:
    """The definition of a public name. Raises LookupError if it is neither a class nor a function."""
    value = getattr(bulksms, name)
    for node in _tree(value.__module__).body:
        if isinstance(node, Definition) and node.name == value.__name__:
            return node
    raise LookupError(name)


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(Path(import_module(module).__file__ or "").read_text(encoding="utf-8"))


def _section(name: str) -> Iterator[str]:
    definition = definition_of(name)
    yield f"### {name}\n\n```python\n{_head(definition)}\n```"
    if text := ast.get_docstring(definition):
        yield inspect.cleandoc(text).replace("Raises:\n", "Raises:\n\n").replace("\n    ", "\n- ")
    if isinstance(definition, ast.ClassDef):
        members = [
            f"- `{line}`{': ' + words if (words := _summary(member, definition)) else ''}"
            for member, line in _members(definition)
        ]
        if members:
            yield "\n".join(members)


def _summary(member: ast.stmt, definition: ast.ClassDef) -> str:
    """The first sentence of a member's docstring, or the string below an attribute."""
    if isinstance(member, Definition):
        text = ast.get_docstring(member) or ""
    else:
        after = definition.body[definition.body.index(member) + 1 :][:1]
        below = after[0].value if after and isinstance(after[0], ast.Expr) else None
        text = below.value if isinstance(below, ast.Constant) and isinstance(below.value, str) else ""
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def _lines(definition: Definition) -> Iterator[str]:
    yield _head(definition)
    if isinstance(definition, ast.ClassDef):
        yield from (f"    {line}" for _, line in _members(definition))


def _members(definition: ast.ClassDef) -> Iterator[tuple[ast.stmt, str]]:
    """The public members of a class in their order: fields, constants, properties and methods."""
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if not node.target.id.startswith("_"):
                made = isinstance(node.value, ast.Call)  # `field(...)` is how it is made, not its value
                yield node, ast.unparse(ast.AnnAssign(node.target, node.annotation, None if made else node.value, 1))
        elif isinstance(node, ast.Assign):
            yield node, ast.unparse(node)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
            if "property" in decorators:
                yield node, f"{node.name}: {ast.unparse(node.returns) if node.returns else ''}"
            elif not node.name.startswith("_") or node.name in {"__init__", "__iter__", "__aiter__"}:
                yield node, _head(node)


def _head(definition: Definition) -> str:
    if isinstance(definition, ast.ClassDef):
        bases = ", ".join(map(ast.unparse, definition.bases))
        return f"class {definition.name}({bases})" if bases else f"class {definition.name}"
    decorators = {ast.unparse(decorator) for decorator in definition.decorator_list}
    returns = f" -> {ast.unparse(definition.returns)}" if definition.returns else ""
    kind = "async def" if isinstance(definition, ast.AsyncFunctionDef) else "def"
    if "asynccontextmanager" in decorators:
        kind = "async with"
    elif "contextmanager" in decorators:
        kind = "with"
    return f"{kind} {definition.name}({ast.unparse(definition.args)}){returns}"
