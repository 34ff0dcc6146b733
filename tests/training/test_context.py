from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
from torch import Tensor, nn

from rcframe.api import Attack, Data
from rcframe.data.batches import NoData
from rcframe.data.images import Dataset, Images, TensorImages
from rcframe.errors import AccessDenied, RequestError
from rcframe.networks.size import size_of
from rcframe.networks.surgery import PruningReport
from rcframe.testing.toys import fingerprint, toy_dataset, toy_images, toy_run
from rcframe.training.context import Run, TrainingData


def full() -> Dataset:
    return attrs.evolve(toy_dataset(), validation=toy_images(6, 4), extra=toy_images(9, 5), augment=("flip",))


def labels_of(images: Images) -> Tensor | None:
    fetched = images.first(4)
    assert fetched.x is not None
    assert (fetched.y is None) == (images.labels is None)
    return fetched.y


def test_a_method_that_declared_labels_reads_images_with_labels() -> None:
    data = TrainingData(full(), Data.LABELLED)
    assert data.validation is not None
    assert labels_of(data.train) is not None
    assert labels_of(data.validation) is not None
    assert data.augment == ("flip",)


def test_labels_of_extra_images_are_never_read() -> None:
    assert labels_of(full().extra or toy_images(1, 1)) is not None
    for level in (Data.LABELLED, Data.INPUTS):
        extra = TrainingData(full(), level).extra
        assert extra is not None
        assert labels_of(extra) is None
        assert len(extra) == 9


def test_a_method_that_declared_inputs_sees_no_label_anywhere() -> None:
    data, run = TrainingData(full(), Data.INPUTS), toy_run("student", Data.INPUTS)
    assert data.validation is not None
    assert labels_of(data.train) is None
    assert labels_of(data.validation) is None
    assert torch.equal(data.train.first(9).images, full().train.first(9).images)
    for batch in run.batches(16, "stage").epoch(0):
        assert batch.y is None
        with pytest.raises(AssertionError, match=r"did not declare `data = Data\.LABELLED`"):
            _ = batch.labels


@pytest.mark.parametrize("split", [lambda d: d.train, lambda d: d.validation, lambda d: d.extra])
def test_a_method_that_declared_nothing_reads_no_image(split: Callable[[TrainingData], object]) -> None:
    with pytest.raises(AccessDenied, match=r"declared `data = Data\.NONE`"):
        split(TrainingData(full(), Data.NONE))


def test_a_method_that_declared_nothing_gets_empty_batches_and_may_bring_its_own_images() -> None:
    run = toy_run("student", Data.NONE)
    (batch,) = run.batches(16, "stage").epoch(0)
    assert isinstance(run.batches(16, "stage"), NoData)
    assert batch.x is None
    assert batch.y is None
    made = run.batches(4, "stage", TensorImages(torch.zeros(8, 1, 8, 8)))
    assert [len(batch.images) for batch in made.epoch(0)] == [4, 4]


def test_splits_that_are_not_there_are_none() -> None:
    data = TrainingData(toy_dataset(), Data.LABELLED)
    assert data.validation is None
    assert data.extra is None


def test_nothing_public_leads_past_the_level_of_the_data() -> None:
    run = toy_run("student", Data.INPUTS)
    reachable = [getattr(run, name) for name in dir(run) if not name.startswith("_")]
    assert not any(isinstance(thing, Dataset) for thing in reachable)


