"""Networks as chains: their layers in order of execution, for methods that walk from layer to layer.

Tracing is symbolic (torch.fx): no input is needed, no weight, buffer or mode changes and no hook runs.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable

import attrs
import torch
import torch.nn.functional as F
from torch import fx, nn
from torch.fx.node import map_arg

from rcframe.errors import RequestError
from rcframe.networks.normalize import Normalize


@attrs.frozen
class Layer:
    """One layer of a chain; `name` is its module path, or that of the operation that `module` stands for."""

    name: str
    module: nn.Module


class NotAChain(RequestError):
    """The network is more than a chain of layers; `layer` is where, `reason` continues the sentence."""

    def __init__(self, layer: str, reason: str) -> None:
        super().__init__(f"The network is not a chain of layers: `{layer}` {reason}.")
        self.layer, self.reason = layer, reason


def chain(module: nn.Module) -> tuple[Layer, ...]:
    """Return the layers of `module` in order of execution, or raise `NotAChain`.

    Functional calls (`F.relu`, `x.view(x.size(0), -1)`, ...) come back as fresh modules. A layer without parameters
    and buffers may run several times. What a network does differently in training is read in its present mode.
    """
    for name, part in module.named_modules():
        if part._forward_hooks or part._forward_pre_hooks:
            raise NotAChain(name or type(part).__name__, "has a forward hook, which may change what it computes")
    reader = _Reader(module)
    return tuple(reader.layer(node) for node in reader.path())


def calls(module: nn.Module) -> tuple[tuple[str, object], ...]:
    """Return name and target of every call in a forward pass, in order: a module, a function, or a method's name.

    Branches are followed, unlike in a chain. A network that cannot be traced has none.
    """
    tracer, root = _Tracer(), _Root(module)
    try:
        graph = tracer.trace(root)
    except Exception:  # whatever the code of a user raises when it meets a symbol
        return ()
    found: list[tuple[str, object]] = []
    for node in graph.nodes:
        if node.op == "call_module":
            found.append((str(node.target).removeprefix("net."), root.get_submodule(str(node.target))))
        elif node.op in ("call_function", "call_method"):
            found.append((node.name, node.target))
    return tuple(found)


def _is_leaf(module: nn.Module) -> bool:
    """Say whether a module is one layer: torch's own `forward`, `Normalize`, or a class with `chain_leaf = True`."""
    if isinstance(module, Normalize) or getattr(module, "chain_leaf", False):
        return True
    forward = module.forward
    is_container = getattr(forward, "__func__", None) is nn.Sequential.forward
    return getattr(forward, "__module__", "").startswith("torch.nn.") and not is_container


