"""What every method promises: that it makes networks robust, and that its inner attack leaves no traces."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs
import pytest
import torch
from rcframe_adversarial_training.adversarial import AdversarialStudent, AdversarialTeacher
from rcframe_adversarial_training.fast import FastStudent, FastTeacher
from rcframe_adversarial_training.free import FreeStudent, FreeTeacher
from rcframe_adversarial_training.hardening import Hardening
from rcframe_adversarial_training.mart import MartStudent, MartTeacher
from rcframe_adversarial_training.trades import TradesStudent, TradesTeacher
from torch import Tensor, nn

from rcframe import (
    Access,
    Data,
    Dataset,
    InnerAttack,
    ModelOracle,
    RequestError,
    Run,
    Stage,
    StudentStrategy,
    Threat,
)
from rcframe.builtins.plain import PlainTeacher
from rcframe.data.digits import Digits
from rcframe.data.prepare import prepare
from rcframe.options import Number
from rcframe.testing.toys import fingerprint, sign_ascent, toy_dataset, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

TEACHERS = [AdversarialTeacher, TradesTeacher, MartTeacher, FastTeacher, FreeTeacher]
STUDENTS = [AdversarialStudent, TradesStudent, MartStudent, FastStudent, FreeStudent]
ITERATED = [AdversarialTeacher, TradesTeacher, MartTeacher]
Make = Callable[..., Hardening]


def stage_of(method: Hardening, network: nn.Module | None = None, run: Run | None = None) -> Stage:
    run = run or toy_run("teacher")
    (stage,) = method.stages(network or run.network("teacher"), run)
    return stage


@functools.cache
def digits() -> Dataset:
    return prepare(Digits(), Path(), 0)


def trained(method: Hardening | PlainTeacher) -> nn.Module:
    """A small network, trained on scikit-learn's digits."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    run = attrs.evolve(toy_run("teacher"), dataset=digits())
    execute(method.plan(network, run), Monitor())  # type: ignore[union-attr]  # those here are teachers
    return network.eval()


def withstood(network: nn.Module, threat: Threat) -> float:
    """The share of 200 test images that are still right when the kernel's own ascent has moved them."""
    batch = digits().test.first(200)
    oracle = ModelOracle(network.requires_grad_(False), Access.LOGITS | Access.INPUT_GRAD)
    moved = sign_ascent(oracle, batch.images, batch.labels, threat)
    return float((network(moved).argmax(1) == batch.labels).float().mean())


@pytest.fixture(scope="module")
def ordinary() -> nn.Module:
    """An ordinary network."""
    return trained(PlainTeacher(epochs=20, lr=5e-3))


@pytest.mark.parametrize("cls", TEACHERS, ids=lambda cls: cls.__name__)
def test_networks_withstand_what_ordinary_ones_do_not(cls: Make, ordinary: nn.Module) -> None:
    method = cls(epochs=80 if cls is FreeTeacher else 20, lr=5e-3, eps=0.1)
    assert withstood(trained(method), Threat(0.1)) > withstood(ordinary, Threat(0.1)) + 0.2


@pytest.mark.parametrize("cls", ITERATED, ids=lambda cls: cls.__name__)
def test_networks_withstand_another_norm_if_they_are_trained_in_it(cls: Make, ordinary: nn.Module) -> None:
    threat = Threat(0.6, "l2")
    method = cls(epochs=20, lr=5e-3, eps=0.6, norm="l2")
    assert withstood(trained(method), threat) > withstood(ordinary, threat) + 0.15


@pytest.mark.parametrize("cls", STUDENTS, ids=lambda cls: cls.__name__)
def test_students_read_labels_and_never_ask(cls: type[StudentStrategy]) -> None:
    assert cls.access == Access.NONE
    assert cls.data is Data.LABELLED


@pytest.mark.parametrize(("teacher", "student"), list(zip(TEACHERS, STUDENTS, strict=True)))
def test_teacher_and_student_are_trained_alike(teacher: Make, student: Make) -> None:
    found = []
    for make in (teacher, student):
        run = toy_run("teacher")
        network = run.network("net")
        execute(make(epochs=2, batch_size=16).stages(network, run), Monitor())
        found.append(fingerprint(network))
    assert found[0] == found[1]


# -- the network meanwhile


@pytest.mark.parametrize(
    ("cls", "modes", "forwards"),
    [
        (AdversarialTeacher, {"train", "eval"}, 1),
        (TradesTeacher, {"train", "eval"}, 2),
        (MartTeacher, {"train", "eval"}, 2),
        (FastTeacher, {"train", "eval"}, 1),
    ],
)
def test_running_statistics_are_moved_by_the_steps_own_passes_alone(
    cls: Make, modes: set[str], forwards: int, normed: nn.Module
) -> None:
    before = 0
    for mode in sorted(modes):
        execute(iter([stage_of(cls(epochs=1, batch_size=16, mode=mode), normed)]), Monitor())
        passes = int(normed.get_buffer("0.num_batches_tracked"))
        assert passes - before == 4 * forwards
        before = passes


