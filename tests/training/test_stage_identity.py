"""What a stage says determines its result."""

from __future__ import annotations

import functools
import importlib
import sys
import types
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
from torch import nn

from rcframe.data.batches import NoData
from rcframe.data.images import Batch
from rcframe.storage import code
from rcframe.testing.toys import toy_run
from rcframe.training.masks import Masks, keep_largest, prunable
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


class Write(Protocol):
    """Writes a module and imports it."""

    def __call__(self, name: str, source: str) -> types.ModuleType: ...


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Give the test modules of its own; one that is written again is read again."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written: set[str] = set()

    def put(name: str, source: str) -> types.ModuleType:
        written.add(name)
        (tmp_path / f"{name}.py").write_text(source)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        code._sources.cache_clear()
        return importlib.import_module(name)

    yield put
    for name in written:
        del sys.modules[name]
    code._sources.cache_clear()


def begun(stage: Stage) -> Stage:
    stage.begin()
    return stage


def stage_of(step: Callable[[Stage, Batch], None] = supervised, **changes: Any) -> Stage:
    """A stage that has begun; `changes` are options of its training or fields of its own."""
    run = toy_run("teacher", seed=changes.pop("weights", 0))
    fields = {name: changes.pop(name) for name in ("module", "name", "observers", "players") if name in changes}
    network = changes.pop("network", None) or run.network("net")
    training = Training(**{"epochs": 2, "batch_size": 16, **changes})
    return begun(training.stage(run, network, step, **fields))


def identity_of(stage: Stage) -> Mapping[str, str]:
    found = stage.identity()
    assert found is not None
    return found


def test_equal_stages_have_equal_identities() -> None:
    first = identity_of(stage_of())
    torch.rand(7)
    assert identity_of(stage_of()) == first


def test_an_identity_is_readable() -> None:
    found = identity_of(stage_of(observers=[Observer(), Masks({})]))
    assert (found["name"], found["epochs"], found["batches"]) == ("teacher/train", "2", "4")
    assert found["observers"] == "Observer, Masks"
    assert {"code of rcframe", "code of torch"} <= set(found)


def head() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 3)


DIFFERENT: dict[str, tuple[Callable[[], Stage], set[str]]] = {
    "its name": (lambda: stage_of(name="other"), {"name"}),
    "epochs": (lambda: stage_of(epochs=3), {"epochs"}),
    "batches": (lambda: stage_of(batch_size=8), {"batches"}),
    "start weights": (lambda: stage_of(weights=1), {"start"}),
    "an optimizer": (lambda: stage_of(optimizer="sgd"), {"optimizer"}),
    "an option of the optimizer": (lambda: stage_of(lr=0.5), {"optimizer"}),
    "a schedule": (lambda: stage_of(schedule="cosine"), {"optimizer"}),
    "an observer": (lambda: stage_of(observers=[Observer()]), {"observers", "start"}),
    "players": (lambda: stage_of(players={"head": head()}), {"start"}),
    "a module around the target": (lambda: stage_of(module=head()), {"start", "layers"}),
}


