from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from rcframe_filter_pruning.pruner import Filters
from torch import Tensor, nn

import rcframe as rc
from rcframe import DataInfo, Model, NotAChain, RequestError, Run, Stage, size_of, supervised
from rcframe.choice import parse_choice
from rcframe.registry import registry
from rcframe.testing.toys import fingerprint, toy_run
from rcframe.training.loop import execute
from rcframe.training.monitor import Monitor

#: Non-square, so that a wrong block of flattened columns shows.
SHAPE = (2, 6, 14)
Kept = Mapping[str, Sequence[int]]


def plain_net() -> nn.Sequential:
    """Return convolutions with biases and a 1x5 map in front of the flattening."""
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d((1, 2))),
        *(nn.Conv2d(6, 5, (4, 2)), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()),
        *(nn.Linear(25, 7), nn.ReLU(), nn.Linear(7, 3)),
    )


def normed_net() -> nn.Sequential:
    """Return convolutions in front of batch norm, then batch norm on flattened and on hidden features."""
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(2)),
        *(nn.Conv2d(6, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.BatchNorm1d(12)),
        *(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)),
    )


def depthwise_net() -> nn.Sequential:
    """Return a depthwise convolution between ordinary ones, and one at the end."""
    return nn.Sequential(
        *(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 3, 1), nn.Conv2d(3, 3, 3, groups=3), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


class Functional(nn.Module):
    """Calls its activations and its flattening as functions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 6, 3), nn.Conv2d(6, 5, 3, stride=2)
        self.last = nn.Linear(25, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.first(x)), (1, 1))
        x = F.relu(self.second(x)).view(x.size(0), -1)
        logits: Tensor = self.last(x)
        return logits


#: Networks, each with the last module of its own that a removed channel passes, by pruned layer: a batch norm or a
#: depthwise convolution in between would make something of a channel that is merely 0.
NETWORKS = {
    "plain": (plain_net, {"0": "1", "3": "4", "7": "8"}),
    "normed": (normed_net, {"0": "2", "4": "8", "9": "11"}),
    "depthwise": (depthwise_net, {"0": "5"}),
    "functional": (Functional, {"first": "first", "second": "second"}),
}


def settled(net: nn.Module, seed: int = 0) -> nn.Module:
    """Give every weight and batch average some value of its own, in float64 and evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    net = net.double().eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                values = torch.rand(tensor.shape, generator=draw, dtype=torch.float64)
                tensor.copy_(values + 0.5 if name.endswith("running_var") else values - 0.4)
    return net


def images(shape: Sequence[int] = SHAPE, seed: int = 1) -> Tensor:
    return torch.rand(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def build(name: str) -> tuple[nn.Module, dict[str, str]]:
    make, silent_behind = NETWORKS[name]
    net = make()
    assert isinstance(net, nn.Module)
    return settled(net), silent_behind


def masked(net: nn.Module, kept: Kept, silent_behind: Mapping[str, str], x: Tensor) -> Tensor:
    """Run `net` with the removed channels set to zero in front of the layers that mix channels."""
    net = copy.deepcopy(net)
    for layer, alive in kept.items():
        mask = torch.zeros(len(net.get_parameter(f"{layer}.weight")), dtype=x.dtype)
        mask[list(alive)] = 1

        def hook(_m: nn.Module, _i: object, output: Tensor, mask: Tensor = mask) -> Tensor:
            # Flattened channels keep their places together.
            each = mask.repeat_interleave(output.shape[1] // len(mask))
            return output * each.view(1, -1, *[1] * (output.dim() - 2))

        net.get_submodule(silent_behind[layer]).register_forward_hook(hook)
    return outputs_of(net, x)


def outputs_of(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        outputs: Tensor = net(x)
    return outputs


# --- the smaller network computes the same ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@given(
    st.floats(0, 1),
    st.sampled_from(["l1", "folded", "random", "largest"]),
    st.sampled_from(["independent", "greedy"]),
    st.booleans(),
)
@settings(max_examples=15, deadline=None)
def test_removing_is_masking(name: str, ratio: float, criterion: str, order: str, hidden: bool) -> None:
    net, silent_behind = build(name)
    pruner = rc.pruner("filters", ratio=ratio, criterion=criterion, order=order, hidden=hidden)
    assert isinstance(pruner, Filters)
    small, report = pruner.apply(net, images())
    assert torch.allclose(outputs_of(small, images()), masked(net, report.kept, silent_behind, images()), atol=1e-10)
    assert all(list(kept) == sorted(set(kept)) for kept in report.kept.values())
    assert report.kept.keys() == {name for name in silent_behind if hidden or name not in ("7", "9")}


def kill(net: nn.Module, dead: Mapping[str, Sequence[int]]) -> None:
    """Make filters dead: no weight, no bias, and nothing that batch norm adds."""
    with torch.no_grad():
        for name, filters in dead.items():
            for tensor in net.get_submodule(name).state_dict().values():
                if tensor.dim() > 0:
                    tensor[list(filters)] = 0


def test_removing_dead_filters_changes_nothing() -> None:
    net, _ = build("plain")
    kill(net, {"0": [1, 4], "3": [0, 4]})
    # A third of six and two fifths of five.
    first, _ = Filters(ratio=1 / 3, skip=("3",)).apply(net, images())
    small, report = Filters(ratio=2 / 5, skip=("0",)).apply(first, images())
    assert torch.allclose(outputs_of(small, images()), outputs_of(net, images()), atol=1e-12)
    assert report.kept == {"3": (1, 2, 3)}
    # 6 filters of 2x3x3 become 4, 5 of 6x4x2 become 3 of 4x4x2, and 25 columns become 15.
    removed = (6 * 18 + 6) - (4 * 18 + 4) + (5 * 48 + 5) - (3 * 32 + 3) + 7 * (25 - 15)
    assert sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in small.parameters()) == removed


def test_removing_dead_filters_behind_batch_norm_changes_nothing() -> None:
    net, _ = build("normed")
    columns = [3 * channel + place for channel in (1, 3) for place in range(3)]
    kill(net, {"0": [0, 2, 5], "1": [0, 2, 5], "4": [1, 3], "5": [1, 3], "8": columns})
    small, report = Filters(ratio=0.5).apply(net, images())
    assert report.kept == {"0": (1, 3, 4), "4": (0, 2)}
    assert torch.allclose(outputs_of(small, images()), outputs_of(net, images()), atol=1e-12)
    assert small.get_buffer("8.running_mean").shape == (6,)


def test_removing_dead_filters_keeps_certificates() -> None:
    pytest.importorskip("rcframe_convex")
    net = settled(
        nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), nn.Conv2d(6, 4, (4, 8)), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))
    )
    kill(net, {"0": [1, 4, 5], "2": [0, 3]})
    small, _ = Filters().apply(net, images())
    assert small.get_parameter("2.weight").shape == (2, 3, 4, 8)
    x, y = images(), torch.arange(5) % 3
    certifier = rc.certifier("convex")
    assert torch.allclose(certifier(net, x, y, eps=0.01), certifier(small, x, y, eps=0.01), atol=1e-8)


