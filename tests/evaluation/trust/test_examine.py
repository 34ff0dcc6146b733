from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import attrs
import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.api import Attack, Norm
from rcframe.data.images import TensorImages
from rcframe.evaluation.flags import trust_flags
from rcframe.evaluation.threat import Threat
from rcframe.evaluation.trust.controls import Climb
from rcframe.evaluation.trust.examine import Examination, examine
from rcframe.evaluation.trust.flag import Flag, Kind
from rcframe.evaluation.trust.suspect import Suspect
from rcframe.storage.keeper import Keeper, Work
from rcframe.storage.tree import flatten, unflatten
from rcframe.testing.toys import fingerprint, toy_images
from tests.evaluation.trust.suspects import (
    COUNT,
    AlwaysDropping,
    Ascent,
    BatchStatistics,
    Chance,
    Constant,
    Decided,
    Entropic,
    Hidden,
    Idle,
    Inline,
    Noisy,
    OneStep,
    Quantised,
    Saturated,
    Switching,
    hardened,
    plain,
    suspect,
)


def kinds(examined: Suspect) -> set[Kind]:
    return {flag.kind for flag in examine(examined)}


# -- networks that are what they seem ---------------------------------------------------------------------------------


@pytest.mark.parametrize("network", [plain, hardened])
@pytest.mark.parametrize("attack", [(Ascent(),), (Ascent(), OneStep(), Chance())], ids=len)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.05), ("linf", 0.2), ("l2", 0.5), ("l2", 1.0)])
def test_sound_networks_raise_no_flag(network: type, attack: tuple[Attack, ...], norm: Norm, eps: float) -> None:
    if norm == "l2":
        attack = tuple(each for each in attack if isinstance(each, Ascent))
    examined = suspect(network(), *attack, threat=Threat(eps, norm))
    assert [*trust_flags("student", examined.findings, examined.attacks), *examine(examined)] == []


def test_the_two_sound_networks_are_as_different_as_they_should_be() -> None:
    of_plain, of_hardened = (suspect(network, Ascent()).findings for network in (plain(), hardened()))
    assert int(of_plain.clean.sum()) > 0.95 * COUNT
    assert int(of_hardened.clean.sum()) > 0.95 * COUNT
    assert 0.2 * COUNT < int(of_plain.attacked["ascent"].sum()) < 0.7 * COUNT
    assert int(of_hardened.attacked["ascent"].sum()) > 0.9 * COUNT


def test_a_layer_whose_mode_does_not_matter_raises_no_flag() -> None:
    assert kinds(suspect(Inline(plain()), Ascent())) == set()


# -- networks that are not --------------------------------------------------------------------------------------------


def test_quantised_inputs_are_found_out() -> None:
    """Nothing can be climbed, but the network is no better: whatever does without its gradients says so."""
    found = kinds(suspect(Quantised(plain()), Climb(), threat=Threat(0.25), other=plain()))
    assert found == {Kind.NO_GRADIENT, Kind.GRADIENT_FREE, Kind.TRANSFER, Kind.LARGE_EPS}


def test_a_layer_that_cannot_be_differentiated_is_found_out() -> None:
    found = kinds(suspect(Decided(plain()), Climb(), threat=Threat(0.25), other=plain()))
    assert found == {Kind.NO_GRADIENT, Kind.TRANSFER, Kind.LARGE_EPS}


def test_a_saturated_softmax_is_found_out_where_the_attack_climbed_cross_entropy() -> None:
    found = kinds(suspect(Saturated(plain()), Entropic()))
    assert found >= {Kind.SATURATED, Kind.SINGLE_STEP, Kind.GRADIENT_FREE}
    assert Kind.NO_GRADIENT not in found
    assert Kind.LARGE_EPS not in found


def test_a_saturated_softmax_does_no_harm_to_an_attack_that_climbed_differences_of_logits() -> None:
    assert kinds(suspect(Saturated(plain()), Climb())) == set()


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Noisy, {Kind.RANDOM}),
        (AlwaysDropping, {Kind.RANDOM}),
        (Switching, {Kind.TRAINING_MODE, Kind.RANDOM}),
        (Hidden, {Kind.TRAINING_MODE, Kind.RANDOM}),
        (BatchStatistics, {Kind.BATCH}),
    ],
)
def test_a_network_that_changes_its_answers_is_examined_no_further(
    network: type[nn.Module], expected: set[Kind]
) -> None:
    assert kinds(suspect(network(plain()), Idle())) == expected


