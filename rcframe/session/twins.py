"""The networks on which transfer attacks are crafted, found or trained when they are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from torch import nn

from rcframe.api import Attack
from rcframe.session.assemble import assemble
from rcframe.session.store import Store
from rcframe.session.surrogates import Surrogate
from rcframe.session.training import oracle_of, train_student, train_teacher
from rcframe.training.monitor import Monitor
from rcframe.wrapping import WrappingAttack

if TYPE_CHECKING:
    from rcframe.session.session import Session
    from rcframe.training.context import Role


@attrs.define(eq=False)
class Surrogates:
    """Finds the network on which an attack is crafted; twins are trained when the first attack asks for them."""

    session: Session
    teacher: nn.Module
    student: nn.Module
    store: Store
    monitor: Monitor
    _twins: dict[int, tuple[nn.Module, nn.Module]] = attrs.field(factory=dict, init=False)

    def of(self, attack: Attack, role: Role) -> nn.Module | None:
        """Return the network on which `attack` on the network of `role` is crafted; None for that network itself."""
        if attack.surrogate is None:
            return None
        wanted = Surrogate.parse(attack.surrogate)
        if wanted.brought:
            return self.session.assembly.surrogates[attack.surrogate]
        if wanted.kind == "twin":
            teacher, student = self._twin(wanted.seed(self.session.config.seed))
            return teacher if role == "teacher" else student
        if wanted.kind == role:
            return None
        return self.teacher if wanted.kind == "teacher" else self.student

    def met(self, attack: Attack, role: Role) -> Attack:
        """Return `attack` as the network of `role` meets it: crafted on that network itself, it is the one inside."""
        while attack.surrogate is not None and self.of(attack, role) is None and isinstance(attack, WrappingAttack):
            attack = attack.inner
        return attack

    def _twin(self, seed: int) -> tuple[nn.Module, nn.Module]:
        if seed not in self._twins:
            self.monitor.said(f"Transfer attacks need a twin: everything is trained once more, with seed {seed}.")
            twin = self._session(seed)
            store = self._store(seed)
            teacher = train_teacher(twin, store, self.monitor)
            student = train_student(twin, teacher, oracle_of(twin, teacher), store, self.monitor)
            self._twins[seed] = teacher, student
        return self._twins[seed]

    def _session(self, seed: int) -> Session:
        session = self.session
        # Nothing of it is measured.
        config = attrs.evolve(session.config, seed=seed, attacks=(), certifiers=(), radii=0, curve=())
        parts = attrs.evolve(session.parts, attacks=(), certifiers=())
        assembly = assemble(config, parts, session.dataset, session.compute)
        return attrs.evolve(session, config=config, parts=parts, assembly=assembly)

    def _store(self, seed: int) -> Store:
        """Return a store of their own: their stages have the names that those of the run have."""
        if self.store.progress is None:
            return self.store
        folder = self.store.progress / f"twin-{seed}"
        if self.store.compute.is_main:
            folder.mkdir(parents=True, exist_ok=True)
        return attrs.evolve(self.store, progress=folder)