# --- what is removed -------------------------------------------------------------------------------------------------


def test_survivors_are_copied_with_everything_that_belongs_to_them() -> None:
    net, _ = build("normed")
    small, report = Filters(ratio=0.5).apply(net, images())
    first, second = list(report.kept["0"]), list(report.kept["4"])
    before, after = net.state_dict(), small.state_dict()
    columns = [3 * channel + p for channel in second for p in range(3)]
    expected = {
        "0.weight": before["0.weight"][first],
        "4.weight": before["4.weight"][second][:, first],
        "4.bias": before["4.bias"][second],
        "9.weight": before["9.weight"][:, columns],
        "12.weight": before["12.weight"],
        **{f"1.{name}": before[f"1.{name}"][first] for name in ("weight", "bias", "running_mean", "running_var")},
        **{f"5.{name}": before[f"5.{name}"][second] for name in ("weight", "bias", "running_mean", "running_var")},
        **{f"8.{name}": before[f"8.{name}"][columns] for name in ("weight", "bias", "running_mean", "running_var")},
    }
    assert all(torch.equal(after[name], tensor) for name, tensor in expected.items())


def test_sizes_written_on_the_layers_are_those_of_the_weights() -> None:
    net, _ = build("depthwise")
    small, _ = Filters(ratio=0.5).apply(net, images())
    assert [str(part).split(", kernel")[0] for part in small.modules() if isinstance(part, nn.Conv2d)] == [
        "Conv2d(2, 3",
        "Conv2d(3, 3",
        "Conv2d(3, 3",
        "Conv2d(3, 3",
    ]
    assert small.get_submodule("3").groups == 3
    assert small.get_submodule("4").num_features == 3


