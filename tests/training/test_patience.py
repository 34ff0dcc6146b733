from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Data
from rcframe.data.images import Batch, Dataset, TensorImages
from rcframe.errors import RequestError
from rcframe.evaluation.oracle import ModelOracle
from rcframe.storage.tree import flatten, unflatten
from rcframe.testing.toys import SHAPE, toy_dataset, toy_images, toy_run, trained_network
from rcframe.training.answers import Answers
from rcframe.training.compute import Compute
from rcframe.training.context import Run
from rcframe.training.loop import execute, train
from rcframe.training.masks import Masks
from rcframe.training.monitor import Monitor
from rcframe.training.observer import Observer
from rcframe.training.patience import Judge, Patience, judge_of
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

#: Ten validation images: five of class 0, three of class 1, two of class 2.
LABELS = torch.tensor([0, 1, 0, 2, 0, 1, 0, 2, 0, 1])


class Always(nn.Module):
    """Says the same class of every image; how loudly tells in which epoch it learned to."""

    def __init__(self) -> None:
        super().__init__()
        self.says = nn.Parameter(torch.zeros(3))
        self.noise = nn.Dropout(0.9)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.noise(self.says).expand(len(x), 3)
        return logits


def says_of(stage: Stage) -> Tensor:
    assert isinstance(stage.target, Always)
    return stage.target.says


def data() -> Dataset:
    return attrs.evolve(toy_dataset(train=8), validation=TensorImages(torch.rand(10, *SHAPE), LABELS))


class Told(Monitor):
    def __init__(self) -> None:
        self.sentences: list[str] = []

    def said(self, text: str) -> None:
        self.sentences.append(text)


def saying(classes: Sequence[int], patience: int, observers: Sequence[Observer] = ()) -> Stage:
    """A stage whose network says, after each epoch, the next of `classes`."""

    def step(stage: Stage, batch: Batch) -> None:
        with torch.no_grad():
            says_of(stage).zero_()
            says_of(stage)[classes[stage.epoch]] = stage.epoch + 1.0
        stage.update(0 * says_of(stage).sum())

    run = toy_run("student", dataset=data())
    training = Training(epochs=len(classes), batch_size=4, patience=patience, optimizer="sgd")
    return training.stage(run, Always(), step, observers=observers)


def trained(stage: Stage) -> tuple[list[float], list[str]]:
    """Return what the network says at the end, and what the user was told."""
    told = Told()
    execute(iter([stage]), told)
    return says_of(stage).tolist(), told.sentences


def test_a_stage_ends_after_so_many_epochs_without_a_better_one_with_the_weights_of_the_best() -> None:
    stage = saying([2, 1, 0, 1, 0, 1, 1, 1], patience=2)
    says, told = trained(stage)
    # As good as the best is no better.
    assert [epoch["validation"] for epoch in stage.history] == [0.2, 0.3, 0.5, 0.3, 0.5]
    assert says == [3.0, 0.0, 0.0]
    assert told == [
        "student/train: ended with epoch 5 of 8, since 2 epochs brought no better validation than 0.5; the weights are "
        "those of epoch 3"
    ]


def test_patience_starts_anew_with_every_better_epoch() -> None:
    stage = saying([2, 2, 1, 1, 0, 0, 0], patience=2)
    says, _ = trained(stage)
    assert len(stage.history) == 7
    assert says == [5.0, 0.0, 0.0]


def test_a_stage_that_had_all_its_epochs_ends_with_the_best_weights_too() -> None:
    says, told = trained(saying([0, 1, 2], patience=5))
    assert says == [1.0, 0.0, 0.0]
    assert told == ["student/train: the weights are those of epoch 1 of 3, with the best validation, 0.5"]
    says, told = trained(saying([2, 1, 0], patience=5))
    assert (says, told) == ([3.0, 0.0, 0.0], [])


def test_without_patience_nothing_is_judged() -> None:
    stage = saying([0, 1, 2], patience=0)
    says, told = trained(stage)
    assert (says, told) == ([0.0, 0.0, 3.0], [])
    assert "validation" not in stage.history[0]
    assert stage.observers == []


def test_a_stage_that_teaches_no_classes_is_not_judged() -> None:
    run = toy_run("student", dataset=data())
    assert Training(patience=2).stage(run, Always(), supervised, judged=False).observers == []


def test_weights_that_a_pruner_holds_at_zero_stay_there_when_the_best_come_back() -> None:
    masks = Masks({"says": torch.tensor([True, True, True])})

    class Later(Observer):
        """Masks a weight from the second epoch on."""

        def epoch_end(self, stage: Stage, epoch: int) -> None:
            masks.alive = {"says": torch.tensor([False, True, True])}

    says, _ = trained(saying([0, 1, 2], patience=5, observers=[masks, Later()]))
    assert says == [0.0, 0.0, 0.0]


def test_training_only_parts_come_back_together_with_the_target() -> None:
    stage = saying([0, 1, 1], patience=5)
    head = nn.Linear(1, 1)
    stage.module = nn.ModuleDict({"target": stage.target, "head": head})
    before, step = head.weight.detach().clone(), stage.step

    def moving(stage: Stage, batch: Batch) -> None:
        step(stage, batch)
        if stage.epoch > 0:
            with torch.no_grad():
                head.weight.add_(1.0)

    stage.step = moving
    trained(stage)
    assert torch.equal(head.weight, before)


