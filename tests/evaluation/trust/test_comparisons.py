from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.api import Attack, Norm
from rcframe.data.images import TensorImages
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.comparisons import (
    effort_flags,
    gradient_free_flags,
    large_eps_flags,
    noise_flags,
    single_step_flags,
    transfer_flags,
    weak_attack_flags,
)
from rcframe.evaluation.trust.controls import Climb
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.evaluation.trust.suspect import Suspect
from tests.evaluation.trust.suspects import (
    Ascent,
    Blind,
    Chance,
    Constant,
    Foreign,
    Idle,
    OneStep,
    Quantised,
    hardened,
    plain,
    suspect,
)

Check = Callable[[Suspect], Iterator[Flag]]
CHECKS = [
    noise_flags,
    effort_flags,
    single_step_flags,
    gradient_free_flags,
    transfer_flags,
    weak_attack_flags,
    large_eps_flags,
]


def kinds(check: Check, examined: Suspect) -> list[Kind]:
    return [flag.kind for flag in check(examined)]


class Calm(nn.Module):
    """Right about plain grey images and wrong about all that vary: there is no slope where they are."""

    def __init__(self, most: float = 0.001) -> None:
        super().__init__()
        self.most = most

    def forward(self, x: Tensor) -> Tensor:
        ahead = self.most - (x - 0.5).square().flatten(1).mean(dim=1)
        return torch.stack([ahead, torch.zeros_like(ahead)], dim=1)


def grey(count: int = 100) -> TensorImages:
    return TensorImages(torch.full((count, 1, 4, 4), 0.5), torch.zeros(count, dtype=torch.int64))


def calm(*attacks: Attack, eps: float = 0.1, norm: Norm = "linf", most: float = 0.001) -> Suspect:
    return suspect(Calm(most), *attacks, threat=Threat(eps, norm), images=grey(), other=Calm())


# -- noise ------------------------------------------------------------------------------------------------------------


def test_noise_that_breaks_what_an_attack_could_not_is_told_with_numbers() -> None:
    (flag,) = noise_flags(calm(Ascent()))
    assert flag.kind is Kind.NOISE
    assert flag == (
        "random noise (16 draws) broke 64 of 64 images of the student that withstood ascent, worth about 100 points of "
        "accuracy: the attacks find less than chance"
    )


def test_noise_within_what_the_network_bears_is_no_reason() -> None:
    assert kinds(noise_flags, calm(Ascent(), most=0.02)) == []


def test_noise_in_l2_is_as_long_as_eps() -> None:
    """The mean square over 16 pixels is eps squared over 16."""
    assert kinds(noise_flags, calm(Ascent(), eps=0.2, norm="l2", most=0.04 / 16 - 1e-4)) == [Kind.NOISE]
    assert kinds(noise_flags, calm(Ascent(), eps=0.2, norm="l2", most=0.04 / 16 + 1e-4)) == []


def test_a_run_of_noise_alone_is_not_held_against_noise() -> None:
    assert kinds(noise_flags, calm(Chance(), most=0.01)) == []


@pytest.mark.parametrize("attacks", [(Foreign(),), (Foreign(), Chance())], ids=len)
def test_a_run_that_never_asked_the_network_is_not_held_against_noise(attacks: tuple[Attack, ...]) -> None:
    examined = calm(*attacks)
    # As if the noise of the run had found nothing either.
    examined.findings.attacked.update(dict.fromkeys(examined.attacks, examined.findings.clean))
    assert kinds(noise_flags, examined) == []
    assert kinds(noise_flags, calm(Foreign(), Blind())) == [Kind.NOISE]


class Halves(Calm):
    """As calm as its first pixel allows: half of the images bear nothing, the others everything."""

    def forward(self, x: Tensor) -> Tensor:
        inner = x[:, :, 1:]
        ahead = torch.where(x[:, 0, 0, 0] > 0.5, 1.0, self.most) - (inner - 0.5).square().flatten(1).mean(dim=1)
        return torch.stack([ahead, torch.zeros_like(ahead)], dim=1)


def halves() -> TensorImages:
    images = grey()
    images.x[::2, 0, 0, 0], images.x[1::2, 0, 0, 0] = 0.0, 1.0
    return images


def test_an_attack_that_breaks_no_more_than_noise_does_is_found_out() -> None:
    examined = suspect(Halves(), Idle(), threat=Threat(0.1), images=halves(), other=Calm())
    examined.findings.attacked["idle"] = torch.arange(100) % 2 == 1
    (flag,) = noise_flags(examined)
    assert "broke 50 of 50 images of the student that idle broke" in flag


@pytest.mark.parametrize("left", [0, 19, 20])
def test_noise_may_break_everything_where_nearly_nothing_withstands(left: int) -> None:
    examined = suspect(Halves(), Idle(), threat=Threat(0.1), images=halves(), other=Calm())
    withstands = torch.zeros(100, dtype=torch.bool)
    withstands[1 : 2 * left : 2] = True
    examined.findings.attacked["idle"] = withstands
    # Of the 100 - left broken ones 50 fall to noise, which is 90% only where the others are not right to begin with.
    examined.findings.clean = withstands | (torch.arange(100) % 2 == 0)
    assert bool(kinds(noise_flags, examined)) is (left >= 13)


# -- effort -----------------------------------------------------------------------------------------------------------


def test_an_attack_that_had_not_converged_is_told_so_and_with_how_much_more_effort() -> None:
    (flag,) = effort_flags(suspect(plain(), Ascent(stride=0.5), threat=Threat(0.25)))
    assert flag.kind is Kind.MORE_EFFORT
    assert flag.startswith("with more effort (steps 40 instead of 20, stride 1.0 instead of 0.5), ascent broke ")
    assert "of 32 images of the student that withstood ascent, worth about " in flag
    assert flag.endswith(": it had not converged; give it more until its figure stops falling")


