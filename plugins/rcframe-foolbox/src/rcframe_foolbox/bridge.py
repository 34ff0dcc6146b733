"""Attacks of foolbox as attacks of rcframe."""

from __future__ import annotations

import functools
from typing import Any

import eagerpy as ep
from foolbox.attacks import (
    BoundaryAttack,
    GenAttack,
    HopSkipJumpAttack,
    LinearSearchBlendedUniformNoiseAttack,
    PointwiseAttack,
    SaltAndPepperNoiseAttack,
)
from foolbox.attacks.base import Attack as TheirAttack, FixedEpsilonAttack, MinimizationAttack
from foolbox.attacks.brendel_bethge import BrendelBethgeAttack
from torch import Tensor

from rcframe import Access, Attack, Oracle, RequestError, RunFailed, Threat, changed, component, option
from rcframe_foolbox.arguments import Value, arguments_of, build, read_options
from rcframe_foolbox.model import OracleModel, undisturbed
from rcframe_foolbox.names import TheirClass, find
from rcframe_foolbox.traits import access_of, iterates, looks_for_nearest, norms_of, why_not

#: Arguments that say how much effort an attack makes; the first that it has counts.
_EFFORT = ("steps", "repeats", "directions", "binary_search_steps")


@component
class Foolbox(Attack):
    """An attack of foolbox, by its name there.

    Rauber, Brendel, Bethge: "Foolbox: A Python toolbox to benchmark the robustness of machine learning models" (2017);
    each attack's own paper is named in foolbox. Untargeted, true labels. Attacks that look for the nearest image do so
    without a limit and leave images alone that are misclassified already, or for which they find no start. GenAttack
    needs a target and gets the likeliest other class.
    """

    attack: str = option(
        default="LinfPGD",
        help="Name of the attack, as foolbox spells it or in lower case with hyphens.",
        positional=True,
        lookup=True,
    )
    options: tuple[str, ...] = option(
        default=(), help="The attack's own options, as in steps:50+rel_stepsize:0.1.", lookup=True
    )

    def __attrs_post_init__(self) -> None:
        cls = self._theirs
        if reason := why_not(cls):
            raise RequestError(f"foolbox's `{cls.__name__}` cannot be used here: {reason}.")
        start = self._given.get("init_attack")
        access = access_of(cls) | (access_of(type(start)) if isinstance(start, TheirAttack) else Access.NONE)
        # What the kernel asks of a class, it finds on this one object.
        object.__setattr__(self, "access", access)
        object.__setattr__(self, "norms", norms_of(cls))
        object.__setattr__(self, "iterated", iterates(cls))
        object.__setattr__(self, "nearest", looks_for_nearest(cls))

    @functools.cached_property
    def _theirs(self) -> TheirClass:
        return find(self.attack)

    @functools.cached_property
    def _given(self) -> dict[str, Value]:
        return read_options(self._theirs, self.options)

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return what foolbox's attack makes of the images."""
        attack = build(self._theirs, self._given, threat.norm)
        model = OracleModel(source, self.access)
        try:
            with undisturbed():
                if isinstance(attack, MinimizationAttack):
                    return self._find_nearest(attack, model, x, y)
                criterion = model.runner_up(x, y) if isinstance(attack, GenAttack) else model.misclassification(y)
                assert isinstance(attack, FixedEpsilonAttack)
                return attack.run(model, x, criterion, epsilon=float(threat.eps))
        except (AssertionError, NotImplementedError, ValueError) as error:
            raise RunFailed(
                f"foolbox's `{self._theirs.__name__}` gave up on {len(x)} images: {error or 'an assertion failed'}. "
                f"Choose other options, or another attack."
            ) from error

    def _find_nearest(self, attack: MinimizationAttack, model: OracleModel, x: Tensor, y: Tensor) -> Tensor:
        """Let an attack look for the nearest image where there is something to look for."""
        if not self.access:
            return attack.run(model, x, model.misclassification(y))
        rows, more = (~model.mistaken(x, y)).nonzero().squeeze(1), dict[str, Any]()
        if len(rows) and (starter := _starter(attack)):
            starts = starter.run(model, x[rows], model.misclassification(y[rows]))
            good = model.mistaken(starts, y[rows])
            rows, more = rows[good], {"starting_points": ep.astensor(starts[good])}
        found = x.clone()
        if len(rows):
            found[rows] = attack.run(model, x[rows], model.misclassification(y[rows]), **more).to(x.dtype)
        return found

    def stronger(self) -> Attack | None:
        """Return this attack with twice the steps, or what stands for them; None if it has nothing of the kind."""
        known = arguments_of(self._theirs)
        effort = next((name for name in _EFFORT if name in known), None)
        if effort is None:
            return None
        now = self._given.get(effort, known[effort].default)
        assert isinstance(now, int)
        kept = tuple(text for text in self.options if text.partition(":")[0] != effort)
        # An attrs class, which mypy cannot know.
        return changed(self, options=(*kept, f"{effort}:{2 * now}"))


def _starter(attack: MinimizationAttack) -> MinimizationAttack | None:
    """Return the attack that finds misclassified images to start from, foolbox's own choice where none was given.

    foolbox would find them itself, but gives up on the whole batch if it fails on one image.
    """
    given: MinimizationAttack | None = getattr(attack, "init_attack", None)
    if given is not None:
        return given
    if isinstance(attack, BoundaryAttack | HopSkipJumpAttack):
        return LinearSearchBlendedUniformNoiseAttack(steps=50)
    if isinstance(attack, BrendelBethgeAttack):
        return LinearSearchBlendedUniformNoiseAttack()
    return SaltAndPepperNoiseAttack() if isinstance(attack, PointwiseAttack) else None
