from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from rcframe_distill.hints import Hints, hint_loss
from rcframe_distill.kd import KD
from torch import Tensor, nn

from rcframe import Access, ModelOracle, RequestError, Stage, recording
from rcframe.models.plain import ConvNet
from rcframe.testing.toys import CLASSES, fingerprint, toy_dataset, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor


def maps(seed: int, side: int = 4) -> Tensor:
    return torch.randn(2, 3, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_loss_is_the_one_computed_by_hand() -> None:
    guess, hint = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, 1.0]]).double()
    assert float(hint_loss(guess, hint)) == pytest.approx((4 + 1) / 2, abs=1e-12)
    # A map of the teacher's that is twice as large is averaged over each four of its places.
    larger = torch.tensor([[[[1.0, 3.0], [5.0, 7.0]]]]).double()
    assert float(hint_loss(torch.ones(1, 1, 1, 1).double(), larger)) == pytest.approx(9, abs=1e-12)


def test_it_is_the_mean_square_over_everything_and_asks_nothing_of_the_teacher() -> None:
    guess, hint = maps(0).requires_grad_(True), maps(1).requires_grad_(True)
    loss = hint_loss(guess, hint)
    assert torch.allclose(loss, F.mse_loss(guess, hint), rtol=1e-10)
    assert torch.allclose(hint_loss(guess.flatten(1), hint), loss, rtol=1e-10)
    loss.backward()  # type: ignore[no-untyped-call]
    assert hint.grad is None


# --- the training ----------------------------------------------------------------------------------------------------


def student_with_norms() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(64, CLASSES),
    )


def stages(strategy: Hints, student: nn.Module, teacher: nn.Module) -> list[Stage]:
    """Carry out the stages and return them."""
    done = []
    for stage in strategy.plan(student, ModelOracle(teacher, Access.GREY), toy_run("student")):
        execute(iter([stage]), Monitor())
        done.append(stage)
    return done


def test_only_the_layers_up_to_the_guided_one_move_in_the_first_stage(teacher: nn.Module) -> None:
    student = student_with_norms()
    before = copy.deepcopy(student.state_dict())
    strategy = Hints(guided="2", hint_epochs=2, batch_size=16, weight_decay=0.1)
    plan = strategy.plan(student, ModelOracle(teacher, Access.GREY), toy_run("student"))
    execute(iter([next(plan)]), Monitor())
    moved = {name for name, tensor in student.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[0] for name in moved} == {"0", "1"}
    assert {"0.weight", "1.weight", "1.running_mean", "1.num_batches_tracked"} <= moved


def test_the_guided_layer_foretells_the_hint(teacher: nn.Module) -> None:
    hints, kd = stages(Hints(guided="2", hint_epochs=20, epochs=1, batch_size=16), student_with_norms(), teacher)
    assert [hints.name, kd.name] == ["student/hints", "student/train"]
    losses = [figures["loss"] for figures in hints.history]
    assert losses[-1] < 0.3 * losses[0]
    x = toy_dataset().test.first(24).images
    hints.module.eval()
    with torch.no_grad(), recording(teacher, ["net.relu2"]) as features:
        teacher(x)
        guess = hints.module(x)
    hint = features["net.relu2"]
    # Better than the mean of the hint, the best that a regressor alone could foretell.
    assert float(F.mse_loss(guess, hint)) < 0.7 * float((hint - hint.mean(0)).square().mean())


def test_both_stages_train_the_student_and_the_regressor_leaves(teacher: nn.Module) -> None:
    student = student_with_norms()
    names = set(student.state_dict())
    done = stages(Hints(guided="2", hint_epochs=1, epochs=1), student, teacher)
    assert all(stage.target is student for stage in done)
    assert [stage.epochs for stage in done] == [1, 1]
    assert set(student.state_dict()) == names


def test_without_epochs_for_hints_this_is_distillation(teacher: nn.Module) -> None:
    one, other = student_with_norms(), student_with_norms()
    (only,) = stages(Hints(hint_epochs=0, guided="2", epochs=2), one, teacher)
    assert only.name == "student/train"
    execute(KD(epochs=2).plan(other, ModelOracle(teacher, KD.access), toy_run("student")), Monitor())
    assert fingerprint(one) == fingerprint(other)


def test_the_middle_taps_are_taken_unless_layers_are_named(teacher: nn.Module) -> None:
    run, oracle = toy_run("student"), ModelOracle(teacher, Access.GREY)
    student = ConvNet(channels=(4, 4), hidden=8).build(toy_dataset().info)
    pair = Hints().pair(student, oracle, run)
    assert (pair.student.name, pair.teacher.name) == ("net.relu1", "net.relu2")
    named = Hints(guided="net.fc1", hint="net.conv3").pair(student, oracle, run)
    assert (named.student.name, named.teacher.name) == ("net.fc1", "net.conv3")


def test_layers_that_do_not_exist_are_refused_on_both_sides(teacher: nn.Module) -> None:
    student = ConvNet(channels=(4, 4), hidden=8).build(toy_dataset().info)
    assert Hints().mismatch(student, teacher) is None
    assert Hints(guided="net.fc1", hint="net.fc2").mismatch(student, teacher) is None
    found = (
        r"^In the option `guided`: the student has no layer `relu1`\. Did you mean `net\.relu1`\? Its taps: net\.relu1"
    )
    with pytest.raises(RequestError, match=found):
        Hints(guided="relu1").mismatch(student, teacher)
    with pytest.raises(
        RequestError, match=r"^In the option `hint`: the teacher has no layer `foo`\. Its taps: net\.relu1"
    ):
        Hints(hint="foo").mismatch(student, teacher)
    assert "the student names no taps" in str(Hints().mismatch(student_with_norms(), teacher))
    assert Hints(guided="2").mismatch(student_with_norms(), teacher) is None
