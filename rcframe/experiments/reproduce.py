"""A recipe from its name to measured beside published, and its claims to verdicts."""

from __future__ import annotations

import json
import sys

from rich.console import Console
from rich.text import Text

from rcframe.errors import CheckFailed, RequestError, listed
from rcframe.experiments.conduct import Request, announce, carry_out, show
from rcframe.experiments.matrix import refuse_unless_done
from rcframe.experiments.recipe import Scale, find_recipe, read_recipe
from rcframe.experiments.verdicts import judge
from rcframe.findings.folders import Collection, collect
from rcframe.findings.records import (
    ClaimRecord,
    ReproductionRecord,
    Verdict,
    write_reproduction,
)
from rcframe.findings.reproduced import beside, claims_table, difference_of
from rcframe.findings.tables import Table, render, to_json
from rcframe.registry import registry

_COLOURS: dict[Verdict, str] = {"holds": "green", "does not hold": "red", "undecided": "yellow"}


def list_recipes() -> Table:
    """Return every installed recipe with what it repeats, and whether it can be."""
    rows = []
    for found in registry().recipes():
        try:
            recipe = read_recipe(found)
            missing = recipe.missing()
            note = f"needs {listed(missing)}" if missing else ""
            rows.append((recipe.name, recipe.title, recipe.source, note))
        except RequestError as error:
            rows.append((found.name, "", "", f"broken: {error}"))
    columns = ("recipe", "claim", "source", "remark")
    shown = columns if any(row[3] for row in rows) else columns[:3]
    return Table("Published tables that can be repeated", shown, tuple(row[: len(shown)] for row in rows))


def reproduce(name: str, scale: Scale, request: Request) -> None:
    """Carry out a recipe, print what was measured beside what was published, and say which claims hold."""
    recipe = find_recipe(name)
    if missing := recipe.missing():
        raise RequestError(
            f"The recipe `{recipe.name}` needs what is not installed here: pip install {' '.join(missing)}"
        )
    record = carry_out(recipe.scales[scale], request)
    if record is None:
        return
    if any(row.status == "done" for row in record.rows):
        found = collect([request.folder])
        judged = judge(recipe, scale, found)
        write_reproduction(request.folder, judged)
        _show(judged, found, request)
    refuse_unless_done(record, request.folder)
    if any(claim.verdict == "does not hold" for claim in judged.claims):
        raise CheckFailed(_failed(judged))


def _failed(judged: ReproductionRecord) -> str:
    wrong = [claim for claim in judged.claims if claim.verdict == "does not hold"]
    what = "A claim does" if len(wrong) == 1 else f"{len(wrong)} claims do"
    return f"{what} not hold at the {judged.scale} scale: {'; '.join(claim.says for claim in wrong)}"


def _show(judged: ReproductionRecord, found: Collection, request: Request) -> None:
    measured = beside(judged, found.groups)
    if request.form == "table":
        show(measured, request)
        console = Console(highlight=False)
        for claim in judged.claims:
            console.print(_verdict(claim))
    else:
        sys.stdout.write(_written(measured, claims_table(judged), request.form))
    announce(request)
    sys.stdout.flush()


def _written(measured: Table, claims: Table, form: str) -> str:
    """Return both tables as one document."""
    if form == "json":
        both = {"measured": json.loads(to_json(measured)), "claims": json.loads(to_json(claims))}
        return json.dumps(both, indent=2) + "\n"
    return f"{render(measured, form)}\n{render(claims, form)}"


def _verdict(claim: ClaimRecord) -> Text:
    text = Text()
    text.append(f"{claim.verdict.upper()}: ", style=f"bold {_COLOURS[claim.verdict]}").append(f"{claim.says}\n")
    for comparison in claim.comparisons:
        mark = "" if len(claim.comparisons) == 1 else f" -> {comparison.verdict}"
        text.append(f"  {comparison.words}: {difference_of(comparison)}{mark}\n", style="dim")
    if claim.verdict == "undecided" and all(comparison.difference for comparison in claim.comparisons):
        text.append("  More seeds (--seeds) or images would narrow the interval.\n", style="dim")
    if claim.verdict != "holds" and claim.note:
        text.append(f"  {claim.note}\n", style="dim")
    return text