def test_free_training_moves_running_statistics_once_per_replay(normed: nn.Module) -> None:
    execute(iter([stage_of(FreeTeacher(epochs=3, batch_size=16, replays=3), normed)]), Monitor())
    assert int(normed.get_buffer("0.num_batches_tracked")) == 4 * 3


class Spy(nn.Module):
    """Says for every pass in which mode it was, and keeps the images."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(64, 3)
        self.modes: list[bool] = []
        self.images: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.modes.append(self.training)
        self.images.append(x.detach().clone())
        logits: Tensor = self.last(x.flatten(1))
        return logits


@pytest.mark.parametrize(
    ("cls", "passes"),
    [
        # Of four steps, then of what is learned from: the attacked images; the images and the attacked ones.
        (AdversarialTeacher, [True] * 4 + [True]),
        (TradesTeacher, [False] + [False] * 4 + [True, True]),
        (MartTeacher, [False] * 4 + [True, True]),
    ],
)
def test_the_inner_attack_runs_in_the_mode_of_the_authors(cls: Make, passes: list[bool]) -> None:
    spy = Spy()
    execute(iter([stage_of(cls(epochs=1, batch_size=64, steps=4), spy)]), Monitor())
    assert spy.modes == passes


def test_fast_training_takes_one_step_and_learns_from_its_end() -> None:
    spy, run = Spy(), toy_run("teacher")
    execute(iter([stage_of(FastTeacher(epochs=1, batch_size=64, eps=0.1, watch=0), spy, run)]), Monitor())
    assert spy.modes == [True, True]
    clean = next(run.batches(64, "teacher/train").epoch(0)).images
    begun, learned = spy.images
    assert 0.05 < float((begun - clean).abs().max()) <= 0.1 + 1e-6
    assert float((learned - clean).abs().max()) <= 0.1 + 1e-6
    # A step of 1.25 radii ends on the surface from wherever it starts, except where pixels end.
    inside = (learned > 0) & (learned < 1)
    distance = (learned - clean).abs()[inside]
    assert float((distance > 0.1 - 1e-4).float().mean()) > 0.6
    assert float(distance.min()) >= 0.025 - 1e-4


def test_trades_and_mart_learn_from_the_images_and_from_attacked_ones() -> None:
    for cls in (TradesTeacher, MartTeacher):
        spy, run = Spy(), toy_run("teacher")
        execute(iter([stage_of(cls(epochs=1, batch_size=64, eps=0.1), spy, run)]), Monitor())
        clean = next(run.batches(64, "teacher/train").epoch(0)).images
        *_, first, second = spy.images
        assert torch.equal(first, clean)
        assert float((second - clean).abs().max()) == pytest.approx(0.1, abs=1e-5)


# -- the radius


def test_without_a_radius_that_of_the_data_is_taken() -> None:
    run = toy_run("teacher")
    for cls in (AdversarialTeacher, FastTeacher):
        prepared = stage_of(cls(epochs=1), run=run).prepare
        assert isinstance(prepared, InnerAttack)
        assert prepared.threat == Threat(run.info.eps)


@pytest.mark.parametrize("cls", TEACHERS, ids=lambda cls: cls.__name__)
def test_the_radius_determines_the_work_although_no_option_names_it(cls: Make) -> None:
    def identity(eps: float) -> Mapping[str, str]:
        dataset = toy_dataset()
        run = attrs.evolve(
            toy_run("teacher"), dataset=attrs.evolve(dataset, info=attrs.evolve(dataset.info, eps=Number(eps)))
        )
        stage = stage_of(cls(epochs=1), run=run)
        stage.begin()
        found = stage.identity()
        assert found is not None
        return found

    assert identity(0.1) == identity(0.1)
    assert identity(0.1) != identity(0.2)


@pytest.mark.parametrize("cls", TEACHERS, ids=lambda cls: cls.__name__)
def test_a_radius_that_makes_no_sense_is_refused(cls: Make) -> None:
    with pytest.raises(RequestError, match="eps"):
        cls(eps=-0.1)
    with pytest.raises(RequestError, match="write 8/255"):
        cls(eps=8.0)


@pytest.mark.parametrize("cls", ITERATED, ids=lambda cls: cls.__name__)
def test_the_radius_of_the_data_is_not_taken_for_one_in_another_norm(cls: Make) -> None:
    with pytest.raises(RequestError, match=r"no radius in l2.*set `eps`"):
        cls(norm="l2")
    assert cls(norm="l2", eps=2.0).metric == "l2"


@pytest.mark.parametrize("cls", TEACHERS, ids=lambda cls: cls.__name__)
def test_within_no_radius_training_goes_on(cls: Make) -> None:
    stage = stage_of(cls(epochs=1, batch_size=32, eps=0.0))
    execute(iter([stage]), Monitor())
    assert len(stage.history) == 1
