from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.evaluation.calibration import Calibration
from rcframe.evaluation.crafting import Faults
from rcframe.evaluation.evaluate import Accuracy, predict
from rcframe.evaluation.likeness import Likeness
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.softness import Softness
from rcframe.evaluation.threat import make_threat
from rcframe.session.assemble import assemble, build_parts
from rcframe.session.config import make_config
from rcframe.session.evidence import About
from rcframe.session.measure import Measured, measure
from rcframe.session.report import Passes, Report, report_of
from rcframe.session.session import Session
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.twins import Surrogates
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
    store, monitor = store or store_of(), monitor or Monitor()
    surrogates = Surrogates(session, teacher, student, store, monitor)
    return measure(session, teacher, student, Queries(7, 0, 2), store, monitor, surrogates)


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
        *(f"{role}: {what}" for role in ("teacher", "student") for what in ("clean", PGD, CONVEX)),
        *("teacher: trust", "student: trust"),
    ]
    assert len({entry.identity.key for entry in store.log.entries}) == 8


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


@rc.component
class Leaps(rc.Attack):
    """Moves images further than it may."""

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: rc.Threat) -> Tensor:
        return (x + 1.5 * threat.eps).where(x < 0.5, x - 1.5 * threat.eps)


def test_reasons_for_distrust_are_gathered_from_both_models(network: nn.Module, announce: Announce) -> None:
    announce(Leaps, "leaps")
    flags = measured(session_of(attack="leaps", eps="0.1"), network, network).flags
    for words in ("of the teacher further away than eps", "of the student further away than eps", "only 30 images"):
        assert any(words in flag for flag in flags)


# -- what is counted besides ------------------------------------------------------------------------------------------


def test_an_attack_is_asked_for_the_images_that_are_right_and_what_it_did_is_counted(network: nn.Module) -> None:
    session = session_of(attack="fgsm")
    confused = copy.deepcopy(network)
    with torch.no_grad():
        confused.get_parameter("net.fc2.bias")[0] += 12
    batch = toy_images(30, 2).first(30)
    right = predict(confused, batch.images) == batch.labels
    x, y = batch.images[right], batch.labels[right]
    assert 0 < len(x) < 30
    x_adv = rc.attack("fgsm")(confused, x, y, eps="1/4")
    gone = predict(confused, x_adv) != y
    found = measured(session, network, confused).student.attacked["fgsm"]
    step = (x_adv - x)[gone].flatten(1)
    assert found.result == Accuracy(int((~gone).sum()), 30)
    assert found.broken is not None
    assert found.broken.n == int(gone.sum())
    assert found.broken.linf == pytest.approx(float(step.abs().amax(dim=1).mean()))
    assert found.broken.l2 == pytest.approx(float(step.norm(dim=1).mean()))
    assert found.queries == Queries(len(x), len(x), 1)
    assert found.passes == Passes(1.0, 1.0)
    assert found.faults == Faults()


def test_every_figure_is_told_class_by_class(network: nn.Module) -> None:
    report = measured(session_of(attack=["fgsm", PGD], certifier="convex"), network, network).student
    assert report.worst_case is not None
    for found in (report.clean, report.attacked["fgsm"], report.worst_case, report.certified["convex"]):
        assert list(found.by_class) == ["left", "right", "low"]
        assert [part.n for part in found.by_class.values()] == [10, 10, 10]
        assert sum(part.correct for part in found.by_class.values()) == found.result.correct


@rc.component
class Lifts(rc.Attack):
    """Brightens images of some classes beyond recognition, and leaves others alone."""

    even: bool = rc.option(default=True, help="Whether images of even classes are changed.")

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: rc.Threat) -> Tensor:
        return (x + (1 - 2 * x) * 9).where(((y % 2 == 0) == self.even).view(-1, 1, 1, 1), x)


def test_the_worst_case_is_that_of_each_image_and_not_of_the_averages(network: nn.Module, announce: Announce) -> None:
    announce(Lifts, "lifts")
    session = session_of(attack=["lifts", "lifts:even=false"], eps=1)
    report = measured(session, network, network).student
    assert report.worst_case is not None
    alone = [measurement.result.correct for measurement in report.attacked.values()]
    assert min(alone) > 0
    clean = report.clean.result.correct
    assert report.worst_case.result == Accuracy(sum(alone) - clean, 30)


def test_one_attack_has_no_worst_case(network: nn.Module) -> None:
    assert measured(session_of(attack="fgsm"), network, network).student.worst_case is None


# -- curves -----------------------------------------------------------------------------------------------------------


