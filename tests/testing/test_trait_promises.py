"""Each promise about traits catches its fault, with a sentence that names it."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rcframe.access import Access
from rcframe.api import Attack, Component
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.options import component, option
from rcframe.testing.stand_in import hold
from rcframe.testing.subject import Subject
from rcframe.testing.trait_promises import (
    check_attack_stronger_takes_more_effort,
    check_attack_thorough_takes_no_shortcut,
    check_attack_traits_have_their_form,
)

Broken = Callable[[type[Component]], set[str]]
UnderCheck = Callable[[type[Component]], Subject]


@component
class Sound(Attack):
    """Gradient steps that may stop early."""

    steps: int = option(default=4, help="Steps.")
    early_stop: bool = option(default=True, help="Stop where an image is broken.")

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        moved = x
        for _ in range(self.steps):
            moved = moved.detach().requires_grad_(True)
            logits = source.logits(moved)
            if self.early_stop and not bool((logits.argmax(dim=1) == y).any()):
                break
            (gradient,) = torch.autograd.grad(F.cross_entropy(logits, y, reduction="sum"), moved)
            moved = moved + threat.eps / self.steps * gradient.sign()
        return moved.detach()

    def stronger(self) -> Attack | None:
        return changed(self, steps=2 * self.steps)

    def thorough(self) -> Attack:
        return changed(self, early_stop=False)


def changed(attack: Attack, **options: int | bool) -> Attack:
    return attrs.evolve(attack, **options)  # type: ignore[misc]  # an attrs class, which mypy cannot know


@component
class Modest(Sound):
    """Has nothing stronger."""

    def stronger(self) -> None:
        return None


@component
class GivesUp(Sound):
    """Stops at once where it may stop and has many steps left."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return x if self.early_stop and self.steps > 4 else super().craft(source, x, y, threat)


@component
class StrongerIsAProperty(Sound):
    """Forgets that it is called."""

    @property
    def stronger(self) -> Attack:  # type: ignore[override]  # the mistake
        return self


@component
class StrongerIsAFlag(Sound):
    """Takes it for a yes or no."""

    stronger = True  # type: ignore[assignment]  # the mistake


@component
class StrongerIsANumber(Sound):
    """Returns how many steps it would take."""

    def stronger(self) -> Attack | None:
        return 8  # type: ignore[return-value]  # the mistake


@component
class StrongerIsTheSame(Sound):
    """Makes no effort."""

    def stronger(self) -> Attack:
        return changed(self, steps=self.steps)


@component
class StrongerIsWeaker(Sound):
    """Has it the wrong way round."""

    def stronger(self) -> Attack:
        return changed(self, steps=self.steps // 2)


@component
class Curious(Sound):
    """Asks about features too."""

    access = Access.LOGITS | Access.INPUT_GRAD | Access.FEATURES


@component
class StrongerAsksMore(Sound):
    """Becomes stronger by what it sees."""

    def stronger(self) -> Attack:
        return Curious()


@component
class Narrow(Sound):
    """Works in one norm."""

    norms = ("linf",)


@component
class StrongerIsNarrow(Sound):
    """Becomes stronger in one norm only."""

    def stronger(self) -> Attack:
        return Narrow(steps=8)


@component
class ThoroughIsAProperty(Sound):
    """Forgets that it is called."""

    @property
    def thorough(self) -> Attack:  # type: ignore[override]  # the mistake
        return self


@component
class ThoroughIsNone(Sound):
    """Returns nothing."""

    def thorough(self) -> Attack:
        return None  # type: ignore[return-value]  # the mistake


@component
class ThoroughIsNot(Sound):
    """Leaves the shortcut on."""

    def thorough(self) -> Attack:
        return self


@component
class ThoroughIsUnsound(Sound):
    """Divides by zero once it stops no more."""

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        return super().craft(source, x, y, threat) / self.early_stop


@component
class IteratedIsAMethod(Sound):
    """Takes a flag for a question."""

    def iterated(self) -> bool:  # type: ignore[override]  # the mistake
        return False


@component
class NearestIsANumber(Sound):
    """Takes a flag for a count."""

    nearest = 1  # type: ignore[assignment]  # the mistake


@component
class SurrogateIsAMethod(Sound):
    """Forgets that it is not called."""

    def surrogate(self) -> None:  # type: ignore[override]  # the mistake
        return None


STRONGER, THOROUGH, FORM = (
    check_attack_stronger_takes_more_effort,
    check_attack_thorough_takes_no_shortcut,
    check_attack_traits_have_their_form,
)


@pytest.mark.parametrize("cls", [Sound, Modest])
def test_a_sound_attack_keeps_every_promise(cls: type[Attack], broken_promises: Broken) -> None:
    assert broken_promises(cls) == set()


@pytest.mark.parametrize(
    ("cls", "promise", "sentence"),
    [
        (StrongerIsAProperty, STRONGER, "`stronger` is of type `StrongerIsAProperty`, but it is called: write it as a"),
        (StrongerIsAFlag, STRONGER, "`stronger` is `True`, but it is called: .* `def stronger"),
        (StrongerIsANumber, STRONGER, r"`stronger\(\)` returned `8`; expected an attack, or None"),
        (StrongerIsTheSame, STRONGER, r"`stronger\(\)` returned the same attack"),
        (StrongerIsWeaker, STRONGER, r"`stronger\(\)` asks about 6 images, the attack itself about 12"),
        (StrongerAsksMore, STRONGER, r"`stronger\(\)` needs features, which"),
        (StrongerIsNarrow, STRONGER, r"`stronger\(\)` does not work in l2"),
        (ThoroughIsAProperty, THOROUGH, "`thorough` is of type `ThoroughIsAProperty`, but it is called"),
        (ThoroughIsNone, THOROUGH, r"`thorough\(\)` returned `None`; expected an attack"),
        (ThoroughIsNot, THOROUGH, r"`thorough\(\)` still has `early_stop` on: return `attrs.evolve"),
        (ThoroughIsUnsound, THOROUGH, "it returned 12 images with values that are not finite"),
        (IteratedIsAMethod, FORM, "`iterated` is a function, but it must be true or false: write `iterated = True`"),
        (NearestIsANumber, FORM, "`nearest` is `1`, but it must be true or false"),
        (SurrogateIsAMethod, FORM, "`surrogate` is a function, but it must be a text or None: write it as a property"),
    ],
)
def test_a_broken_trait_is_named(
    cls: type[Attack], promise: Callable[[Subject], None], sentence: str, subject: UnderCheck
) -> None:
    with pytest.raises(AssertionError, match=sentence):
        hold(promise, subject(cls))


def test_effort_is_counted_without_stopping_early(subject: UnderCheck) -> None:
    hold(STRONGER, subject(GivesUp))
