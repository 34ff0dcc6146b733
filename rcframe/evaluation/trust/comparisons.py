"""The attacks of a run, held against simple controls on images that withstood them."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rcframe.api import Attack
from rcframe.errors import listed
from rcframe.evaluation.trust.chance import MAY_GAIN, MAY_MISS, speaks_against
from rcframe.evaluation.trust.controls import Climb, RandomCorners, RandomSearch
from rcframe.evaluation.trust.flag import MISLED, STUCK, Flag, Kind
from rcframe.evaluation.trust.sorts import BY_GRADIENT, Sort
from rcframe.evaluation.trust.suspect import MANY, SOME, Suspect, some_of
from rcframe.options import to_text, values_of

#: Noise is as strong as an attack where it breaks this share of what the attack broke, of this many images at least,
#: while this share of the images withstands: where none does, noise of that size may break everything too.
_SAME, _FEWEST, _WITHSTANDING = 0.9, 5, 0.2
#: So many images, and this share of them, may withstand an eps at which they cannot, as far as attacks can tell.
_FEWEST_LEFT, _LEFT = 2, 0.1
_PATIENT, _USUAL, _SHORT = Climb(steps=40), Climb(steps=20), Climb(steps=10)


def noise_flags(suspect: Suspect) -> Iterator[Flag]:
    """Random noise should break nothing that an attack did not, and far less of what it did.

    Attacks that never asked the network may well find less.
    """
    if not suspect.of_sort(*BY_GRADIENT, Sort.GRADIENT_FREE):
        return
    noise = RandomCorners()
    tried = some_of(suspect.withstood, MANY)
    broken = int(suspect.broken(noise, tried).sum())
    if speaks_against(broken, suspect.among(suspect.withstood, tried), MAY_MISS):
        yield Flag(
            Kind.NOISE,
            f"random noise ({noise.draws} draws) broke {broken} of {len(tried)} images of the {suspect.role} that "
            f"withstood {_attacks(suspect)}{_worth(suspect, broken, len(tried))}: the attacks find less than chance",
        )
    elif by_gradient := suspect.of_sort(*BY_GRADIENT):
        yield from _needless(suspect, noise, list(by_gradient))


def _needless(suspect: Suspect, noise: RandomCorners, specs: list[str]) -> Iterator[Flag]:
    """Look whether noise alone breaks what gradient attacks broke."""
    right, left = suspect.findings.clean.cpu(), suspect.withstanding(*specs)
    tried = some_of(right & ~left, MANY)
    if len(tried) < _FEWEST or int(left.sum()) < _WITHSTANDING * int(right.sum()):
        return
    broken = int(suspect.broken(noise, tried).sum())
    if broken >= _SAME * len(tried):
        yield Flag(
            Kind.NOISE,
            f"random noise ({noise.draws} draws) broke {broken} of {len(tried)} images of the {suspect.role} that "
            f"{listed(specs)} broke: the gradient shows these attacks nothing that chance does not find",
        )


def effort_flags(suspect: Suspect) -> Iterator[Flag]:
    """The same attack with clearly more effort should find little more."""
    for spec, broken in suspect.with_effort.items():
        count, more = int(broken.sum()), _more(suspect.attacks[spec])
        if speaks_against(count, suspect.among(suspect.withstood, suspect.retried), MAY_GAIN):
            yield Flag(
                Kind.MORE_EFFORT,
                f"with more effort{more}, {spec} broke {count} of {len(broken)} images of the {suspect.role} that "
                f"withstood {_attacks(suspect)}{_worth(suspect, count, len(broken))}: it had not converged; give it "
                f"more until its figure stops falling",
            )


def _more(attack: Attack) -> str:
    """Say in brackets which options the stronger form has otherwise; nothing where it has other options altogether."""
    stronger = attack.stronger()
    if type(stronger) is not type(attack):
        return ""
    before, after = values_of(attack), values_of(stronger)
    changed = [name for name in before if before[name] != after[name]]
    told = (f"{name} {to_text(after[name])} instead of {to_text(before[name])}" for name in changed)
    return f" ({listed(told)})" if changed else ""


def single_step_flags(suspect: Suspect) -> Iterator[Flag]:
    """One step along the gradient should break nothing that iterated attacks did not."""
    step = "one gradient step of length eps"
    yield from _control(suspect, Kind.SINGLE_STEP, Climb(steps=1), step, STUCK)


def gradient_free_flags(suspect: Suspect) -> Iterator[Flag]:
    """A short random search should break nothing that iterated gradient attacks did not."""
    search = RandomSearch()
    what = f"a random search without gradients ({search.tries} tries)"
    meaning = f"{MISLED}; add a strong gradient-free attack and believe the worst case"
    yield from _control(suspect, Kind.GRADIENT_FREE, search, what, meaning)


def transfer_flags(suspect: Suspect) -> Iterator[Flag]:
    """Images crafted on the other network should break nothing that attacks on this one did not."""
    crafted = f"{_SHORT.steps} gradient steps on the {suspect.other_role} instead"
    meaning = f"knowing the network should help; {MISLED}; believe the worst case"
    yield from _control(suspect, Kind.TRANSFER, _SHORT.thorough(), crafted, meaning, transfer=True)


def _control(
    suspect: Suspect, kind: Kind, control: Attack, what: str, meaning: str, *, transfer: bool = False
) -> Iterator[Flag]:
    """Hold a control against iterated gradient attacks, on images that withstood these even with more effort.

    So what is found is not what more steps would have found as well: that has a flag of its own.
    """
    if not suspect.of_sort(Sort.ITERATED):
        return
    tried = suspect.firm
    broken = int(suspect.broken(control, tried, transfer=transfer).sum())
    if speaks_against(broken, suspect.among(suspect.withstood, tried), MAY_MISS):
        yield Flag(
            kind,
            f"{what} broke {broken} of {len(tried)} images of the {suspect.role} that withstood {_attacks(suspect)}"
            f"{_worth(suspect, broken, len(suspect.retried))}: {meaning}",
        )


def weak_attack_flags(suspect: Suspect) -> Iterator[Flag]:
    """Where no iterated gradient attack was run, a short one shows what that leaves out."""
    if suspect.of_sort(Sort.ITERATED):
        return
    tried = some_of(suspect.withstood, MANY)
    broken = int(suspect.broken(_USUAL, tried).sum())
    if speaks_against(broken, suspect.among(suspect.withstood, tried), MAY_GAIN):
        yield Flag(
            Kind.WEAK_ATTACKS,
            f"no iterated gradient attack on the {suspect.role} itself was run: {_USUAL.steps} gradient steps broke "
            f"{broken} of {len(tried)} images that withstood {_attacks(suspect)}{_worth(suspect, broken, len(tried))}; "
            f"for someone who knows the network these figures say little",
        )


def large_eps_flags(suspect: Suspect) -> Iterator[Flag]:
    """Where eps is so large that every image can be made plain grey, one class at most can withstand."""
    tried = some_of(suspect.findings.clean, SOME)
    x, y = suspect.batch(tried)
    low, high = suspect.threat.bounds
    grey = (high - low) / 2 * (1.0 if suspect.threat.norm == "linf" else math.sqrt(x[0].numel()))
    eps = max(grey, suspect.threat.eps)
    left = torch.ones(len(tried), dtype=torch.bool)
    # The attacks of the run are only asked where the climb failed, which it does on few sound networks.
    for attack in (_PATIENT, *suspect.of_sort(Sort.ITERATED).values()):
        left[left.clone()] = ~suspect.broken(attack, tried[left], eps=eps)
        impossible = int(left.sum()) - _most_of_one_class(y[left.to(y.device)])
        if impossible < max(_FEWEST_LEFT, _LEFT * len(tried)):
            return
    yield Flag(
        Kind.LARGE_EPS,
        f"{int(left.sum())} of {len(tried)} images of the {suspect.role} withstand even an eps of {eps:.3g}, where "
        f"every image can be made plain grey: gradient attacks do not find what is there, so none of their figures "
        f"counts",
    )


def _most_of_one_class(y: Tensor) -> int:
    return int(y.bincount().max()) if len(y) else 0


def _attacks(suspect: Suspect) -> str:
    return listed(suspect.attacks)


def _worth(suspect: Suspect, broken: int, tried: int) -> str:
    """Say how much accuracy under attack a control would take away, were the others of its images like these."""
    points = 100 * broken / tried * int(suspect.withstood.sum()) / len(suspect.withstood)
    return f", worth about {points:.{int(points < 10)}f} points of accuracy" if points >= 0.1 else ""
