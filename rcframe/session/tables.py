"""Reports as tables in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from rcframe.evaluation.amount import Amount
from rcframe.evaluation.estimates import intervals_in_words
from rcframe.evaluation.evaluate import Accuracy
from rcframe.evaluation.radii import Radii
from rcframe.evaluation.trust.flag import Flag
from rcframe.options import to_text
from rcframe.session.curve_tables import curves_of
from rcframe.session.outcomes import AGREEMENT, CALIBRATION_ERROR, RELEASED
from rcframe.session.outputs_report import Outputs, about_agreement
from rcframe.session.report import Measurement, ModelReport, Report
from rcframe.session.seeds import SeedsReport, Spread

#: Columns of characters that lines and blanks of a table of three columns take.
_BORDERS = 10
#: What the names of the rows keep in a narrow terminal, where figures are broken after all.
_LEAST_FOR_NAMES = 12
#: What is said of outputs, besides which classes they name.
_RELEASED, _AGREES, _CALIBRATION = "clean, as released", "agrees with teacher", "calibration error"
#: Characters of a model's spec string that are shown: enough for any with an option or two.
_MOST_OF_MODEL = 40
#: Options whose value is one of these change nothing.
_NOTHING = ("none", "")


def report_tables(report: Report) -> Group:
    """Put teacher and student side by side, and below that the curves and what speaks against a figure."""
    flags = [_beware(flag, ()) for flag in report.flags]
    return _whole(_Figures.of(report), _notes(report), [report], flags)


def seeds_tables(report: SeedsReport) -> Group:
    """Put the means over seeds of teacher and student side by side, and below that the mean curves."""
    flags: dict[str, list[int]] = {}
    for run in report.runs:
        for flag in run.flags:
            flags.setdefault(flag, []).append(run.seed)
    bewares = [_beware(flag, seeds) for flag, seeds in flags.items()]
    return _whole(_Figures.over_seeds(report), _seeds_notes(report), report.runs, bewares)


def _whole(figures: _Figures, notes: Iterable[str], runs: Sequence[Report], bewares: Sequence[str]) -> Group:
    parts: list[RenderableType] = [figures, Text("\n".join(notes), overflow="fold")]
    if curves := curves_of(runs):
        parts += ["", curves]
    if bewares:
        parts += ["", _listed(bewares), Text("docs/trust.md says what to do about each.")]
    return Group(*parts)


def _listed(lines: Iterable[str]) -> Table:
    listed = Table.grid(padding=(0, 1, 0, 0))
    listed.add_column()
    listed.add_column(overflow="fold")
    for line in lines:
        listed.add_row("*", Text(line))
    return listed


def _beware(flag: str, seeds: Sequence[int]) -> str:
    """Name the kind of a flag, which one that was read from a file no longer knows, and the seeds that raised it."""
    kind = [str(flag.kind)] if isinstance(flag, Flag) else []
    raised = [f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"] if seeds else []
    about = ", ".join(kind + raised)
    return f"Beware ({about}): {flag}" if about else f"Beware: {flag}"


@attrs.frozen
class _Row:
    """What is known of teacher and student."""

    what: str
    teacher: str
    student: str


@attrs.frozen
class _Figures:
    """Teacher and student side by side: names are folded where the terminal is narrow, figures are not."""

    title: str
    teacher: str
    student: str
    networks: _Row
    #: A line is drawn between these.
    sections: tuple[tuple[_Row, ...], ...]

    @classmethod
    def of(cls, report: Report) -> _Figures:
        """Clean, each attack, each certifier, size."""
        sections = tuple(_accuracies(report)), tuple(_sizes(report.teacher, report.student))
        return cls._headed(
            report, f"{report.data}, seed {report.seed}, {report.seconds:.0f} s on {report.device}", sections
        )

    @classmethod
    def over_seeds(cls, report: SeedsReport) -> _Figures:
        """Return means, spreads and intervals of the same accuracies."""
        labels = [label for label, _ in _labelled(report.runs[0].teacher)]
        teacher, student = report.teacher(), report.student()
        rows = [
            _Row(label, _spread(teacher[what]), _spread(student[what]))
            for label, what in zip(labels, teacher, strict=False)
        ]
        rows += _outputs_over_seeds(teacher, student)
        first, seeds = report.runs[0], report.seeds
        title = f"{first.data}, seeds {seeds[0]} to {seeds[-1]}, on {first.device}"
        return cls._headed(first, title, (tuple(rows),))

    @classmethod
    def _headed(cls, report: Report, title: str, sections: tuple[tuple[_Row, ...], ...]) -> _Figures:
        teacher, student = report.teacher, report.student
        networks = _Row("model", _network(teacher), _network(student))
        heads = f"teacher: {teacher.component}", f"student: {student.component}"
        return cls(title, *heads, networks, sections)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Draw the table."""
        # As `Text`, so that brackets in a user's names are not read as markup.
        yield Text(self.title, style="italic")
        table = Table()
        names, teacher, student = self._widths(options.max_width)
        table.add_column("", overflow="fold", width=names)
        table.add_column(Text(self.teacher), justify="right", overflow="fold", width=teacher)
        table.add_column(Text(self.student), justify="right", overflow="fold", width=student)
        for section in ((self.networks,), *self.sections):
            for row in section:
                table.add_row(Text(row.what), Text(row.teacher), Text(row.student))
            table.add_section()
        yield table

    def _widths(self, width: int) -> tuple[int, int, int]:
        """Return how wide names, teacher and student are, so that no figure is broken if that can be helped."""
        rows = [row for section in self.sections for row in section]
        room = width - _BORDERS
        names = max(cell_len(row.what) for row in (self.networks, *rows))
        teacher = max(map(cell_len, (self.teacher, self.networks.teacher, *(row.teacher for row in rows))))
        student = max(map(cell_len, (self.student, self.networks.student, *(row.student for row in rows))))
        if names + teacher + student <= room:
            return names, teacher, student
        figure = max(max(cell_len(row.teacher), cell_len(row.student)) for row in rows)
        each = max(1, min(max(figure, (room - names) // 2), (room - _LEAST_FOR_NAMES) // 2))
        return max(1, room - 2 * each), each, each


def _accuracies(report: Report) -> Iterator[_Row]:
    teacher, student = report.teacher, report.student
    for (what, one), (_, other) in zip(_labelled(teacher), _labelled(student), strict=True):
        yield _Row(what, _percent(one), _percent(other))
    for measured in filter(None, [teacher.released]):
        yield _Row(_RELEASED, _percent(measured), "")
    yield from _outputs(teacher.outputs, student.outputs)
    for spec, radii in teacher.radii.items():
        yield _Row(f"radius certified by {spec}, mean (median)", _radius(radii), _radius(student.radii[spec]))


def _outputs(teacher: Outputs, student: Outputs) -> Iterator[_Row]:
    if likeness := student.likeness:
        yield _Row(_AGREES, "", _fraction(likeness.agreement))
    if teacher.calibration and student.calibration:
        yield _Row(_CALIBRATION, _points(teacher.calibration.error), _points(student.calibration.error))


def _labelled(model: ModelReport) -> Iterator[tuple[str, Measurement]]:
    """Yield what was measured as people read it, in the order of the figures over seeds."""
    yield "clean", model.clean
    for spec, measured in model.attacked.items():
        yield _named(spec, measured), measured
    if model.worst_case:
        yield "worst case of these", model.worst_case
    for spec, measured in model.certified.items():
        yield f"certified by {_named(spec, measured)}", measured


def _named(spec: str, measured: Measurement) -> str:
    protocol = measured.protocol
    return f"{spec} ({protocol.norm}, eps {protocol.eps})" if protocol else spec


def _sizes(teacher: ModelReport, student: ModelReport) -> Iterator[_Row]:
    yield _Row("parameters", f"{teacher.size.parameters:,}", f"{student.size.parameters:,}")
    yield _Row("of them non-zero", f"{teacher.size.nonzero:,}", f"{student.size.nonzero:,}")
    yield _Row("bytes", f"{teacher.size.bytes:,}", f"{student.size.bytes:,}")


def _outputs_over_seeds(teacher: Mapping[str, Spread], student: Mapping[str, Spread]) -> Iterator[_Row]:
    for label, what in ((_RELEASED, RELEASED), (_AGREES, AGREEMENT), (_CALIBRATION, CALIBRATION_ERROR)):
        found = [_spread(spreads[what]) if what in spreads else "" for spreads in (teacher, student)]
        if any(found):
            yield _Row(label, *found)


def _network(model: ModelReport) -> str:
    return ", ".join(filter(None, [_shortened(model.model), model.neuron, *model.pruners]))


def _shortened(model: str) -> str:
    """Return the spec string of a model without its end where it is long; run.toml and report.json have all of it."""
    return model if len(model) <= _MOST_OF_MODEL else f"{model[: _MOST_OF_MODEL - 1].rstrip(',(')}…"


def _percent(measured: Measurement) -> str:
    return _fraction(measured.result)


def _fraction(accuracy: Accuracy) -> str:
    low, high = accuracy.interval
    return f"{accuracy.value:.1%} [{low:.1%}, {high:.1%}]".replace("%", "")


def _points(error: Amount) -> str:
    return f"{error.value:.1%} [{error.low:.1%}, {error.high:.1%}]".replace("%", "")


def _spread(spread: Spread) -> str:
    # The noise of the seeds knows nothing of 0 and 100, beyond which no accuracy lies.
    low, high = (min(max(end, 0.0), 1.0) for end in spread.interval)
    return f"{spread.mean:.1%} ± {spread.deviation:.1%} [{low:.1%}, {high:.1%}]".replace("%", "")


def _radius(radii: Radii) -> str:
    return f"{radii.mean:.3g} ({radii.median:.3g}), n = {radii.n}"


def _notes(report: Report) -> Iterator[str]:
    yield f"Accuracy in percent with its 95% interval, n = {report.student.clean.n}."
    yield from _about_outputs([report])
    asked = f"about {report.queries.images:,} images ({report.access} access)" if report.queries.images else "nothing"
    yield f"The student asked the teacher {asked}."
    for spec, measured in _robust(report):
        seed = [f"seed {measured.protocol.seed}"] if measured.protocol else []
        yield _settings(spec, measured, seed)


def _seeds_notes(report: SeedsReport) -> Iterator[str]:
    first = report.runs[0]
    count = len(report.runs)
    yield f"Accuracy in percent: mean over {count} seeds ± standard deviation of a run [95% interval of the mean]."
    yield f"{intervals_in_words([count])} Each run measured n = {first.student.clean.n} images."
    yield from _about_outputs(report.runs)
    for spec, measured in _robust(first):
        yield _settings(spec, measured, [])


def _about_outputs(runs: Sequence[Report]) -> Iterator[str]:
    likenesses = [likeness for run in runs if (likeness := run.student.outputs.likeness)]
    yield from filter(None, [about_agreement(likenesses)])
    yield from _about_calibration(runs[0])


def _about_calibration(report: Report) -> Iterator[str]:
    found = [model.outputs.calibration for model in (report.teacher, report.student)]
    chances = [f"{calibration.by_chance:.1%}".replace("%", "") for calibration in found if calibration]
    if len(chances) == len(found):
        yield (
            f"Calibration error in percent; calibrated perfectly, these networks would show {chances[0]} and "
            f"{chances[1]} (docs/secrecy.md)."
        )


def _robust(report: Report) -> Iterator[tuple[str, Measurement]]:
    yield from report.student.attacked.items()
    yield from report.student.certified.items()


def _settings(spec: str, measured: Measurement, more: Sequence[str]) -> str:
    """Say how a robust figure was measured, down to the options that were not named and the version."""
    protocol = measured.protocol
    if protocol is None:
        return f"{spec}: no protocol"
    options = [f"{name} {text}" for name, value in protocol.options.items() if (text := to_text(value)) not in _NOTHING]
    return f"{spec}: {', '.join([*options, *more]) or 'no options'} ({protocol.plugin} {protocol.version})"
