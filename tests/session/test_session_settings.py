"""What a run depends on besides its parts: random numbers, threads, determinism."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.session.config import make_config
from rcframe.session.session import carry_out, prepare_session
from rcframe.training.monitor import Monitor
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

if TYPE_CHECKING:
    from tests.conftest import Announce

TINY: dict[str, Any] = {
    "data": "glyphs:size=8,classes=3,train=24,test=12",
    "model": "mlp:hidden=4",
    "teacher": "plain:epochs=1",
    "student": "plain:epochs=1",
}


def run(**changes: Any) -> rc.Report:
    """Carry out a tiny run; nothing comes from the cache."""
    return rc.run(**{**TINY, "cache": False, **changes})


class Ends(Monitor):
    """Keeps a copy of every stage's target at its end."""

    def __init__(self) -> None:
        self.ends: dict[str, dict[str, Tensor]] = {}

    def stage_done(self, stage: Stage) -> None:
        self.ends[stage.name] = {name: value.clone() for name, value in stage.target.state_dict().items()}


@rc.component
class Failing(rc.Training, rc.StudentStrategy):
    """Breaks down in its first step."""

    access = rc.Access.NONE

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: rc.Batch) -> None:
            raise ZeroDivisionError

        yield self.stage(run, student, step)


@rc.component
class Hasty(rc.Training, rc.Teacher):
    """Draws part of its network when its plan is asked for, before any stage."""

    def plan(self, network: nn.Module, run: rc.Run) -> Iterator[Stage]:
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.1 * torch.rand_like(parameter))
        return iter([self.stage(run, network, supervised)])


@rc.component
class HastyStudent(rc.Training, rc.StudentStrategy):
    """Draws part of its network when its plan is asked for."""

    access = rc.Access.NONE

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        with torch.no_grad():
            next(student.parameters()).add_(0.1 * torch.rand(()))
        return iter([self.stage(run, student, supervised)])


@rc.component
class HastyPruner(rc.Pruner):
    """Draws when it is asked to rewrite."""

    def rewrite(self, plan: rc.StudentPlan, student: nn.Module, run: rc.Run) -> Iterator[Stage]:
        with torch.no_grad():
            next(student.parameters()).mul_(torch.rand(()))
        return plan(student)


@pytest.mark.parametrize(
    "settings",
    [{"teacher": "hasty:epochs=1"}, {"student": "hasty:epochs=1"}, {"pruner": "hasty"}],
    ids=["teacher", "student", "pruner"],
)
def test_what_a_plan_draws_before_its_first_stage_depends_on_the_seed_alone(
    settings: dict[str, object], announce: Announce
) -> None:
    for cls in (Hasty, HastyStudent, HastyPruner):
        announce(cls, "hasty")
    ends = []
    for disturbance in (0, 1):
        session = prepare_session(make_config({**TINY, **settings}), "test")
        torch.manual_seed(disturbance)
        monitor = Ends()
        carry_out(session, monitor, None)
        ends.append(monitor.ends)
    assert ends[0].keys() == ends[1].keys() == {"teacher/train", "student/train"}
    for name, end in ends[0].items():
        assert all(torch.equal(value, ends[1][name][key]) for key, value in end.items()), name


def test_what_was_left_to_the_machine_is_decided_when_the_run_is_prepared() -> None:
    config = prepare_session(make_config({**TINY, "device": "auto"}), "test").config
    assert config.device in ("cpu", "cuda", "mps")
    assert config.threads is not None
    assert (str(config.eps), config.eps) == ("8/255", 8 / 255)
    asked = prepare_session(make_config({**TINY, "device": "cpu", "threads": 3, "eps": "1/255"}), "test").config
    assert (asked.device, asked.threads, str(asked.eps)) == ("cpu", 3, "1/255")


class Settings(Monitor):
    """Looks at the settings of the process while a stage trains."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, bool]] = set()

    def batch_done(self, stage: Stage, images: int) -> None:
        self.seen.add((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))


def test_threads_and_determinism_hold_during_the_run_and_are_given_back() -> None:
    before, monitor = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()), Settings()
    session = prepare_session(make_config({**TINY, "threads": 3, "deterministic": True}), "test")
    carry_out(session, monitor, None)
    assert monitor.seen == {(3, True)}
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


@rc.component
class Scatters(rc.Training, rc.StudentStrategy):
    """Uses an operation that has no deterministic implementation."""

    access = rc.Access.NONE

    def plan(self, student: nn.Module, teacher: rc.Oracle, run: rc.Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: rc.Batch) -> None:
            torch.zeros(4).put_(torch.tensor([0]), torch.tensor([1.0]))
            supervised(stage, batch)

        yield self.stage(run, student, step)


def test_strict_determinism_ends_the_run_with_the_name_of_the_operation(announce: Announce, tmp_path: Path) -> None:
    announce(Scatters, "scatters")
    run(student="scatters:epochs=1")
    with pytest.raises(rc.RunFailed) as raised:
        run(student="scatters:epochs=1", deterministic=True, out=tmp_path / "out")
    assert str(raised.value) == (
        "`put_` has no deterministic implementation on this device, and --deterministic refuses it. "
        "Leave --deterministic out, or use a network or method without that operation."
    )
    assert raised.value.__notes__ == [f"What was computed is kept. Go on with: rcframe run --resume {tmp_path / 'out'}"]


def test_a_run_that_fails_says_how_to_go_on_if_anything_is_kept(announce: Announce, tmp_path: Path) -> None:
    announce(Failing, "failing")
    for out, notes in [(None, []), (tmp_path / "out", [f"rcframe run --resume {tmp_path / 'out'}"])]:
        with pytest.raises(ZeroDivisionError) as raised:
            run(student="failing:epochs=1", out=out)
        assert [note.partition("Go on with: ")[2] for note in getattr(raised.value, "__notes__", [])] == notes
