"""The attacks of foolbox by name."""

from __future__ import annotations

import difflib

import foolbox.attacks
from foolbox.attacks.base import Attack as TheirAttack

from rcframe import RequestError

TheirClass = type[TheirAttack]


def their_classes() -> dict[str, TheirClass]:
    """Return every attack class of foolbox under each name it has there, short ones such as `LinfPGD` too."""
    return {
        name: found
        for name, found in vars(foolbox.attacks).items()
        if isinstance(found, type) and issubclass(found, TheirAttack) and found is not TheirAttack
    }


def find(name: str) -> TheirClass:
    """Return the class called `name`: as foolbox spells it, or in lower case with hyphens, `Attack` optional."""
    known = their_classes()
    if name in known:
        return known[name]
    by_key = {_key(theirs): found for theirs, found in known.items()}
    if _key(name) in by_key:
        return by_key[_key(name)]
    close = difflib.get_close_matches(_key(name), list(by_key), n=1, cutoff=0.5)
    hint = f" Did you mean `{by_key[close[0]].__name__}`?" if close else ""
    names = sorted({found.__name__ for found in known.values()})
    raise RequestError(f"foolbox has no attack `{name}`.{hint} Its attacks: {', '.join(names)}.")


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "").removesuffix("attack")
