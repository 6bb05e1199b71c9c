"""Tables and chart: what people see of the figures."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

from benchmarks.chart import Axis, chart
from benchmarks.figure import Figure, Figures, Sample
from benchmarks.results import write_results
from benchmarks.rivals import COST, HEADROOM, SECTION, SERVER_BUSY, SPEED
from benchmarks.tables import all_tables, table

SVG = "{http://www.w3.org/2000/svg}"


def some_figures() -> Figures:
    figures = Figures()
    for latency in (0.0, 20.0):
        for name, workers, speed in (("engine", 1, 50.0), ("engine", 64, 2_000.0), ("one <by> one", 1, 40.0)):
            conditions = {"server": "nginx", "latency_ms": latency, "workers": workers, "messages": 100}
            figures.append(Figure(SECTION, name, SPEED, Sample((speed, speed / 2, speed * 2)), conditions))
            figures.append(Figure(SECTION, name, COST, Sample((1e6 / speed,)), conditions))
    figures.append(Figure(SECTION, HEADROOM, "requests/s", Sample((20_000.0,)), {"server": "nginx", "latency_ms": 0.0}))
    figures.append(Figure(SECTION, SERVER_BUSY, "of a core", Sample((0.25,)), figures[0].conditions))
    figures.append(Figure("startup", "bulksms --help", "s", Sample((0.1,))))
    return figures


def test_a_table_is_markdown_and_its_columns_stand_under_each_other() -> None:
    lines = table(("what", "how much"), [("first", "1"), ("the second", "20")]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].replace("-", "") == "||:|"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["first", "the second"]


def test_rivals_stand_in_a_row_each_with_a_column_for_each_number_of_workers() -> None:
    told = all_tables(some_figures())
    assert "| messages/s, the server takes 20 ms" in told
    assert "50.0 (25.0 to 100)" in told
    lines = [line for line in told.splitlines() if "40.0 (20.0 to 80.0)" in line]
    assert [line.split("|")[1].strip() for line in lines] == ["one <by> one"] * 2
    assert [line.split("|")[3].strip() for line in lines] == [""] * 2


def test_the_server_s_headroom_is_told_in_times_of_the_fastest_contender() -> None:
    said = all_tables(some_figures()).splitlines()[0]
    assert said.startswith("the server was nginx; it answers at least 20,000 requests/s, 10.0 times")
    assert said.endswith("nobody kept its core busier than 25%")


def test_what_was_not_measured_takes_no_room() -> None:
    assert "bulksms --help" in all_tables(some_figures())
    assert "not measured" not in all_tables(some_figures())
    assert all_tables(Figures()) == ""


def test_the_chart_shows_every_figure_at_its_place_and_says_what_it_is() -> None:
    drawn = chart(some_figures())
    assert drawn is not None
    root = ET.fromstring(drawn)  # noqa: S314 - drawn here
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"Messages a second", "The server takes 0 ms", "The server takes 20 ms", "one <by> one"} <= set(words)
    points = [point for point in root.iter(f"{SVG}circle") if point.find(f"{SVG}title") is not None]
    assert len(points) == 6
    axis = Axis([20.0, 4_000.0])
    assert [float(point.attrib["cx"]) for point in points[:2]] == [round(axis.at(50), 1), round(axis.at(2_000), 1)]
    assert float(root.attrib["width"]) >= max(float(point.attrib["cx"]) for point in points)
    assert float(root.attrib["height"]) >= max(float(point.attrib["cy"]) for point in points)


def test_the_chart_has_a_colour_for_the_dark_for_each_in_the_light() -> None:
    drawn = chart(some_figures())
    assert drawn is not None
    light, _, dark = drawn.partition("@media (prefers-color-scheme: dark)")
    for name in ("text {", ".quiet", ".paper", ".grid", ".row", ".of0", ".of1", ".of2", ".of3"):
        assert name in light
        assert name in dark


def test_an_axis_spans_whole_powers_of_ten() -> None:
    assert Axis([7.0, 1_200.0]).marks == [1.0, 10.0, 100.0, 1_000.0, 10_000.0]
    assert Axis([100.0]).marks == [100.0, 1_000.0]


def test_results_are_a_file_for_machines_and_one_for_people(tmp_path: Path) -> None:
    written, drawn = write_results(tmp_path / "results", some_figures(), {"command": "python -m benchmarks"})
    content = json.loads(written.read_text())
    assert content["command"] == "python -m benchmarks"
    assert content["figures"][0]["rounds"] == [50.0, 25.0, 100.0]
    assert content["figures"][0]["median"] == 50.0
    assert {target["verdict"] for target in content["targets"]} == {"reached", "not measured"}
    assert drawn.suffix == ".svg"


def test_without_contenders_there_is_nothing_to_draw(tmp_path: Path) -> None:
    assert len(write_results(tmp_path, Figures(some_figures()[-1:]), {})) == 1
