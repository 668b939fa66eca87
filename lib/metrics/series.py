"""Series: the numbers of one target, packed into a row, and their names.

A target has about two hundred series, most of them buckets. prometheus_client takes 17 µs to write one of them, so a
thousand targets would take it three seconds a scrape. Here it writes each kind of line once, with marks for the
target's name and the number, and a scrape fills them in: the same bytes, more than ten times as fast. Lines that have
not changed since the last scrape are not even filled in again.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from lib.result import StepName

#: Upper bounds in seconds: a small push takes tenths, docker's own retries take 50, the longest deadline is an hour.
BUCKETS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 3600.0, float("inf"))

#: Stands for a target's name in a template. Names are printable, so they never contain it. It is ASCII: text with other
#: characters takes twice as long to fill in. The second mark stands for the time since when a target's counters count.
_NAME_MARK, _CREATED_MARK = "\x01", "\x02"

#: Stands for a number that is absent. No measured value is as small; and unlike NaN, it is equal to itself, so that
#: rows can be compared.
ABSENT = float("-inf")

#: How many templates are kept of a layout: those of a few formats.
_MOST_TEMPLATES = 100

#: Ends a whole answer in the OpenMetrics format.
_END = "# EOF"

_text = lru_cache(maxsize=1024)(floatToGoString)


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric, all of whose series are known as soon as a target is.

    Attributes:
        name: its name, without the suffixes of a counter or histogram.
        type: `counter`, `gauge` or `histogram`.
        help: what it says.
        labels: returns the values of its labels other than `target`, given the steps that a target's cycles can have.
        is_sometimes_absent: whether each of its series is absent until it is set. No counter or histogram is.
    """

    name: str
    type: str
    help: str
    labels: Callable[[tuple[StepName, ...]], Iterable[Mapping[str, str]]] = lambda _: [{}]
    is_sometimes_absent: bool = False

    def metric(self, samples: Iterable[Sample]) -> Metric:
        """Given samples, return them as prometheus_client's metric."""
        metric = Metric(self.name, self.help, self.type)
        metric.samples = list(samples)
        return metric


@dataclass(frozen=True, slots=True)
class Encoding:
    """A format, as prometheus_client's `choose_encoder()` agrees on it with a scraper.

    Attributes:
        encoder: writes all metrics of a collector.
        content_type: names the format.
    """

    encoder: Callable[[Collector], bytes]
    content_type: str

    @property
    def has_created(self) -> bool:
        """Whether it says since when a counter counts. In the older format these would be series of their own, stored
        for nothing.
        """
        return self.content_type.startswith("application/openmetrics-text")

    def lines(self, metric: Metric) -> list[str]:
        """Given a metric, return the lines in which it is written."""
        return self.encoder(_One(metric)).decode().splitlines()


class Layout:
    """The place of each number of a target in its row. Targets with the same steps share a layout.

    Attributes:
        width: how many numbers there are.
        blank: the numbers at the beginning.
    """

    def __init__(self, labels: Mapping[Family, Iterable[Mapping[str, str]]]) -> None:
        """Given the families, and for each the values of its labels other than `target`."""
        self.width = 0
        self.blank = array("d")
        self._series: dict[Family, list[tuple[str, Mapping[str, str]]]] = {}
        self._spans: dict[Family, slice] = {}
        self._places: dict[tuple[Family, tuple[str, ...]], int] = {}
        self._templates: dict[tuple[Family, str], str] = {}
        for family, choices in labels.items():
            self._add(family, choices)

    def place(self, family: Family, labels: tuple[str, ...]) -> int:
        """Given a family and the values of its labels, return the place of its number, or of its first bucket.

        Raise KeyError if there is none.
        """
        return self._places[family, labels]

    def samples(self, family: Family, row: Row) -> list[Sample]:
        """Given a family and a row, return the samples, including those that say since when a counter counts."""
        samples = []
        for (name, labels), number in zip(self._series[family], row.numbers[self._spans[family]], strict=True):
            if number != ABSENT:
                samples.append(Sample(name, {"target": row.target, **labels}, number))
            if family.type == "counter":
                samples.append(Sample(f"{family.name}_created", {"target": row.target, **labels}, row.created))
        return samples

    def lines(self, family: Family, row: Row, encoding: Encoding) -> str:
        """Given a family, a row and an encoding, return the lines."""
        template = self._template(family, encoding).replace(_NAME_MARK, _escaped(row.target).replace("%", "%%"))
        if encoding.has_created:
            template = template.replace(_CREATED_MARK, _text(row.created))
        numbers: Sequence[float] = row.numbers[self._spans[family]]
        if family.is_sometimes_absent and ABSENT in numbers:
            lines = zip(template.split("\n"), numbers, strict=False)
            template = "".join(f"{line}\n" for line, number in lines if number != ABSENT)
            numbers = [number for number in numbers if number != ABSENT]
        return template % tuple(map(_text, numbers))

    def _template(self, family: Family, encoding: Encoding) -> str:
        key = (family, encoding.content_type)
        if key not in self._templates:
            if len(self._templates) >= _MOST_TEMPLATES:  # a scraper can ask for any version of a format
                self._templates.clear()
            created = f"{family.name}_created"
            blank = Row(_NAME_MARK, self, created=0.0, numbers=array("d", bytes(8 * self.width)))
            samples = self.samples(family, blank)
            if not encoding.has_created:
                samples = [sample for sample in samples if sample.name != created]
            lines = (line for line in encoding.lines(family.metric(samples)) if not line.startswith("#"))
            self._templates[key] = "".join(
                line.removesuffix("0.0").replace("%", "%%")
                + (_CREATED_MARK if line.startswith(f"{created}{{") else "%s")
                + "\n"
                for line in lines
            )
        return self._templates[key]

    def _add(self, family: Family, choices: Iterable[Mapping[str, str]]) -> None:
        series = self._series[family] = []
        for labels in choices:
            self._places[family, tuple(labels.values())] = self.width + len(series)
            series.extend(_series(family, labels))
        self._spans[family] = slice(self.width, self.width + len(series))
        self.width += len(series)
        self.blank.extend([ABSENT if family.is_sometimes_absent else 0.0] * len(series))


