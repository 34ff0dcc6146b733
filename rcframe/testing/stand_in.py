"""What stands inside a wrapper that names no attack of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor

from rcframe import __version__
from rcframe.api import Attack
from rcframe.evaluation.oracle import Oracle
from rcframe.evaluation.threat import Threat
from rcframe.hookspecs import Spec
from rcframe.options import at_least, component, option
from rcframe.registry import Plugin, registry
from rcframe.testing.subject import STAND_IN, Subject
from rcframe.testing.toys import sign_ascent


@component
class StandIn(Attack):
    """Gradient steps on the margin."""

    steps: int = option(default=5, help="Gradient steps.", check=at_least(1))

    def craft(self, source: Oracle, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
        """Return images (B, C, H, W) that went up the margin."""
        return sign_ascent(source, x, y, threat, self.steps)

    def stronger(self) -> StandIn:
        """Return it with twice the steps."""
        return StandIn(steps=2 * self.steps)


_SPEC = Spec(kind="attack", name=STAND_IN, target=f"{__name__}:StandIn", summary="Stands inside a wrapper in a check.")


@contextlib.contextmanager
def stand_in_announced() -> Iterator[None]:
    """Let wrappers find the stand-in by name, for the moment: no user should ever be offered it."""
    plugins, plugin = registry().plugins, Plugin("rcframe-testing", __version__, __name__, (_SPEC,))
    plugins.append(plugin)
    try:
        yield
    finally:
        plugins.remove(plugin)


def hold(promise: Callable[[Subject], None], subject: Subject) -> None:
    """Hold a component to a promise; a wrapper that names no attack has the stand-in inside."""
    with stand_in_announced():
        promise(subject)
