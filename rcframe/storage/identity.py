"""What determines a result: named parts, and the key they hash to."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

import attrs

#: What stands between components that follow each other.
PHASES = ", then "


def brief(value: str) -> str:
    """Shorten a digest, which nobody reads to the end."""
    return f"{value[:12]}..." if re.fullmatch(r"[0-9a-f]{40,}", value) else value


@attrs.frozen
class Difference:
    """A part in which two identities differ; an absent part is empty."""

    part: str
    here: str
    there: str


@attrs.frozen
class Identity:
    """Everything that determines a piece of work, by name; equal identities mean equal results."""

    parts: Mapping[str, str]

    @property
    def key(self) -> str:
        """The content address: a sha256 in hexadecimal digits."""
        return hashlib.sha256(json.dumps(dict(self.parts), sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """The name of the work."""
        return self.parts.get("name", "")

    def differences(self, other: Mapping[str, str]) -> tuple[Difference, ...]:
        """Return the parts in which other work differs, in our order."""
        names = [*self.parts, *(name for name in other if name not in self.parts)]
        pairs = [(name, self.parts.get(name, ""), other.get(name, "")) for name in names]
        return tuple(Difference(name, here, there) for name, here, there in pairs if here != there)