@pytest.mark.parametrize(("changed", "parts"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_changes_the_result_changes_its_part_of_the_identity(
    changed: Callable[[], Stage], parts: set[str]
) -> None:
    other = identity_of(changed())
    one = identity_of(stage_of())
    assert {part for part in one.keys() | other.keys() if one.get(part) != other.get(part)} == parts


def test_layers_without_weights_count() -> None:
    def identity(activation: nn.Module) -> Mapping[str, str]:
        return identity_of(stage_of(module=nn.Sequential(toy_run("teacher").network("net"), activation)))

    one, other = identity(nn.ReLU()), identity(nn.Tanh())
    assert {part for part in one if one[part] != other[part]} == {"layers"}


def test_schedules_of_different_kinds_are_told_apart() -> None:
    kinds = ["constant", "steps", "cosine"]
    assert len({identity_of(stage_of(schedule=kind))["optimizer"] for kind in kinds}) == 3


def test_one_bit_of_one_weight_is_another_start() -> None:
    run = toy_run("teacher")
    network = run.network("net")
    first = identity_of(stage_of(network=network))["start"]
    with torch.no_grad():
        bias = network.get_parameter("net.fc2.bias")
        bias[0] = torch.nextafter(bias[0], torch.tensor(9.0))
    assert identity_of(stage_of(network=network))["start"] != first


def test_the_state_of_observers_counts() -> None:
    def starts(density: float) -> str:
        network = toy_run("teacher").network("net")
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
        masks = keep_largest({name: torch.rand_like(weight) for name, weight in prunable(network).items()}, density)
        return identity_of(stage_of(network=network, observers=[Masks(masks)]))["start"]

    torch.manual_seed(0)
    half = starts(0.5)
    torch.manual_seed(0)
    assert starts(0.5) == half
    torch.manual_seed(0)
    assert starts(0.4) != half


STEP = "def step(stage, batch):\n    stage.update(stage.target(batch.images).square().mean() * {factor})\n"


def test_edited_code_of_a_step_changes_the_identity(write: Write) -> None:
    one = identity_of(stage_of(write("own_step", STEP.format(factor=1)).step))
    same = identity_of(stage_of(write("own_step", STEP.format(factor=1)).step))
    edited = identity_of(stage_of(write("own_step", STEP.format(factor=2)).step))
    assert one == same
    assert {part for part in one if one[part] != edited[part]} == {"code of own_step"}


@pytest.mark.parametrize("wrap", [lambda step: functools.partial(step), lambda step: functools.partial(step, 1)])
def test_the_code_behind_a_partial_step_counts(wrap: Callable[[Any], Any], write: Write) -> None:
    found = identity_of(stage_of(wrap(write("own_step", STEP.format(factor=1)).step)))
    assert "code of own_step" in found


PARTS = """
from torch import nn
from rcframe import Observer

class Net(nn.Linear):
    pass

class Watch(Observer):
    pass

class Batches:
    def __len__(self):
        return 1

def make(parameters):
    raise AssertionError

class Steps:
    def __call__(self, stage, batch):
        pass

    def method(self, stage, batch):
        pass
"""


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: {"target": nn.Sequential(parts.Net(1, 1))},
        lambda parts: {"module": parts.Net(1, 1)},
        lambda parts: {"observers": [parts.Watch()]},
        lambda parts: {"players": {"other": parts.Net(1, 1)}},
        lambda parts: {"batches": parts.Batches()},
        lambda parts: {"make_optimizer": parts.make},
        lambda parts: {"make_schedule": parts.make},
        lambda parts: {"step": parts.Steps()},
        lambda parts: {"step": parts.Steps().method},
    ],
    ids=["target", "module", "observer", "player", "batches", "optimizer", "schedule", "step", "method"],
)
def test_the_code_of_every_part_counts(change: Callable[[Any], dict[str, Any]], write: Write) -> None:
    fields: dict[str, Any] = {
        "name": "one",
        "target": nn.Linear(1, 1),
        "module": nn.Linear(1, 1),
        "step": supervised,
        "epochs": 1,
        "batches": NoData(1),
        "make_optimizer": torch.optim.SGD,
    }
    assert "code of own_parts" not in identity_of(Stage(**fields))
    assert "code of own_parts" in identity_of(Stage(**{**fields, **change(write("own_parts", PARTS))}))


@pytest.mark.parametrize("names", [{}, {"__name__": "no_such_module"}], ids=["no module", "a module that is not there"])
@pytest.mark.parametrize("wrap", [lambda step: step, functools.partial], ids=["function", "partial"])
def test_a_step_without_a_source_has_no_identity(names: dict[str, object], wrap: Callable[[Any], Any]) -> None:
    made = dict(names)
    exec(STEP.format(factor=1), made)
    assert stage_of(wrap(made["step"])).identity() is None


def test_a_network_without_a_source_has_no_identity() -> None:
    made: dict[str, Any] = {"nn": nn}
    exec("class Net(nn.Linear):\n    pass", made)
    assert stage_of(network=nn.Sequential(nn.Flatten(), made["Net"](64, 3))).identity() is None
    assert stage_of(network=nn.Sequential(nn.Flatten(), nn.Linear(64, 3))).identity() is not None
