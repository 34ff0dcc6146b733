"""Measuring one model by everything that a run asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs
import torch
from torch import Tensor, nn

from rcframe.api import Attack, Certifier, Component
from rcframe.choice import Choice, shortest
from rcframe.evaluation.album import Album, evenly
from rcframe.evaluation.curves import Climber
from rcframe.evaluation.evaluate import Evaluator, only_asks, spread
from rcframe.evaluation.ladder import Ladder, Start, Way
from rcframe.evaluation.radii import RadiusSearch, find_radii, largest_radius
from rcframe.evaluation.tally import Tally
from rcframe.guarding import guard_parts, release_of
from rcframe.session.keeping import Parts, RunKeeper, measuring_parts, method_parts
from rcframe.session.outcomes import Outcome, Outcomes
from rcframe.session.store import Store
from rcframe.session.twins import Surrogates
from rcframe.training.compute import Compute
from rcframe.training.context import Role
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rcframe.session.session import Session


@attrs.frozen
class Judge:
    """Measures one model by everything a run asks for."""

    session: Session
    role: Role
    module: nn.Module
    store: Store
    monitor: Monitor
    #: The networks on which transfer attacks are crafted.
    surrogates: Surrogates

    def judge(self) -> Outcomes:
        """Return what each measurement finds."""
        config, parts, evaluator = self.session.config, self.session.parts, self._evaluator()
        classes = len(self.session.dataset.info.classes)
        tally = self._tally(evaluator, "clean", "clean", {}, classes=classes)
        outcomes = Outcomes(
            clean=Outcome.of(evaluator.clean(self.module, tally), tally),
            released=self._released(evaluator, classes),
            unseen=evaluator.unseen(self.session.dataset.info.classes),
            labels=self._labels(evaluator),
        )
        for choice, attack in zip(config.attacks, parts.attacks, strict=True):
            outcomes.attacked[str(choice)] = self._attacked(evaluator, choice, attack, outcomes.clean)
        for choice, certifier in zip(config.certifiers, parts.certifiers, strict=True):
            outcomes.certified[str(choice)] = self._certified(evaluator, choice, certifier, outcomes.clean)
            if config.radii:
                outcomes.radii[str(choice)] = self._radii(evaluator, choice, certifier, outcomes.clean.right)
        return outcomes

    def _released(self, evaluator: Evaluator, classes: int) -> Outcome | None:
        """Measure what leaves in the place of the teacher's answers, if it guards these."""
        teacher = self.session.parts.teacher
        # Numbered as by one process, so that several find the same.
        release = release_of(teacher, self.session.config.seed, Compute()) if self.role == "teacher" else None
        if release is None:
            return None
        tally = self._tally(evaluator, "released", "released", guard_parts(teacher), classes=classes)
        return Outcome.of(evaluator.released(self.module, release, tally), tally)

    def _attacked(self, evaluator: Evaluator, choice: Choice, attack: Attack, clean: Outcome) -> Outcome:
        threat, spec, stream = self.session.threat, str(choice), _stream(choice, attack)
        source = self.surrogates.of(attack, self.role)
        method = self._met(attack, method_parts(choice, attack, threat, source), source)
        album = Album.empty(evaluator.count, self.session.dataset.info.shape)
        tally = self._tally(evaluator, spec, stream, method, album)
        right = evaluator.attacked(self.module, attack, threat, tally, source).cpu()
        # A network that answers at random may have got right what it now gets wrong, and the other way round.
        found = Outcome.of(right & clean.right, tally)
        if not self._rungs:
            return found
        way = Way.KNOWN if attack.nearest else Way.SEARCH if attack.iterated else Way.ASCENT
        moved = found.linf if threat.norm == "linf" else found.l2
        ladder = self._ladder(spec, Start(clean.right, found.right, moved), way, stream, method)
        if way is not Way.KNOWN:
            self._climber(evaluator).attacked(attack, ladder, source)
        return found.along(self.session.config.curve, ladder)

    def _met(self, attack: Attack, method: Mapping[str, str] | None, source: nn.Module | None) -> Parts | None:
        """Add the defence that an attack meets when it asks the teacher."""
        if method is None or not only_asks(attack, source) or self.role != "teacher":
            return method
        return {**method, **guard_parts(self.session.parts.teacher)}

    def _certified(self, evaluator: Evaluator, choice: Choice, certifier: Certifier, clean: Outcome) -> Outcome:
        # An attack may have the same name.
        threat, what, stream = self.session.threat, f"certified by {choice}", _stream(choice, certifier)
        method = method_parts(choice, certifier, threat)
        tally = self._tally(evaluator, what, stream, method)
        found = Outcome(right=evaluator.certified(self.module, certifier, threat, tally).cpu())
        if not self._rungs:
            return found
        ladder = self._ladder(what, Start(clean.right, found.right), Way.SEARCH, stream, method)
        self._climber(evaluator).certified(certifier, ladder)
        return found.along(self.session.config.curve, ladder)

    def _radii(self, evaluator: Evaluator, choice: Choice, certifier: Certifier, right: Tensor) -> Tensor:
        """Search the certified radii (m,) of some of the measured images; `right` (n,) is said of all of these."""
        # Runs that differ in eps find the same radii, and need not search for them twice.
        threat, shape = attrs.evolve(self.session.threat, eps=0.0), self.session.dataset.info.shape
        some = evenly(evaluator.count, min(self.session.config.radii, evaluator.count))
        name = f"{self.role}: radii by {choice}"
        method = method_parts(choice, certifier, threat)
        search = RadiusSearch(
            name,
            right.cpu()[some],
            threat,
            largest_radius(threat, shape),
            None if method is None else {**method, "images": str(len(some))},
            _stream(choice, certifier),
        )
        self.monitor.measuring(name, len(some))
        return find_radii(evaluator, spread(evaluator.images, evaluator.count)[some], self.module, certifier, search)

    @property
    def _rungs(self) -> tuple[float, ...]:
        """The radii of the curve, if there is one, at which attacks have something to do."""
        return tuple(float(point) for point in self.session.config.curve if point > 0)

    def _ladder(self, what: str, start: Start, way: Way, stream: str, method: Mapping[str, str] | None) -> Ladder:
        name = f"{self.role}: {what}, curve"
        if way is not Way.KNOWN:
            self.monitor.measuring(name, len(start.clean))
        return Ladder(name, self._rungs, start, way, method, stream)

    def _climber(self, evaluator: Evaluator) -> Climber:
        return Climber(evaluator=evaluator, module=self.module, norm=self.session.threat.norm)

    def _labels(self, evaluator: Evaluator) -> Tensor:
        every, places = evaluator.images.labels, spread(evaluator.images, evaluator.count)
        return torch.zeros(0, dtype=torch.int64) if every is None else every[places].cpu()

    def _evaluator(self) -> Evaluator:
        session = self.session
        context = measuring_parts(session, self.role, self.module)
        guarded = self.role == "teacher"
        return Evaluator(
            images=session.dataset.test,
            count=session.measured,
            seed=session.config.seed,
            compute=session.compute,
            release=release_of(session.parts.teacher, session.config.seed, session.compute) if guarded else None,
            keeper=RunKeeper(self.store, lambda _: context, chained=False),
            progress=self.monitor.measured,
            say=self.monitor.said,
        )

    def _tally(
        self,
        evaluator: Evaluator,
        what: str,
        stream: str,
        method: Mapping[str, str] | None,
        album: Album | None = None,
        classes: int = 0,
    ) -> Tally:
        """Return an empty tally; teacher and student meet the same random numbers.

        `stream` does not depend on how the user spelled what is measured.
        """
        name = f"{self.role}: {what}"
        self.monitor.measuring(name, evaluator.count)
        return evaluator.tally(name, stream=stream, determined_by=method, album=album, classes=classes)


def _stream(choice: Choice, built: Component) -> str:
    """Name the random stream of a measurement: equal for equal options, however the user spelled the choice."""
    return shortest(attrs.evolve(choice, distribution=None), built)
