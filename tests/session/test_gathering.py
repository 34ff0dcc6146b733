from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rcframe as rc
from rcframe.data.images import Dataset, TensorImages
from rcframe.evaluation.activity import activity_of
from rcframe.evaluation.evaluate import predict
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import make_threat
from rcframe.networks.modes import freeze
from rcframe.networks.spiking import SpikingNetwork, convert
from rcframe.session.assemble import assemble, build_parts
from rcframe.session.config import make_config
from rcframe.session.evidence import About, Evidence
from rcframe.session.measure import Measured, measure
from rcframe.session.session import Session
from rcframe.session.stopping import Stop
from rcframe.session.store import Store
from rcframe.session.twins import Surrogates
from rcframe.session.worklog import WorkLog
from rcframe.storage.cache import Cache
from rcframe.testing.toys import fingerprint, toy_dataset, trained_network
from rcframe.training.compute import Compute
from rcframe.training.monitor import Monitor

FGSM, CONVEX = "fgsm", "convex"
COUNT, EPS = 30, 0.25


def session_of(dataset: Dataset | None = None, **settings: Any) -> Session:
    config = make_config({"model": "convnet:channels=4+4+8,hidden=16", "eps": EPS, **settings})
    parts, data, compute = build_parts(config), dataset or toy_dataset(test=COUNT), Compute()
    return Session(
        config=config,
        parts=parts,
        dataset=data,
        compute=compute,
        assembly=assemble(config, parts, data, compute),
        threat=make_threat(config.eps, config.norm),
        command="test",
    )


@pytest.fixture(scope="module")
def teacher() -> nn.Module:
    return freeze(trained_network())


@pytest.fixture(scope="module")
def student() -> nn.Module:
    return freeze(trained_network(epochs=2))


def measured(session: Session, teacher: nn.Module, student: nn.Module, cache: Cache | None = None) -> Measured:
    store = Store(
        progress=None, cache=cache, log=WorkLog(), compute=Compute(), every=5, say=lambda text: None, stop=Stop()
    )
    surrogates = Surrogates(session, teacher, student, store, Monitor())
    return measure(session, teacher, student, Queries(), store, Monitor(), surrogates)


def images(dataset: Dataset) -> TensorImages:
    assert isinstance(dataset.test, TensorImages)
    return dataset.test


def labels(dataset: Dataset) -> Tensor:
    found = dataset.test.labels
    assert found is not None
    return found


def equal(one: Evidence, other: Evidence) -> bool:
    arrays = ("right", "answers", "breaking", "logits", "peaks", "profiles", "adversarial", "radii")
    return all(
        getattr(one, name).keys() == getattr(other, name).keys()
        and all(np.array_equal(array, getattr(other, name)[key]) for key, array in getattr(one, name).items())
        for name in arrays
    ) and all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("images", "classes", "truth", "pictures", "labels", "released", "spikes", "encodings")
    )


def test_the_judgements_are_those_that_the_report_counts(teacher: nn.Module, student: nn.Module) -> None:
    session = session_of(attack=FGSM, certifier=CONVEX)
    found = measured(session, teacher, student)
    evidence, y = found.evidence(), labels(session.dataset)
    x = images(session.dataset).x
    expected: dict[tuple[str, str], Tensor] = {}
    for role, network in (("teacher", teacher), ("student", student)):
        x_adv = rc.attack(FGSM)(network, x, y, eps=EPS)
        margins = rc.certifier(CONVEX)(network, x, y, eps=EPS).scatter(1, y.unsqueeze(1), float("inf"))
        expected |= {
            (role, "clean"): predict(network, x) == y,
            (role, FGSM): predict(network, x_adv) == y,
            (role, "certified by convex"): (margins > 1e-4).all(dim=1),
        }
    expected["student", "agreement"] = predict(student, x) == predict(teacher, x)
    assert {(about.role, about.what): right.tolist() for about, right in evidence.right.items()} == {
        about: right.tolist() for about, right in expected.items()
    }
    for role, report in (("teacher", found.report.teacher), ("student", found.report.student)):
        by_what = {about.what: int(right.sum()) for about, right in evidence.right.items() if about.role == role}
        assert by_what.pop("agreement", None) == (
            report.outputs.likeness.agreement.correct if report.outputs.likeness else None
        )
        assert by_what == {
            "clean": report.clean.result.correct,
            FGSM: report.attacked[FGSM].result.correct,
            "certified by convex": report.certified[CONVEX].result.correct,
        }


def test_what_outputs_give_away_is_kept_image_by_image_and_class_by_class(
    teacher: nn.Module, student: nn.Module
) -> None:
    session = session_of(student="kd:temperature=3,epochs=1", eval_size=9)
    found = measured(session, teacher, student)
    evidence = found.evidence()
    places = torch.arange(9) * COUNT // 9
    x, y = images(session.dataset).x[places], labels(session.dataset)[places]
    for role, network, report in (
        ("teacher", teacher, found.report.teacher),
        ("student", student, found.report.student),
    ):
        about = [one for one in evidence.peaks if one.role == role]
        softened = (network(x).detach() / 3).softmax(dim=1)
        assert [one.what for one in about] == ["clean"]
        assert evidence.peaks[about[0]].tolist() == (softened > 0.1).sum(dim=1).tolist()
        assert report.outputs.softness is not None
        assert report.outputs.softness.temperature == 3
        assert evidence.peaks[about[0]].mean() == pytest.approx(report.outputs.softness.peaks.value)
        for label in range(len(evidence.classes)):
            mean = softened[y == label].mean(dim=0)
            assert np.allclose(evidence.profiles[about[0]][label], mean.numpy(), atol=1e-6, equal_nan=True)
    assert evidence.released.size == 0


