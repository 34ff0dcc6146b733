"""What every network of the zoo must keep, whatever it is made of."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, fx, nn

from rcframe.api import Model
from rcframe.data.images import DataInfo
from rcframe.errors import RequestError
from rcframe.models import SPECS
from rcframe.models.check import check_outputs
from rcframe.networks.normalize import Normalized
from rcframe.networks.spiking import unconvertible
from rcframe.networks.taps import recording, tap_shapes, taps_of
from rcframe.options import build, changed_options, options_of

if TYPE_CHECKING:
    from rcframe.models.base import ZooModel

InfoOf = Callable[[tuple[int, int, int], int], DataInfo]
SHAPES = [(1, 8, 8), (3, 32, 32), (3, 32, 17), (1, 28, 28), (3, 4, 5), (2, 9, 40)]
#: Narrow enough for hundreds of forward passes.
NARROW = 1 / 16
RELUS = (nn.ReLU, nn.ReLU6)


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def on_paper(model: ZooModel, shape: tuple[int, int, int] = (3, 32, 32), classes: int = 10) -> nn.Module:
    """Build a network without spending time or memory on its weights."""
    with torch.device("meta"):
        return model.network(shape, classes)


def test_every_spec_names_a_model_and_ends_its_summary() -> None:
    assert len({spec.name for spec in SPECS}) == len(SPECS) == 26
    for spec in SPECS:
        assert (spec.kind, spec.api) == ("model", 1)
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", spec.name)
        assert spec.summary.endswith(".")
        assert spec.target.startswith("rcframe.models.")


def test_all_targets_exist() -> None:
    for spec in SPECS:
        module, _, name = spec.target.partition(":")
        cls = getattr(__import__(module, fromlist=[name]), name)
        assert issubclass(cls, Model)
        assert cls.__doc__
        assert all(option.help.endswith(".") for option in options_of(cls))
        assert changed_options(build(cls, {}, spec.name)) == {}


def test_the_list_of_models_needs_no_torch() -> None:
    code = "import sys; import rcframe.models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
@pytest.mark.parametrize("classes", [2, 10])
def test_any_image_size_gives_one_logit_per_class(
    zoo_model: type[ZooModel], shape: tuple[int, int, int], classes: int, info_of: InfoOf
) -> None:
    network = zoo_model(width=NARROW).build(info_of(shape, classes))
    x = torch.rand(3, *shape)
    assert network(x).shape == (3, classes)
    logits = network.eval()(x)
    assert logits.shape == (3, classes)
    assert logits.isfinite().all()
    torch.testing.assert_close(network(x[:1]), logits[:1], rtol=1e-4, atol=1e-5)


def test_large_images_and_many_classes(zoo_model: type[ZooModel], info_of: InfoOf) -> None:
    info = info_of((3, 224, 224), 100)
    check_outputs(zoo_model(width=1 / 64).build(info), info)


def test_the_normalisation_of_the_data_set_is_in_front(zoo_model: type[ZooModel], info_of: InfoOf) -> None:
    info = info_of((3, 16, 16), 4)
    network = zoo_model(width=NARROW).build(info).eval()
    assert isinstance(network, Normalized)
    x = torch.rand(2, 3, 16, 16)
    mean = torch.tensor(info.mean).view(3, 1, 1)
    torch.testing.assert_close(network(x), network.net((x - mean) / 0.25))


def test_taps_are_depths_in_the_order_of_execution(zoo_model: type[ZooModel], info_of: InfoOf) -> None:
    network = zoo_model(width=NARROW).build(info_of((3, 32, 32), 10)).eval()
    taps = taps_of(network)
    assert len(taps) >= 1
    assert len(set(taps)) == len(taps)
    order: list[str] = []
    hooks = [
        module.register_forward_hook(lambda _m, _i, _o, name=name: order.append(name))
        for name, module in network.named_modules()
    ]
    x = torch.rand(2, 3, 32, 32)
    logits = network(x)
    for hook in hooks:
        hook.remove()
    assert [name for name in order if name in taps] == list(taps)
    last_linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    assert order.index(taps[-1]) < order.index(last_linear)
    with recording(network, taps) as features:
        torch.testing.assert_close(network(x), logits)
    assert list(features) == list(taps)


def test_maps_never_grow_with_depth(zoo_model: type[ZooModel], info_of: InfoOf) -> None:
    network = zoo_model(width=NARROW).build(info_of((3, 32, 32), 10))
    shapes = tap_shapes(network, taps_of(network), torch.rand(1, 3, 32, 32))
    sizes = [shape[1:] for shape in shapes.values()]
    assert sizes == sorted(sizes, reverse=True)


def test_every_relu_is_a_module_that_runs_once(zoo_model: type[ZooModel], info_of: InfoOf) -> None:
    network = zoo_model(width=NARROW).build(info_of((3, 32, 32), 10)).eval()
    calls: Counter[str] = Counter()

    def note(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda _module, _inputs, _output: calls.update([name])

    relus = {name: module for name, module in network.named_modules() if isinstance(module, RELUS)}
    for name, module in relus.items():
        module.register_forward_hook(note(name))
    network(torch.rand(2, 3, 32, 32))
    assert len(relus) >= 1
    assert calls == Counter(dict.fromkeys(relus, 1))
    assert not any(module.inplace for module in relus.values())
    assert len(relus) == len([m for m in network.modules() if isinstance(m, RELUS)]), "one instance at two places"


def test_the_graph_calls_each_layer_once_and_no_activation_as_a_function(zoo_model: type[ZooModel]) -> None:
    graph = fx.symbolic_trace(on_paper(zoo_model())).graph
    called = Counter(str(node.target) for node in graph.nodes if node.op == "call_module")
    assert set(called.values()) == {1}
    calls = [node.target for node in graph.nodes if node.op in ("call_function", "call_method")]
    assert {getattr(target, "__name__", target) for target in calls} <= {"add", "cat", "chunk", "getitem"}


def test_every_network_can_become_spiking(zoo_model: type[ZooModel]) -> None:
    assert unconvertible(on_paper(zoo_model())) is None


def test_plain_networks_are_flat_chains(zoo_model: type[ZooModel]) -> None:
    network = on_paper(zoo_model())
    assert isinstance(network, nn.Sequential)
    composite = {name for name, child in network.named_children() if list(child.children())}
    if "resnet" in (name := zoo_model.__name__.lower()) or name.startswith(("resnext", "mobile", "shuffle")):
        assert composite == {name for name in network._modules if name.startswith(("layer", "block", "stage"))}
    else:
        assert composite == set()


def test_gradients_reach_every_parameter(zoo_model: type[ZooModel]) -> None:
    network = zoo_model(width=NARROW).network((3, 16, 16), 5)
    names, parameters = zip(*network.named_parameters(), strict=True)
    loss = nn.functional.cross_entropy(network(torch.randn(4, 3, 16, 16)), torch.arange(4))
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    assert [name for name, gradient in zip(names, gradients, strict=True) if gradient is None] == []


def test_width_scales_every_layer_but_the_logits(zoo_model: type[ZooModel]) -> None:
    counts = [count(on_paper(zoo_model(width=width))) for width in (0.001, 0.25, 0.5, 1.0, 2.0)]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)
    # Weights between hidden layers grow with the square of the width, so twice the width is more than twice as many.
    assert counts[-1] > 1.9 * counts[-2]
    thin = [m for m in on_paper(zoo_model(width=0.001)).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert all(min(module.weight.shape) >= 1 for module in thin)
    assert thin[-1].weight.shape[0] == 10


def test_equal_seeds_give_equal_networks_and_others_do_not(zoo_model: type[ZooModel]) -> None:
    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        network = zoo_model(width=NARROW).network((3, 8, 8), 3)
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_images_too_small_are_refused_by_name(zoo_model: type[ZooModel], info_of: InfoOf) -> None:
    info = info_of((3, 3, 32), 10)
    if zoo_model.smallest == 1:
        assert zoo_model().build(info)(torch.rand(2, 3, 3, 32)).shape == (2, 10)
        return
    with pytest.raises(RequestError, match=f"`{zoo_model.__name__}` needs .* at least 4x4 .* `toys` have 3x32"):
        zoo_model().build(info)


@pytest.mark.parametrize("width", [0, -1.0])
def test_a_width_of_nothing_is_refused(zoo_model: type[ZooModel], width: float) -> None:
    with pytest.raises(RequestError, match=r"`width` .* more than 0"):
        zoo_model(width=width)
