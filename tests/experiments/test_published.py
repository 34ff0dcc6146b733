"""With the data present, one command carries out a published table: all of its rows, with the published settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from rcframe_nasty.teacher import Nasty

from rcframe.api import Component
from rcframe.experiments.plan import PlannedRun
from rcframe.experiments.recipe import Recipe, find_recipe
from rcframe.experiments.verdicts import judge
from rcframe.findings.reproduced import beside
from rcframe.findings.tables import NOTHING
from rcframe.options import values_of
from rcframe.training.settings import Optimization
from tests.experiments.published import covering, dry_run, files, full_rows

__all__ = ["files"]

DATA = ("cifar10", "cifar100", "tiny-imagenet")
TABLES = [f"{plugin}/{data}" for plugin in ("nasty", "skeptical") for data in DATA]
ANALYSES = ["nasty/adversaries", "nasty/large-students", "nasty/softness", "nasty/limited-data"]
ANALYSES += ["skeptical/generations", "skeptical/depth", "skeptical/limited-data"]
#: Epochs, and before which of them the learning rate falls by how much.
SCHEDULES = {"cifar10": (160, (80, 120), 0.1), "cifar100": (200, (60, 120, 160), 0.2)}
SCHEDULES["tiny-imagenet"] = SCHEDULES["cifar100"]
TEMPERATURES = {"cifar10": 4.0, "cifar100": 20.0, "tiny-imagenet": 20.0}
AUGMENTED = {"cifar10": ("crop", "flip"), "cifar100": ("crop", "flip"), "tiny-imagenet": ("rotate", "flip")}
MODELS = {"ResNet-18": "resnet18", "ResNet-50": "resnet50", "ResNeXt-29": "resnext29"}
MODELS |= {"MobileNetV2": "mobilenetv2", "ShuffleNetV2": "shufflenetv2"}
OMEGAS = {"nasty/cifar10": {0.004, 0.04}, "nasty/cifar100": {0.005}, "nasty/tiny-imagenet": {0.01}}
OMEGAS |= {"skeptical/cifar10": {0.04}, "skeptical/cifar100": {0.005}, "skeptical/tiny-imagenet": {0.01}}


def cell(recipe: Recipe, row: str) -> float:
    """The published accuracy of a student in percent, to two digits."""
    return round(
        next(100 * one.value for one in recipe.published if (one.row, one.figure) == (row, "student clean")), 2
    )


def data_of(run: PlannedRun) -> str:
    return run.config.data.name


def check_schedule(method: Component, data: str) -> None:
    assert isinstance(method, Optimization)
    assert (method.optimizer, method.lr, method.momentum, method.weight_decay) == ("sgd", 0.1, 0.9, 5e-4)
    assert (method.schedule, method.batch_size) == ("steps", 128)
    assert (method.epochs, method.milestones, method.decay) == SCHEDULES[data]


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TABLES)
def test_teachers_and_students_are_trained_as_published(name: str) -> None:
    for run in full_rows(name):
        data = data_of(run)
        assert values_of(run.parts.data)["augment"] == AUGMENTED[data]
        check_schedule(run.parts.teacher, data)
        (student,) = run.parts.students
        if str(run.config.student_model) == "cnn":
            assert isinstance(student, Optimization)
            assert (student.optimizer, student.lr, student.weight_decay) == ("adam", 1e-3, 0.0)
            assert (student.schedule, student.epochs, student.batch_size) == ("constant", 100, 128)
        else:
            check_schedule(student, data)
        if run.config.students[0].name != "plain":
            assert values_of(student)["temperature"] == TEMPERATURES[data]
            assert values_of(student)["alpha"] == 0.9


@pytest.mark.parametrize("name", [name for name in TABLES if name != "nasty/cifar10"])
def test_rows_have_the_networks_that_their_names_say(name: str) -> None:
    for run in full_rows(name):
        taught, network, *_ = run.name.split(", ")
        if taught != "labels alone":
            assert run.config.model.name == MODELS[taught.partition(" ")[2]]
        pupil = run.config.student_model
        assert (pupil and pupil.name) == (None if network == "itself" else MODELS[network])


@pytest.mark.parametrize("name", TABLES)
def test_nasty_teachers_have_the_published_weight_and_temperature(name: str) -> None:
    teachers = [(data_of(run), run.parts.teacher) for run in full_rows(name)]
    nasty = [(data, teacher) for data, teacher in teachers if isinstance(teacher, Nasty)]
    assert {teacher.omega for _, teacher in nasty} == OMEGAS[name]
    for data, teacher in nasty:
        assert teacher.temperature == TEMPERATURES[data]
        assert (teacher.adversary, teacher.adversary_epochs) == ("same", None)


# --- published figures, held against the differences that the papers print beside them ------------------------------


@pytest.mark.parametrize(
    ("network", "printed"), [("CNN", -4.18), ("ResNetC-20", -4.27), ("ResNetC-32", -3.35), ("ResNet-18", -1.72)]
)
def test_figures_of_the_nasty_table_differ_as_the_paper_prints(network: str, printed: float) -> None:
    recipe = find_recipe("nasty/cifar10")
    harm = cell(recipe, f"nasty teacher, {network}") - cell(recipe, f"labels alone, {network}")
    assert harm == pytest.approx(printed, abs=1e-9)


GAINS = {
    "cifar10": {
        "nasty ResNet-18, ResNet-18": 0.96,
        "nasty ResNet-18, MobileNetV2": 2.24,
        "nasty ResNet-50, ResNet-18": 0.78,
        "nasty ResNet-50, ResNet-50": 1.27,
        "nasty ResNet-50, MobileNetV2": 2.26,
        "normal ResNet-18, ResNet-18": 0.07,
        "normal ResNet-18, MobileNetV2": 0.64,
        "normal ResNet-50, ResNet-18": -0.12,
        "normal ResNet-50, ResNet-50": 0.94,
        "normal ResNet-50, MobileNetV2": 0.24,
    },
    "cifar100": {
        "nasty ResNet-18, ResNet-18": 2.33,
        "nasty ResNet-18, MobileNetV2": 59.49,
        "nasty ResNet-50, ResNet-18": 4.97,
        "nasty ResNet-50, ResNet-50": 4.52,
        "nasty ResNet-50, MobileNetV2": 58.66,
        "normal ResNet-18, ResNet-18": 0.72,
        "normal ResNet-18, MobileNetV2": 0.33,
        "normal ResNet-50, ResNet-18": 0.65,
        "normal ResNet-50, ResNet-50": 2.4,
        "normal ResNet-50, MobileNetV2": 1.04,
    },
    "tiny-imagenet": {
        "nasty ResNet-18, ResNet-18": 12.16,
        "nasty ResNet-18, MobileNetV2": 49.93,
        "normal ResNet-18, ResNet-18": 0.08,
        "normal ResNet-18, MobileNetV2": 0.39,
    },
}


@pytest.mark.parametrize("data", GAINS)
def test_figures_of_the_skeptical_tables_differ_as_the_paper_prints(data: str) -> None:
    recipe, found = find_recipe(f"skeptical/{data}"), {}
    for row in GAINS[data]:
        normal, skeptical, ensemble = (cell(recipe, f"{row}, {how}") for how in ("normal", "skeptical", "skeptical-e"))
        found[row] = max(skeptical, ensemble) - normal
    # The paper subtracts before it rounds.
    assert found == pytest.approx(GAINS[data], abs=0.011)


@pytest.mark.parametrize("name", ["nasty/cifar100", "nasty/tiny-imagenet", "nasty/large-students", *TABLES[3:]])
def test_every_row_of_a_table_has_its_published_figure(name: str) -> None:
    recipe = find_recipe(name)
    published = {one.row for one in recipe.published if one.figure == "student clean"}
    assert {run.name for run in full_rows(name)} == published


# --- dry runs --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TABLES, *ANALYSES])
def test_every_part_of_a_published_table_is_carried_out_on_data_of_its_shape(
    name: str, files: Path, tmp_path: Path
) -> None:
    rows = covering(full_rows(name))
    found = dry_run(name, files, tmp_path / "m", rows)
    table = beside(judge(find_recipe(name), "full", found), found.groups)
    assert sorted(row[0] for row in table.rows) == sorted(rows)
    assert all(measured != NOTHING for row in table.rows for measured in row[1::2])


@pytest.mark.slow
@pytest.mark.parametrize("data", DATA)
def test_published_networks_are_carried_out_at_their_full_width(data: str, files: Path, tmp_path: Path) -> None:
    row = {"cifar10": "nasty teacher, ResNetC-20"}.get(data, "nasty ResNet-18, MobileNetV2")
    (group,) = dry_run(f"nasty/{data}", files, tmp_path / "m", [row], width=1).groups
    assert group.first.report.teacher.size.parameters > 11_000_000
