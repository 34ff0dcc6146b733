"""What can go wrong, as sentences for people.

Every error a user can cause or meet derives from `RcframeError`. Its text says what was asked, what was found and
what to do; the command line prints that text alone, without a traceback, and ends with `exit_code`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class RcframeError(Exception):
    """Base of all errors that are shown to the user as one plain message."""

    exit_code: ClassVar[int] = 1


class RequestError(RcframeError):
    """The request cannot be carried out as written; nothing was started."""

    exit_code = 2


class UnknownOption(RequestError):
    """A component was given an option that it does not have."""

    def __init__(self, text: str, option: str) -> None:
        super().__init__(text)
        self.option = option


class RunFailed(RcframeError):
    """The request was fine but carrying it out failed."""

    exit_code = 1


class CheckFailed(RcframeError):
    """A claim or a conformance check does not hold."""

    exit_code = 3


class AccessDenied(RcframeError):
    """A method asked a model for more than its owner grants."""

    exit_code = 1


class BudgetExceeded(RcframeError):
    """A batch of queries would go beyond the query budget; the batch was refused whole."""

    exit_code = 1


class PluginError(RequestError):
    """A plugin could not be loaded, or announces something that cannot be used."""


def nearest(wanted: str, known: Iterable[str]) -> str:
    """Return ` Did you mean `x`?` for the known name closest to `wanted`, or an empty string."""
    close = difflib.get_close_matches(wanted, list(known), n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else ""


def listed(names: Iterable[str]) -> str:
    """Join names for a sentence, in order; `none` when there are none."""
    return ", ".join(names) or "none"
