"""Each check catches its fault: a sound strategy passes all of its kind, and each broken one fails where it must."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Component, Data, StudentStrategy, Teacher
from rcframe.data.images import Batch
from rcframe.evaluation.oracle import Oracle
from rcframe.networks.weights import Architecture
from rcframe.options import component
from rcframe.testing.subject import Subject
from rcframe.testing.toys import CLASSES
from rcframe.testing.training_promises import check_student_resumes
from rcframe.training.answers import Answers
from rcframe.training.context import Run
from rcframe.training.distillation import Distillation
from rcframe.training.observer import Observer
from rcframe.training.settings import Training
from rcframe.training.stage import Stage, Stateful
from rcframe.training.steps import supervised

Broken = Callable[[type[Component]], set[str]]
RUNS_AT_ALL = {
    "student_trains",
    "student_repeats",
    "student_resumes",
    "student_keeps_its_forward",
    "student_can_be_built_again",
    "student_leaves_the_teacher_alone",
    "student_can_be_observed",
    "student_asks_no_more_when_it_goes_on",
}


@component
class Honest(Training, StudentStrategy):
    """Matches the teacher's logits through a layer of its own that never leaves, with noise on the images."""

    access = Access.LOGITS
    data = Data.INPUTS

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        head = self.head(run)

        def step(stage: Stage, batch: Batch) -> None:
            x = (batch.images + 0.01 * torch.randn_like(batch.images)).clamp(0, 1)
            wanted = self.ask(teacher, x)
            stage.update(self.weigh(F.mse_loss(head(stage.target(x)), wanted), stage))

        yield self.stage(run, student, step, module=nn.ModuleList([student, head]))

    def head(self, run: Run) -> nn.Module:
        with run.seeded("head"):
            return nn.Linear(CLASSES, CLASSES)

    def ask(self, teacher: Oracle, x: Tensor) -> Tensor:
        return teacher.logits(x)

    def weigh(self, loss: Tensor, stage: Stage) -> Tensor:
        return loss


@component
class Unseeded(Honest):
    """Draws the weights of its layer from whatever the generators hold."""

    def head(self, run: Run) -> nn.Module:
        return nn.Linear(CLASSES, CLASSES)


@component
class Forgetful(Honest):
    """Counts its steps where nobody saves the count."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        steps = 0

        def step(stage: Stage, batch: Batch) -> None:
            nonlocal steps
            steps += 1
            stage.update(F.mse_loss(stage.target(batch.images), teacher.logits(batch.images)) / steps)

        yield self.stage(run, student, step)


@component
class UnsavedPlayer(Honest):
    """Trains its layer with an optimizer that it does not list among the players."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        head = self.head(run)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.01)

        def step(stage: Stage, batch: Batch) -> None:
            wanted = teacher.logits(batch.images)
            stage.update(F.mse_loss(head(stage.target(batch.images)), wanted))
            optimizer.zero_grad()
            F.mse_loss(head(stage.target(batch.images).detach()), wanted).backward()  # type: ignore[no-untyped-call]
            optimizer.step()

        yield self.stage(run, student, step, players={"head": head})


@component
class ChangesTeacher(Honest):
    """Is granted the teacher and fine-tunes it on the way."""

    access = Access.PARAMS

    def ask(self, teacher: Oracle, x: Tensor) -> Tensor:
        network = teacher.module()
        with torch.no_grad():
            network.get_parameter("net.fc2.bias").mul_(0.999)
            wanted: Tensor = network(x)
        return wanted


@component
class WakesTeacher(ChangesTeacher):
    """Leaves the teacher in training mode."""

    def ask(self, teacher: Oracle, x: Tensor) -> Tensor:
        with torch.no_grad():
            wanted: Tensor = teacher.module().train()(x)
        return wanted


@component
class Overreaches(Honest):
    """Declares logits and asks for probabilities."""

    def ask(self, teacher: Oracle, x: Tensor) -> Tensor:
        return teacher.probabilities(x)


@component
class Overdeclares(Honest):
    """Declares features that it never asks for."""

    access = Access.LOGITS | Access.FEATURES


@component
class Peeks(Honest):
    """Declares inputs and reads labels."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        teacher.logits(run.example)
        yield self.stage(run, student, supervised)


@component
class LeavesHooks(Honest):
    """Records activations and does not remove its hook."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        student.register_forward_hook(lambda _m, _i, _o: None)
        yield from super().plan(student, teacher, run)


