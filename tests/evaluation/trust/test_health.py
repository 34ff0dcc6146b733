from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import _global_forward_pre_hooks

from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.evaluation.trust.health import answer_flags, pixel_flags
from rcframe.testing.toys import fingerprint, some_images, trained_network
from tests.evaluation.trust.suspects import AlwaysDropping, Around, BatchStatistics, Hidden, Inline, Noisy, Switching

X = some_images()[0]


def only(module: nn.Module, x: Tensor = X) -> Flag:
    (flag,) = answer_flags("student", module, x)
    return flag


def test_a_steady_network_raises_no_flag_whatever_mode_it_came_in() -> None:
    network = nn.Sequential(trained_network(), nn.Dropout(0.5)).train()
    assert list(answer_flags("student", network, X)) == []
    assert network.training


def test_noise_is_told_with_its_size_and_number() -> None:
    assert only(Noisy(trained_network())).startswith("the student answers 12 of 12 images differently when asked again")
    assert only(AlwaysDropping(trained_network())).kind is Kind.RANDOM


class Tiny(Around):
    """Is off by so little in every second answer."""

    def __init__(self, net: nn.Module, size: float) -> None:
        super().__init__(net)
        self.size, self.calls = size, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.net(x)
        return logits + logits.abs().amax(dim=1, keepdim=True) * self.size * (self.calls % 2)


@pytest.mark.parametrize(("size", "flagged"), [(1e-6, False), (1e-2, True)])
def test_rounding_is_no_noise(size: float, flagged: bool) -> None:
    assert (
        any(flag.kind is Kind.RANDOM for flag in answer_flags("student", Tiny(trained_network(), size), X)) is flagged
    )


def test_answers_that_are_no_numbers_every_time_are_not_called_random() -> None:
    class Broken(Around):
        def forward(self, x: Tensor) -> Tensor:
            return torch.full((len(x), 3), float("nan"))

    assert list(answer_flags("student", Broken(trained_network()), X)) == []


@pytest.mark.parametrize("network", [Switching, Hidden])
def test_layers_in_training_mode_are_named(network: type[Around]) -> None:
    flags = list(answer_flags("student", network(trained_network()), X))
    assert [flag.kind for flag in flags] == [Kind.TRAINING_MODE, Kind.RANDOM]
    assert flags[0].startswith("Dropout of the student computed in training mode")


def test_a_network_that_switches_as_a_whole_names_some_of_its_layers() -> None:
    class Whole(Around):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.train().net(x)
            return logits

    flag = only(Whole(trained_network()))
    assert flag.kind is Kind.TRAINING_MODE
    assert "and others of the student" in flag


def test_layers_made_on_the_way_count_only_if_their_mode_matters() -> None:
    class Dropping(Around):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.net(nn.Dropout(0.2)(x))
            return logits

    assert list(answer_flags("student", Inline(trained_network()), X)) == []
    assert {flag.kind for flag in answer_flags("student", Dropping(trained_network()), X)} == {
        Kind.TRAINING_MODE,
        Kind.RANDOM,
    }


def test_batch_statistics_are_found_even_where_a_batch_of_one_would_fail() -> None:
    flag = only(BatchStatistics(trained_network()))
    assert flag.kind is Kind.BATCH
    assert "of 8 images depend on the other images of the batch" in flag
    flat = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False), nn.Linear(64, 3))
    assert only(flat).kind is Kind.BATCH


def test_running_statistics_are_no_batch_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(1), trained_network()).train()
    network(X)
    assert list(answer_flags("student", network, X)) == []


@pytest.mark.parametrize("network", [Switching, BatchStatistics, Noisy])
def test_the_network_is_left_as_it_was(network: type[Around]) -> None:
    module = network(nn.Sequential(nn.BatchNorm2d(1), trained_network()).train())
    before = fingerprint(module)
    list(answer_flags("student", module, X))
    assert fingerprint(module) == before


def test_nothing_goes_on_listening_to_modules() -> None:
    class Listening(Around):
        def forward(self, x: Tensor) -> Tensor:
            heard.append(len(_global_forward_pre_hooks))
            logits: Tensor = self.net(x)
            return logits

    before, heard = len(_global_forward_pre_hooks), list[int]()
    list(answer_flags("student", Listening(trained_network()), X))
    assert max(heard) == before + 1
    assert len(_global_forward_pre_hooks) == before


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (X, None),
        (X / 255, "were the images divided by 255 twice?"),
        (X * 255, "instead of [0, 1]"),
        (X - 0.5, "instead of [0, 1]"),
        (torch.full_like(X, torch.nan), "instead of [0, 1]"),
    ],
    ids=["right", "dark", "bytes", "shifted", "nan"],
)
def test_the_range_of_pixels_is_held_against_that_of_eps(x: Tensor, words: str | None) -> None:
    flags = list(pixel_flags(x))
    assert len(flags) == (words is not None)
    assert all(flag.kind is Kind.PIXELS and words in flag for flag in flags if words)