def test_a_network_that_always_answers_the_same_withstands_large_eps_honestly() -> None:
    """Plain grey has the same class as before: only the gradient is missing."""
    assert kinds(suspect(Constant(plain()), Climb())) == {Kind.NO_GRADIENT}


def test_pixels_that_were_scaled_twice_are_found_out() -> None:
    batch = toy_images(60, 3).first(60)
    images = TensorImages(batch.images / 255, batch.labels)
    assert kinds(suspect(plain(), Climb(), images=images)) == {Kind.PIXELS}


# -- when nothing is examined, or cannot be ---------------------------------------------------------------------------


def test_without_attacks_nothing_is_examined() -> None:
    assert kinds(suspect(Noisy(plain()))) == set()
    assert kinds(suspect(Noisy(plain()), Climb(), threat=Threat(0.0))) == set()


@rc.component
class Fails(Attack):
    """Has a stronger form that cannot be carried out."""

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return Climb().craft(source, x, y, threat)

    def stronger(self) -> Attack:
        raise rc.RequestError("There is nothing stronger.\nReally.")


def test_a_check_that_fails_is_named_and_costs_nothing_else() -> None:
    found = list(examine(suspect(Quantised(plain()), Fails())))
    assert {flag.kind for flag in found} >= {Kind.UNCHECKED, Kind.NO_GRADIENT, Kind.LARGE_EPS}
    unchecked = [flag for flag in found if flag.kind is Kind.UNCHECKED]
    assert unchecked[0] == (
        "whether more effort is of no use was not checked for the student: RequestError: There is nothing stronger."
    )


# -- promises to a run ------------------------------------------------------------------------------------------------


def test_the_same_examination_ends_the_same_and_leaves_everything_as_it_was() -> None:
    network = Quantised(plain())
    before, drawn = fingerprint(network), torch.get_rng_state()
    first, again = (list(examine(suspect(network, Climb(), threat=Threat(0.25)))) for _ in range(2))
    assert first == again != []
    assert fingerprint(network) == before
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), drawn)


class Counting(nn.Module):
    """Counts the images it is asked about."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.asked = net, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        logits: Tensor = self.net(x)
        return logits


def test_the_questions_are_bounded_however_many_images_were_measured() -> None:
    """docs/trust.md states the number; the attack's own stronger form comes on top."""
    network = Counting(hardened())
    examined = suspect(network, Idle(), threat=Threat(0.05), images=toy_images(1000, 3))
    network.asked = 0
    list(examine(examined))
    assert 2000 < network.asked < 9000


@attrs.define
class Memory(Keeper):
    """Keeps one piece of work, through the form that files have."""

    kept: tuple[object, list[Tensor]] | None = None

    @contextmanager
    def keeping(self, work: Work) -> Iterator[bool]:
        if self.kept is not None:
            work.load_state_dict(cast("Mapping[str, object]", unflatten(*self.kept)))
            yield True
        else:
            yield False
            work.check()
            self.kept = flatten(work.final_state())


def test_an_examination_is_kept_and_not_done_twice() -> None:
    network, memory = Counting(Quantised(plain())), Memory()
    examined = suspect(network, Climb())
    first = Examination("student: trust", {"attack": "climb"}).carry_out(examined, memory)
    network.asked = 0
    again = Examination("student: trust", {"attack": "climb"}).carry_out(examined, memory)
    assert network.asked == 0
    assert again == first != ()
    assert [flag.kind for flag in again] == [flag.kind for flag in first]
    assert all(isinstance(flag, Flag) for flag in again)


def test_an_examination_is_determined_by_its_name_and_what_it_is_told() -> None:
    assert Examination("student: trust", {"attack": "climb"}).identity() == {
        "name": "student: trust",
        "attack": "climb",
    }
    assert Examination("student: trust", None).identity() is None


def test_an_examination_is_determined_by_all_parts_in_their_order() -> None:
    one, other = {"attack": "climb", "threat": "linf 0.1"}, {"attack": "step", "threat": "linf 0.1"}
    identities = [Examination.of("student", parts).identity() for parts in ([one], [one, other], [other, one])]
    assert all(identity and identity["name"] == "student: trust" for identity in identities)
    assert len({str(identity) for identity in identities}) == 3
    assert Examination.of("student", [dict(reversed(one.items()))]).identity() == identities[0]
    assert Examination.of("student", [one, None]).identity() is None
