"""Networks as chains of layers."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rcframe.errors import RequestError
from rcframe.networks.graph import Layer, NotAChain, calls, chain
from rcframe.networks.modes import evaluating
from rcframe.networks.normalize import Normalize, Normalized

#: Older tracers stop at sizes of the input where newer ones follow them; both end in a chain or in a sentence.
TRACES_SIZES = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 9), reason="this torch does not trace sizes in arguments"
)


def names(module: nn.Module) -> list[str]:
    return [layer.name for layer in chain(module)]


def kinds(module: nn.Module) -> list[str]:
    return [type(layer.module).__name__ for layer in chain(module)]


def walked(module: nn.Module, x: Tensor) -> Tensor:
    """Apply the layers of the chain one after the other."""
    for layer in chain(module):
        x = layer.module(x)
    return x


class Functional(nn.Module):
    """A network as users write it: layers as attributes, the rest as function calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 5, 3, padding=1)
        self.fc1 = nn.Linear(5 * 3 * 3, 7)
        self.fc2 = nn.Linear(7, 2)

    def forward(self, x: Tensor, scale: float | None = None) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn(self.conv1(x))), 2)
        x = F.avg_pool2d(torch.relu(self.conv2(x)), 3, stride=1, padding=1)
        x = x.view(x.size(0), -1)
        x = F.dropout(self.fc1(x).relu(), 0.3, training=self.training)
        if scale is not None:
            x = x * scale
        out: Tensor = self.fc2(x)
        return out


def test_functional_network_is_read_in_order() -> None:
    net = Functional()
    assert " ".join(kinds(net)) == (
        "Conv2d BatchNorm2d ReLU MaxPool2d Conv2d ReLU AvgPool2d Flatten Linear ReLU Dropout Linear"
    )
    assert " ".join(names(net)) == "conv1 bn relu max_pool2d conv2 relu_1 avg_pool2d view fc1 relu_2 dropout fc2"
    assert chain(net)[0] == Layer("conv1", net.conv1)
    assert chain(net)[4].module is net.conv2


def test_chain_computes_what_the_network_computes() -> None:
    net = Functional().eval()
    x = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(walked(net, x), net(x))


def test_arguments_of_functions_reach_the_layer() -> None:
    layers = {layer.name: layer.module for layer in chain(Functional())}
    pool, mean, dropout = layers["max_pool2d"], layers["avg_pool2d"], layers["dropout"]
    assert isinstance(pool, nn.MaxPool2d)
    assert (pool.kernel_size, pool.stride) == (2, 2)
    assert isinstance(mean, nn.AvgPool2d)
    assert (mean.kernel_size, mean.stride, mean.padding) == (3, 1, 1)
    assert isinstance(dropout, nn.Dropout)
    assert dropout.p == 0.3


def test_dropout_function_keeps_the_mode_it_is_called_with() -> None:
    net = Functional()
    assert next(layer.module for layer in chain(net) if layer.name == "dropout").training
    with evaluating(net):
        assert not next(layer.module for layer in chain(net) if layer.name == "dropout").training


def test_nested_sequentials_and_normalisation() -> None:
    body = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), nn.Sequential(nn.Flatten(), nn.Linear(2, 2)))
    net = Normalized(body, [0.5], [0.25])
    assert names(net) == ["normalize", "net.0.0", "net.0.1", "net.1.0", "net.1.1"]
    assert isinstance(chain(net)[0].module, Normalize)
    x = torch.rand(3, 1, 3, 3)
    torch.testing.assert_close(walked(net, x), net(x))


def test_names_are_paths_of_the_modules() -> None:
    net = Normalized(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), [0.5], [0.25])
    modules = dict(net.named_modules())
    assert all(modules[layer.name] is layer.module for layer in chain(net))


def test_one_layer_is_a_chain_with_the_empty_path() -> None:
    layer = nn.Linear(2, 3)
    assert chain(layer) == (Layer("", layer),)
    assert chain(nn.Sequential()) == ()