class _Root(nn.Module):
    """Calls the network with one input, so that arguments with defaults keep them and a lone layer is a chain."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x)
        return out


class _Tracer(fx.Tracer):
    # As symbols, buffers cannot be changed by a forward pass that counts or averages.
    proxy_buffer_attributes = True

    def __init__(self) -> None:
        super().__init__()
        #: The module whose forward pass is being read; after a failure, the one that failed.
        self.inside = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return _is_leaf(m)

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., object],
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        outer, self.inside = self.inside, self.path_of_module(m)
        # Not `forward`, which is `m.__call__` and would run the hooks of the module on symbols.
        result = super().call_module(m, m.forward, args, kwargs)
        self.inside = outer
        return result


class _Reader:
    """Reads a traced network as a path of nodes, and a node as a layer."""

    def __init__(self, module: nn.Module) -> None:
        self._root = _Root(module)
        self._paths = set(dict(module.named_modules()))
        self._taken: set[str] = set()
        tracer = _Tracer()
        try:
            self._graph = tracer.trace(self._root)
        except fx.proxy.TraceError:
            raise NotAChain(self._place(tracer.inside), "decides by the values it computes") from None
        except Exception as error:  # whatever the code of a user raises when it meets a symbol
            raise NotAChain(self._place(tracer.inside), f"cannot be traced ({error})") from error
        self._sizes = _size_nodes(self._graph)

    def path(self) -> list[fx.Node]:
        """Follow the one tensor from the input to the output."""
        found: list[fx.Node] = []
        current = next(iter(self._graph.nodes))
        while True:
            users = [user for user in current.users if user not in self._sizes]
            if len(users) != 1:
                raise NotAChain(self._name_of(current), f"gives its output to {len(users)} places instead of one")
            current, before = users[0], current
            if current.op == "output":
                if current.args[0] is not before:
                    raise NotAChain(self._name_of(before), "is not the only thing the network returns")
                return found
            if any(source is not before and source not in self._sizes for source in current.all_input_nodes):
                raise NotAChain(self._name_of(current), "combines several tensors")
            found.append(current)

    def layer(self, node: fx.Node) -> Layer:
        """Return the layer that a node of the path stands for."""
        name = self._name_of(node)
        if node.op != "call_module":
            return Layer(self._fresh(name), self._functional(node, name))
        module = self._root.get_submodule(str(node.target))
        if len(node.args) != 1 or node.kwargs:
            raise NotAChain(name, "takes more than one input")
        if name not in self._taken:
            self._taken.add(name)
            return Layer(name, module)
        if [*module.parameters(), *module.buffers()]:
            raise NotAChain(name, "runs twice")
        return Layer(self._fresh(node.name.removeprefix("net_")), module)

    def _functional(self, node: fx.Node, name: str) -> nn.Module:
        build = _equivalent(node)
        if build is None:
            raise NotAChain(name, "is a computation without an equivalent layer")
        if build is not _view and len(node.all_input_nodes) > 1:
            raise NotAChain(name, "has arguments that depend on the input")
        args, kwargs = map_arg((node.args[1:], dict(node.kwargs)), self._size)
        try:
            return build(*args, **kwargs)
        except (TypeError, ValueError):
            spelled = ", ".join([*map(str, args), *(f"{key}={value}" for key, value in kwargs.items())])
            raise NotAChain(name, f"has arguments that no layer has ({spelled})") from None

    def _size(self, node: fx.Node) -> int:
        return _BATCH if _is_batch_size(node) else _OTHER

    def _name_of(self, node: fx.Node) -> str:
        if node.op != "call_module":
            return node.name
        return str(node.target).removeprefix("net").removeprefix(".")

    def _fresh(self, name: str) -> str:
        tries = (f"{name}_{number}" if number else name for number in itertools.count())
        found = next(free for free in tries if free not in self._taken | self._paths)
        self._taken.add(found)
        return found

    def _place(self, path: str) -> str:
        return path.removeprefix("net").removeprefix(".") or type(self._root.net).__name__


def _size_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Collect the nodes that compute with sizes only, such as `x.size(0)` and `x.shape[1] * 4`."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        reads_size = node.op == "call_method" and node.target == "size"
        reads_shape = node.op == "call_function" and node.target is getattr and node.args[1] == "shape"
        derived = bool(node.all_input_nodes) and all(source in found for source in node.all_input_nodes)
        if reads_size or reads_shape or (derived and node.op != "output"):
            found.add(node)
    return found


def _is_batch_size(node: fx.Node) -> bool:
    """Tell `x.size(0)`, `x.size()[0]` and `x.shape[0]` from other sizes."""
    if node.target == "size":
        return node.args[1:] == (0,)
    return node.target is operator.getitem and node.args[1:] == (0,)


#: What stands for a size that is read from the input, among the arguments of a functional call.
_BATCH, _OTHER = -2, -3


def _relu(inplace: bool = False) -> nn.Module:
    return nn.ReLU()


def _dropout(p: float = 0.5, training: bool = True, inplace: bool = False) -> nn.Module:
    return nn.Dropout(p).train(training)


def _flatten(start_dim: int = 0, end_dim: int = -1) -> nn.Module:
    if start_dim != 1 or end_dim not in (-1, 3):
        raise ValueError
    return nn.Flatten()


def _view(*shape: int | tuple[int, ...]) -> nn.Module:
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape
    if len(sizes) != 2 or not (sizes[0] == _BATCH or (sizes[0] == -1 and isinstance(sizes[1], int) and sizes[1] > 0)):
        raise ValueError
    return nn.Flatten()


#: Functions and methods by the layer that takes the same arguments after the tensor.
_FUNCTIONS: tuple[tuple[object, Callable[..., nn.Module]], ...] = (
    (F.relu, _relu),
    (torch.relu, _relu),
    (torch.flatten, _flatten),
    (torch.reshape, _view),
    (F.dropout, _dropout),
    (F.max_pool2d, nn.MaxPool2d),
    (F.avg_pool2d, nn.AvgPool2d),
    (F.adaptive_avg_pool2d, nn.AdaptiveAvgPool2d),
)
_METHODS: dict[str, Callable[..., nn.Module]] = {
    "relu": _relu,
    "relu_": _relu,
    "flatten": _flatten,
    "view": _view,
    "reshape": _view,
}


def _equivalent(node: fx.Node) -> Callable[..., nn.Module] | None:
    if node.op == "call_method":
        return _METHODS.get(str(node.target))
    return next((build for function, build in _FUNCTIONS if function is node.target), None)
