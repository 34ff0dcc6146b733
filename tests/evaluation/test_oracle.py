from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping

import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn

from rcframe.access import Access, parse_access
from rcframe.errors import AccessDenied, BudgetExceeded, RequestError
from rcframe.evaluation.oracle import Answer, ModelOracle, Oracle, Queries
from rcframe.testing.toys import some_images, trained_network


class Seen(nn.Module):
    """A small network that counts how often it is asked; `bend` changes its logits at the end."""

    def __init__(self, bend: Callable[[Tensor], Tensor] = lambda logits: logits) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.tap = nn.Linear(4, 5)
        self.head = nn.Linear(5, 3)
        self.bend, self.calls = bend, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.bend(self.head(self.tap(x.flatten(1)).tanh()))


def pixels(count: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(count, 1, 2, 2, generator=torch.Generator().manual_seed(seed))


def differentiable(oracle: Oracle) -> object:
    return oracle.query(pixels().requires_grad_(True))


USES: dict[Access, Callable[[Oracle], object]] = {
    Access.LABEL: lambda oracle: oracle.labels(pixels()),
    Access.PROBS: lambda oracle: oracle.probabilities(pixels()),
    Access.LOGITS: lambda oracle: oracle.logits(pixels()),
    Access.FEATURES: lambda oracle: oracle.query(pixels(), ["tap"]).features,
    Access.INPUT_GRAD: differentiable,
    Access.PARAMS: lambda oracle: oracle.module(),
}
READS: dict[Access, Callable[[Answer], object]] = {
    Access.LABEL: lambda answer: answer.labels,
    Access.PROBS: lambda answer: answer.probabilities,
    Access.LOGITS: lambda answer: answer.logits,
    Access.FEATURES: lambda answer: answer.features,
}


def public(thing: object, depth: int = 3) -> Iterator[object]:
    """Yield everything that attributes without an underscore lead to, what is denied left out."""
    yield thing
    if depth == 0 or isinstance(thing, Tensor | nn.Module | int | str | float | type(None)):
        return
    for name in dir(thing):
        if not name.startswith("_"):
            try:
                value = getattr(thing, name)
            except AccessDenied:
                continue
            if not inspect.isroutine(value):
                yield from public(value, depth - 1)
    if isinstance(thing, Mapping):
        for value in thing.values():
            yield from public(value, depth - 1)


@pytest.mark.parametrize("capability", USES, ids=lambda capability: capability.name)
def test_a_removed_capability_is_denied_before_the_model_is_asked(capability: Access) -> None:
    network = Seen()
    oracle = ModelOracle(network, Access.WHITE & ~capability)
    with pytest.raises(AccessDenied, match=r"The model's owner grants .*, not "):
        USES[capability](oracle)
    assert network.calls == 0
    assert oracle.queries == Queries()
    for other in USES.keys() - {capability}:
        USES[other](oracle)


@pytest.mark.parametrize("capability", USES, ids=lambda capability: capability.name)
def test_one_capability_grants_itself_and_nothing_else(capability: Access) -> None:
    oracle = ModelOracle(Seen(), capability)
    USES[capability](oracle)
    for other in USES.keys() - {capability}:
        with pytest.raises(AccessDenied):
            USES[other](oracle)


@pytest.mark.parametrize("capability", READS, ids=lambda capability: capability.name)
def test_an_answer_denies_what_was_not_granted(capability: Access) -> None:
    answer = ModelOracle(Seen(), Access.WHITE & ~capability).query(pixels())
    with pytest.raises(AccessDenied):
        READS[capability](answer)


def test_the_refusal_names_what_is_granted_and_what_was_asked() -> None:
    with pytest.raises(AccessDenied, match="grants labels, probabilities, not logits"):
        ModelOracle(Seen(), Access.SOFT).logits(pixels())


def test_hard_answers_are_int64_labels_and_nothing_else_is_reachable() -> None:
    network = Seen()
    oracle = ModelOracle(network, Access.HARD)
    answer = oracle.query(pixels())
    assert answer.labels.dtype == torch.int64
    assert torch.equal(answer.labels, network(pixels()).argmax(dim=1))
    reachable = [*public(answer), *public(oracle), *vars(answer).values()]
    tensors = [thing for thing in reachable if isinstance(thing, Tensor)]
    assert tensors
    assert all(tensor.dtype == torch.int64 and not tensor.requires_grad for tensor in tensors)
    assert not any(isinstance(thing, nn.Module) for thing in reachable)


def test_soft_answers_carry_probabilities_and_no_logits() -> None:
    network = Seen()
    answer = ModelOracle(network, Access.SOFT).query(pixels())
    torch.testing.assert_close(answer.probabilities, network(pixels()).softmax(dim=1))
    assert torch.equal(answer.labels, network(pixels()).argmax(dim=1))
    floats = [kept for kept in vars(answer).values() if isinstance(kept, Tensor)]
    assert floats
    for kept in floats:
        torch.testing.assert_close(kept.sum(dim=1), torch.ones(6))


def test_logit_answers_agree_with_each_other() -> None:
    network = Seen()
    answer = ModelOracle(network, Access.LOGIT).query(pixels())
    assert torch.equal(answer.logits, network(pixels()))
    torch.testing.assert_close(answer.probabilities, answer.logits.softmax(dim=1))
    assert torch.equal(answer.labels, answer.logits.argmax(dim=1))


@given(st.floats(0.1, 50), st.floats(-10, 10), st.sampled_from([torch.exp, torch.atan, lambda z: z**3]))
def test_hard_answers_do_not_depend_on_how_sure_the_model_is(
    scale: float, shift: float, bend: Callable[[Tensor], Tensor]
) -> None:
    bent = ModelOracle(Seen(lambda logits: scale * bend(logits.double()) + shift), Access.HARD)
    assert torch.equal(bent.labels(pixels(64)), ModelOracle(Seen(), Access.HARD).labels(pixels(64)))


def test_queries_are_counted_by_kind() -> None:
    oracle = ModelOracle(Seen(), Access.WHITE)
    oracle.labels(pixels(5))
    oracle.query(pixels(3), ["tap"])
    oracle.logits(pixels(2).requires_grad_(True))
    with torch.no_grad():
        oracle.logits(pixels(4).requires_grad_(True))
    oracle.module()
    assert oracle.queries == Queries(images=14, gradient_images=2, calls=4)


def test_counts_go_on_from_saved_ones() -> None:
    first, second = Queries(images=3, gradient_images=2, calls=1), Queries()
    second.load_state_dict(first.state_dict())
    assert second == first


def test_a_batch_beyond_the_budget_is_refused_whole() -> None:
    network = Seen()
    oracle = ModelOracle(network, Access.HARD, budget=10)
    oracle.labels(pixels(6))
    assert oracle.remaining == 4
    with pytest.raises(BudgetExceeded, match=r"budget of 10 images .* 6 were asked.* next batch has 5"):
        oracle.labels(pixels(5))
    assert oracle.queries == Queries(images=6, calls=1)
    assert network.calls == 1
    oracle.labels(pixels(4))
    assert oracle.remaining == 0


def test_without_a_budget_nothing_runs_out() -> None:
    assert ModelOracle(Seen(), Access.HARD).remaining is None


@pytest.mark.parametrize(
    ("x", "fix"),
    [
        (pixels() * 255, "divide them by 255"),
        (pixels() - 0.5, "move the normalisation into the model"),
        ((pixels() * 255).to(torch.uint8), "use x.float"),
        (torch.full((1, 1, 2, 2), float("nan")), "mend the data"),
    ],
)
def test_images_that_are_no_pixels_are_refused_with_the_fix(x: Tensor, fix: str) -> None:
    network = Seen()
    oracle = ModelOracle(network, Access.WHITE)
    for _ in range(2):
        with pytest.raises(RequestError, match=fix):
            oracle.logits(x)
    assert network.calls == 0
    assert oracle.queries == Queries()


def test_granted_input_gradients_are_those_of_the_model() -> None:
    network, x = Seen(), pixels()
    asked, direct = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    ModelOracle(network, Access.LOGITS | Access.INPUT_GRAD).logits(asked)[:, 1].sum().backward()  # type: ignore[no-untyped-call]
    network(direct)[:, 1].sum().backward()
    assert asked.grad is not None
    assert direct.grad is not None
    assert torch.equal(asked.grad, direct.grad)
    assert bool(asked.grad.any())


def test_features_are_differentiable_where_input_gradients_are_granted() -> None:
    x = pixels().requires_grad_(True)
    features = ModelOracle(Seen(), Access.WHITE).query(x, ["tap"]).features["tap"]
    (gradient,) = torch.autograd.grad(features.sum(), x)
    assert bool(gradient.any())


def test_answers_to_plain_images_carry_no_graph() -> None:
    answer = ModelOracle(Seen(), Access.WHITE).query(pixels(), ["tap"])
    assert not answer.logits.requires_grad
    assert not answer.features["tap"].requires_grad


def test_images_that_want_gradients_pass_where_none_are_recorded() -> None:
    oracle = ModelOracle(Seen(), Access.LOGITS)
    with torch.no_grad():
        assert not oracle.logits(pixels().requires_grad_(True)).requires_grad


def test_hard_labels_have_no_gradient_even_where_it_is_granted() -> None:
    assert not ModelOracle(Seen(), Access.LABEL | Access.INPUT_GRAD).labels(pixels().requires_grad_(True)).requires_grad


def test_features_are_the_activations_at_the_taps() -> None:
    network = Seen()
    answer = ModelOracle(network, Access.GREY).query(pixels(), ["tap"])
    torch.testing.assert_close(answer.features["tap"], network.tap(pixels().flatten(1)))
    assert not network.tap._forward_hooks


def test_an_unknown_tap_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"no layer `tapp`\. Did you mean `tap`"):
        ModelOracle(Seen(), Access.GREY).query(pixels(), ["tapp"])