@pytest.mark.parametrize(("asked", "kept"), [(0, 12), (18, 12), (7, 7), (1, 1)])
def test_pictures_are_some_of_the_measured_images_with_their_labels(
    asked: int, kept: int, teacher: nn.Module, student: nn.Module
) -> None:
    session = session_of(attack=FGSM, eval_size=asked)
    evidence, n = measured(session, teacher, student).evidence(), asked or COUNT
    places = torch.tensor([(index * n // kept) * COUNT // n for index in range(kept)])
    test = images(session.dataset)
    assert np.array_equal(evidence.pictures, (255 * test.x[places]).round().byte().numpy())
    assert evidence.labels.tolist() == labels(session.dataset)[places].tolist()
    assert evidence.classes == session.dataset.info.classes
    for network, logits in ((teacher, evidence.logits["teacher"]), (student, evidence.logits["student"])):
        assert np.allclose(logits, network(test.x[places]).detach().numpy(), atol=1e-5)
        assert logits.dtype == np.float32


def test_adversarial_pictures_are_what_the_attack_made_of_the_pictures(teacher: nn.Module, student: nn.Module) -> None:
    session = session_of(attack=FGSM)
    evidence = measured(session, teacher, student).evidence()
    places = torch.tensor([index * COUNT // 12 for index in range(12)])
    x, y = images(session.dataset).x, labels(session.dataset)
    assert set(evidence.adversarial) == {About("teacher", FGSM), About("student", FGSM)}
    for about, network in ((About("teacher", FGSM), teacher), (About("student", FGSM), student)):
        # Only images that the network gets right are attacked.
        right = (predict(network, x) == y).view(-1, 1, 1, 1)
        x_adv = rc.attack(FGSM)(network, x, y, eps=EPS).where(right, x)[places]
        assert np.array_equal(evidence.adversarial[about], (255 * x_adv).round().byte().numpy())
    distance = np.abs(evidence.adversarial[About("student", FGSM)].astype(int) - evidence.pictures)
    assert 0 < distance.max() <= round(255 * EPS) + 1


def test_answers_are_the_predictions_and_agree_with_the_judgements(teacher: nn.Module, student: nn.Module) -> None:
    session = session_of(attack=FGSM, certifier=CONVEX, eval_size=20)
    evidence = measured(session, teacher, student).evidence()
    places = torch.arange(20) * COUNT // 20
    assert np.array_equal(evidence.truth, labels(session.dataset)[places].numpy())
    assert set(evidence.answers) == {About(role, what) for role in ("teacher", "student") for what in ("clean", FGSM)}
    for about, answers in evidence.answers.items():
        assert np.array_equal(answers == evidence.truth, evidence.right[about])
    clean = predict(student, images(session.dataset).x[places])
    assert np.array_equal(evidence.answers[About("student", "clean")], clean.numpy())


def test_the_radii_that_break_images_are_points_of_the_curve_and_say_what_is_right(
    teacher: nn.Module, student: nn.Module
) -> None:
    session = session_of(attack=[FGSM, "pgd:steps=3"], certifier=CONVEX, eps="0:0.4:0.1")
    found = measured(session, teacher, student)
    evidence, points = found.evidence(), np.array([0, 0.1, 0.2, 0.3, 0.4, np.inf], np.float32)
    names = {FGSM, "pgd:steps=3", "worst case", "certified by convex"}
    assert set(evidence.breaking) == {About(role, what) for role in ("teacher", "student") for what in names}
    for about, breaking in evidence.breaking.items():
        assert np.isin(breaking, points).all()
        assert np.array_equal(np.isinf(breaking), evidence.right[about])
        assert np.array_equal(breaking == 0, ~evidence.right[About(about.role, "clean")])
    curve = found.report.student.attacked[FGSM].curve
    counted = [int((evidence.breaking[About("student", FGSM)] > np.float32(point.eps)).sum()) for point in curve]
    assert counted == [point.result.correct for point in curve]


def test_radii_are_those_that_the_report_describes(teacher: nn.Module, student: nn.Module) -> None:
    session = session_of(certifier=CONVEX, radii=9)
    found = measured(session, teacher, student)
    evidence, y = found.evidence(), labels(session.dataset)
    for role, network, report in (
        ("teacher", teacher, found.report.teacher),
        ("student", student, found.report.student),
    ):
        (radii,) = (array for about, array in evidence.radii.items() if (about.role, about.what) == (role, CONVEX))
        described = report.radii[CONVEX]
        assert (described.n, len(radii)) == (9, 9)
        assert described.mean == pytest.approx(radii.mean())
        assert described.median == pytest.approx(np.median(radii))
        places = torch.tensor([index * COUNT // 9 for index in range(9)])
        right = (predict(network, images(session.dataset).x[places]) == y[places]).numpy()
        assert np.array_equal(radii > 0, right)
        # Each radius is proved, and a little more is not.
        for place, radius in zip(places[right], radii[right], strict=True):
            one, its = images(session.dataset).x[place : place + 1], y[place : place + 1]
            others = [label for label in range(3) if label != int(its)]
            for eps, proved in ((float(radius), True), (float(radius) * 1.01 + EPS / 1024, False)):
                margins = rc.certifier(CONVEX)(network, one, its, eps=min(eps, 1.0))
                assert bool((margins[0, others] > 0).all()) is proved


def test_without_being_asked_for_no_radius_is_searched(teacher: nn.Module, student: nn.Module) -> None:
    found = measured(session_of(certifier=CONVEX), teacher, student)
    assert found.evidence().radii == {}
    assert found.report.student.radii == {}


def digest(session: Session, network: nn.Module) -> str:
    return measured(session, network, network).evidence().images


def test_the_images_are_named_alike_where_they_are_the_same_and_only_there(teacher: nn.Module) -> None:
    first = digest(session_of(), teacher)
    assert digest(session_of(seed=5, eps="1/8", attack=FGSM), trained_network(epochs=1)) == first
    assert digest(session_of(eval_size=COUNT), teacher) == first
    data = toy_dataset(test=COUNT)
    changed = images(data).x.clone()
    changed[3, 0, 0, 0] += 0.01
    others = [
        session_of(eval_size=29),
        session_of(eval_size=15),
        session_of(toy_dataset(test=COUNT + 1)),
        session_of(attrs.evolve(data, test=TensorImages(changed, data.test.labels))),
        session_of(attrs.evolve(data, test=TensorImages(images(data).x, labels(data).flip(0)))),
    ]
    found = [digest(session, teacher) for session in others]
    assert len({first, *found}) == len(found) + 1


def test_a_spiking_student_is_watched_and_its_teacher_is_not(teacher: nn.Module) -> None:
    network = freeze(convert(rc.neuron("lif:steps=3,threshold=0.2"), trained_network(epochs=2)))
    assert isinstance(network, SpikingNetwork)
    session = session_of(neuron="lif:steps=3,threshold=0.2", eval_size=20)
    before = fingerprint(network)
    evidence = measured(session, teacher, network).evidence()
    places = torch.arange(20) * COUNT // 20
    expected = activity_of(network, [images(session.dataset).x[places]])
    assert evidence.spikes == {"student": expected.layers}
    assert evidence.encodings == {"student": expected.encoding}
    assert sum(layer.rate for layer in expected.layers) > 0
    assert fingerprint(network) == before


def test_gathering_disturbs_no_generator_and_no_network(teacher: nn.Module) -> None:
    student = trained_network(epochs=1).train()
    found = measured(session_of(attack=FGSM), teacher, student)
    before = fingerprint(student)
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = found.evidence()
    assert torch.equal(torch.rand(2), expected)
    assert fingerprint(student) == before
    assert equal(found.evidence(), first)


def test_outputs_are_those_of_evaluation_mode(teacher: nn.Module) -> None:
    student = nn.Sequential(copy.deepcopy(teacher), nn.Dropout(0.9)).train()
    logits = measured(session_of(), teacher, student).evidence().logits
    assert np.array_equal(logits["student"], logits["teacher"])


def test_radii_of_more_images_are_searched_anew(
    teacher: nn.Module, student: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache, about = Cache(tmp_path_factory.mktemp("cache")), About("student", CONVEX)
    found = [
        measured(session_of(certifier=CONVEX, radii=count), teacher, student, cache).evidence().radii[about]
        for count in (3, 6, 3)
    ]
    assert [len(radii) for radii in found] == [3, 6, 3]
    assert np.array_equal(found[1][::2], found[0])
    assert np.array_equal(found[2], found[0])


def test_evidence_of_a_run_that_finds_everything_in_the_cache_is_the_same(
    teacher: nn.Module, student: nn.Module, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    session = session_of(attack=["fgsm", "pgd:steps=2"], certifier=CONVEX, radii=6)
    first = measured(session, teacher, student, cache)
    again = measured(session, teacher, copy.deepcopy(student), cache)
    assert again.report.student == first.report.student
    assert equal(again.evidence(), first.evidence())
    assert first.evidence().adversarial[About("student", "pgd:steps=2")].any()


def test_radii_do_not_depend_on_the_eps_of_the_run(teacher: nn.Module, student: nn.Module, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    found = [
        measured(session_of(certifier=CONVEX, radii=5, eps=eps), teacher, student, cache).evidence().radii
        for eps in (0.003, 0.2)
    ]
    assert found[0].keys() == found[1].keys()
    assert all(np.array_equal(radii, found[1][about]) for about, radii in found[0].items())
    # The second run takes them from the cache.
    assert sum("radii" in entry.identity.name for entry in cache.entries()) == 2
