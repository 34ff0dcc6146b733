from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from rcframe.api import OneShotPruner
from rcframe.errors import RequestError
from rcframe.models.chain import Chain
from rcframe.networks.normalize import Normalized
from rcframe.networks.size import size_of
from rcframe.networks.surgery import PruningReport, resize_to, select, set_layer
from rcframe.options import component
from rcframe.testing.toys import toy_run
from rcframe.training.context import Run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor
from rcframe.training.settings import Training
from rcframe.training.stage import Stage
from rcframe.training.steps import supervised

OUT = torch.tensor([2, 0])
IN = torch.tensor([1, 3, 4])


def masked(x: Tensor, keep: Tensor) -> Tensor:
    """Zero every channel or feature that is not kept."""
    gone = torch.ones(x.shape[1], dtype=torch.bool)
    gone[keep] = False
    return x.masked_fill(gone.view(1, -1, *[1] * (x.dim() - 2)), 0.0)


@pytest.mark.parametrize(
    ("layer", "x"),
    [
        (nn.Linear(5, 4), torch.randn(3, 5)),
        (nn.Linear(5, 4, bias=False), torch.randn(3, 5)),
        (nn.Conv2d(5, 4, 3, stride=2, padding=1), torch.randn(3, 5, 6, 5)),
        (nn.Conv2d(5, 4, (1, 3), bias=False, dilation=2), torch.randn(3, 5, 6, 5)),
    ],
    ids=["linear", "linear-no-bias", "conv", "conv-no-bias"],
)
@pytest.mark.parametrize(("out", "into"), [(OUT, IN), (OUT, None), (None, IN), (None, None)])
def test_a_selected_layer_does_what_the_whole_one_does_on_what_is_left(
    layer: nn.Linear | nn.Conv2d, x: Tensor, out: Tensor | None, into: Tensor | None
) -> None:
    small = select(layer, out, into)
    given = x if into is None else x[:, into]
    whole = layer(x if into is None else masked(x, into))
    torch.testing.assert_close(small(given), whole if out is None else whole[:, out])


def test_layers_know_their_new_sizes() -> None:
    conv, linear = select(nn.Conv2d(5, 4, 3), OUT, IN), select(nn.Linear(5, 4), OUT, IN)
    norm, depthwise = select(nn.BatchNorm2d(4), OUT, None), select(nn.Conv2d(5, 5, 3, groups=5), IN, None)
    assert (conv.in_channels, conv.out_channels, linear.in_features, linear.out_features) == (3, 2, 3, 2)
    assert norm.num_features == 2
    assert (depthwise.in_channels, depthwise.out_channels, depthwise.groups) == (3, 3, 3)


def test_a_depthwise_convolution_keeps_the_channels_it_is_told() -> None:
    layer, x = nn.Conv2d(5, 5, 3, groups=5), torch.randn(2, 5, 4, 4)
    torch.testing.assert_close(select(layer, IN, None)(x[:, IN]), layer(x)[:, IN])


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_norm_keeps_scale_shift_and_statistics_of_its_channels(training: bool) -> None:
    layer, x = nn.BatchNorm2d(5), torch.randn(4, 5, 3, 3)
    assert layer.running_mean is not None
    assert layer.num_batches_tracked is not None
    layer.weight.data.uniform_(0.5, 2)
    layer.bias.data.normal_()
    layer.running_mean.normal_()
    layer.num_batches_tracked.fill_(7)
    small = select(layer.train(training), IN, None)
    assert small.num_batches_tracked is not None
    assert int(small.num_batches_tracked) == 7
    torch.testing.assert_close(small(x[:, IN]), layer(x)[:, IN])


def test_selection_copies_and_keeps_what_is_trained() -> None:
    layer = nn.Linear(5, 4)
    layer.bias.requires_grad_(False)
    before = layer.weight.detach().clone()
    small = select(layer, OUT, None)
    with torch.no_grad():
        small.weight.zero_()
    assert torch.equal(layer.weight, before)
    assert layer.out_features == 4
    assert (small.weight.requires_grad, small.bias.requires_grad) == (True, False)


def cut(module: nn.Module, name: str, out: Tensor | None, into: Tensor | None) -> None:
    """Put a selection of a layer into its place."""
    layer = module.get_submodule(name)
    set_layer(module, name, select(layer, out, into))  # type: ignore[type-var]  # one of those that can be resized


def network(channels: int = 5) -> Chain:
    return Chain(
        {
            "conv": nn.Conv2d(1, channels, 3),
            "bn": nn.BatchNorm2d(channels),
            "deep": nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            "flatten": nn.Flatten(),
            "fc": nn.Linear(channels * 4, 3),
        }
    )


def shrunk(large: Chain) -> nn.Module:
    """Keep channels 1, 3 and 4 of the network by hand."""
    small = copy.deepcopy(large)
    features = torch.cat([torch.arange(4 * c, 4 * c + 4) for c in IN.tolist()])
    cut(small, "conv", IN, None)
    cut(small, "bn", IN, None)
    cut(small, "deep", IN, None)
    cut(small, "fc", None, features)
    return small