def weights(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_networks_of_one_name_start_equal_and_others_differ() -> None:
    run = toy_run("teacher")
    first = weights(run.network("teacher"))
    torch.manual_seed(123)
    assert torch.equal(weights(run.network("teacher")), first)
    assert torch.equal(weights(toy_run("student").network("teacher")), first)
    assert not torch.equal(weights(run.network("student")), first)
    assert not torch.equal(weights(toy_run("teacher", seed=1).network("teacher")), first)


def test_building_a_network_disturbs_no_generator() -> None:
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    toy_run("teacher").network("teacher")
    assert torch.equal(torch.rand(2), expected)


def test_another_model_can_be_asked_for_by_its_spec() -> None:
    network = toy_run("teacher").network("critic", "mlp:hidden=5")
    assert size_of(network).parameters == 64 * 5 + 5 + 5 * 3 + 3


def test_members_draw_everything_from_seeds_of_their_own_that_no_other_run_has() -> None:
    runs = [toy_run("teacher", seed=seed) for seed in (0, 1)]
    members = [run.member(name) for run in runs for name in ("one", "two")]
    assert len({run.seed for run in (*runs, *members)}) == 6
    assert len({fingerprint(run.network("teacher")) for run in (*runs, *members)}) == 6
    again = toy_run("teacher").member("two")
    assert fingerprint(again.network("teacher")) == fingerprint(members[1].network("teacher"))


def test_members_may_have_a_model_of_their_own_and_names_of_stages_stay_unique() -> None:
    run = toy_run("teacher")
    one, two = run.member("one"), run.member("two", "mlp:hidden=5")
    assert one.model == run.model
    assert two.network("teacher").get_parameter("net.fc1.weight").shape[0] == 5
    assert [each.stage_name("train") for each in (one, two, run)] == [
        "teacher/train",
        "teacher/train-2",
        "teacher/train-3",
    ]


def test_parts_outside_stages_draw_from_seed_role_and_name() -> None:
    def drawn(run: Run, name: str) -> float:
        with run.seeded(name):
            return float(torch.rand(()))

    first = drawn(toy_run("student"), "head")
    torch.manual_seed(4)
    assert drawn(toy_run("student"), "head") == first
    others = [
        drawn(toy_run("student"), "tail"),
        drawn(toy_run("teacher"), "head"),
        drawn(toy_run("student", seed=1), "head"),
    ]
    assert len({first, *others}) == 4


def test_components_are_made_from_spec_strings() -> None:
    attack = toy_run("student").make(Attack, "pgd:steps=3")  # type: ignore[type-abstract]  # any attack
    assert vars(attack)["steps"] == 3
    with pytest.raises(RequestError, match="No attack named `pdg`"):
        toy_run("student").make(Attack, "pdg")  # type: ignore[type-abstract]


def test_orders_depend_on_seed_stage_and_epoch_alone() -> None:
    def order(seed: int, stage: str, epoch: int) -> list[float]:
        batches = toy_run("student", seed=seed).batches(16, stage)
        return [float(x) for batch in batches.epoch(epoch) for x in batch.images.mean(dim=(1, 2, 3))]

    first = order(0, "a", 0)
    torch.manual_seed(9)
    assert order(0, "a", 0) == first
    for other in (order(1, "a", 0), order(0, "b", 0), order(0, "a", 1)):
        assert other != first
        assert sorted(other) == sorted(first)


def test_training_batches_are_augmented_as_the_data_says() -> None:
    run = attrs.evolve(toy_run("student"), dataset=attrs.evolve(toy_dataset(), augment=("flip",)))
    plain = next(toy_run("student").batches(64, "a").epoch(0)).images
    flipped = next(run.batches(64, "a").epoch(0)).images
    mirrored = [torch.equal(ours, theirs.flip(-1)) for ours, theirs in zip(flipped, plain, strict=True)]
    same = [torch.equal(ours, theirs) for ours, theirs in zip(flipped, plain, strict=True)]
    assert any(mirrored)
    assert any(same)
    assert all(a or b for a, b in zip(mirrored, same, strict=True))


def test_a_view_at_another_level_is_the_same_run() -> None:
    run = toy_run("student")
    view = run.reading(Data.INPUTS)
    assert view.level is Data.INPUTS
    assert run.level is Data.LABELLED
    assert run.stage_name("train") == "student/train"
    assert view.stage_name("train") == "student/train-2"
    network = nn.Linear(1, 1)
    view.pruned.append(PruningReport.of(network, network, {}))
    assert len(run.pruned) == 1


def test_the_example_is_two_blank_images() -> None:
    assert torch.equal(toy_run("student").example, torch.zeros(2, 1, 8, 8))
    assert toy_run("student").info.name == "toy"
