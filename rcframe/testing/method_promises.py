"""Promises of attacks, certifiers, pruners and neurons."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import attrs
import torch
from torch import Tensor, nn

from rcframe.access import Access, describe_access
from rcframe.api import Attack, Certifier, NeuronModel, Norm, OneShotPruner, Pruner
from rcframe.errors import AccessDenied
from rcframe.evaluation.crafting import Faults, attack_batch, certify_batch
from rcframe.evaluation.evaluate import certified
from rcframe.evaluation.oracle import ModelOracle
from rcframe.evaluation.threat import Threat
from rcframe.networks.modes import evaluating, parameters_fixed
from rcframe.networks.size import size_of
from rcframe.testing.subject import Subject
from rcframe.testing.toys import fingerprint, sign_ascent, some_images, toy_run, trained_network
from rcframe.training.loop import execute
from rcframe.training.masks import prunable
from rcframe.training.monitor import Monitor
from rcframe.training.randomness import seeded
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

_RADIUS: dict[Norm, float] = {"linf": 0.15, "l2": 0.6}


def _threats(component: Attack | Certifier) -> list[Threat]:
    return [Threat(_RADIUS[norm], norm) for norm in component.norms]


def check_attack_stays_inside_the_threat(subject: Subject) -> None:
    """What comes out is finite images of the same shape and type, within eps and within [0, 1]."""
    attack = cast(Attack, subject.make())
    assert_inside(attack, attack.norms)


def assert_inside(attack: Attack, norms: Sequence[Norm]) -> None:
    """Attack a few images in every norm; what comes out must be sound images inside the threat."""
    model, (x, y) = trained_network(), some_images()
    for threat in (Threat(_RADIUS[norm], norm) for norm in norms):
        faults = Faults()
        x_adv = attack_batch(attack, model, x, y, threat, faults=faults)
        assert not faults.broken, f"it returned {faults.broken} images with values that are not finite"
        assert x_adv.shape == x.shape, f"it returned {tuple(x_adv.shape)} for {tuple(x.shape)}"
        assert x_adv.dtype == x.dtype, f"it returned {x_adv.dtype} for {x.dtype}"
        assert float(threat.distance(x_adv, x).max()) <= threat.eps * (1 + 1e-5) + 1e-6, "it left the ball"
        assert 0 <= float(x_adv.min()) <= float(x_adv.max()) <= 1, "it left [0, 1]"


def check_attack_leaves_its_input_alone(subject: Subject) -> None:
    """`craft` returns images of its own; those it was given, and the labels, are the same afterwards."""
    attack, model, (x, y) = cast(Attack, subject.make()), trained_network(), some_images()
    images, labels = x.clone(), y.clone()
    with evaluating(model), parameters_fixed(model):
        attack.craft(ModelOracle(model, attack.access | Access.LABEL), images, labels, _threats(attack)[0])
    assert torch.equal(images, x), "it changed the images it was given"
    assert torch.equal(labels, y), "it changed the labels it was given"


def check_attack_with_eps_zero_changes_nothing(subject: Subject) -> None:
    """At eps 0 the images come back as they were."""
    attack, model, (x, y) = cast(Attack, subject.make()), trained_network(), some_images()
    for norm in attack.norms:
        assert torch.equal(attack_batch(attack, model, x, y, Threat(0.0, norm)), x), "eps 0 changed the images"


def check_attack_leaves_the_model_alone(subject: Subject) -> None:
    """Weights, statistics, every module's mode and all gradients are the same afterwards."""
    attack, model, (x, y) = cast(Attack, subject.make()), trained_network(), some_images()
    next(model.children()).train()
    before = fingerprint(model)
    attack_batch(attack, model, x, y, _threats(attack)[0])
    assert fingerprint(model) == before, "the attack changed the model's weights, statistics or modes"
    assert all(p.grad is None and p.requires_grad for p in model.parameters()), "the attack left gradients behind"


def check_attack_repeats(subject: Subject) -> None:
    """Equal seeds give equal images."""
    attack, model, (x, y) = cast(Attack, subject.make()), trained_network(), some_images()
    results = []
    for _ in range(2):
        with seeded(7, "attack"):
            results.append(attack_batch(attack, model, x, y, _threats(attack)[0]))
    assert torch.equal(*results), "two attacks with one seed differ"


def check_attack_does_harm(subject: Subject) -> None:
    """On a trained network and a large radius, labels gain no ground; an attack may be too weak to take any.

    Noise, which asks nothing, may do anything.
    """
    attack, model, (x, y) = cast(Attack, subject.make()), trained_network(), some_images()
    if attack.access is Access.NONE:
        return
    clean = _mean_margin(model, x, y)
    for threat in _threats(attack):
        attacked = _mean_margin(model, attack_batch(attack, model, x, y, threat), y)
        assert attacked <= clean + 1e-5, (
            f"the mean margin is {attacked:.3g} under attack, {clean:.3g} without ({threat.norm})"
        )


