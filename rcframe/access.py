"""What the owner of a model grants: a set of capabilities, and the presets that name the usual sets."""

from __future__ import annotations

import enum

from rcframe.errors import RequestError, listed, nearest


class Access(enum.Flag):
    """The capabilities a model can be used with."""

    NONE = 0
    LABEL = enum.auto()
    PROBS = enum.auto()
    LOGITS = enum.auto()
    FEATURES = enum.auto()
    INPUT_GRAD = enum.auto()
    BN_STATS = enum.auto()
    PARAMS = enum.auto()

    HARD = LABEL
    SOFT = LABEL | PROBS
    LOGIT = LABEL | PROBS | LOGITS
    GREY = LABEL | PROBS | LOGITS | FEATURES
    WHITE = LABEL | PROBS | LOGITS | FEATURES | INPUT_GRAD | BN_STATS | PARAMS


_WORDS = {
    Access.LABEL: "labels",
    Access.PROBS: "probabilities",
    Access.LOGITS: "logits",
    Access.FEATURES: "features",
    Access.INPUT_GRAD: "input gradients",
    Access.BN_STATS: "batch-norm statistics",
    Access.PARAMS: "parameters",
}
#: The presets, weakest first, as the command line names them.
PRESETS = {
    "none": Access.NONE,
    "hard": Access.HARD,
    "soft": Access.SOFT,
    "logit": Access.LOGIT,
    "grey": Access.GREY,
    "white": Access.WHITE,
}


def describe_access(access: Access) -> str:
    """Name the capabilities in words, as in `labels, probabilities`."""
    return listed(words for flag, words in _WORDS.items() if flag in access) if access else "nothing"


def parse_access(text: str) -> Access:
    """Read a preset (`logit`) or a sum of presets and capabilities (`logit+input_grad`)."""
    known = PRESETS | {flag.name.lower(): flag for flag in _WORDS if flag.name}
    granted = Access.NONE
    for part in text.lower().split("+"):
        if part not in known:
            raise RequestError(
                f"No access level `{part}`.{nearest(part, known)} Presets: {listed(PRESETS)}; "
                f"capabilities to add with +: {listed(name for name in known if name not in PRESETS)}."
            )
        granted |= known[part]
    return granted
