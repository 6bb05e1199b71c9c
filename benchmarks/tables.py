"""Tables: what was measured, for people: Markdown that can be read as it stands.

Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from benchmarks.cost import SECTION as COSTS
from benchmarks.figure import Figure, Figures, number
from benchmarks.layers import SECTION as LAYERS
from benchmarks.rivals import COST, HEADROOM, SERVER_BUSY, SPEED
from benchmarks.rivals import SECTION as RIVALS
from benchmarks.targets import NOT_MEASURED, TARGET, judged


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with aligned columns, the first to the left and the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]

    def aligned(cells: Sequence[str]) -> str:
        first, *others = (
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([aligned(lines[0]), rule, *map(aligned, lines[1:])])


def all_tables(figures: Figures) -> str:
    """Everything that was measured, section by section, and at the end those targets that were measured."""
    parts = [*_rivals([figure for figure in figures if figure.section == RIVALS])]
    for section in dict.fromkeys(figure.section for figure in figures if figure.section != RIVALS):
        of_section = [figure for figure in figures if figure.section == section]
        if section == COSTS:
            parts.append(across(section, of_section, _and_unit, _condition("messages")))
        elif section == LAYERS:
            title = f"{section}, {of_section[0].unit}"
            parts.append(across(title, of_section, _name, lambda figure: str(figure.conditions["of"])))
        else:
            parts.append(across(section, of_section, what, lambda figure: figure.unit))
    measured = [line for line in judged(figures) if line[-1] != NOT_MEASURED]
    if measured:
        parts.append(table(("figures to reach", *TARGET[1:]), measured))
    return "\n\n".join(parts)


def what(figure: Figure) -> str:
    """What was measured, and under which conditions."""
    conditions = (
        f"{value:,} {name}" if isinstance(value, int) else f"{name} {value:g}" if isinstance(value, float) else value
        for name, value in figure.conditions.items()
    )
    return ", ".join([figure.name, *conditions])


def across(title: str, figures: Sequence[Figure], row: Callable[[Figure], str], column: Callable[[Figure], str]) -> str:
    """A table with the figures in the rows and columns that they say; both in the order in which they come."""
    cells = {(row(figure), column(figure)): str(figure.sample) for figure in figures}
    rows, columns = (list(dict.fromkeys(place)) for place in zip(*cells, strict=True))
    return table([title, *columns], [[name, *(cells.get((name, place), "") for place in columns)] for name in rows])


def _name(figure: Figure) -> str:
    return figure.name


def _and_unit(figure: Figure) -> str:
    return f"{figure.name}, {figure.unit}"


def _condition(name: str) -> Callable[[Figure], str]:
    return lambda figure: f"{name} {figure.conditions[name]:,}"


def _rivals(figures: Sequence[Figure]) -> Iterator[str]:
    """The server, and contenders by workers, a table for each latency."""
    if not figures:
        return
    yield _server(figures)
    for unit in (SPEED, COST):
        for latency in dict.fromkeys(figure.conditions["latency_ms"] for figure in figures):
            them = [it for it in figures if it.unit == unit and it.conditions["latency_ms"] == latency]
            if them:
                title = f"{unit}, the server takes {latency:g} ms"
                yield across(title, them, _name, _condition("workers"))


def _server(figures: Sequence[Figure]) -> str:
    """Which servers it was, and whether they were in anybody's way."""
    words = [f"the server was {' and '.join(dict.fromkeys(figure.conditions['server'] for figure in figures))}"]
    headroom = [figure.sample.median for figure in figures if figure.name == HEADROOM]
    speeds = [figure.sample.median for figure in figures if figure.unit == SPEED]
    shares = [figure.sample.median for figure in figures if figure.name == SERVER_BUSY]
    if headroom and speeds:
        times = number(headroom[0] / max(speeds))
        words.append(f"it answers at least {number(headroom[0])} requests/s, {times} times what the fastest sent")
    if shares:
        words.append(f"nobody kept its core busier than {max(shares):.0%}")
    return "; ".join(words)
