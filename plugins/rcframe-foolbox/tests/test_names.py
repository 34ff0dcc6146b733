from __future__ import annotations

import foolbox.attacks
import pytest
from rcframe_foolbox.names import find, their_classes

from rcframe import RequestError


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("LinfPGD", foolbox.attacks.LinfProjectedGradientDescentAttack),
        ("PGD", foolbox.attacks.LinfProjectedGradientDescentAttack),
        ("FGSM", foolbox.attacks.LinfFastGradientAttack),
        ("fgm", foolbox.attacks.L2FastGradientAttack),
        ("L2DeepFoolAttack", foolbox.attacks.L2DeepFoolAttack),
        ("l2-deep-fool", foolbox.attacks.L2DeepFoolAttack),
        ("linf-deepfool-attack", foolbox.attacks.LinfDeepFoolAttack),
        ("hop_skip_jump", foolbox.attacks.HopSkipJumpAttack),
    ],
)
def test_attacks_are_found_as_foolbox_or_a_user_writes_them(name: str, cls: type) -> None:
    assert find(name) is cls


def test_no_two_attacks_are_written_alike() -> None:
    for name, cls in their_classes().items():
        assert find(name) is find(name.lower()) is cls


def test_a_wrong_name_gets_the_nearest_and_the_list() -> None:
    with pytest.raises(
        RequestError, match=r"no attack `L2DeepFol`. Did you mean `L2DeepFoolAttack`\? Its attacks: Bin"
    ):
        find("L2DeepFol")