def test_hidden_units_go_only_on_request() -> None:
    net, _ = build("plain")
    assert Filters().apply(net, images())[1].kept.keys() == {"0", "3"}
    small, report = Filters(hidden=True).apply(net, images())
    assert report.kept.keys() == {"0", "3", "7"}
    assert small.get_parameter("9.weight").shape == (3, 4)


def test_skipped_layers_stay_whole() -> None:
    net, _ = build("plain")
    small, report = Filters(skip=("0",)).apply(net, images())
    assert report.kept.keys() == {"3"}
    assert small.get_parameter("3.weight").shape == (3, 6, 4, 2)


def test_nothing_to_remove_returns_an_equal_network() -> None:
    net, _ = build("normed")
    small, report = Filters(ratio=0.0).apply(net, images())
    assert fingerprint(small) == fingerprint(net)
    assert report.before == report.after
    assert small is not net


def test_one_filter_always_stays() -> None:
    net, silent_behind = build("plain")
    small, report = Filters(ratio=1.0).apply(net, images())
    assert [len(kept) for kept in report.kept.values()] == [1, 1]
    assert torch.allclose(outputs_of(small, images()), masked(net, report.kept, silent_behind, images()), atol=1e-10)


def greedy_net() -> nn.Sequential:
    """Return a network whose second layer ranks otherwise once the first one's weak filter is gone."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        net.get_parameter("0.weight").copy_(torch.tensor([0.1, 1.0]).view(2, 1, 1, 1))
        net.get_parameter("2.weight").copy_(torch.tensor([[5.0, 1.0], [0.0, 2.0]]).view(2, 2, 1, 1))
    return net


@pytest.mark.parametrize(("order", "kept"), [("independent", (0,)), ("greedy", (1,))])
def test_greedy_scores_do_not_count_inputs_that_are_gone(order: str, kept: tuple[int, ...]) -> None:
    pruner = rc.pruner("filters", ratio=0.5, order=order)
    assert isinstance(pruner, Filters)
    assert pruner.apply(greedy_net(), torch.rand(1, 1, 2, 2))[1].kept == {"0": (1,), "2": kept}


@pytest.mark.parametrize(("criterion", "kept"), [("l1", (1,)), ("folded", (0,))])
def test_folding_counts_in_the_batch_norm_behind_hidden_units(criterion: str, kept: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 1)).eval()
    with torch.no_grad():
        net.get_parameter("1.weight").copy_(torch.tensor([[1.0] * 4, [2.0] * 4]))
        net.get_parameter("2.weight").copy_(torch.tensor([-10.0, 1.0]))
    pruner = rc.pruner("filters", ratio=0.5, hidden=True, criterion=criterion)
    assert isinstance(pruner, Filters)
    assert pruner.apply(net, torch.rand(1, 1, 2, 2))[1].kept == {"1": kept}


def zoo_network(model: str, shape: tuple[int, int, int]) -> nn.Module:
    info = DataInfo("any", shape, tuple("0123456789"), (0.5,) * shape[0], (0.5,) * shape[0])
    builder = registry().make("model", parse_choice(model, "model"))
    assert isinstance(builder, Model)
    torch.manual_seed(0)
    return builder.build(info)


@pytest.mark.parametrize(
    ("model", "shape", "second", "first", "before", "after"),
    [
        ("scnn:channels=64+128,hidden=512", (3, 32, 17), "46/128", "27/64", 867_722, 537_874),
        ("scnn:channels=64+512,hidden=128", (3, 32, 32), "342/512", "1/64", 2_657_930, 883_102),
    ],
)
def test_the_thesis_networks_lose_exactly_the_published_parameters(
    model: str, shape: tuple[int, int, int], second: str, first: str, before: int, after: int
) -> None:
    network, x = zoo_network(model, shape), torch.zeros(1, *shape)
    assert size_of(network).parameters == before
    for ratio, skip in ((second, "net.conv1"), (first, "net.conv2")):
        pruner = rc.pruner("filters", ratio=ratio, skip=skip)
        assert isinstance(pruner, Filters)
        network, report = pruner.apply(network, x)
    assert size_of(network).parameters == report.after.parameters == after
    assert size_of(network).bytes == report.after.bytes


@pytest.mark.parametrize("model", ["convnet", "cnn:width=0.25", "vgg16:width=0.1", "lenet5:channels=4+6,hidden=20"])
def test_networks_of_the_zoo_are_pruned(model: str) -> None:
    network = zoo_network(model, (3, 32, 32)).eval()
    small, report = Filters().apply(network, torch.zeros(1, 3, 32, 32))
    assert report.after.parameters < 0.6 * report.before.parameters
    assert outputs_of(small, torch.rand(2, 3, 32, 32)).shape == (2, 10)


# --- what is kept ----------------------------------------------------------------------------------------------------


def test_the_original_is_left_alone_and_modes_types_and_freezing_are_kept() -> None:
    net = normed_net()
    net[1].train()
    net[4].eval()
    net[9].requires_grad_(False)
    before = fingerprint(net)
    small, _ = Filters().apply(net, torch.rand(2, *SHAPE))
    assert fingerprint(net) == before
    assert [part.training for part in small.modules()] == [part.training for part in net.modules()]
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in net.parameters()]
    assert {p.dtype for p in small.parameters()} == {torch.float32}
    assert small.get_submodule("1").momentum == 0.1


def test_batch_norm_without_parameters_can_be_pruned_twice() -> None:
    net = settled(
        nn.Sequential(
            nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8, affine=False), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 12, 3)
        )
    )
    once, _ = Filters().apply(net, images())
    twice, report = Filters().apply(once, images())
    assert len(report.kept["0"]) == 2
    assert outputs_of(twice, images()).shape == (5, 3)
    assert twice.get_submodule("1").num_features == 2


# --- spiking networks ------------------------------------------------------------------------------------------------


def test_spiking_networks_lose_the_same_channels_at_every_time_step() -> None:
    pytest.importorskip("rcframe_spiking")
    net = plain_net()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.mul_(4)
    spiking = rc.neuron("lif", steps=3).convert(net).double().eval()
    small, report = Filters().apply(spiking, images())
    assert report.kept.keys() == {"body.0", "body.3"}
    silent_behind = {"body.0": "body.0", "body.3": "body.3"}
    expected = masked(spiking, report.kept, silent_behind, images())
    assert expected.abs().max() > 0.1
    assert torch.allclose(outputs_of(small, images()), expected, atol=1e-10)


# --- what is refused -------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """Adds its input to what its convolution makes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.last = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        logits: Tensor = self.last((x + self.conv(x)).mean((2, 3)))
        return logits


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Residual(), "layer `stem` gives its output to 2 places"),
        (nn.Sequential(nn.Conv2d(2, 4, 1), nn.Conv2d(4, 8, 1, groups=2), nn.Conv2d(8, 3, 1)), "`1`.*in 2 groups"),
        (
            nn.Sequential(nn.Conv2d(2, 4, 1), nn.PReLU(4), nn.Conv2d(4, 3, 1)),
            r"`1` \(PReLU\) has parameters of its own",
        ),
        (nn.Sequential(nn.Flatten(), nn.Linear(168, 5), nn.ReLU(), nn.Linear(5, 3)), "no convolution whose filters"),
        (nn.Sequential(nn.Conv2d(2, 3, 1)), "no convolution whose filters"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(net: nn.Module, words: str) -> None:
    with pytest.raises(RequestError, match=f"`filters` cannot prune this network: .*{words}"):
        Filters().apply(net, torch.rand(1, *SHAPE))
    assert Filters().unsupported(net)


@pytest.mark.parametrize("model", ["resnet18:width=0.1", "resnet20:width=0.25", "mobilenetv2:width=0.1"])
def test_residual_networks_of_the_zoo_are_refused_with_the_layer(model: str) -> None:
    network = zoo_network(model, (3, 32, 32))
    reason = Filters().unsupported(network) or ""
    assert "plain chains only" in reason
    with pytest.raises(NotAChain) as caught:
        rc.chain(network)
    assert f"layer `{caught.value.layer}`" in reason


@pytest.mark.parametrize("mixer", [nn.LocalResponseNorm(3), nn.ChannelShuffle(2), nn.GroupNorm(2, 6, affine=False)])
def test_layers_that_mix_channels_are_found_out(mixer: nn.Module) -> None:
    net = nn.Sequential(nn.Conv2d(2, 6, 3), nn.ReLU(), mixer, nn.Conv2d(6, 3, 3))
    with pytest.raises(RequestError, match="some layer mixes channels"):
        Filters(ratio=1 / 3).apply(net, torch.rand(1, *SHAPE))


def test_skipping_a_layer_that_is_not_there_is_refused_before_training() -> None:
    with pytest.raises(RequestError, match=r"^In the option `skip`: the network has no layer `11`\. Did .* `1`\?"):
        Filters(skip=("11",)).unsupported(plain_net())


# --- in a run --------------------------------------------------------------------------------------------------------


class Lengths(Monitor):
    """Keeps the name and the number of epochs of every stage."""

    def __init__(self) -> None:
        self.stages: list[tuple[str, int]] = []

    def stage_started(self, stage: Stage) -> None:
        self.stages.append((stage.name, stage.epochs))


def rewritten(pruner: Filters, run: Run) -> tuple[nn.Module, Lengths]:
    training, lengths = rc.Training(epochs=4, batch_size=16), Lengths()

    def plan(student: nn.Module) -> Iterator[Stage]:
        yield training.stage(run, student, supervised)

    small = execute(pruner.rewrite(plan, run.network("student"), run), lengths)
    assert small is not None
    return small, lengths


@pytest.mark.parametrize(("finetune", "expected"), [(0, 0), (2, 2), (9, 9)])
def test_the_small_network_is_trained_on_as_planned_for_as_long_as_asked(finetune: int, expected: int) -> None:
    run = toy_run("student")
    small, lengths = rewritten(Filters(finetune=finetune), run)
    assert lengths.stages == [("student/train", 4), ("student/train-2", expected)]
    assert small.get_parameter("net.conv2.weight").shape == (2, 2, 4, 4)
    assert [report.kept.keys() for report in run.pruned] == [{"net.conv1", "net.conv2", "net.conv3"}]


def test_the_trained_network_is_pruned_not_the_fresh_one() -> None:
    run, again = toy_run("student"), toy_run("student")
    small, _ = rewritten(Filters(finetune=0), run)
    stage = rc.Training(epochs=4, batch_size=16).stage(again, again.network("student"), supervised)
    trained = execute(iter([stage]), Monitor())
    assert trained is not None
    kept = list(run.pruned[0].kept["net.conv1"])
    assert torch.equal(small.get_parameter("net.conv1.weight"), trained.get_parameter("net.conv1.weight")[kept])


def test_random_removal_follows_the_seed_of_the_run() -> None:
    def kept(seed: int, disturbance: int) -> object:
        run = toy_run("student", seed=seed)

        def plan(student: nn.Module) -> Iterator[Stage]:
            torch.manual_seed(disturbance)
            yield from ()

        execute(Filters(criterion="random").rewrite(plan, run.network("student"), run), Monitor())
        return run.pruned[0].kept

    assert kept(0, 1) == kept(0, 2)
    assert any(kept(0, 1) != kept(seed, 1) for seed in (1, 2, 3))


def test_a_run_reports_what_was_removed() -> None:
    report = rc.run(
        data="glyphs:classes=3,size=8,train=96,test=12,extra=0",
        teacher="plain:epochs=0",
        student="plain:epochs=1",
        pruner="filters:ratio=0.25,finetune=1",
        eps=0.1,
    )
    (pruned,) = report.student.pruned
    assert report.student.size == pruned.after
    assert pruned.after.parameters < report.teacher.size.parameters == pruned.before.parameters
    assert [len(kept) for kept in pruned.kept.values()] == [12, 12, 24, 24]


def test_parametrized_layers_and_weights_that_are_not_finite_are_refused_by_name() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    filters, x = rc.pruner("filters"), torch.rand(1, 1, 4, 4)
    nn.utils.parametrizations.weight_norm(net[0])
    with pytest.raises(RequestError, match=r"layer `0` is parametrized .*remove_parametrizations"):
        filters.apply(net, x)
    nn.utils.parametrize.remove_parametrizations(net[0], "weight")
    filters.apply(net, x)
    nn.init.constant_(net.get_parameter("3.weight"), torch.nan)
    with pytest.raises(RequestError, match="layer `3` has weights that are not finite"):
        filters.apply(net, x)
