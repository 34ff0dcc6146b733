"""Promises of components of any kind: announcement, options, text."""

from __future__ import annotations

import subprocess
import sys

import tomlkit

from rcframe.choice import Choice, parse_choice
from rcframe.errors import RequestError
from rcframe.options import build, options_of, presets_of, to_text, values_of
from rcframe.session.config import to_toml
from rcframe.testing.subject import Subject, Watcher


def check_entry_module_is_free_of_torch(subject: Subject | Watcher) -> None:
    """Listing names must stay quick, so the entry-point module imports no torch."""
    code = f"import sys, {subject.module}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"importing `{subject.module}` imports torch: import it inside the target module"


def check_target_resolves(subject: Subject) -> None:
    """The announced target is a component of the announced kind, with a docstring and a one-sentence summary."""
    assert subject.cls.__doc__, f"`{subject.spec.target}` has no docstring: say what it is and name its paper"
    assert subject.spec.summary.endswith("."), "the summary must be one sentence ending in a full stop"


def check_options_are_described(subject: Subject) -> None:
    """Every option has a help sentence."""
    for option in options_of(subject.cls):
        assert option.help.endswith("."), f"the help of `{option.name}` must be one sentence ending in a full stop"


def check_options_survive_spec_string_and_toml(subject: Subject) -> None:
    """A component built from its own options, as text or from TOML, equals itself."""
    original = subject.make()
    values = values_of(original)
    parts = ",".join(f"{name}=({to_text(value)})" for name, value in values.items())
    spec = f"{subject.spec.name}:{parts}" if parts else subject.spec.name
    if not any(to_text(value) == "" for value in values.values()):
        again = build(subject.cls, parse_choice(spec, "component").options, subject.spec.name)
        assert again == original, f"`{spec}` does not build the same component again"
    document = tomlkit.dumps({name: to_toml(value) for name, value in values.items()})
    again = build(subject.cls, tomlkit.parse(document).unwrap(), subject.spec.name)
    assert again == original, "its TOML table does not build the same component again"


def check_unknown_option_is_refused(subject: Subject) -> None:
    """A misspelt option is an error and never ignored."""
    try:
        build(subject.cls, Choice("x", {"no_such_option": "1"}).options, subject.spec.name)
    except RequestError:
        return
    raise AssertionError("an unknown option was accepted")


def check_presets_can_be_built(subject: Subject) -> None:
    """Every preset names options that exist, with values that they allow."""
    for name in presets_of(subject.cls):
        try:
            build(subject.cls, {"preset": name}, subject.spec.name)
        except RequestError as error:
            raise AssertionError(f"its preset `{name}` cannot be built: {error}") from error


def check_components_are_immutable(subject: Subject) -> None:
    """A component holds options and nothing that moves."""
    component = subject.make()
    for option in options_of(subject.cls):
        try:
            setattr(component, option.name, getattr(component, option.name))
        except AttributeError:
            continue
        raise AssertionError(f"`{option.name}` can be changed: decorate the class with `@component`")