@component
class KeepsHead(Honest):
    """Puts a layer into the student for good."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        student.add_module("extra", self.head(run))
        yield from super().plan(student, teacher, run)


@component
class SaysTooMuch(Honest):
    """Describes a wider student than it leaves."""

    def becomes(self, trained: Architecture) -> Architecture:
        return attrs.evolve(trained, model="convnet:channels=4+4+8,hidden=17")


@component
class StepsAlone(Honest):
    """Moves the student without `stage.update`."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: Batch) -> None:
            loss = F.mse_loss(stage.target(batch.images), teacher.logits(batch.images))
            gradients = torch.autograd.grad(loss, list(student.parameters()))
            with torch.no_grad():
                for parameter, gradient in zip(student.parameters(), gradients, strict=True):
                    parameter.sub_(0.1 * gradient)

        yield self.stage(run, student, step)


@component
class Idle(Honest):
    """Asks and learns nothing."""

    def weigh(self, loss: Tensor, stage: Stage) -> Tensor:
        return 0 * loss


@component
class Explodes(Honest):
    """Lets the weights run away."""

    def weigh(self, loss: Tensor, stage: Stage) -> Tensor:
        return loss * float("inf")


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        (Honest, set()),
        (Unseeded, {"student_repeats"}),
        (Forgetful, {"student_resumes"}),
        (UnsavedPlayer, {"student_resumes"}),
        (ChangesTeacher, {"student_leaves_the_teacher_alone", "student_repeats", "student_resumes"}),
        (WakesTeacher, {"student_leaves_the_teacher_alone"}),
        (Overreaches, RUNS_AT_ALL),
        (Overdeclares, {"student_needs_what_it_declares"}),
        (Peeks, RUNS_AT_ALL),
        (LeavesHooks, {"student_keeps_its_forward"}),
        (KeepsHead, {"student_keeps_its_forward", "student_can_be_built_again"}),
        (SaysTooMuch, {"student_can_be_built_again"}),
        (StepsAlone, {"student_can_be_observed"}),
        (Idle, {"student_trains"}),
        (Explodes, RUNS_AT_ALL),
    ],
)
def test_students_are_caught(student: type[StudentStrategy], expected: set[str], broken_promises: Broken) -> None:
    assert broken_promises(student) == expected


@component
class Copies(Distillation):
    """Learns what the teacher answers."""

    access = Access.LOGITS

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        answers = self.answers(run, teacher)

        def step(stage: Stage, batch: Batch) -> None:
            logits = stage.target(batch.images)
            loss = F.mse_loss(logits, answers.logits(batch)) + F.cross_entropy(logits, self.labels(answers, batch))
            stage.update(loss)

        yield self.stage(run, student, step, players=self.players(answers))

    def labels(self, answers: Answers, batch: Batch) -> Tensor:
        return answers.labels(batch)

    def players(self, answers: Answers) -> dict[str, Stateful]:
        return {"answers": answers}


@component
class ReadsLabels(Copies):
    """Takes the labels of the batch, which only training images have."""

    def labels(self, answers: Answers, batch: Batch) -> Tensor:
        return batch.labels


@component
class Recounts(Copies):
    """Forgets what it asked for when it is stopped."""

    def players(self, answers: Answers) -> dict[str, Stateful]:
        return {}


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        (Copies, set()),
        (ReadsLabels, {"student_reads_no_labels_elsewhere"}),
        (Recounts, {"student_asks_no_more_when_it_goes_on"}),
    ],
)
def test_students_of_answers_are_caught(
    student: type[StudentStrategy], expected: set[str], broken_promises: Broken
) -> None:
    assert broken_promises(student) == expected


def test_drawing_without_a_seed_is_no_fault_of_resuming(subject: Callable[[type[Component]], Subject]) -> None:
    """A run seeds what a plan draws before its first stage: what resuming is held to does not depend on it."""
    torch.manual_seed(5)
    check_student_resumes(subject(Unseeded))


@component
class Plain(Training, Teacher):
    """Two stages of ordinary training."""

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        yield self.stage(run, network, self.step, name="first")
        yield self.stage(run, network, self.step, name="second")

    def step(self, stage: Stage, batch: Batch) -> None:
        supervised(stage, batch)


@component
class UnseededTeacher(Plain):
    """Builds its network from whatever the generators hold."""

    def network(self, run: Run) -> nn.Module:
        network = super().network(run)
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.1)
        return network