@torch.no_grad()
def _mean_margin(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Return by how much the logits of the labels exceed the largest others, on average."""
    logits = model(x)
    others = logits.scatter(1, y.unsqueeze(1), float("-inf")).amax(dim=1)
    return float((logits.gather(1, y.unsqueeze(1)).squeeze(1) - others).mean())


def check_attack_needs_what_it_declares(subject: Subject) -> None:
    """Without any one of its declared capabilities the attack is denied."""
    attack, model, (x, y) = cast(Attack, subject.make()), trained_network(), some_images()
    for capability in Access:
        if capability not in attack.access:
            continue
        oracle = ModelOracle(model, attack.access & ~capability)
        try:
            with evaluating(model), parameters_fixed(model):
                attack.craft(oracle, x, y, _threats(attack)[0])
        except AccessDenied:
            continue
        raise AssertionError(f"it declares {describe_access(capability)} but works without: declare less")


def check_certifier_is_exact_at_eps_zero(subject: Subject) -> None:
    """At eps 0 the margins are the differences of logits, and the label's own column is 0."""
    certifier, model, (x, y) = cast(Certifier, subject.make()), _certifiable(subject), some_images()
    margins = certify_batch(certifier, model, x, y, Threat(0.0, certifier.norms[0])).detach()
    with torch.no_grad():
        logits = model(x)
    expected = logits.gather(1, y.unsqueeze(1)) - logits
    assert torch.allclose(margins, expected, atol=1e-4), "margins at eps 0 are not z_y - z_j"
    own = margins.gather(1, y.unsqueeze(1))
    assert not own.any(), "the label's own column must be 0"


def check_certifier_is_never_broken(subject: Subject) -> None:
    """No attack finds an image with a margin below its bound; nothing certified is misclassified."""
    certifier, model, (x, y) = cast(Certifier, subject.make()), _certifiable(subject), some_images()
    for threat in _threats(certifier):
        for eps in (threat.eps / 8, threat.eps / 2):
            smaller = Threat(eps, threat.norm)
            bounds = certify_batch(certifier, model, x, y, smaller).detach()
            oracle = ModelOracle(model, Access.LOGITS | Access.INPUT_GRAD)
            with evaluating(model), parameters_fixed(model):
                moved = sign_ascent(oracle, x, y, smaller).detach()
                logits = model(moved)
            margins = logits.gather(1, y.unsqueeze(1)) - logits
            assert bool((margins >= bounds - 1e-4).all()), f"an attack at eps {eps:g} got below the bound"
            proved = certified(bounds, y)
            assert bool((logits.argmax(dim=1) == y)[proved].all()), f"a certified image was broken at eps {eps:g}"


def check_certifier_loosens_with_eps(subject: Subject) -> None:
    """On average, bounds fall as the radius grows."""
    certifier, model, (x, y) = cast(Certifier, subject.make()), _certifiable(subject), some_images()
    for norm in certifier.norms:
        means = [
            certify_batch(certifier, model, x, y, Threat(f * _RADIUS[norm], norm)).mean().item() for f in (0, 0.2, 1)
        ]
        assert means[0] > means[1] > means[2], f"mean bounds {means} do not fall with eps in {norm}"


def check_certifier_refuses_unknown_layers(subject: Subject) -> None:
    """A layer it cannot bound is named before anything is computed."""
    certifier = cast(Certifier, subject.make())
    strange = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), Sine(), nn.Linear(8, 3))
    assert certifier.unsupported(strange), "it claims to certify a network with a layer it cannot know"


def check_certifier_leaves_the_model_alone(subject: Subject) -> None:
    """Weights, statistics and modes are the same afterwards."""
    certifier, model, (x, y) = cast(Certifier, subject.make()), _certifiable(subject), some_images()
    model.train()
    before = fingerprint(model)
    certify_batch(certifier, model, x, y, _threats(certifier)[0])
    assert fingerprint(model) == before, "certifying changed the model"


class Sine(nn.Module):
    """A layer that no certifier knows."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the sine of every entry."""
        return x.sin()


def _certifiable(subject: Subject) -> nn.Module:
    certifier, model = cast(Certifier, subject.make()), trained_network()
    assert certifier.unsupported(model) is None, "it cannot certify a network of convolutions, ReLUs and linear layers"
    return model


