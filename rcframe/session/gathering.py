"""Gathering what a run keeps besides its figures, once everything is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rcframe.data.digests import combined, tensor_digest
from rcframe.data.fingerprint import test_fingerprint
from rcframe.evaluation.activity import Activity, activity_of, spiking_part
from rcframe.evaluation.album import as_pictures, evenly, pictured
from rcframe.evaluation.evaluate import spread
from rcframe.evaluation.likeness import agreeing
from rcframe.evaluation.softness import MOST_PROFILED, peaks, probabilities, profile, sound
from rcframe.networks.modes import evaluating
from rcframe.session.evidence import About, Evidence, Role
from rcframe.session.outcomes import AGREEMENT, Outcome, Outcomes
from rcframe.session.outputs import temperature_of
from rcframe.training.randomness import seeded

if TYPE_CHECKING:
    from rcframe.session.session import Session


#: So many images show what a spiking network does; so many of them at a time: memory may be short.
_SPIKING_IMAGES, _BATCH = 256, 16


@attrs.frozen
class Witness:
    """A measured network, and what was found of it."""

    role: Role
    module: nn.Module
    outcomes: Outcomes


def gather(session: Session, witnesses: Sequence[Witness]) -> Evidence:
    """Gather the evidence about the networks of a run; one process can do it alone."""
    test, info = session.dataset.test, session.dataset.info
    measured = spread(test, session.measured)
    activities = dict(_activities(session, witnesses, measured))
    found = [(About(each.role, what), outcome) for each in witnesses for what, outcome in each.outcomes.named()]
    places = pictured(session.measured, info.shape)
    shown = test.fetch(measured[places])
    teacher, student = (each.outcomes for each in witnesses)
    heat = temperature_of(session.parts)
    kept = [(about, outcome.logits) for about, outcome in found if outcome.logits is not None]
    return Evidence(
        images=combined("measured", test_fingerprint(session.dataset), tensor_digest(measured)),
        classes=info.classes,
        right={about: outcome.right.numpy() for about, outcome in found} | _agreement(teacher, student),
        truth=witnesses[0].outcomes.labels.numpy(),
        answers={about: outcome.answers.numpy() for about, outcome in found if outcome.answers is not None},
        breaking={about: outcome.fall.breaking.numpy() for about, outcome in found if outcome.fall},
        pictures=as_pictures(shown.images).numpy(),
        labels=shown.labels.cpu().numpy(),
        logits={each.role: _logits(session, each.module, shown.images) for each in witnesses},
        released=_at(teacher.released, places),
        peaks={about: _peaks(logits, heat) for about, logits in kept},
        profiles={
            about: profile(probabilities(logits, heat), witnesses[0].outcomes.labels).float().numpy()
            for about, logits in kept
            if logits.shape[1] <= MOST_PROFILED
        },
        adversarial={about: outcome.pictures.numpy() for about, outcome in found if outcome.pictures is not None},
        radii={
            About(each.role, certifier): radii.numpy()
            for each in witnesses
            for certifier, radii in each.outcomes.radii.items()
        },
        spikes={role: activity.layers for role, activity in activities.items()},
        encodings={role: activity.encoding for role, activity in activities.items()},
    )


def _agreement(teacher: Outcomes, student: Outcomes) -> dict[About, NDArray[np.bool_]]:
    theirs, own = teacher.clean.logits, student.clean.logits
    if theirs is None or own is None:
        return {}
    return {About("student", AGREEMENT): agreeing(own, theirs).numpy()}


def _at(outcome: Outcome | None, places: Tensor) -> NDArray[np.float32]:
    """Return what was answered to the images at some places (k,): (k, classes), or nothing."""
    if outcome is None or outcome.logits is None:
        return np.zeros((0, 0), np.float32)
    return cast("NDArray[np.float32]", outcome.logits[places].numpy())


def _peaks(logits: Tensor, temperature: float) -> NDArray[np.int16]:
    softened = probabilities(logits, temperature)
    return cast("NDArray[np.int16]", peaks(softened).masked_fill(~sound(softened), -1).to(torch.int16).numpy())


def _activities(session: Session, witnesses: Sequence[Witness], measured: Tensor) -> Iterator[tuple[Role, Activity]]:
    """Yield what the spiking ones among the networks do for some of the measured images."""
    some = measured[evenly(len(measured), min(len(measured), _SPIKING_IMAGES))]
    for each in witnesses:
        network = spiking_part(each.module)
        if network is not None:
            with seeded(session.config.seed, "evidence"):
                yield each.role, activity_of(network, _batches(session, some))


def _batches(session: Session, places: Tensor) -> Iterator[Tensor]:
    for some in torch.split(places, _BATCH):
        yield session.dataset.test.fetch(some).images.to(session.compute.device)


def _logits(session: Session, module: nn.Module, x: Tensor) -> NDArray[np.float32]:
    """Return the logits (k, classes) for images (k, C, H, W), one at a time: memory may be short."""
    with seeded(session.config.seed, "evidence"), torch.no_grad(), evaluating(module):
        answers = [module(image.to(session.compute.device)) for image in torch.split(x, 1)]
    return cast("NDArray[np.float32]", torch.cat(answers).float().cpu().numpy())
