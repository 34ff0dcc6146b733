"""Dry runs of the published scale of the thesis's distillation tables, on files of the right shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from rcframe.experiments.recipe import find_recipe
from rcframe.experiments.verdicts import judge
from rcframe.findings.folders import Collection
from rcframe.findings.reproduced import beside
from rcframe.findings.tables import NOTHING
from tests.data.published_files import write_cifar10, write_cifar100, write_svhn
from tests.experiments.published import dry_run

#: Pictures to train on of SVHN and of CIFAR-10, of which a fifth is set aside, and extra ones.
SVHN, CIFAR10, SVHN_EXTRA, CIFAR100 = 40, 20, 16, 12
ROWS = {
    "distill/shallow-widths": [
        *(f"SVHN, FC180, {learns}" for learns in ("labels", "own data", "extra data")),
        "SVHN, C4-FC512, extra data",
        "SVHN, C350-C1024-FC512, own data",
        *(f"CIFAR-10, C16-FC128, {learns}" for learns in ("labels", "own data", "own and extra data")),
        "CIFAR-10, C256-C2048-FC128, own and extra data",
    ],
    "distill/shallow-temperature": [
        *(f"SVHN, C32-C32-FC512, {learns}" for learns in ("labels", "logits", "temperature 0.1")),
        *(f"CIFAR-10, C64-C128-FC128, {learns}" for learns in ("labels", "logits", "temperature 5.0")),
    ],
    "distill/shallow-robust": [
        *(f"SVHN, C2-FC100, {learns}" for learns in ("labels", "extra data", "crafted extra data")),
        "CIFAR-10, C4-C8-FC512, own and extra data",
        "CIFAR-10, C4-C8-FC512, crafted own and extra data",
    ],
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with SVHN, CIFAR-10 and CIFAR-100 in small."""
    root = tmp_path_factory.mktemp("data")
    write_svhn(root, SVHN, 6, SVHN_EXTRA)
    write_cifar10(root, CIFAR10 // 5)
    write_cifar100(root, CIFAR100)
    return root


def asked(found: Collection) -> dict[str, int]:
    """How many images of its teacher's answers each student learned, by row."""
    return {group.name: group.first.report.queries.images for group in found.groups}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_the_published_scale_runs_on_data_of_its_shape(name: str, files: Path, tmp_path: Path) -> None:
    found = dry_run(name, files, tmp_path, ROWS[name])
    judged = judge(find_recipe(name), "full", found)
    table = beside(judged, found.groups)
    assert sorted(row[0] for row in table.rows) == sorted(ROWS[name])
    assert not [row for row in table.rows if NOTHING in row[1::2]]
    # A fifth is set aside and judges whether to stop, by the teacher's answers where labels are hidden.
    for row, count in asked(found).items():
        own, extra = (SVHN, SVHN_EXTRA) if row.startswith("SVHN") else (CIFAR10, CIFAR100)
        learned = {"labels": 0, "own data": own * 4 // 5, "own and extra data": own * 4 // 5 + extra}
        kind = row.split(", ")[2].removeprefix("crafted ")
        if kind == "logits" or kind.startswith("temperature"):
            kind = "extra data" if row.startswith("SVHN") else "own and extra data"
        judges = own // 5 if kind != "labels" and "crafted" not in row else 0
        assert count == learned.get(kind, extra) + judges, row