@attrs.frozen
class _Pruned:
    """A toy student trained under a pruner."""

    student: nn.Module
    after: nn.Module
    stages: list[Stage]
    #: The fewest weights that were not zero at the start of a stage of the student.
    fewest: int

    @classmethod
    def by(cls, subject: Subject) -> _Pruned:
        """Train a student, and a bystander before it."""
        pruner, run = cast(Pruner, subject.make()), toy_run("student")
        student, bystander = run.adopt(run.network("student")), run.network("bystander")
        training = Training(epochs=3, batch_size=16)
        stages, counts = [], [_alive(student)]

        def plan(network: nn.Module) -> Iterator[Stage]:
            yield training.stage(run, bystander, supervised, name="bystander")
            yield training.stage(run, network, supervised)

        def watched() -> Iterator[Stage]:
            for stage in pruner.rewrite(plan, student, run):
                stages.append(stage)
                if stage.target is not bystander:
                    counts.append(_alive(stage.target))
                yield stage

        after = execute(watched(), Monitor())
        assert after is not None, "the rewritten plan has no stages"
        return cls(student, after, stages, min(counts))


def _alive(module: nn.Module) -> int:
    """Count the weights that are not zero, biases and batch norm aside."""
    return sum(int(weight.count_nonzero()) for weight in prunable(module).values())


def check_pruner_removes_something(subject: Subject) -> None:
    """The student ends with fewer non-zero weights, also after training on, and still tells the classes apart."""
    pruned = _Pruned.by(subject)
    left = _alive(pruned.after)
    assert left < sum(weight.numel() for weight in prunable(pruned.student).values()), "nothing was removed"
    assert left <= 1.02 * pruned.fewest, f"{pruned.fewest} weights were left, {left} after training: they came back"
    with torch.no_grad():
        outputs = pruned.after(some_images()[0])
    assert outputs.shape == (12, 3), f"the pruned network has outputs {tuple(outputs.shape)}"
    assert bool(torch.isfinite(outputs).all()), "the pruned network's outputs are not finite"


def check_pruner_leaves_other_stages_alone(subject: Subject) -> None:
    """Stages whose target is not the student keep their parts and get no observers."""
    others = [stage for stage in _Pruned.by(subject).stages if "bystander" in stage.name]
    assert others, "the rewritten plan dropped a stage of another network"
    assert not any(stage.observers for stage in others), "it hung observers on a stage of another network"


def check_one_shot_pruner_keeps_the_original(subject: Subject) -> None:
    """`apply` returns a copy and leaves the network it was given as it was."""
    pruner = subject.make()
    if not isinstance(pruner, OneShotPruner):
        return
    model = trained_network()
    before = fingerprint(model)
    small, report = pruner.apply(model, some_images()[0])
    assert fingerprint(model) == before, "the original network was changed"
    shared = {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in small.parameters()}
    assert not shared, "the pruned network shares weights with the original"
    assert report.after == size_of(small), "the report does not describe the network it came with"


def check_neuron_spikes_are_binary(subject: Subject) -> None:
    """A cell emits zeros and ones, some of each, in the shape of its input."""
    cell = cast(NeuronModel, subject.make()).cell()
    spikes, state = cell(torch.linspace(-3, 3, 60).view(2, 30), None)
    assert spikes.shape == (2, 30), f"spikes have shape {tuple(spikes.shape)} for currents (2, 30)"
    assert set(spikes.unique().tolist()) == {0.0, 1.0}, "spikes must be 0 or 1, and strong input must differ from weak"
    assert isinstance(state, Tensor), "the state must be a tensor"


def check_neuron_lets_gradients_through(subject: Subject) -> None:
    """Gradients reach the image and every parameter of a spiking network."""
    network = cast(NeuronModel, subject.make()).convert(trained_network())
    x, y = some_images()
    x.requires_grad_(True)
    nn.functional.cross_entropy(network(x), y).backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None, "no gradient reaches the image"
    assert bool(x.grad.any()), "the gradient that reaches the image is 0 everywhere"
    missing = [name for name, parameter in network.named_parameters() if parameter.grad is None]
    assert not missing, f"no gradient reaches {missing}"


def check_neuron_state_is_explicit(subject: Subject) -> None:
    """2T steps equal T steps twice with the state carried over, and no state survives a forward pass."""
    network = cast(NeuronModel, subject.make()).convert(trained_network()).eval()
    x, _ = some_images()
    with torch.no_grad():
        whole, _ = network.unroll(x, 6)
        first, state = network.unroll(x, 3)
        second, _ = network.unroll(x, 3, state)
        assert torch.allclose(whole, first + second, atol=1e-5), "6 steps differ from twice 3 steps"
        assert torch.equal(network(x), network(x)), "a second forward pass differs from the first"
        halves = torch.cat([network(x[:5]), network(x[5:])])
    assert torch.allclose(network(x), halves, atol=1e-5), "results depend on how images are batched"
