"""Draws charts as SVG by matplotlib, for a page: text stays text, colours are the page's, light or dark.

Only this module imports matplotlib, on the driver. pyplot, which would look for a screen, is not imported.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

_SIZE: Final = (11.5, 3.0)
"""In inches of 72 units; the page scales the chart."""
_VARIABLES: Final = ("ink", "faint", "line", "paper", *[f"c{number}" for number in range(8)])
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "clickstream-events",
    "font.family": "DejaVu Sans",  # it ships with matplotlib, which measures texts by it; the page shows its own font
    "font.size": 10.5,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#010202",
    "axes.axisbelow": True,
    "ytick.major.size": 0,
    "path.simplify": False,
}


_FAINT: Final[tuple[Any, ...]] = ("axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color")


def colour(name: str) -> str:
    """Give a placeholder for one of the page's colours, which is replaced by the page's variable.

    Examples:
        >>> colour("ink")
        '#010200'
    """
    return f"#0102{_VARIABLES.index(name):02x}"


@dataclass(slots=True)
class Drawing:
    """A chart that is being drawn.

    Attributes:
        axes: to draw on.
        svg: the finished chart.
    """

    axes: Axes
    svg: str = ""


@contextmanager
def drawing(name: str, title: str, description: str) -> Iterator[Drawing]:
    """Draw a chart.

    Args:
        name: of the chart, unique in the page.
        title: for readers who cannot see the chart.
        description: what it shows, for the same readers.
    """
    with mpl.rc_context():
        mpl.rcdefaults()  # a matplotlibrc must not matter
        mpl.rcParams.update(_STYLE)
        mpl.rcParams.update(dict.fromkeys(_FAINT, colour("faint")))
        figure = Figure(figsize=_SIZE, layout="constrained")
        drawn = Drawing(figure.add_subplot())
        yield drawn
        drawn.svg = _add_description(_shrink_svg(_write_svg(figure), name), name, title, description)


def time_axis(axes: Axes, since: datetime, until: datetime) -> None:
    """Let the x axis show times or days in UTC, with the day or days below."""
    locator = AutoDateLocator(tz=UTC, minticks=3, maxticks=9)  # type: ignore[no-untyped-call]
    formats = ["%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M", "%H:%M:%S"]
    zeros = ["", "%Y", "%Y-%m", "%m-%d", "%H:%M", "%H:%M"]
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]
        locator, tz=UTC, formats=formats, zero_formats=zeros, show_offset=False
    )
    axes.xaxis.set_major_formatter(formatter)
    axes.set_xlim(since, until)  # type: ignore[arg-type] # dates are units that it knows
    axes.set_xlabel(days(since, until))


def days(since: datetime, until: datetime) -> str:
    """Write the day, or the days, of a time span with an exclusive end.

    Examples:
        >>> days(datetime(2024, 1, 2), datetime(2024, 1, 3)), days(datetime(2024, 1, 2), datetime(2024, 1, 3, 1))
        ('2024-01-02, UTC', '2024-01-02 to 2024-01-03, UTC')
    """
    first, last = since.date(), (until - timedelta(microseconds=1)).date()
    return f"{first}, UTC" if first == last else f"{first} to {last}, UTC"


def count_axis(axes: Axes, top: float, unit: str) -> None:
    """Let the y axis show numbers from 0 to at least 1."""
    axes.set_ylim(0, max(top * 1.08, 1.0))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.set_ylabel(unit)


def short(number: float) -> str:
    """Write a number for an axis.

    Examples:
        >>> short(0), short(2500), short(250_000), short(1_500_000), short(2e9)
        ('0', '2,500', '250 k', '1.5 M', '2,000 M')
    """
    for factor, sign, least in ((1e6, " M", 1e6), (1e3, " k", 1e5)):
        if abs(number) >= least:
            return f"{number / factor:,.4g}{sign}" if number / factor < least else f"{number / factor:,.0f}{sign}"
    return f"{number:,.4g}" if abs(number) < 1 else f"{number:,.0f}"


def _write_svg(figure: Figure) -> str:
    nothing: Any = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    return stream.getvalue()


def _shrink_svg(svg: str, name: str) -> str:
    """Shrink the SVG: remove the prologue and unused ids, and round to a tenth of a unit."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg)
    used = set(re.findall(r'(?:url\(|href=")#([\w.-]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: f' id="{name}-{found[1]}"' if found[1] in used else "", svg)
    svg = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"(\d+\.\d)\d+", r"\1", svg)
    svg = re.sub(r"#0102([0-9a-f]{2})", lambda found: f"var(--{_VARIABLES[int(found[1], 16)]})", svg)
    return re.sub(r"\s*\n\s*", "\n", svg)


def _add_description(svg: str, name: str, title: str, description: str) -> str:
    """Add a title and a description for readers who cannot see the chart. The page chooses the size."""
    box = re.search(r'viewBox="[^"]*"', svg)
    assert box is not None
    head = f'<svg {box[0]} role="img" aria-labelledby="{name}-title {name}-desc">'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return head + words + svg[svg.index(">") + 1 :]
