from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.evaluation.evaluate import Accuracy, predict
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import make_threat
from rcframe.session.assemble import assemble, build_parts
from rcframe.session.config import make_config
from rcframe.session.measure import Measured, measure
from rcframe.session.report import Report
from rcframe.session.session import Session
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.worklog import WorkLog
from rcframe.storage.cache import Cache
from rcframe.testing.toys import toy_dataset, toy_images, trained_network
from rcframe.training.compute import Compute
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from tests.conftest import Announce

PGD = "pgd:steps=2,restarts=2"
CONVEX = "certified by convex"


def session_of(**settings: Any) -> Session:
    config = make_config({"model": "convnet:channels=4+4+8,hidden=16", "eps": "1/4", **settings})
    parts, dataset, compute = build_parts(config), toy_dataset(test=30), Compute()
    return Session(
        config=config,
        parts=parts,
        dataset=dataset,
        compute=compute,
        assembly=assemble(config, parts, dataset, compute),
        threat=make_threat(config.eps, config.norm),
        command="test",
    )


class Told(Monitor):
    def __init__(self) -> None:
        self.events: list[tuple[str, int]] = []

    def measuring(self, what: str, images: int) -> None:
        self.events.append((what, images))

    def measured(self, images: int) -> None:
        self.events.append(("+", images))


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return trained_network()


def store_of(cache: Cache | None = None) -> Store:
    return Store(
        progress=None, cache=cache, log=WorkLog(), compute=Compute(), every=5, say=lambda text: None, stop=Stop()
    )


def measured(
    session: Session, teacher: nn.Module, student: nn.Module, monitor: Monitor | None = None, store: Store | None = None
) -> Report:
    return found_of(session, teacher, student, monitor, store).report


def found_of(
    session: Session, teacher: nn.Module, student: nn.Module, monitor: Monitor | None = None, store: Store | None = None
) -> Measured:
    return measure(session, teacher, student, Queries(7, 0, 2), store or store_of(), monitor or Monitor())


def test_equal_networks_meet_the_same_attack(network: nn.Module) -> None:
    """Teacher and student are attacked from the same random starts, whatever was drawn before."""
    session = session_of(attack=PGD, seed=3)
    report = measured(session, network, copy.deepcopy(network))
    torch.rand(9)
    again = measured(session, network, network)
    results = [r.attacked[PGD].result for r in (report.teacher, report.student, again.teacher, again.student)]
    assert len(set(results)) == 1


def test_measuring_disturbs_no_generator(network: nn.Module) -> None:
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    measured(session_of(attack=PGD), network, network)
    assert torch.equal(torch.rand(2), expected)


def test_figures_are_those_of_the_parts_on_their_own(network: nn.Module) -> None:
    session = session_of(attack="fgsm", certifier="convex")
    report = measured(session, network, network)
    batch = toy_images(30, 2).first(30)
    x_adv = rc.attack("fgsm")(network, batch.images, batch.labels, eps="1/4")
    margins = rc.certifier("convex")(network, batch.images, batch.labels, eps="1/4")
    others = margins.scatter(1, batch.labels.unsqueeze(1), float("inf"))
    assert report.student.clean.result == Accuracy.of(predict(network, batch.images) == batch.labels)
    assert report.student.attacked["fgsm"].result == Accuracy.of(predict(network, x_adv) == batch.labels)
    assert report.student.certified["convex"].result == Accuracy.of((others > 0).all(dim=1))


@pytest.mark.parametrize(("asked", "n"), [(0, 30), (7, 7), (30, 30), (500, 30)])
def test_as_many_images_are_measured_as_asked_and_there(network: nn.Module, asked: int, n: int) -> None:
    assert measured(session_of(eval_size=asked), network, network).teacher.clean.n == n


def test_every_measurement_is_announced_and_counted(network: nn.Module) -> None:
    told = Told()
    measured(session_of(attack="fgsm", certifier="convex", eval_size=9), network, network, told)
    assert told.events == [
        *(
            event
            for role in ("teacher", "student")
            for what in ("clean", "fgsm", CONVEX)
            for event in ((f"{role}: {what}", 9), ("+", 9))
        )
    ]


def test_the_report_describes_the_run(network: nn.Module) -> None:
    session = session_of(
        teacher="nasty",
        student=["kd:alpha=0.5", "plain"],
        student_model="mlp",
        attack=PGD,
        seed=3,
        access="soft+logits",
    )
    report = measured(session, network, network)
    assert (report.command, report.data, report.access, report.seed) == ("test", "digits", "soft+logits", 3)
    assert report.queries == Queries(7, 0, 2)
    assert report.device == "cpu"
    assert (report.teacher.component, report.teacher.model) == ("nasty", "convnet:channels=4+4+8,hidden=16")
    assert (report.student.component, report.student.model) == ("kd:alpha=0.5 then plain", "mlp")
    assert report.student.neuron is None
    assert {"rcframe-nasty", "rcframe-distill", "rcframe-attacks"} <= set(report.versions)


