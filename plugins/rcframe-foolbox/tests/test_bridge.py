from __future__ import annotations

import logging
import warnings

import foolbox
import foolbox.attacks as theirs
import pytest
import torch
from rcframe_foolbox.arguments import arguments_of
from rcframe_foolbox.bridge import Foolbox
from rcframe_foolbox.names import TheirClass, their_classes
from rcframe_foolbox.traits import why_not
from torch import Tensor, nn

from rcframe import Access, Attack, Norm, Queries, RequestError, RunFailed, Threat
from rcframe.evaluation.crafting import Faults, attack_batch
from rcframe.evaluation.evaluate import predict
from rcframe.training.randomness import seeded

Labelled = tuple[Tensor, Tensor]
EPS: dict[Norm, float] = {"linf": 0.2, "l2": 1.2}
#: What makes an attack quick, where it has it.
FEW = {"steps": 4, "repeats": 3, "directions": 5, "initial_gradient_eval_steps": 4, "binary_search_steps": 2}
ALL = sorted({cls.__name__: cls for cls in their_classes().values()}.items())


def quick(cls: TheirClass) -> tuple[str, ...]:
    return tuple(f"{name}:{value}" for name, value in FEW.items() if name in arguments_of(cls))


class Counting(nn.Module):
    """A network that counts what it is asked."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net, self.asked, self.with_gradient = net, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += len(x)
        self.with_gradient += len(x) if x.requires_grad else 0
        logits: Tensor = self.net(x)
        return logits


@pytest.mark.parametrize(("name", "cls"), ALL, ids=[name for name, _ in ALL])
def test_every_attack_stays_in_the_threat_and_asks_no_more_than_it_says_or_is_refused(
    name: str, cls: TheirClass, network: nn.Module, images: Labelled
) -> None:
    if why_not(cls):
        with pytest.raises(RequestError, match=f"`{name}` cannot be used here: it "):
            Foolbox(attack=name, options=quick(cls))
        return
    attack = Foolbox(attack=name, options=quick(cls))
    x, y = images[0][:6], images[1][:6]
    for norm in attack.norms:
        # What a few steps find of the nearest image may be far away, and then counts for nothing within a small eps.
        eps = EPS[norm] * (20 if attack.nearest else 1)
        net, queries, threat = Counting(network), Queries(), Threat(eps, norm)
        with seeded(0):
            found = attack_batch(attack, net, x, y, threat, queries)
        assert float(threat.distance(found, x).max()) <= threat.eps * (1 + 1e-5)
        assert not torch.equal(found, x) or not attack.iterated or attack.access == Access.LABEL
        assert (queries.images, queries.gradient_images) == (net.asked, net.with_gradient)
        assert (queries.images > 0) == (attack.access != Access.NONE)
        assert (queries.gradient_images > 0) == (Access.INPUT_GRAD in attack.access)


@pytest.mark.parametrize(
    ("name", "options", "plain"),
    [
        ("LinfPGD", ("random_start:false", "steps:10"), theirs.LinfPGD(random_start=False, steps=10)),
        ("L2PGD", ("random_start:false",), theirs.L2PGD(random_start=False)),
        ("FGSM", (), theirs.FGSM()),
        ("FGM", (), theirs.FGM()),
        ("MIFGSM", (), theirs.MIFGSM()),
    ],
)
def test_images_are_those_of_foolbox_alone(
    name: str, options: tuple[str, ...], plain: theirs.Attack, network: nn.Module, images: Labelled
) -> None:
    x, y = images
    attack = Foolbox(attack=name, options=options)
    (norm,) = attack.norms
    model = foolbox.models.PyTorchModel(network, bounds=(0, 1), device="cpu")
    _, expected, _ = plain(model, x, y, epsilons=EPS[norm])
    found = attack(network, x, y, eps=EPS[norm], norm=norm)
    assert not torch.equal(found, x)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["L2DeepFoolAttack", "LinfDeepFoolAttack", "DDNAttack"])
def test_nearest_images_are_those_of_foolbox_without_a_limit(name: str, network: nn.Module, images: Labelled) -> None:
    right = predict(network, images[0]) == images[1]
    x, y = images[0][right], images[1][right]
    attack = Foolbox(attack=name)
    (norm,) = attack.norms
    model = foolbox.models.PyTorchModel(network, bounds=(0, 1), device="cpu")
    expected, _, _ = their_classes()[name]()(model, x, y, epsilons=None)
    assert attack.nearest
    found = attack(network, x, y, eps=1 if norm == "linf" else 9, norm=norm)
    assert torch.allclose(found, expected, atol=1e-5)


def test_images_that_are_wrong_already_are_nearest_to_themselves(network: nn.Module, images: Labelled) -> None:
    x, y = images[0], (images[1] + 1) % 3
    wrong = predict(network, x) != y
    assert bool(wrong.any())
    for name in ("L2DeepFoolAttack", "BoundaryAttack"):
        cls = their_classes()[name]
        found = Foolbox(attack=name, options=quick(cls))(network, x, y, eps=3, norm="l2")
        assert torch.equal(found[wrong], x[wrong])


def test_nothing_is_looked_for_where_all_is_wrong(network: nn.Module, images: Labelled) -> None:
    x, queries = images[0], Queries()
    y = (predict(network, x) + 1) % 3
    attack_batch(Foolbox(attack="L2DeepFoolAttack"), network, x, y, Threat(1, "l2"), queries)
    assert queries == Queries(len(x), 0, 1)


class DarkCorner(nn.Module):
    """Class 0 where the first pixel is bright, else class 1."""

    def forward(self, x: Tensor) -> Tensor:
        corner = x[:, 0, 0, 0]
        return torch.stack([corner, torch.full_like(corner, 0.8)], dim=1)


@pytest.mark.parametrize(("name", "norm"), [("BoundaryAttack", "l2"), ("HopSkipJumpAttack", "linf")])
def test_where_no_start_is_found_the_other_images_are_attacked_all_the_same(name: str, norm: Norm) -> None:
    x, y = torch.full((3, 1, 8, 8), 0.5), torch.tensor([0, 0, 1])
    # The negative of the last image is no brighter than 0.7.
    x[:, 0, 0, 0] = torch.tensor([0.9, 0.95, 0.3])
    attack = Foolbox(attack=name, options=(*quick(their_classes()[name]), "init_attack:InversionAttack"))
    found = attack(DarkCorner(), x, y, eps=8 if norm == "l2" else 1, norm=norm)
    assert predict(DarkCorner(), found).tolist() == [1, 1, 1]
    assert torch.equal(found[2], x[2])


def test_a_better_armed_start_is_declared() -> None:
    assert Foolbox(attack="BoundaryAttack").access == Access.LABEL
    armed = Foolbox(attack="BoundaryAttack", options=("init_attack:L2DeepFool", "steps:2"))
    assert armed.access == Access.LABEL | Access.LOGITS | Access.INPUT_GRAD


def test_an_attack_that_needs_a_target_gets_the_likeliest_other_class() -> None:
    class Bias(nn.Module):
        """Likes class 2 second best, and 0 where the first pixel is dark."""

        def forward(self, x: Tensor) -> Tensor:
            pixel = x.flatten(1)[:, :1]
            return torch.cat([2.5 - pixel, pixel * 0, pixel + 1], dim=1)

    x, y = torch.full((4, 1, 2, 2), 0.5), torch.zeros(4, dtype=torch.int64)
    with seeded(0):
        found = Foolbox(attack="GenAttack", options=("steps:40",))(Bias(), x, y, eps=0.4)
    assert predict(Bias(), found).tolist() == [2] * 4


def test_what_leaves_the_ball_is_moved_back_and_counted(network: nn.Module, images: Labelled) -> None:
    # foolbox scales this noise by its largest entry, not by the largest absolute one.
    faults = Faults()
    with seeded(0):
        attack_batch(Foolbox(attack="LinfAdditiveUniformNoiseAttack"), network, *images, Threat(0.1), faults=faults)
    assert faults.outside > 0


def test_the_screen_and_the_log_of_the_process_stay_as_they_were(
    network: nn.Module, images: Labelled, capfd: pytest.CaptureFixture[str]
) -> None:
    handlers = list(logging.getLogger().handlers)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        Foolbox(attack="HopSkipJumpAttack", options=("steps:1",))(network, *images, eps=1, norm="l2")
    assert not heard
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")


def test_when_foolbox_gives_up_the_user_reads_a_sentence(network: nn.Module, images: Labelled) -> None:
    with pytest.raises(RunFailed, match=r"foolbox's `L2DeepFoolAttack` gave up on 24 images: .* Choose other options"):
        Foolbox(attack="L2DeepFoolAttack", options=("candidates:1",))(network, *images, eps=1, norm="l2")


@pytest.mark.parametrize(
    ("attack", "options"),
    [
        (Foolbox(), ("steps:80",)),
        (Foolbox(options=("steps:5", "random_start:false")), ("random_start:false", "steps:10")),
        (Foolbox(attack="LinfRepeatedAdditiveUniformNoiseAttack"), ("repeats:200",)),
    ],
)
def test_stronger_is_twice_the_effort(attack: Attack, options: tuple[str, ...]) -> None:
    stronger = attack.stronger()
    assert isinstance(stronger, Foolbox)
    assert stronger.options == options


def test_one_step_cannot_be_made_stronger() -> None:
    assert Foolbox(attack="FGSM").stronger() is None


def test_float64_networks_are_attacked(images: Labelled) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).double()
    for name, norm in (("LinfPGD", "linf"), ("L2DeepFoolAttack", "l2"), ("HopSkipJumpAttack", "linf")):
        attack = Foolbox(attack=name, options=quick(their_classes()[name]))
        found = attack_batch(attack, net, images[0].double(), images[1], Threat(0.5, norm))  # type: ignore[arg-type]
        assert found.dtype == torch.float64
