"""Results: what was measured, in files: JSON for machines, a chart for people."""

import json
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.chart import chart
from benchmarks.figure import Figures
from benchmarks.targets import TARGET, judged

FOLDER = Path(__file__).parent / "results"


def write_results(folder: Path, figures: Figures, about: Mapping[str, object]) -> list[Path]:
    """Both files, named for this moment; `about` is what else there is to say."""
    folder.mkdir(parents=True, exist_ok=True)
    name = time.strftime("%Y-%m-%dT%H-%M-%SZ", time.gmtime())
    content = {
        **about,
        "figures": [figure.as_dict() for figure in figures],
        "targets": [dict(zip(TARGET, line, strict=True)) for line in judged(figures)],
    }
    written = folder / f"{name}.json"
    written.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    drawing = chart(figures)
    if drawing is None:
        return [written]
    drawn = written.with_suffix(".svg")
    drawn.write_text(drawing, encoding="utf-8")
    return [written, drawn]
