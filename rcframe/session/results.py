"""Reading what runs found, of one seed or several."""

from __future__ import annotations

import json
from pathlib import Path

from rcframe.errors import RequestError
from rcframe.session.report import FORMAT, Json, Report, report_of
from rcframe.session.seeds import SeedsReport, is_seeds_report

Result = Report | SeedsReport


def read_result(path: Path) -> Result:
    """Read a `report.json`."""
    try:
        found: Json = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] > FORMAT:
            raise RequestError(
                f"`{path}` was written by a newer rcframe (format {found['format']}): upgrade to read it."
            )
        if is_seeds_report(found):
            return SeedsReport(found["command"], tuple(report_of(run) for run in found["runs"]))
        return report_of(found)
    except OSError as error:
        raise RequestError(f"Cannot read the report `{path}`: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(
            f"The report `{path}` is damaged: {error!r}. Remove it, and `rcframe run --resume {path.parent}` computes "
            f"it again."
        ) from error
