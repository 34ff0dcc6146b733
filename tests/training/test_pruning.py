from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from rcframe.api import OneShotPruner
from rcframe.networks.surgery import PruningReport, select, set_layer
from rcframe.options import component
from rcframe.testing.toys import fingerprint, toy_run
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised


@component
class Halving(OneShotPruner):
    """Keeps the first half of the hidden units of the toy network."""

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        small = copy.deepcopy(module)
        first, last = small.get_submodule("net.fc1"), small.get_submodule("net.fc2")
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        kept = torch.arange(first.out_features // 2)
        set_layer(small, "net.fc1", select(first, kept, None))
        set_layer(small, "net.fc2", select(last, None, kept))
        return small, PruningReport.of(module, small, {"net.fc1": tuple(kept.tolist())})


class Recorder(Monitor):
    """Keeps the stages that were trained, and for how many epochs."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.epochs: dict[str, int] = {}

    def stage_started(self, stage: Stage) -> None:
        self.stages.append(stage)

    def epoch_done(self, stage: Stage, metrics: Mapping[str, float]) -> None:
        self.epochs[stage.name] = self.epochs.get(stage.name, 0) + 1


class Generations:
    """Plans that train a network before the student, and keep it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.before: list[nn.Module] = []

    def plan(self, student: nn.Module) -> Iterator[Stage]:
        training, before = Training(epochs=3, batch_size=32), self.run.network("before")
        self.before.append(before)
        yield training.stage(self.run, before, supervised, name="before")
        assert fingerprint(before) != fingerprint(self.run.network("before").eval()), "it was not trained"
        yield training.stage(self.run, student, supervised)


def test_what_a_plan_trains_on_the_way_is_trained_again_for_the_smaller_student() -> None:
    run, recorder = toy_run("student"), Recorder()
    generations, student = Generations(run), run.adopt(run.network("student"))
    small = execute(Halving(finetune=1).rewrite(generations.plan, student, run), recorder)
    assert recorder.epochs == {"student/before": 3, "student/train": 3, "student/before-2": 3, "student/train-2": 1}
    assert small is not None
    assert small.get_parameter("net.fc1.weight").shape[0] == 8
    assert all(before.get_parameter("net.fc1.weight").shape[0] == 16 for before in generations.before)


def test_what_an_earlier_pruner_makes_of_the_smaller_student_is_not_trained() -> None:
    run, recorder = toy_run("student"), Recorder()
    training, student = Training(epochs=2, batch_size=32), run.adopt(run.network("student"))

    def plan(network: nn.Module) -> Iterator[Stage]:
        yield training.stage(run, network, supervised)

    def pruned_once(network: nn.Module) -> Iterator[Stage]:
        return Halving(finetune=1).rewrite(plan, network, run)

    small = execute(Halving(finetune=1).rewrite(pruned_once, student, run), recorder)
    assert small is not None
    assert small.get_parameter("net.fc1.weight").shape[0] == 4
    assert [stage.target.get_parameter("net.fc1.weight").shape[0] for stage in recorder.stages] == [16, 8, 4]
    assert len(run.pruned) == 2
