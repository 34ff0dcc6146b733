from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rcframe.access import Access
from rcframe.api import Norm
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import ModelOracle
from rcframe.evaluation.threat import Threat
from rcframe.networks.modes import parameters_fixed
from rcframe.testing.toys import (
    CLASSES,
    MODEL,
    SHAPE,
    fingerprint,
    sign_ascent,
    some_images,
    toy_dataset,
    toy_images,
    toy_run,
    trained_network,
)


def test_toy_images_are_pixels_with_every_class_and_repeat() -> None:
    first, again = toy_images(12, 1).first(12), toy_images(12, 1).first(12)
    assert first.images.shape == (12, *SHAPE)
    assert 0 <= float(first.images.min()) <= float(first.images.max()) <= 1
    assert first.labels.tolist() == [0, 1, 2] * 4
    assert torch.equal(first.images, again.images)
    assert not torch.equal(first.images, toy_images(12, 2).first(12).images)


def test_splits_do_not_share_images() -> None:
    dataset = toy_dataset()
    train, test = dataset.train.first(24).images, dataset.test.first(24).images
    assert not torch.equal(train, test)
    assert not torch.equal(some_images(24)[0], test)


def test_a_trained_network_has_learned_and_repeats() -> None:
    network = trained_network()
    x, y = some_images()
    assert predict(network, x).tolist() == y.tolist()
    assert not network.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in network.parameters())
    assert fingerprint(trained_network()) == fingerprint(network)
    assert fingerprint(trained_network(epochs=1)) != fingerprint(network)


def test_a_trained_network_is_the_callers_own() -> None:
    network = trained_network()
    before = fingerprint(network)
    nn.init.zeros_(network.get_parameter("net.fc2.bias"))
    assert fingerprint(trained_network()) == before


def test_the_toy_run_uses_the_toy_model() -> None:
    run = toy_run("teacher")
    assert str(run.network("a")) == str(run.network("a", MODEL))
    assert len(run.info.classes) == CLASSES


def batch_norm() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))


def test_equal_networks_have_equal_fingerprints() -> None:
    assert fingerprint(batch_norm()) == fingerprint(batch_norm())


@pytest.mark.parametrize("name", ["0.weight", "1.bias", "1.running_mean", "1.num_batches_tracked"])
def test_a_fingerprint_sees_every_stored_number(name: str) -> None:
    network = batch_norm()
    before = fingerprint(network)
    with torch.no_grad():
        network.state_dict()[name].view(-1)[0].add_(1)
    assert fingerprint(network) != before


def test_a_fingerprint_sees_the_mode_of_every_part() -> None:
    network = batch_norm()
    before = fingerprint(network)
    network.get_submodule("1").eval()
    assert fingerprint(network) != before


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 0.5)])
def test_the_plain_attack_stays_inside_and_lowers_every_margin(norm: Norm, eps: float) -> None:
    network, (x, y) = trained_network(), some_images()
    threat = Threat(eps, norm)
    with parameters_fixed(network):
        moved = sign_ascent(ModelOracle(network, Access.LOGITS | Access.INPUT_GRAD), x, y, threat).detach()

    def margins(images: Tensor) -> Tensor:
        logits: Tensor = network(images).detach()
        return logits.gather(1, y[:, None])[:, 0] - logits.scatter(1, y[:, None], float("-inf")).amax(dim=1)

    assert float(threat.distance(moved, x).max()) <= eps * (1 + 1e-5)
    assert bool((margins(moved) < margins(x)).all())