def test_a_curve_has_every_radius_and_ends_with_the_figure(network: nn.Module) -> None:
    settings = {"attack": ["fgsm", PGD], "certifier": "convex", "eps": "0:0.4:0.05"}
    report = measured(session_of(**settings), network, network).student
    assert report.worst_case is not None
    figures = [*report.attacked.values(), report.worst_case, *report.certified.values()]
    for found in figures:
        assert [str(point.eps) for point in found.curve] == ["0", *(f"0.{n:02}".rstrip("0") for n in range(5, 45, 5))]
        assert found.curve[0].result == report.clean.result
        assert found.curve[-1].result == found.result
        counts = [point.result.correct for point in found.curve]
        assert counts == sorted(counts, reverse=True)
        assert counts[0] > counts[-1]
    for points in zip(*(found.curve for found in figures[:3]), strict=True):
        assert points[2].result.correct <= min(points[0].result.correct, points[1].result.correct)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_point_of_a_curve_is_what_is_measured_alone(norm: str, network: nn.Module) -> None:
    """Exactly so for a certifier, and for a single step whose results happen to fall with the radius."""
    settings = {"attack": "fgsm" if norm == "linf" else PGD, "certifier": "convex", "norm": norm}
    scale = 1 if norm == "linf" else 4
    points = [f"{scale * 0.05 * number:.2f}" for number in range(1, 7)]
    curve = measured(session_of(**settings, eps=",".join(points)), network, network).student
    alone = [measured(session_of(**settings, eps=point), network, network).student for point in points]
    for spec, found in curve.certified.items():
        assert [point.result for point in found.curve] == [each.certified[spec].result for each in alone]
    for spec, found in curve.attacked.items():
        counts = [each.attacked[spec].result.correct for each in alone]
        together = [point.result.correct for point in found.curve]
        assert all(
            abs(one - other) <= (0 if norm == "linf" else 2) for one, other in zip(together, counts, strict=True)
        )
        assert together[-1] <= counts[-1]


def test_the_largest_radius_of_a_curve_is_the_same_work_as_that_radius_alone(
    network: nn.Module, tmp_path: Path
) -> None:
    cache, asked = Cache(tmp_path), {"attack": PGD, "certifier": "convex"}
    measured(session_of(**asked, eps="0.3"), network, network, store=store_of(cache))
    again = store_of(cache)
    measured(session_of(**asked, eps="0:0.3:0.05"), network, network, store=again)
    outcomes = {entry.identity.name.removeprefix("student: "): entry.outcome for entry in again.log.entries}
    assert {outcomes[what] for what in ("clean", PGD, CONVEX)} == {"cache"}
    assert {outcomes[f"{what}, curve"] for what in (PGD, CONVEX)} == {"computed"}
    third = store_of(cache)
    measured(session_of(**asked, eps="0:0.3:0.05"), network, network, store=third)
    assert {entry.outcome for entry in third.log.entries} == {"cache"}


def test_a_curve_is_announced_and_counted_like_any_measurement(network: nn.Module) -> None:
    told = Told()
    measured(session_of(attack="fgsm", eps="0:0.4:0.1", eval_size=9), network, network, told)
    names = [what for what, _ in told.events if what != "+"]
    assert names == [f"{role}: {what}" for role in ("teacher", "student") for what in ("clean", "fgsm", "fgsm, curve")]
    assert sum(images for what, images in told.events if what == "+") == 6 * 9


@rc.component
class Near(rc.Attack):
    """Looks for the nearest wrong image by steps of 0.01, wherever that is."""

    norms = ("linf",)
    nearest = True
    asked: ClassVar[list[float]] = []

    def craft(self, source: rc.Oracle, x: Tensor, y: Tensor, threat: rc.Threat) -> Tensor:
        self.asked.append(threat.eps)
        found, direction = x.clone(), 1 - 2 * (x > 0.5).float()
        for step in range(60, 0, -1):
            moved = x + 0.01 * step * direction
            found = torch.where((source.labels(moved) != y).view(-1, 1, 1, 1), moved, found)
        return found


def test_the_nearest_image_is_looked_for_once_for_all_radii(network: nn.Module, announce: Announce) -> None:
    announce(Near, "near")
    Near.asked.clear()
    curve = measured(session_of(attack="near", eps="0.1:0.5:0.1"), network, network).student.attacked["near"].curve
    assert Near.asked == [0.5, 0.5]
    alone = [
        measured(session_of(attack="near", eps=str(point.eps)), network, network).student.attacked["near"].result
        for point in curve
    ]
    assert [point.result for point in curve] == alone
    assert len(set(alone)) > 2