class Doubled(nn.Module):
    """A layer of somebody's own: not readable, unless it says that it is one layer."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


class DoubledLeaf(Doubled):
    """The same, declared as a layer."""

    chain_leaf = True


def test_a_class_can_declare_itself_a_layer() -> None:
    leaf = DoubledLeaf()
    assert chain(nn.Sequential(nn.ReLU(), leaf))[1] == Layer("1", leaf)
    with pytest.raises(NotAChain, match="`mul` is a computation without an equivalent layer"):
        chain(nn.Sequential(nn.ReLU(), Doubled()))


class NarrowConv(nn.Conv2d):
    """A subclass that only sets arguments."""

    def __init__(self) -> None:
        super().__init__(1, 2, 3)


class CentredLinear(nn.Linear):
    """A subclass that computes something else."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight - self.weight.mean(), self.bias)


def test_subclass_is_a_layer_only_with_the_forward_of_torch() -> None:
    assert kinds(nn.Sequential(NarrowConv(), nn.ReLU())) == ["NarrowConv", "ReLU"]
    with pytest.raises(NotAChain, match="linear"):
        chain(nn.Sequential(nn.Flatten(), CentredLinear(2, 2)))
    replaced = nn.Linear(2, 2)
    setattr(replaced, "forward", lambda x: x * 2)  # noqa: B010 - as some libraries do, behind the type's back
    with pytest.raises(NotAChain, match="mul"):
        chain(nn.Sequential(replaced))


class Twice(nn.Module):
    """Runs one layer twice."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.fc, self.layer = nn.Linear(2, 2), layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(self.fc(self.layer(x)))
        return out


def test_layer_with_weights_must_not_run_twice() -> None:
    with pytest.raises(NotAChain, match=r"`layer` runs twice") as caught:
        chain(Twice(nn.Linear(2, 2)))
    assert (caught.value.layer, caught.value.reason) == ("layer", "runs twice")
    with pytest.raises(NotAChain):
        chain(Twice(nn.BatchNorm1d(2, affine=False)))
    shared = nn.Linear(2, 2)
    with pytest.raises(NotAChain, match="`0` runs twice"):
        chain(nn.Sequential(shared, nn.ReLU(), shared))


def test_layer_without_weights_may_run_twice_under_a_name_of_its_own() -> None:
    net = Twice(nn.ReLU())
    assert names(net) == ["layer", "fc", "layer_1"]
    assert chain(net)[0].module is chain(net)[2].module is net.layer


class Clashing(nn.Module):
    """Has a module with the name that a function call would get."""

    def __init__(self) -> None:
        super().__init__()
        self.relu, self.relu_1 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.relu_1(F.relu(self.relu(F.relu(x))))
        return out


def test_names_are_unique() -> None:
    assert len(set(names(Clashing()))) == 4
    assert names(Clashing())[1::2] == ["relu", "relu_1"]


class Calls(nn.Module):
    """A network given by a function of its only layer and its input."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = eval(self.body, {"fc": self.fc, "x": x, "torch": torch, "F": F})
        return out


@pytest.mark.parametrize(
    "body",
    [
        "torch.flatten(x, 1)",
        "torch.flatten(x, start_dim=1)",
        "x.flatten(1)",
        "x.flatten(1, -1)",
        "x.view(x.size(0), -1)",
        "x.view((x.shape[0], -1))",
        "x.view(x.size()[0], 36)",
        "x.view(-1, 36)",
        "x.reshape(x.shape[0], -1)",
        pytest.param(
            "torch.reshape(x, (x.shape[0], x.shape[1] * 12))",
            marks=TRACES_SIZES,
        ),
    ],
)
def test_ways_to_flatten(body: str) -> None:
    net, x = Calls(body), torch.rand(2, 3, 4, 3)
    assert kinds(net) == ["Flatten"]
    torch.testing.assert_close(walked(net, x), net(x))


