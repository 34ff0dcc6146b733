"""Reports as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from rich.console import Group
from rich.table import Table
from rich.text import Text

from rcframe.evaluation.radii import Radii
from rcframe.options import to_text
from rcframe.session.report import Measurement, ModelReport, Report
from rcframe.session.seeds import SeedsReport, Spread

#: More rows than these do not fit on a screen.
_MOST_POINTS = 25


def report_tables(report: Report) -> Group:
    """Put teacher and student side by side, and below that the curves, if there are any."""
    curves = curves_table(report)
    return Group(report_table(report), *([curves] if curves else []))


def report_table(report: Report) -> Table:
    """Put teacher and student side by side: clean, each attack, each certifier, size."""
    teacher, student = report.teacher, report.student
    # As `Text`, so that brackets in a user's names are not read as markup.
    table = Table(title=Text(f"{report.data}, seed {report.seed}, {report.seconds:.0f} s on {report.device}"))
    table.caption = Text(_caption(report))
    table.add_column("")
    table.add_column(Text(f"teacher: {teacher.component}"), justify="right")
    table.add_column(Text(f"student: {student.component}"), justify="right")

    def row(*cells: str) -> None:
        table.add_row(*map(Text, cells))

    row("model", _network(teacher), _network(student))
    table.add_section()
    row("clean", _percent(teacher.clean), _percent(student.clean))
    for spec, measured in teacher.attacked.items():
        row(_named(spec, measured), _percent(measured), _percent(student.attacked[spec]))
    if teacher.worst_case and student.worst_case:
        row("worst case of these", _percent(teacher.worst_case), _percent(student.worst_case))
    for spec, measured in teacher.certified.items():
        row("certified by " + _named(spec, measured), _percent(measured), _percent(student.certified[spec]))
    for spec, radii in teacher.radii.items():
        row(f"radius certified by {spec}, mean (median)", _radius(radii), _radius(student.radii[spec]))
    table.add_section()
    row("parameters", f"{teacher.size.parameters:,}", f"{student.size.parameters:,}")
    row("of them non-zero", f"{teacher.size.nonzero:,}", f"{student.size.nonzero:,}")
    row("bytes", f"{teacher.size.bytes:,}", f"{student.size.bytes:,}")
    return table


def curves_table(report: Report) -> Table | None:
    """Return the accuracy at each radius of a run, teacher and student in one cell; None without curves."""
    pairs = list(_curves(report))
    if not pairs:
        return None
    points = len(pairs[0].teacher.curve)
    rows = evenly_with_ends(points, _MOST_POINTS)
    table = Table(title=Text("Accuracy against eps: teacher | student"))
    thinned = f"{len(rows)} of {points} radii are shown; all are in the report. " if len(rows) < points else ""
    table.caption = Text(f"{thinned}An image that is broken at one eps counts as broken at every larger one.")
    table.add_column("eps", justify="right")
    for pair in pairs:
        table.add_column(Text(pair.what), justify="right")
    for row in rows:
        cells = [f"{_point(pair.teacher, row)} | {_point(pair.student, row)}" for pair in pairs]
        table.add_row(*map(Text, [str(pairs[0].teacher.curve[row].eps), *cells]))
    return table


@attrs.frozen
class _Pair:
    """The same measurement of teacher and student."""

    what: str
    teacher: Measurement
    student: Measurement


def _curves(report: Report) -> Iterator[_Pair]:
    teacher, student = report.teacher, report.student
    for spec, measured in teacher.attacked.items():
        if measured.curve:
            yield _Pair(spec, measured, student.attacked[spec])
    if teacher.worst_case and student.worst_case and teacher.worst_case.curve:
        yield _Pair("worst case", teacher.worst_case, student.worst_case)
    for spec, measured in teacher.certified.items():
        if measured.curve:
            yield _Pair(f"certified by {spec}", measured, student.certified[spec])


def evenly_with_ends(count: int, most: int) -> list[int]:
    """Return at most `most` of the places from 0 to `count`, evenly, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _point(measured: Measurement, row: int) -> str:
    return f"{100 * measured.curve[row].result.value:.1f}"


def seeds_table(report: SeedsReport) -> Table:
    """Put the means over seeds of teacher and student side by side."""
    first, seeds = report.runs[0], report.seeds
    table = Table(title=Text(f"{first.data}, seeds {seeds[0]} to {seeds[-1]}, on {first.device}"))
    table.add_column("")
    table.add_column(Text(f"teacher: {first.teacher.component}"), justify="right")
    table.add_column(Text(f"student: {first.student.component}"), justify="right")
    teacher, student = report.teacher(), report.student()
    for what, spread in teacher.items():
        table.add_row(Text(what), Text(_spread(spread)), Text(_spread(student[what])))
    lines = [
        f"Accuracy in percent: mean over {len(seeds)} seeds, standard deviation of a run, 95% interval of the mean.",
        f"Each run measured n = {first.student.clean.n} images.",
    ]
    flags = [f"Beware (seed {run.seed}): {flag}" for run in report.runs for flag in run.flags]
    table.caption = Text("\n".join([*lines, *(f"{spec}: {_settings(m)}" for spec, m in _robust(first)), *flags]))
    return table


def _spread(spread: Spread) -> str:
    low, high = spread.interval
    return f"{spread.mean:.1%} ± {spread.deviation:.1%} [{low:.1%}, {high:.1%}]".replace("%", "")


def _network(model: ModelReport) -> str:
    return ", ".join(filter(None, [model.model, model.neuron, *model.pruners]))


def _named(spec: str, measured: Measurement) -> str:
    protocol = measured.protocol
    return f"{spec} ({protocol.norm}, eps {protocol.eps})" if protocol else spec


def _percent(measured: Measurement) -> str:
    return f"{measured.accuracy:.1%} [{measured.low:.1%}, {measured.high:.1%}]".replace("%", "")


def _radius(radii: Radii) -> str:
    return f"{radii.mean:.3g} ({radii.median:.3g}), n = {radii.n}"


def _caption(report: Report) -> str:
    lines = [f"Accuracy in percent with its 95% interval, n = {report.student.clean.n}."]
    lines.append(f"The student asked the teacher about {report.queries.images:,} images ({report.access} access).")
    lines += [f"{spec}: {_settings(measured)}" for spec, measured in _robust(report)]
    lines += [f"Beware: {flag}" for flag in report.flags]
    return "\n".join(lines)


def _robust(report: Report) -> Iterator[tuple[str, Measurement]]:
    yield from report.student.attacked.items()
    yield from report.student.certified.items()


def _settings(measured: Measurement) -> str:
    """Say how a robust figure was measured, down to the options that were not named and the version."""
    protocol = measured.protocol
    if protocol is None:
        return "no protocol"
    options = [f"{name} {to_text(value)}" for name, value in protocol.options.items()]
    return f"{', '.join([*options, f'seed {protocol.seed}'])} ({protocol.plugin} {protocol.version})"
