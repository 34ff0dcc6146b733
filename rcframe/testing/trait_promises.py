"""Promises of what an attack says about itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from rcframe.access import describe_access
from rcframe.api import Attack
from rcframe.evaluation.crafting import attack_batch
from rcframe.evaluation.oracle import Queries
from rcframe.evaluation.threat import Threat
from rcframe.options import options_of
from rcframe.testing.method_promises import assert_inside
from rcframe.testing.subject import Subject
from rcframe.testing.toys import some_images, trained_network
from rcframe.training.randomness import seeded

#: So near that images withstand, as those do on which a stronger attack is tried: nothing is stopped early.
_TINY = 0.005


def check_attack_traits_have_their_form(subject: Subject) -> None:
    """`iterated` and `nearest` are true or false, `surrogate` is a text or None."""
    attack = cast(Attack, subject.make())
    for trait in ("iterated", "nearest"):
        found: object = getattr(attack, trait)
        assert isinstance(found, bool), (
            f"`{trait}` is {_shown(found)}, but it must be true or false: write `{trait} = True` in the class"
        )
    surrogate: object = attack.surrogate
    assert surrogate is None or isinstance(surrogate, str), (
        f"`surrogate` is {_shown(surrogate)}, but it must be a text or None: write it as a property"
    )


def check_attack_stronger_takes_more_effort(subject: Subject) -> None:
    """`stronger()` is None, or another attack in the same norms that asks the same things, and no fewer of them."""
    attack = cast(Attack, subject.make())
    stronger = _asked(attack, "stronger")
    if stronger is None:
        return
    assert isinstance(stronger, Attack), (
        f"`stronger()` returned {_shown(stronger)}; expected an attack, or None where more effort would change nothing"
    )
    assert stronger != attack, "`stronger()` returned the same attack: return None where more would change nothing"
    more = stronger.access & ~attack.access
    assert not more, f"`stronger()` needs {describe_access(more)}, which the attack itself does not"
    missing = [norm for norm in attack.norms if norm not in stronger.norms]
    assert not missing, f"`stronger()` does not work in {' and '.join(missing)}, as the attack itself does"
    threat = Threat(_TINY, attack.norms[0])
    asked, asked_more = _images_asked(attack, threat), _images_asked(stronger, threat)
    assert asked_more >= asked, f"`stronger()` asks about {asked_more} images, the attack itself about {asked}"


def check_attack_thorough_takes_no_shortcut(subject: Subject) -> None:
    """`thorough()` is an attack that does not stop early, and what it returns is as sound as what the attack does."""
    attack = cast(Attack, subject.make())
    thorough = _asked(attack, "thorough")
    assert isinstance(thorough, Attack), f"`thorough()` returned {_shown(thorough)}; expected an attack"
    if "early_stop" in {option.name for option in options_of(subject.cls)}:
        assert not getattr(thorough, "early_stop", False), (
            "`thorough()` still has `early_stop` on: return `attrs.evolve(self, early_stop=False)`"
        )
    # Most are thorough as they are, and are held to this by the other promises.
    if thorough != attack:
        assert_inside(thorough, attack.norms)


def _asked(attack: Attack, method: str) -> object:
    """Call a method without arguments, or say that it is none."""
    found: object = getattr(attack, method)
    # An attack can be called as well, but with a model.
    is_method = callable(found) and not isinstance(found, Attack)
    assert is_method, (
        f"`{method}` is {_shown(found)}, but it is called: write it as a method, `def {method}(self)`, "
        "without `@property`"
    )
    return cast("Callable[[], object]", found)()


def _shown(value: object) -> str:
    """Name what was found: a value by itself, anything larger by its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return f"`{value!r}`"
    return "a function" if callable(value) and hasattr(value, "__name__") else f"of type `{type(value).__name__}`"


def _images_asked(attack: Attack, threat: Threat) -> int:
    """Count the images that a network is asked about while a few are attacked."""
    queries, (x, y) = Queries(), some_images(3)
    with seeded(7, "attack"):
        attack_batch(attack.thorough(), trained_network(), x, y, threat, queries)
    return queries.images
