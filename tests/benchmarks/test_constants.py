"""The table of constants: every one that it varies exists, and a changed one is changed also where it is a default."""

import types

import pytest

from benchmarks.constants import (
    COLUMNS,
    SERVERS,
    ChangedSource,
    Result,
    half_and_double,
    module_of,
    present,
    row,
    source_of,
)
from benchmarks.pacing import KINDS


def test_every_constant_and_every_kind_of_server_exists() -> None:
    for name, kinds in SERVERS.items():
        less, more = half_and_double(name, present(name))
        assert present(name) not in (less, more), name
        assert set(kinds) <= set(KINDS), name


@pytest.mark.parametrize(
    ("name", "value", "tried"),
    [
        ("circuit_breaker.WINDOW", 20, (10, 40)),
        ("circuit_breaker.HALF_OPEN_PROBES", 1, (1, 2)),
        ("circuit_breaker.FAILURE_RATE", 0.8, (0.4, 1.0)),
        ("rate_limiter.CUT", 0.9, (0.95, 0.8)),
        ("concurrency_limit.STEP_UP", 1.4, (1.2, 1.8)),
    ],
)
def test_a_factor_varies_in_its_distance_from_one_and_a_share_is_one_at_most(
    name: str, value: float, tried: tuple[float, float]
) -> None:
    assert half_and_double(name, value) == tried


def test_a_changed_constant_is_changed_where_it_is_a_default() -> None:
    module, constant = module_of("concurrency_limit.REST")
    loaded = types.ModuleType(module)
    loader = ChangedSource("changed", str(source_of(module)), constant, 77)
    namespace = vars(loaded) | {"__name__": module}
    exec(loader.get_code("changed"), namespace)  # noqa: S102 - our own source
    assert namespace["ConcurrencyLimit"](8).rest_up == 77


def test_a_cell_has_three_figures_or_the_one_that_they_share() -> None:
    one = Result(0.95, 0.9, 0.0, 8.04, None, 0.0, 0)
    printed = row("a.B", (1, 2, 4), "outage", (one, one._replace(share=0.96), one))
    cells = [cell.strip() for cell in printed.strip("|").split("|")]
    assert cells == ["`a.B`", "1, 2, 4", "outage", "0.950, 0.960, 0.950", "0.900", "", "8.0", "", "", ""]
    assert len(cells) == len(COLUMNS)