def test_the_protocol_tells_how_a_figure_was_measured(network: nn.Module) -> None:
    report = measured(session_of(attack=PGD, seed=3, norm="l2", eps="1/2"), network, network)
    protocol = report.student.attacked[PGD].protocol
    assert protocol is not None
    assert (protocol.norm, str(protocol.eps), protocol.seed) == ("l2", "1/2", 3)
    assert (protocol.plugin, protocol.options["steps"], protocol.options["restarts"]) == ("rcframe-attacks", 2, 2)
    # Two restarts of two steps, each restart judged once.
    assert report.student.attacked[PGD].queries == Queries(images=6 * 30, gradient_images=4 * 30, calls=6)


class Ticking(Store):
    """A store that says how long the run has worked."""

    @property
    def seconds(self) -> float:
        return 12.5


def test_the_report_says_how_long_the_run_has_worked_also_before_it_was_stopped(network: nn.Module) -> None:
    store = Ticking(
        progress=None, cache=None, log=WorkLog(), compute=Compute(), every=5, say=lambda text: None, stop=Stop()
    )
    assert measured(session_of(), network, network, store=store).seconds == 12.5


def test_each_measurement_of_each_model_is_work_of_its_own(network: nn.Module) -> None:
    store = store_of()
    measured(session_of(attack=PGD, certifier="convex"), network, network, store=store)
    assert [entry.identity.name for entry in store.log.entries] == [
        f"{role}: {what}" for role in ("teacher", "student") for what in ("clean", PGD, CONVEX)
    ]
    assert len({entry.identity.key for entry in store.log.entries}) == 6


def test_what_was_measured_before_is_taken_from_the_cache_with_its_queries(network: nn.Module, tmp_path: Path) -> None:
    session, cache = session_of(attack=PGD, certifier="convex"), Cache(tmp_path)
    first = measured(session, network, network, store=store_of(cache))
    told, again = Told(), store_of(cache)
    second = measured(session, network, network, told, again)
    assert {entry.outcome for entry in again.log.entries} == {"cache"}
    assert (second.teacher, second.student) == (first.teacher, first.student)
    assert ("student: clean", 30) in told.events
    assert sum(images for what, images in told.events if what == "+") == 6 * 30


@pytest.mark.parametrize(
    ("changed", "kept", "anew"),
    [
        ({"attack": "pgd:steps=1"}, {"clean", CONVEX}, {"pgd:steps=1"}),
        ({"certifier": ()}, {"clean", PGD}, set()),
        ({"eps": "1/5"}, set(), {PGD, CONVEX}),
        ({"norm": "l2"}, set(), {PGD, CONVEX}),
        ({"seed": 1}, set(), {PGD}),
        ({"eval_size": 7}, set(), {"clean", PGD, CONVEX}),
    ],
)
def test_what_a_change_concerns_is_measured_anew_and_nothing_else_need_be(
    changed: dict[str, Any], kept: set[str], anew: set[str], network: nn.Module, tmp_path: Path
) -> None:
    asked, cache = {"attack": PGD, "certifier": "convex"}, Cache(tmp_path)
    measured(session_of(**asked), network, network, store=store_of(cache))
    again = store_of(cache)
    measured(session_of(**{**asked, **changed}), network, network, store=again)
    for role in ("teacher", "student"):
        cached = {
            entry.identity.name.removeprefix(f"{role}: ") for entry in again.log.entries if entry.outcome == "cache"
        }
        assert kept <= cached
        assert not anew & cached


def test_another_network_is_measured_anew(network: nn.Module, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    measured(session_of(), network, network, store=store_of(cache))
    other = copy.deepcopy(network)
    with torch.no_grad():
        other.get_parameter("net.fc2.bias")[0] += 1
    again = store_of(cache)
    measured(session_of(), network, other, store=again)
    assert {entry.identity.name: entry.outcome for entry in again.log.entries} == {
        "teacher: clean": "cache",
        "student: clean": "computed",
    }


@rc.component
class Helps(rc.Attack):
    """Moves images to where the label gains."""

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: rc.Threat) -> Tensor:
        x = x.requires_grad_(True)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(source.logits(x), y), x)
        return x - threat.eps * gradient.sign()


@rc.component
class Draws(rc.Attack):
    """Draws a number and leaves the images alone."""

    drawn: ClassVar[list[float]] = []

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: rc.Threat) -> Tensor:
        self.drawn.append(float(torch.rand(())))
        return x


def test_what_an_attack_draws_depends_on_the_seed_and_is_the_same_for_both_models(
    network: nn.Module, announce: Announce
) -> None:
    announce(Draws, "draws")
    Draws.drawn.clear()
    for seed in (1, 1, 2):
        measured(session_of(attack="draws", seed=seed), network, network)
    of_one, again, of_two = Draws.drawn[:2], Draws.drawn[2:4], Draws.drawn[4:]
    assert of_one == again
    assert len(set(of_one)) == len(set(of_two)) == 1
    assert of_one[0] != of_two[0]


def test_reasons_for_distrust_are_gathered_from_both_models(network: nn.Module, announce: Announce) -> None:
    announce(Helps, "helps")
    worse = copy.deepcopy(network)
    with torch.no_grad():
        worse.get_parameter("net.fc2.weight").neg_()
    flags = measured(session_of(attack="helps", eps="1/2"), worse, network).flags
    assert [flag.split(";")[0].split(":")[0] for flag in flags] == [
        "the teacher is more accurate under helps than on clean images",
        "only 30 images were measured",
    ]