# -- judging


def test_a_network_is_judged_in_evaluation_mode_and_left_as_it_was() -> None:
    stage = saying([0], patience=1)
    with torch.no_grad():
        says_of(stage).copy_(torch.tensor([0.0, 2.0, 0.0]))
    stage.target.train()
    torch.manual_seed(3)
    # In training mode, dropout would leave nine of ten out.
    assert judge(stage).count(stage) == 3
    assert stage.target.training
    drawn = torch.rand(3)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(3), drawn)


def judge(stage: Stage) -> Judge:
    (patience,) = stage.observers
    assert isinstance(patience, Patience)
    return patience.judge


def test_processes_count_their_parts_and_decide_by_the_sum() -> None:
    class Numbered(Compute):
        def __init__(self, index: int) -> None:
            super().__init__()
            self.index, self.count = index, 3

    stage = saying([0], patience=1)
    with torch.no_grad():
        says_of(stage).copy_(torch.tensor([2.0, 0.0, 0.0]))
    counts = []
    for index in range(3):
        stage.compute = Numbered(index)
        counts.append(judge(stage).count(stage))
    # Images 0 to 3, 4 to 6, 7 to 9.
    assert counts == [2, 2, 1]


def unlabelled_run(level: Data = Data.INPUTS) -> Run:
    return toy_run("student", level, dataset=toy_dataset(validation=20))


def test_where_labels_are_hidden_the_teachers_top_answers_judge_and_are_asked_once() -> None:
    run, oracle = unlabelled_run(), ModelOracle(trained_network(), Access.LABEL)
    answers = Answers(oracle, run.data.train, Compute())
    found = judge_of(run, {"answers": answers})
    assert found.figure == "agreement"
    stage = Training(epochs=1).stage(run, trained_network("other", 1), supervised)
    x = toy_images(20, 5).first(20).images
    with torch.no_grad():
        alike = int((stage.target.eval()(x).argmax(1) == trained_network()(x).argmax(1)).sum())
    assert [found.count(stage), found.count(stage)] == [alike, alike]
    assert 0 < alike < 20
    assert oracle.queries.images == 20


def test_labels_judge_where_they_may_be_read_even_beside_a_teacher() -> None:
    run = unlabelled_run(Data.LABELLED)
    answers = Answers(ModelOracle(trained_network(), Access.LABEL), run.data.train, Compute())
    assert judge_of(run, {"answers": answers}).teacher is None


def test_who_reads_no_labels_and_keeps_no_answers_cannot_be_judged() -> None:
    with pytest.raises(RequestError, match="leave out the option `patience`, or make its `Answers` a player"):
        judge_of(unlabelled_run(), {})


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (Data.LABELLED, r"none are set aside: .* `--data toy:validation=0\.1`, or leave out the option `patience`"),
        (Data.NONE, r"this method reads no images: leave out the option `patience`"),
    ],
)
def test_patience_without_images_to_judge_on_is_refused(level: Data, words: str) -> None:
    training = Training(patience=3)
    for check in (training.check_run, lambda run: training.stage(run, Always(), supervised)):
        with pytest.raises(RequestError, match=rf"^patience=3 judges every epoch .*{words}"):
            check(toy_run("student", level))
    Training().check_run(toy_run("student", level))


# -- going on


class _Stop(Exception):
    """Ends a run in the middle."""


@pytest.mark.parametrize("stops", [(1, 0), (3, 1), (4, 1)])
def test_a_stage_goes_on_to_the_same_end_from_any_batch(stops: tuple[int, int]) -> None:
    classes = [2, 1, 0, 1, 0, 1, 1, 1]
    whole = saying(classes, patience=2)
    says, told = trained(whole)

    stopped = saying(classes, patience=2)
    step = stopped.step

    def stopping(stage: Stage, batch: Batch) -> None:
        if (stage.epoch, stage.batch) == stops:
            raise _Stop
        step(stage, batch)

    stopped.step = stopping
    stopped.begin()
    with pytest.raises(_Stop):
        train(stopped, Monitor())
    plain, tensors = flatten(stopped.state_dict())
    again = saying(classes, patience=2)
    again.begin()
    again.load_state_dict(unflatten(plain, [tensor.clone() for tensor in tensors]))  # type: ignore[arg-type]
    monitor = Told()
    train(again, monitor)
    assert (says_of(again).tolist(), monitor.sentences) == (says, told)
    assert again.history == whole.history


def test_the_teachers_part_in_judging_is_not_counted_again() -> None:
    run = unlabelled_run()
    first = ModelOracle(trained_network(), Access.LABEL)
    judging = Patience(2, judge_of(run, {"answers": Answers(first, run.data.train, Compute())}))
    stage = Training(epochs=2).stage(run, trained_network("other", 1), supervised)
    judging.measured(stage)
    second = ModelOracle(trained_network(), Access.LABEL)
    again = Patience(2, judge_of(run, {"answers": Answers(second, run.data.train, Compute())}))
    again.load_state_dict(judging.state_dict())
    again.measured(stage)
    assert (first.queries.images, second.queries.images) == (20, 0)


def test_a_finished_stage_keeps_no_second_copy_of_its_weights() -> None:
    stage = saying([2, 1, 0], patience=2)
    trained(stage)
    (kept,) = stage.final_state()["observers"]
    assert kept["weights"] == {}
