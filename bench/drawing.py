"""Drawing: plots as SVG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import pygal  # type: ignore[import-untyped]  # it has no types
from pygal.style import Style  # type: ignore[import-untyped]

from bench.result import Boxes, Lines

#: Distinguishable by people who don't see all colours, too.
_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    colors=("#0b6fa4", "#d1580d", "#5b8c2a", "#8b5fa8"),
    guide_stroke_color="#d0d0d0",
    major_guide_stroke_color="#b0b0b0",
)


def draw(plot: Boxes | Lines, folder: Path) -> Path:
    """Given a plot and a folder, draw it there, and return the file."""
    chart = _boxes(plot) if isinstance(plot, Boxes) else _lines(plot)
    chart.add_xml_filter(_without_scripts)
    file = folder / f"{plot.name}.svg"
    file.write_text(chart.render(is_unicode=True) + "\n", encoding="utf-8")
    return file


def _boxes(plot: Boxes) -> Any:
    chart = pygal.Box(box_mode="tukey", y_title=plot.unit, **_common(plot))
    for name, numbers in plot.boxes.items():
        chart.add(name, numbers)
    return chart


def _lines(plot: Lines) -> Any:
    chart = pygal.Line(
        y_title=plot.unit,
        x_title=plot.along,
        x_labels=plot.steps,
        logarithmic=plot.logarithmic,
        show_legend=len(plot.lines) > 1,
        **({} if plot.logarithmic else {"range": (0, 1.1 * max(max(numbers) for numbers in plot.lines.values()))}),
        **_common(plot),
    )
    for name, numbers in plot.lines.items():
        chart.add(name, numbers)
    return chart


def _without_scripts(root: Element) -> Element:
    """Given a drawing, return it without the scripts that pygal puts in for its tooltips."""
    for parent in root.iter():
        for script in parent.findall("script"):
            parent.remove(script)
    return root


def _common(plot: Boxes | Lines) -> dict[str, Any]:
    return {
        "title": plot.title,
        "js": (),  # what it would fetch
        "style": _STYLE,
        "height": 420,
        "legend_at_bottom": True,
        "value_formatter": lambda number: f"{number:,.5g}",
    }
