from __future__ import annotations

import foolbox.attacks as theirs
import pytest
from foolbox.distances import l2, linf
from rcframe_foolbox.arguments import arguments_of, build, read_options
from rcframe_foolbox.names import TheirClass

from rcframe import RequestError


def test_values_take_the_type_that_the_attack_declares() -> None:
    given = read_options(
        theirs.LinfProjectedGradientDescentAttack,
        ("steps:7", "rel_stepsize:1/4", "abs_stepsize:none", "random_start:false"),
    )
    assert given == {"steps": 7, "rel_stepsize": 0.25, "abs_stepsize": None, "random_start": False}
    assert read_options(theirs.L2DeepFoolAttack, ("loss:crossentropy",)) == {"loss": "crossentropy"}


def test_an_attack_to_start_from_is_given_by_its_name() -> None:
    start = read_options(theirs.BoundaryAttack, ("init_attack:salt-and-pepper-noise",))["init_attack"]
    assert isinstance(start, theirs.SaltAndPepperNoiseAttack)


@pytest.mark.parametrize(
    ("cls", "text", "sentence"),
    [
        (theirs.LinfFastGradientAttack, "steps:3", "`steps:3` is no option .* Its options: random_start"),
        (theirs.LinfFastGradientAttack, "random_start", "Write options as `name:value`"),
        (theirs.L2AdditiveGaussianNoiseAttack, "steps:3", "Its options: none"),
        (theirs.L2DeepFoolAttack, "steps:0", "`steps` .* is '0', but it must be: a whole number from 1 on"),
        (theirs.L2DeepFoolAttack, "steps:many", "is 'many'"),
        (theirs.L2DeepFoolAttack, "overshoot:inf", "is 'inf', but it must be: a number"),
        (theirs.L2DeepFoolAttack, "overshoot:1/0", "is '1/0'"),
        (theirs.L2DeepFoolAttack, "candidates:some", "a whole number from 1 on or none"),
        (theirs.L2DeepFoolAttack, "loss:margin", "it must be: logits or crossentropy"),
        (theirs.BoundaryAttack, "init_attack:FGSM", "an attack that looks for the nearest image"),
        (theirs.BoundaryAttack, "tensorboard:logs", "is no option"),
        (theirs.HopSkipJumpAttack, "constraint:linf", "is no option"),
    ],
)
def test_what_an_attack_does_not_take_is_refused(cls: TheirClass, text: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        read_options(cls, (text,))


def test_an_argument_without_default_is_asked_for() -> None:
    with pytest.raises(RequestError, match="has no default for `steps`: give it, for example `options=steps:10`"):
        read_options(theirs.VirtualAdversarialAttack, ())
    assert read_options(theirs.VirtualAdversarialAttack, ("steps:3",)) == {"steps": 3}


def test_attacks_of_several_norms_are_built_in_the_run_s() -> None:
    jump = build(theirs.HopSkipJumpAttack, {}, "linf")
    invert = build(theirs.InversionAttack, {}, "l2")
    assert isinstance(jump, theirs.HopSkipJumpAttack)
    assert isinstance(invert, theirs.InversionAttack)
    assert (jump.constraint, jump.distance, invert.distance) == ("linf", linf, l2)


def test_every_argument_has_words() -> None:
    for cls in (theirs.LinfPGD, theirs.EADAttack, theirs.PointwiseAttack, theirs.LInfFMNAttack):
        assert all(argument.allowed for argument in arguments_of(cls).values())