def test_a_stronger_form_of_another_class_is_not_compared_option_by_option() -> None:
    @rc.component
    class Weak(Idle):
        def stronger(self) -> Attack:
            return Climb()

    (flag,) = effort_flags(suspect(plain(), Weak(), threat=Threat(0.25)))
    assert flag.startswith("with more effort, weak broke ")


def test_an_attack_that_was_done_is_not() -> None:
    assert kinds(effort_flags, suspect(plain(), Ascent())) == []
    assert kinds(effort_flags, suspect(plain(), Idle())) == []


def test_a_weak_attack_beside_a_done_one_takes_nothing_from_the_worst_case() -> None:
    strong = Idle()
    examined = suspect(plain(), Ascent(stride=0.5), strong)
    examined.findings.attacked["idle"] = suspect(plain(), Ascent()).findings.attacked["ascent"]
    assert kinds(effort_flags, examined) == []


# -- controls against iterated attacks --------------------------------------------------------------------------------


def test_an_iterated_attack_that_finds_nothing_is_beaten_by_one_step() -> None:
    (flag,) = single_step_flags(suspect(plain(), Idle(), threat=Threat(0.25)))
    assert flag.kind is Kind.SINGLE_STEP
    assert flag.startswith("one gradient step of length eps broke ")


def test_a_random_search_sees_through_quantised_inputs() -> None:
    network = Quantised(plain())
    (flag,) = gradient_free_flags(suspect(network, Ascent(), threat=Threat(0.25)))
    assert flag.kind is Kind.GRADIENT_FREE
    assert flag.startswith("a random search without gradients (100 tries) broke ")
    assert kinds(single_step_flags, suspect(network, Ascent(), threat=Threat(0.25))) == []


def test_images_from_the_other_network_see_through_them_too() -> None:
    (flag,) = transfer_flags(suspect(Quantised(plain()), Ascent(), threat=Threat(0.3), other=plain()))
    assert flag.kind is Kind.TRANSFER
    assert flag.startswith("10 gradient steps on the teacher instead broke ")


@pytest.mark.parametrize("check", [single_step_flags, gradient_free_flags, transfer_flags])
def test_what_more_effort_finds_too_is_not_laid_to_the_gradients(check: Check) -> None:
    """The short attack misses what these find, but its longer form does not."""
    examined = suspect(plain(), Ascent(stride=0.5), threat=Threat(0.2), other=plain())
    assert kinds(effort_flags, examined) == [Kind.MORE_EFFORT]
    assert kinds(check, examined) == []


@pytest.mark.parametrize("check", [single_step_flags, gradient_free_flags, transfer_flags])
@pytest.mark.parametrize("attack", [OneStep(), Blind(), Chance(), Foreign()], ids=str)
def test_without_an_iterated_attack_there_is_nothing_to_be_weaker_than(check: Check, attack: Attack) -> None:
    assert kinds(check, suspect(Quantised(plain()), attack, threat=Threat(0.3), other=plain())) == []


# -- weak attacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [Blind(), Chance(), Foreign()], ids=str)
def test_what_an_iterated_attack_would_have_found_is_told(attack: Attack) -> None:
    (flag,) = weak_attack_flags(suspect(plain(), attack, threat=Threat(0.25)))
    assert flag.kind is Kind.WEAK_ATTACKS
    assert flag.startswith("no iterated gradient attack on the student itself was run: 20 gradient steps broke ")
    assert f"images that withstood {type(attack).__name__.lower()}, worth about" in flag


def test_a_single_step_alone_is_fine_where_more_would_find_nothing() -> None:
    assert kinds(weak_attack_flags, suspect(hardened(), OneStep(), threat=Threat(0.05))) == []


def test_an_iterated_attack_however_weak_has_other_flags() -> None:
    assert kinds(weak_attack_flags, suspect(plain(), Idle(), threat=Threat(0.25))) == []


# -- large eps --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("norm", "eps"), [("linf", "0.5"), ("l2", "4")])
def test_what_no_gradient_moves_withstands_what_nothing_can(norm: Norm, eps: str) -> None:
    (flag,) = large_eps_flags(suspect(Quantised(plain()), Ascent(), threat=Threat(0.1, norm)))
    assert flag.kind is Kind.LARGE_EPS
    assert flag.startswith(f"32 of 32 images of the student withstand even an eps of {eps}, where")


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("network", [plain, hardened])
def test_a_network_that_can_be_climbed_withstands_nothing(network: Callable[[], nn.Module], norm: Norm) -> None:
    assert kinds(large_eps_flags, suspect(network(), Idle(), threat=Threat(0.01, norm))) == []


def test_one_class_may_withstand_everything() -> None:
    assert kinds(large_eps_flags, suspect(Constant(plain()), Idle())) == []


def test_an_attack_of_the_run_that_finds_its_way_counts() -> None:
    """No gradient leads there, but this one knows where plain grey is."""

    class Grey(Idle):
        def craft(self, source: object, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
            return torch.full_like(x, 0.5)

    assert kinds(large_eps_flags, suspect(Quantised(plain()), Grey(), threat=Threat(0.1))) == []


# -- all --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", CHECKS)
def test_a_network_that_is_never_right_raises_no_flag(check: Check) -> None:
    examined = suspect(plain(), Idle())
    examined.findings.clean[:] = False
    examined.findings.attacked["idle"][:] = False
    assert kinds(check, examined) == []