def test_a_pruned_network_is_rebuilt_from_its_weights_alone() -> None:
    small, again, x = shrunk(network()).eval(), network(), torch.rand(2, 1, 4, 4)
    resize_to(again, small.state_dict())
    again.load_state_dict(small.state_dict())
    assert torch.equal(again.eval()(x), small(x))
    assert str(again) == str(small)
    assert size_of(again) == size_of(small)
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_resizing_gives_weights_of_its_own_and_passes_over_what_fits() -> None:
    small, again = shrunk(network()), network()
    untouched = again.get_parameter("fc.bias")
    tensors = small.state_dict()
    resize_to(again, tensors)
    assert again.get_parameter("fc.bias") is untouched
    with torch.no_grad():
        again.get_parameter("conv.weight").zero_()
    assert bool(tensors["conv.weight"].any())


def test_resizing_leaves_a_network_on_its_device() -> None:
    with torch.device("meta"):
        again = network()
    resize_to(again, shrunk(network()).state_dict())
    assert {tensor.device.type for tensor in (*again.parameters(), *again.buffers())} == {"meta"}
    assert again.get_parameter("conv.weight").shape == (3, 1, 3, 3)


def test_a_weight_of_other_dimensions_is_left_for_the_loader_to_refuse() -> None:
    again = network()
    resize_to(again, {"conv.weight": torch.zeros(3)})
    assert again.get_parameter("conv.weight").shape == (5, 1, 3, 3)


def test_a_layer_is_put_in_place_by_its_name() -> None:
    outer, layer = Normalized(network(), [0.5], [0.5]), nn.Identity()
    set_layer(outer, "net.bn", layer)
    assert outer.get_submodule("net.bn") is layer


@component
class FirstUnits(OneShotPruner):
    """Keeps the first half of the hidden units of the toy network."""

    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        small, keep = copy.deepcopy(module), torch.arange(8)
        cut(small, "net.fc1", keep, None)
        cut(small, "net.fc2", None, keep)
        return small, PruningReport.of(module, small, {"net.fc1": tuple(keep.tolist())})


@component
class LastClassGone(OneShotPruner):
    def apply(self, module: nn.Module, x: Tensor) -> tuple[nn.Module, PruningReport]:
        small = copy.deepcopy(module)
        cut(small, "net.fc2", torch.arange(2), None)
        return small, PruningReport.of(module, small, {})


class Pruning:
    """A pruner rewriting a plan of two stages, the first of which trains another network."""

    def __init__(self, pruner: OneShotPruner, watch: Callable[[Stage], None] = lambda stage: None) -> None:
        self.run: Run = toy_run("student")
        self.student = self.run.network("student")
        self.other = self.run.network("other")
        self.stages: list[Stage] = []
        self.result = execute(self._watched(pruner, watch), Monitor())

    def plan(self, student: nn.Module) -> Iterator[Stage]:
        training = Training(epochs=2, batch_size=32)
        yield training.stage(self.run, self.other, supervised, name="other")
        yield training.stage(self.run, student, supervised)

    def _watched(self, pruner: OneShotPruner, watch: Callable[[Stage], None]) -> Iterator[Stage]:
        for stage in pruner.rewrite(self.plan, self.student, self.run):
            self.stages.append(stage)
            watch(stage)
            yield stage


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.mark.parametrize("finetune", [0, 1])
def test_a_one_shot_pruner_trains_as_planned_prunes_and_fine_tunes_the_small_student(finetune: int) -> None:
    pruning = Pruning(FirstUnits(finetune=finetune))
    small = pruning.result
    assert small is not None
    assert small.get_parameter("net.fc1.weight").shape[0] == 8
    assert [(stage.name, stage.epochs) for stage in pruning.stages] == [
        ("student/other", 2),
        ("student/train", 2),
        # What a plan trains besides the student may be another network the second time.
        ("student/other-2", 2),
        ("student/train-2", finetune),
    ]
    targets = [pruning.other, pruning.student, pruning.other, small]
    assert [stage.target for stage in pruning.stages] == targets
    (report,) = pruning.run.pruned
    assert report.kept == {"net.fc1": tuple(range(8))}
    assert report.before == size_of(pruning.student)
    assert report.after.parameters == size_of(small).parameters


def test_pruning_happens_between_the_stages() -> None:
    """What the small student starts from is the trained large one; without fine-tuning it stays that."""
    started: list[dict[str, Tensor]] = []
    pruning = Pruning(FirstUnits(finetune=0), lambda stage: started.append(weights(stage.target)))
    trained = pruning.student.get_parameter("net.fc1.weight")
    assert not torch.equal(started[1]["net.fc1.weight"], trained)
    assert torch.equal(started[-1]["net.fc1.weight"], trained[:8])
    assert pruning.result is not None
    assert torch.equal(pruning.result.get_parameter("net.fc1.weight"), trained[:8])


def test_fine_tuning_moves_the_small_student_and_leaves_the_large_one() -> None:
    pruning = Pruning(FirstUnits(finetune=1))
    assert pruning.result is not None
    moved = pruning.result.get_parameter("net.fc1.weight")
    assert not torch.equal(moved, pruning.student.get_parameter("net.fc1.weight")[:8])
    assert pruning.student.get_parameter("net.fc1.weight").shape[0] == 16


def test_a_pruner_that_loses_a_class_is_refused() -> None:
    with pytest.raises(RequestError, match=r"outputs \(2, 2\); it lost classes"):
        Pruning(LastClassGone())