@pytest.mark.parametrize(
    ("body", "where", "why"),
    [
        ("x + fc(x)", "x", "gives its output to 2 places"),
        ("fc(x) + fc.bias", "add", "combines several tensors"),
        ("torch.cat([fc(x), fc(x)])", "x", "2 places"),
        ("(fc(x), 1)", "fc", "not the only thing"),
        ("fc(x) if x.sum() > 0 else x", "Calls", "decides by the values"),
        ("fc(x)[len(x)]", "Calls", "cannot be traced"),
        ("fc(input=x)", "fc", "takes more than one input"),
        ("torch.sigmoid(fc(x))", "sigmoid", "without an equivalent layer"),
        ("fc(x) * 2", "mul", "without an equivalent layer"),
        ("fc(x).T", "getattr_1", "without an equivalent layer"),
        ("torch.flatten(x)", "flatten", "arguments that no layer has"),
        ("x.view(x.size(0), 3, -1)", "view", "arguments that no layer has"),
        ("x.view(x.size(1), -1)", "view", "arguments that no layer has"),
        ("x.view(-1, x.size(1))", "view", "arguments that no layer has"),
        pytest.param("F.avg_pool2d(x, x.size(2))", "avg_pool2d", "depend on the input", marks=TRACES_SIZES),
        ("torch.zeros(3)", "x", "0 places"),
    ],
)
def test_everything_else_is_refused_with_place_and_reason(body: str, where: str, why: str) -> None:
    with pytest.raises(NotAChain, match=why) as caught:
        chain(Calls(body))
    assert caught.value.layer == where
    assert str(caught.value).startswith(f"The network is not a chain of layers: `{where}` ")
    assert str(caught.value).endswith(".")
    assert isinstance(caught.value, RequestError)


def test_failure_names_the_innermost_module() -> None:
    with pytest.raises(NotAChain) as caught:
        chain(nn.Sequential(nn.ReLU(), nn.Sequential(nn.ReLU(), Calls("x if x.max() > 0 else -x"))))
    assert caught.value.layer == "1.1"


class TwoInputs(nn.Module):
    """Needs a second input."""

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        return x + other


def test_second_input_is_refused() -> None:
    with pytest.raises(NotAChain, match="other"):
        chain(TwoInputs())


class Counting(nn.Module):
    """Keeps a count of its calls, as running statistics do."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))
        self.bn = nn.BatchNorm1d(2)

    def forward(self, x: Tensor) -> Tensor:
        self.calls.add_(1)
        out: Tensor = self.bn(x)
        return out


def test_tracing_leaves_the_module_as_it_was() -> None:
    tail = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval()
    net = nn.Sequential(Counting(), tail)
    before = copy.deepcopy(net.state_dict())
    modes = [part.training for part in net.modules()]

    assert kinds(net) == ["BatchNorm1d", "Linear", "Dropout"]

    assert [part.training for part in net.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert dict(net.named_modules()).keys() == {"", "0", "0.bn", "1", "1.0", "1.1"}


@pytest.mark.parametrize("hook", ["register_forward_hook", "register_forward_pre_hook"])
def test_hooks_are_refused_since_they_may_change_what_a_layer_computes(hook: str) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(2, 2)))
    handle = getattr(net[1], hook)(lambda *args: None)
    with pytest.raises(NotAChain, match=r"`1` has a forward hook, which may change what it computes\.$"):
        chain(net)
    handle.remove()
    assert kinds(net) == ["Flatten", "Linear"]


class Branching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act, self.fc = nn.ReLU(), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.act(self.fc(self.act(x))))


def test_the_calls_of_a_network_with_branches_are_listed_in_order() -> None:
    net = Branching()
    found = calls(net)
    assert [name for name, _ in found] == ["act", "fc", "act", "add", "relu"]
    assert [target for _, target in found if isinstance(target, nn.Module)] == [net.act, net.fc, net.act]
    assert found[-1][1] is F.relu


def test_a_network_that_cannot_be_traced_has_no_calls() -> None:
    assert calls(Calls("x if x.max() > 0 else -x")) == ()


class Halved(nn.Module):
    """A parametrisation of a weight."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight / 2


def test_parametrised_layer_is_a_layer() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    parametrize.register_parametrization(net[0], "weight", Halved())
    assert chain(net)[0] == Layer("0", net[0])
