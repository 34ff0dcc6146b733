from __future__ import annotations

import hashlib

import torch
from hypothesis import given, strategies as st

from rcframe.seeding import derive, generator

names = st.lists(st.one_of(st.text(max_size=4), st.integers(0, 99)), max_size=3)


def test_a_seed_is_the_first_63_bits_of_the_hash_of_its_names() -> None:
    digest = hashlib.sha256(b'[7, "order", 3]').hexdigest()
    assert derive(7, "order", 3) == int(digest[:16], 16) // 2


@given(st.integers(0, 2**63 - 1), names)
def test_a_seed_fits_a_generator(seed: int, parts: list[str | int]) -> None:
    assert 0 <= derive(seed, *parts) < 2**63
    generator(seed, *parts)


@given(st.tuples(st.integers(0, 3), names), st.tuples(st.integers(0, 3), names))
def test_different_names_give_different_seeds(
    one: tuple[int, list[str | int]], other: tuple[int, list[str | int]]
) -> None:
    assert (derive(one[0], *one[1]) == derive(other[0], *other[1])) == (one == other)


def test_names_that_read_alike_are_kept_apart() -> None:
    seeds = {derive(0, "1"), derive(0, 1), derive(0, "ab", "c"), derive(0, "a", "bc"), derive(0, "c", "ab"), derive(0)}
    assert len(seeds) == 6


def test_generators_are_fresh_and_leave_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    first, second = (torch.rand(4, generator=generator(1, "x")) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, torch.rand(4, generator=generator(1, "y")))
    assert torch.equal(before, torch.get_rng_state())