def test_the_network_is_handed_out_only_with_its_parameters() -> None:
    network = Seen()
    assert ModelOracle(network, Access.PARAMS).module() is network
    assert not any(isinstance(thing, nn.Module) for thing in public(ModelOracle(network, Access.WHITE)))


def test_a_model_that_returns_probabilities_is_refused_where_logits_are_granted() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(pixels()[0].numel(), 3), nn.Softmax(dim=1)).eval()
    with pytest.raises(RequestError, match=r"returns probabilities.*remove its last softmax"):
        ModelOracle(network, Access.LOGITS | Access.INPUT_GRAD).logits(pixels())
    assert ModelOracle(network, Access.LABEL).labels(pixels()).shape == pixels().shape[:1]


# -- asking again, and what the owner lets out


def test_asking_again_is_answered_alike_and_not_counted() -> None:
    oracle = ModelOracle(trained_network(), parse_access("logit"), budget=6)
    first = oracle.query(some_images(6)[0]).logits
    assert oracle.remaining == 0
    again = oracle.query_again(some_images(6)[0])
    assert torch.equal(again.logits, first)
    assert (oracle.queries.images, oracle.queries.calls) == (6, 1)


def test_asking_again_grants_no_more_than_asking() -> None:
    again = ModelOracle(trained_network(), parse_access("hard")).query_again(some_images(6)[0])
    assert again.labels.dtype == torch.int64
    with pytest.raises(AccessDenied):
        _ = again.logits


def test_what_is_sent_again_must_be_pixels_too() -> None:
    with pytest.raises(RequestError, match="divide them by 255"):
        ModelOracle(trained_network(), parse_access("hard")).query_again(some_images(6)[0] * 255)


def test_whoever_asks_gets_what_the_owner_lets_out_at_every_access() -> None:
    network = trained_network()

    def reversed_order(logits: Tensor, *_: object) -> Tensor:
        return logits.flip(dims=(1,))

    with torch.no_grad():
        logits = network(some_images(6)[0]).flip(dims=(1,))
    found = ModelOracle(network, parse_access("logit"), release=reversed_order).query(some_images(6)[0])
    assert torch.equal(found.logits, logits)
    assert torch.equal(found.probabilities, logits.softmax(dim=1))
    hard = ModelOracle(network, parse_access("hard"), release=reversed_order)
    assert torch.equal(hard.labels(some_images(6)[0]), logits.argmax(dim=1))
    assert torch.equal(hard.query_again(some_images(6)[0]).labels, logits.argmax(dim=1))