@component
class ForgetfulTeacher(Plain):
    """Remembers on the network, where no state is saved, how long it has trained."""

    def step(self, stage: Stage, batch: Batch) -> None:
        ages = vars(stage.target)
        ages["age"] = ages.get("age", 0) + 1
        stage.update(F.cross_entropy(stage.module(batch.images), batch.labels) / ages["age"])


@component
class IdleTeacher(Plain):
    """Has no stage at all."""

    def plan(self, network: nn.Module, run: Run) -> Iterator[Stage]:
        return iter(())


@component
class WrongClasses(Plain):
    """Brings a network for other data."""

    def network(self, run: Run) -> nn.Module:
        with run.seeded("network"):
            return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES + 1))


@pytest.mark.parametrize(
    ("teacher", "expected"),
    [
        (Plain, set()),
        (UnseededTeacher, {"teacher_repeats"}),
        (ForgetfulTeacher, {"teacher_resumes"}),
        (IdleTeacher, {"teacher_trains"}),
        (WrongClasses, {"teacher_trains"}),
    ],
)
def test_teachers_are_caught(teacher: type[Teacher], expected: set[str], broken_promises: Broken) -> None:
    assert broken_promises(teacher) == expected


@component
class ForgetsAtEpochEnd(Honest):
    """Changes its loss at the end of an epoch through an observer that saves nothing."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        fading = Fading()

        def step(stage: Stage, batch: Batch) -> None:
            wanted = teacher.logits(batch.images)
            stage.update(fading.weight * F.mse_loss(stage.target(batch.images), wanted))

        yield self.stage(run, student, step, observers=[fading])


class Fading(Observer):
    weight = 1.0

    def epoch_end(self, stage: Stage, epoch: int) -> None:
        self.weight *= 0.1


def test_what_moves_at_the_end_of_an_epoch_must_be_saved(broken_promises: Broken) -> None:
    assert broken_promises(ForgetsAtEpochEnd) == {"student_resumes"}


class Held:
    """A player whose state holds something that no file of ours can hold."""

    def state_dict(self) -> dict[str, object]:
        return {"function": len}

    def load_state_dict(self, state_dict: dict[str, object], /) -> None:
        pass


@component
class Unwritable(Honest):
    """Has a player whose state cannot be written down."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        def step(stage: Stage, batch: Batch) -> None:
            stage.update(F.mse_loss(stage.target(batch.images), teacher.logits(batch.images)))

        yield self.stage(run, student, step, players={"held": Held()})


def test_what_moves_must_be_of_a_kind_that_files_hold(broken_promises: Broken) -> None:
    assert broken_promises(Unwritable) == {"student_resumes", "student_asks_no_more_when_it_goes_on"}


@component
class DrawsLater(Honest):
    """Trains twice; the layer of the second stage is drawn after the first, without a seed of its own."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        yield from super().plan(student, teacher, run)
        later = nn.Linear(CLASSES, CLASSES)

        def step(stage: Stage, batch: Batch) -> None:
            stage.update(F.mse_loss(later(stage.target(batch.images)), teacher.logits(batch.images)))

        yield self.stage(run, student, step, module=nn.ModuleList([student, later]))


def test_after_a_stage_every_run_draws_alike_whether_it_trained_the_stage_or_not(broken_promises: Broken) -> None:
    assert broken_promises(DrawsLater) == set()


@component
class UsesLater(Honest):
    """Trains a layer beside its first stage and uses it in its second; nothing keeps it."""

    def plan(self, student: nn.Module, teacher: Oracle, run: Run) -> Iterator[Stage]:
        head = self.head(run)

        def first(stage: Stage, batch: Batch) -> None:
            wanted = teacher.logits(batch.images)
            stage.update(F.mse_loss(stage.target(batch.images), wanted))
            with torch.no_grad():
                head.weight.mul_(0.9)

        def second(stage: Stage, batch: Batch) -> None:
            stage.update(F.mse_loss(head(stage.target(batch.images)), teacher.logits(batch.images)))

        yield self.stage(run, student, first)
        yield self.stage(run, student, second)

    def head(self, run: Run) -> nn.Linear:
        with run.seeded("head"):
            return nn.Linear(CLASSES, CLASSES)


def test_what_a_later_stage_uses_must_be_kept_by_the_stage_that_made_it(broken_promises: Broken) -> None:
    assert broken_promises(UsesLater) == {"student_resumes"}