class Wavering(nn.Module):
    """Answers otherwise every time."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x + 2 * torch.randn_like(x))
        return logits


def test_what_a_network_got_wrong_by_chance_is_not_right_under_attack(network: nn.Module) -> None:
    wavering = Wavering(network)
    evidence = found_of(session_of(attack=["uniform", PGD], eps="1/1000"), wavering, wavering).evidence()
    right = {about.what: judged for about, judged in evidence.right.items() if about.role == "student"}
    assert 0 < right["clean"].sum() < len(right["clean"])
    for attack in ("uniform", PGD):
        assert not (right[attack] & ~right["clean"]).any()


# -- outputs ----------------------------------------------------------------------------------------------------------


@rc.component
class Contrary(rc.GuardedTeacher):
    """Names the class after the one that the network names, as surely as can be, and says no to the last class."""

    def guard(self, logits: Tensor, images: Tensor, randomness: torch.Generator) -> Tensor:
        turned = logits.roll(1, dims=1)
        turned[:, -1] = -torch.inf
        return turned


def test_what_outputs_give_away_is_measured_on_the_measured_images(network: nn.Module) -> None:
    other = trained_network(epochs=1)
    report = measured(session_of(student="kd:temperature=3", seed=2), network, other)
    batch = toy_images(30, 2).first(30)
    with torch.no_grad():
        logits, imitated = other(batch.images), network(batch.images)
    outputs = report.student.outputs
    assert outputs.likeness == Likeness.of(logits, imitated, batch.labels)
    assert outputs.softness == Softness.of(logits, 3.0)
    assert outputs.calibration == Calibration.of(logits, batch.labels, 2)
    assert report.teacher.outputs.softness == Softness.of(imitated, 3.0)
    assert (report.teacher.outputs.likeness, report.teacher.released, report.teacher.outputs.released) == (None,) * 3
    assert report.student.outputs.likeness != Likeness.of(imitated, logits, batch.labels)


def test_a_network_that_was_copied_agrees_in_everything(network: nn.Module) -> None:
    likeness = measured(session_of(), network, copy.deepcopy(network)).student.outputs.likeness
    assert likeness is not None
    assert likeness.agreement == Accuracy(30, 30)
    assert likeness.divergence is not None
    assert likeness.divergence.high == pytest.approx(0, abs=1e-12)


def test_what_leaves_a_guarded_teacher_is_measured_beside_the_network(network: nn.Module, announce: Announce) -> None:
    announce(Contrary, "contrary")
    found = found_of(session_of(teacher="contrary", eval_size=20), network, network)
    report, evidence = found.report, found.evidence()
    places = torch.arange(20) * 30 // 20
    batch = toy_images(30, 2).first(30)
    x, y = batch.images[places], batch.labels[places]
    with torch.no_grad():
        leaving = Contrary().guard(network(x), x, torch.Generator())
    assert report.teacher.released is not None
    assert report.teacher.released.result == Accuracy.of(leaving.argmax(dim=1) == y)
    assert report.teacher.clean.result == Accuracy.of(predict(network, x) == y)
    assert report.teacher.released.result.correct < report.teacher.clean.result.correct
    assert report.teacher.outputs.released == Softness.of(leaving, 4.0)
    assert report.student.released is None
    # Agreement is that with the network.
    assert report.student.outputs.likeness is not None
    assert report.student.outputs.likeness.agreement == Accuracy(20, 20)
    released = About("teacher", "released")
    assert evidence.right[released].tolist() == (leaving.argmax(dim=1) == y).tolist()
    assert evidence.released.shape == (12, leaving.shape[1])
    assert np.array_equal(evidence.released, leaving[torch.arange(12) * 20 // 12].numpy())
    assert released in evidence.peaks
    assert released in evidence.profiles
    assert report_of(json.loads(report.to_json())).teacher == report.teacher


def test_another_defence_is_measured_anew_and_the_network_is_not(
    network: nn.Module, announce: Announce, tmp_path: Path
) -> None:
    announce(Contrary, "contrary")
    cache, again = Cache(tmp_path), store_of(Cache(tmp_path))
    measured(session_of(), network, network, store=store_of(cache))
    measured(session_of(teacher="contrary"), network, network, store=again)
    assert {entry.identity.name: entry.outcome for entry in again.log.entries} == {
        "teacher: clean": "cache",
        "teacher: released": "computed",
        "student: clean": "cache",
    }
