"""Looking for reasons to distrust what was measured of both networks of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs
from torch import nn

from rcframe.api import Attack
from rcframe.errors import listed
from rcframe.evaluation.evaluate import spread
from rcframe.evaluation.flags import difference_flags, ruled_out_flags, trust_flags
from rcframe.evaluation.trust.examine import Examination
from rcframe.evaluation.trust.flag import UNSETTLED, Flag
from rcframe.evaluation.trust.suspect import Suspect
from rcframe.session.keeping import RunKeeper, measuring_parts, method_parts, weights_parts
from rcframe.session.outcomes import Outcomes
from rcframe.session.store import Store
from rcframe.session.twins import Surrogates
from rcframe.training.context import Role
from rcframe.training.monitor import Monitor

if TYPE_CHECKING:
    from rcframe.session.session import Session


@attrs.frozen
class Examined:
    """A network of the run and what was found of it."""

    role: Role
    module: nn.Module
    outcomes: Outcomes


@attrs.frozen
class Examiner:
    """Finds what speaks against the figures of a run."""

    session: Session
    store: Store
    monitor: Monitor
    #: The networks on which transfer attacks are crafted.
    surrogates: Surrogates

    def flags(self, teacher: Examined, student: Examined) -> Iterator[str]:
        """Yield a sentence for every reason to distrust a figure."""
        for one, other in ((teacher, student), (student, teacher)):
            attacks = self._attacks(one.role)
            found = self._examined(one, other, attacks) if attacks else ()
            unsettled = any(flag.kind in UNSETTLED for flag in found)
            yield from trust_flags(one.role, one.outcomes.findings(), {} if unsettled else attacks)
            yield from found
        if (released := teacher.outcomes.released) and released.logits is not None:
            yield from ruled_out_flags(self._ignoring(), released.logits)
        yield from difference_flags(teacher.outcomes.findings(), student.outcomes.findings())
        if mixed := self.store.log.mixed:
            yield f"the run went on after changes of {listed(mixed)}: it cannot be repeated exactly"

    def _ignoring(self) -> tuple[str, ...]:
        """Name the students that learn nothing of classes which the teacher rules out."""
        chosen = zip(self.session.config.students, self.session.parts.students, strict=True)
        return tuple(str(choice) for choice, strategy in chosen if strategy.ignores_ruled_out)

    def _attacks(self, role: Role) -> dict[str, Attack]:
        chosen = zip(self.session.config.attacks, self.session.parts.attacks, strict=True)
        return {str(choice): self.surrogates.met(attack, role) for choice, attack in chosen}

    def _examined(self, one: Examined, other: Examined, attacks: Mapping[str, Attack]) -> Sequence[Flag]:
        session, test = self.session, self.session.dataset.test
        suspect = Suspect(
            role=one.role,
            module=one.module,
            other_role=other.role,
            other=other.module,
            findings=one.outcomes.findings(),
            attacks=attacks,
            threat=session.threat,
            images=test.subset(spread(test, session.measured)),
            device=session.compute.device,
            seed=session.config.seed,
        )
        methods = [
            method_parts(choice, attack, session.threat, self.surrogates.of(attack, one.role))
            for choice, attack in zip(session.config.attacks, session.parts.attacks, strict=True)
        ]
        context = measuring_parts(session, one.role, one.module)
        examination = Examination.of(one.role, [*methods, weights_parts(other.module)])
        self.monitor.said(f"looking for reasons to distrust what was measured of the {one.role}")
        return examination.carry_out(suspect, RunKeeper(self.store, lambda _: context, chained=False))