@dataclass(slots=True)
class Row:
    """The numbers of one target.

    Attributes:
        target: its name.
        layout: the place of each number.
        created: since when its counters count, in seconds since 1970.
        numbers: the numbers themselves; at the beginning all 0, or absent.
    """

    target: str
    layout: Layout
    created: float = field(default_factory=time.time)
    numbers: array[float] = field(default_factory=lambda: array("d"))

    def __post_init__(self) -> None:
        self.numbers = self.numbers or self.layout.blank[:]

    def copy(self) -> Row:
        """Return a row with these numbers, which no longer changes."""
        return replace(self, numbers=self.numbers[:])

    def add(self, amount: float, family: Family, *labels: str) -> None:
        """Given an amount, add it to a counter."""
        self.numbers[self.layout.place(family, labels)] += amount

    def set(self, value: float, family: Family, *labels: str) -> None:
        """Given a value, set a gauge to it; `ABSENT` removes one that may be absent."""
        self.numbers[self.layout.place(family, labels)] = value

    def observe(self, seconds: float, family: Family, *labels: str) -> None:
        """Given seconds, count them in a histogram."""
        first = self.layout.place(family, labels)
        for place, bound in enumerate(BUCKETS, first):
            if seconds <= bound:
                self.numbers[place] += 1
        self.numbers[first + len(BUCKETS)] += 1
        self.numbers[first + len(BUCKETS) + 1] += seconds


@dataclass(frozen=True, slots=True)
class _Written:
    """A row as it was last written.

    Attributes:
        row: the row.
        content_type: in which format.
        texts: its lines, by family.
    """

    row: Row
    content_type: str
    texts: tuple[bytes, ...]


class RowCollector:
    """The rows of all targets as prometheus_client's metrics and, much faster, as text."""

    def __init__(self, families: Sequence[Family], rows: Callable[[], Sequence[Row]]) -> None:
        """Given the families, and what returns rows that no longer change."""
        self._families = families
        self._rows = rows
        # From one scrape to the next, few of a thousand targets have had a cycle.
        self._written: dict[str, _Written] = {}

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        rows = self._rows()
        for family in self._families:
            yield family.metric(sample for row in rows for sample in row.layout.samples(family, row))

    def pieces(self, encoding: Encoding) -> Iterator[bytes]:
        """Given an encoding, return in pieces what its encoder would write for these metrics, without the end mark."""
        written = self._write(self._rows(), encoding)
        for place, family in enumerate(self._families):
            head = (line for line in encoding.lines(family.metric(())) if line != _END)
            yield "".join(f"{line}\n" for line in head).encode()
            for one in written:
                yield one.texts[place]

    def _write(self, rows: Sequence[Row], encoding: Encoding) -> list[_Written]:
        """Given rows and an encoding, return their texts: those of the last time, if they are the same."""
        before, now = self._written, {}
        for row in rows:
            last = before.get(row.target)
            if last is None or last.content_type != encoding.content_type or last.row != row:
                texts = (row.layout.lines(family, row, encoding) for family in self._families)
                last = _Written(row, encoding.content_type, tuple(text.encode() for text in texts))
            now[row.target] = last
        self._written = now
        return list(now.values())


@dataclass(frozen=True, slots=True)
class _One:
    """A collector of one metric."""

    metric: Metric

    def collect(self) -> Iterable[Metric]:
        return (self.metric,)


def _series(family: Family, labels: Mapping[str, str]) -> list[tuple[str, Mapping[str, str]]]:
    if family.type == "counter":
        return [(f"{family.name}_total", labels)]
    if family.type == "histogram":
        buckets = [(f"{family.name}_bucket", {**labels, "le": _text(bound)}) for bound in BUCKETS]
        return [*buckets, (f"{family.name}_count", labels), (f"{family.name}_sum", labels)]
    return [(family.name, labels)]


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
