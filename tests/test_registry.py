from __future__ import annotations

import logging
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
import pytest
import torch

import rcframe
from rcframe.api import KINDS
from rcframe.builtins import SPECS
from rcframe.choice import Choice, parse_choice
from rcframe.errors import PluginError, RequestError
from rcframe.registry import Plugin, Registry, registry
from rcframe.session.config import make_config
from rcframe.session.session import Session, prepare_session
from rcframe.training.randomness import seed_everything

if TYPE_CHECKING:
    from tests.conftest import Install

#: What generated plugins have to offer.
PARTS = """
from rcframe import Attack, Teacher, Threat, component, option

@component
class Still(Attack):
    "Does nothing."
    strength: int = option(default=1, help="How much of nothing.")

    def craft(self, source, x, y, threat):
        return x

@component
class Other(Still):
    "Does nothing either."

@component
class Lazy(Teacher):
    "Learns nothing."

    def plan(self, network, run):
        yield from ()

class Undecorated(Still):
    "Lacks its decorator."
    more: int = option(default=1, help="Would be ignored.")

number = 3
"""


def spec(name: str = "still", kind: str = "attack", **more: object) -> dict[str, object]:
    return {"kind": kind, "name": name, "target": "acme_parts:Still", "summary": "Does nothing.", **more}


@pytest.fixture
def parts(site: Path, install: Install) -> None:
    """Provide the module behind the generated plugins' components."""
    (site / "acme_parts.py").write_text(PARTS)


def plugin(name: str) -> Plugin:
    return next(found for found in registry().plugins if found.distribution == name)


def target_of(kind: str, text: str) -> str:
    return registry().find(kind, parse_choice(text, kind)).spec.target


# -- listing ----------------------------------------------------------------------------------------------------------


def test_the_kernel_comes_first_and_every_component_of_its_own_can_be_loaded() -> None:
    kernel = registry().plugins[0]
    assert (kernel.distribution, kernel.version, kernel.status) == ("rcframe", rcframe.__version__, "ok")
    for announced in kernel.specs:
        loaded = registry().load(announced.kind, Choice(announced.name, {}, "rcframe"))
        assert loaded.kind == announced.kind
        assert loaded.__doc__
        assert announced.summary.endswith(".")
        assert announced.kind in KINDS


def test_a_plugin_is_listed_with_its_version_and_components_but_its_code_is_not_imported(
    install: Install, parts: None
) -> None:
    install("acme-one", [spec(), spec("lazy", "teacher", target="acme_parts:Lazy")], version="2.3")
    found = plugin("acme-one")
    assert (found.version, found.module, found.status, found.error) == ("2.3", "acme_one", "ok", None)
    assert [(item.kind, item.name, item.summary) for item in found.specs] == [
        ("attack", "still", "Does nothing."),
        ("teacher", "lazy", "Does nothing."),
    ]
    assert "acme_parts" not in sys.modules
    built = registry().make("attack", "still:strength=4")
    assert (type(built).__name__, built) == ("Still", sys.modules["acme_parts"].Still(strength=4))


def test_components_are_listed_by_kind_kernel_first_then_by_distribution(install: Install) -> None:
    install("zeta", [spec("alpha")])
    install("acme-one", [spec("zulu"), spec("yak", "teacher")])
    teachers = registry().announced("teacher")
    assert [item.spec.name for item in teachers][:3] == ["plain", "file", "run"]
    assert ("yak", "acme-one", "1.0") in [(item.spec.name, item.distribution, item.version) for item in teachers]
    attacks = [item.distribution for item in registry().announced("attack")]
    assert attacks == sorted(attacks)
    assert {item.spec.kind for item in registry().announced("attack")} == {"attack"}


def test_what_is_left_of_a_half_removed_distribution_hurts_nobody(install: Install) -> None:
    site = install("acme-gone", [spec()])
    (site / "acme_gone-1.0.dist-info" / "METADATA").unlink()
    install("acme-nameless", [spec("other")])
    (site / "acme_nameless-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\n")
    install("acme-good", [spec("third")])
    assert plugin("acme-good").status == "ok"
    assert plugin("acme_nameless").status == "ok"


# -- isolation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import rcframe_no_such_module", "ModuleNotFoundError: No module named 'rcframe_no_such_module'"),
        ("from rcframe import no_such_name", "ImportError: cannot import name 'no_such_name' from 'rcframe'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import os; raise SystemExit", "SystemExit: no message"),
        ("def broken(:", "SyntaxError: invalid syntax"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two"),
        ("raise GeneratorExit", "GeneratorExit: no message"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_a_plugin_that_fails_at_import_is_named_and_hurts_no_other(source: str, error: str, install: Install) -> None:
    install("acme-bad", source=source)
    install("acme-good", [spec()])
    bad = plugin("acme-bad")
    assert (bad.status, bad.specs, bad.version) == ("broken", (), "1.0")
    assert error in (bad.error or "")
    assert "\n" not in (bad.error or "")
    assert registry().broken() == [bad]
    assert plugin("acme-good").status == "ok"
    assert registry().plugins[0].specs == SPECS


def test_an_interrupt_while_plugins_load_stops_everything(install: Install) -> None:
    install("acme-bad", source="raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        registry()


HOOKED = "from rcframe import Spec, hookimpl\n@hookimpl\ndef {definition}:\n    {body}\n"


@pytest.mark.parametrize(
    ("definition", "body", "error"),
    [
        ("rcframe_components(registry)", "return []", r"'rcframe_components' .*{'registry'}.* not be found"),
        ("rcframe_run_started(sesion)", "pass", r"'rcframe_run_started' .*{'sesion'}.* not be found"),
        (
            "rcframe_component()",
            "return []",
            r"`rcframe_component`, which is no hook.* Did you mean `rcframe_components`",
        ),
        ("rcframe_components()", "raise KeyError('gone')", "KeyError: 'gone'"),
        ("rcframe_components()", "return 3", "TypeError: 'int' object is not iterable"),
        ("rcframe_components()", "return ['pgd']", "must return a list of `Spec`, but it holds 'pgd'"),
        ("rcframe_components()", "return [Spec(kind='attack')]", "TypeError: .*missing 3 required"),
        ("rcframe_components()", "return [Spec(colour='red')]", "TypeError: .*'colour'"),
    ],
)
def test_a_wrong_hook_is_explained_to_its_author(definition: str, body: str, error: str, install: Install) -> None:
    install("acme-bad", source=HOOKED.format(definition=definition, body=body))
    install("acme-good", [spec()])
    assert re.search(error, plugin("acme-bad").error or "")
    assert plugin("acme-good").status == "ok"


@pytest.mark.parametrize(
    ("announced", "error"),
    [
        ([spec(), spec(target="acme_parts:Other")], r"^it announces attack `still` twice$"),
        ([spec(api=0)], r"^it was written for plugin API 0, but this rcframe has API 1\.\d: upgrade the plugin$"),
        ([spec(api=2)], r"^it was written for plugin API 2, but this rcframe has API 1\.\d: upgrade rcframe$"),
        ([spec(kind="atack")], r"^`still` has kind `atack`\. Did you mean `attack`\? Kinds: data, model, teacher"),
        ([spec("Still")], "^`Still` is not a component name"),
        ([spec("still_life")], "^`still_life` is not a component name"),
        ([spec("-still")], "^`-still` is not a component name"),
        ([spec("st:ill")], "^`st:ill` is not a component name"),
        ([spec("")], "^`` is not a component name"),
        ([spec(target="acme_parts.Still")], "^target `acme_parts.Still` of `still` is not of the form"),
        ([spec(target="acme_parts:")], "^target `acme_parts:` of `still` is not of the form"),
        ([spec(target="acme_parts:Still()")], r"^target `acme_parts:Still\(\)` of `still` is not of the form"),
    ],
)
def test_an_announcement_that_cannot_be_used_is_refused_as_a_whole(
    announced: list[dict[str, object]], error: str, install: Install
) -> None:
    install("acme-bad", [spec("fine"), *announced])
    assert re.search(error, plugin("acme-bad").error or "")
    assert plugin("acme-bad").specs == ()


def test_one_name_may_serve_two_kinds(install: Install) -> None:
    install("acme-one", [spec("dual"), spec("dual", "teacher", target="acme_parts:Lazy")])
    assert plugin("acme-one").status == "ok"
    assert target_of("teacher", "dual") == "acme_parts:Lazy"
    assert target_of("attack", "dual") == "acme_parts:Still"


def test_nothing_of_a_refused_plugin_stays_behind(install: Install) -> None:
    adds = "@hookimpl\ndef rcframe_commands(group):\n    raise AssertionError('asked')\n"
    install("acme-bad", [spec(api=2)], body=adds)
    holder = (
        "from rcframe import Spec, hookimpl\nclass Holder:\n    @hookimpl\n    def rcframe_components(self):\n"
        "        return [1]\n    @hookimpl\n    def rcframe_commands(self, group):\n"
        "        raise AssertionError('asked')\nholder = Holder()\n"
    )
    install("acme-held", source=holder, target="acme_held:holder")
    assert {found.distribution for found in registry().broken()} == {"acme-bad", "acme-held"}
    before = list(registry().plugins)
    registry().add_commands(click.Group())
    assert registry().plugins == before


def test_a_plugin_may_be_an_object_in_a_module(install: Install) -> None:
    source = (
        "from rcframe import Spec, hookimpl\nclass Holder:\n    @hookimpl\n    def rcframe_components(self):\n"
        f"        return [Spec(**{spec()!r})]\nholder = Holder()\n"
    )
    install("acme-held", source=source, target="acme_held:holder")
    assert (plugin("acme-held").status, plugin("acme-held").module) == ("ok", "acme_held:holder")
    assert target_of("attack", "still") == "acme_parts:Still"


# -- strictness and selection -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["import rcframe_no_such_module", "raise SystemExit(0)", "def broken(:"])
def test_strictness_turns_a_broken_plugin_into_an_error(
    source: str, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("acme-bad", source=source)
    monkeypatch.setenv("RCFRAME_STRICT", "1")
    with pytest.raises(PluginError, match="Plugin `acme-bad` cannot be used: ") as raised:
        registry()
    assert raised.value.__cause__ is not None
    monkeypatch.setenv("RCFRAME_STRICT", "0")
    assert plugin("acme-bad").status == "broken"


def test_strictness_covers_announcements_missing_plugins_and_shared_modules(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RCFRAME_STRICT", "1")
    install("acme-one", [spec()])
    install("acme-two", [spec()], module="acme_one")
    with pytest.raises(PluginError, match="`acme-two` cannot be used: its module `acme_one` is also announced by"):
        registry()
    install("acme-old", [spec(api=0)])
    with pytest.raises(PluginError, match="`acme-old` cannot be used: it was written for plugin API 0"):
        registry()
    monkeypatch.setenv("RCFRAME_PLUGINS", "acme-three")
    with pytest.raises(PluginError, match="`acme-three` cannot be used: it is named in RCFRAME_PLUGINS but not"):
        registry()


@pytest.mark.parametrize("named", ["acme-one,acme-three", " acme-three , acme-one ,"])
def test_exactly_the_named_plugins_are_loaded(named: str, install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in ("one", "two", "three"):
        install(f"acme-{number}", [spec(number)])
    monkeypatch.setenv("RCFRAME_PLUGINS", named)
    assert [found.distribution for found in registry().plugins] == ["rcframe", "acme-one", "acme-three"]
    assert [item.spec.name for item in registry().announced("attack")] == ["one", "three"]
    assert "acme_two" not in sys.modules


def test_naming_no_plugin_leaves_the_kernel(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-one", [spec()])
    monkeypatch.setenv("RCFRAME_PLUGINS", "")
    assert [found.distribution for found in registry().plugins] == ["rcframe"]


def test_a_named_plugin_that_is_missing_is_said_so(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-one", [spec()])
    monkeypatch.setenv("RCFRAME_PLUGINS", "acme-one,acme-tow")
    assert plugin("acme-one").status == "ok"
    assert plugin("acme-tow").error == "it is named in RCFRAME_PLUGINS but not installed"
    with pytest.raises(RequestError, match=r"1 plugin failed to load \(acme-tow\): see `rcframe plugins`\."):
        registry().find("attack", Choice("stil"))


# -- clashes ----------------------------------------------------------------------------------------------------------


def test_a_clash_of_two_plugins_names_both_and_how_to_choose(install: Install, parts: None) -> None:
    install("acme-one", [spec(), spec("lone")])
    install("acme-two", [spec(target="acme_parts:Other")])
    assert [plugin(name).status for name in ("acme-one", "acme-two")] == ["ok", "ok"]
    with pytest.raises(RequestError) as raised:
        registry().make("attack", "still")
    assert str(raised.value) == (
        "Attack `still` is announced by acme-one, acme-two. Say which one: `acme-one/still`, `acme-two/still`."
    )
    assert type(registry().make("attack", "acme-one/still:strength=2")).__name__ == "Still"
    assert type(registry().make("attack", "acme-two/still:strength=2")).__name__ == "Other"
    assert registry().find("attack", Choice("lone")).distribution == "acme-one"


def test_the_kernels_own_component_wins_a_clash(install: Install) -> None:
    install("acme-one", [spec("plain", "teacher", target="acme_parts:Lazy")])
    install("acme-two", [spec("plain", "teacher", target="acme_parts:Lazy")])
    assert (
        target_of("teacher", "plain") == target_of("teacher", "rcframe/plain") == "rcframe.builtins.plain:PlainTeacher"
    )
    assert target_of("teacher", "acme-two/plain") == "acme_parts:Lazy"


def test_two_distributions_with_one_module_are_both_named(install: Install) -> None:
    install("acme-one", [spec()])
    install("acme-two", [spec()], module="acme_one")
    assert plugin("acme-one").status == "ok"
    assert plugin("acme-two").error == ("its module `acme_one` is also announced by `acme-one`; uninstall one of them")
    assert [item.distribution for item in registry().announced("attack") if item.spec.name == "still"] == ["acme-one"]


def test_two_distributions_with_one_entry_point_name_both_work(install: Install) -> None:
    install("acme-one", [spec("one")], point="shared")
    install("acme-two", [spec("two")], point="shared")
    assert {"one", "two"} <= {item.spec.name for item in registry().announced("attack")}


# -- looking up -------------------------------------------------------------------------------------------------------


def test_an_unknown_name_is_answered_with_the_nearest_the_installed_and_the_broken(install: Install) -> None:
    install("acme-one", [spec("steady", "neuron"), spec("stubborn", "neuron")])
    with pytest.raises(RequestError) as raised:
        registry().find("neuron", Choice("staedy"))
    text = str(raised.value)
    assert text.startswith("No neuron named `staedy`. Did you mean `steady`? Installed: ")
    assert "steady, stubborn" in text
    assert "failed to load" not in text
    install("acme-bad", source="1 / 0")
    install("acme-worse", source="1 / 0")
    with pytest.raises(RequestError, match=r"2 plugins failed to load \(acme-bad, acme-worse\): see `rcframe plugins`"):
        registry().find("neuron", Choice("staedy"))


def test_a_name_is_looked_for_in_the_named_distribution_only(install: Install) -> None:
    install("acme-one", [spec()])
    with pytest.raises(RequestError, match="No attack named `still` in `acme-two`"):
        registry().find("attack", parse_choice("acme-two/still", "attack"))


def test_an_unknown_kind_is_answered_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"No kind `attak`\. Did you mean `attack`\? Kinds: data, model, teacher"):
        registry().make("attak", "pgd")


def test_a_function_named_without_its_package_is_told_the_long_form() -> None:
    with pytest.raises(RequestError, match=r"No model named `nets`\..* is named `python:nets:small`\."):
        registry().make("model", "nets:small")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("acme_no_such:Still", "ModuleNotFoundError: No module named 'acme_no_such'"),
        ("acme_parts:Gone", "AttributeError: .*'Gone'"),
        ("acme_fails:Still", "ValueError: no luck"),
        ("acme_ends:Still", "SystemExit: 5"),
    ],
)
def test_a_target_that_cannot_be_imported_is_named(target: str, reason: str, install: Install, parts: None) -> None:
    site = install("acme-one", [spec(target=target)])
    (site / "acme_fails.py").write_text("raise ValueError('no luck')")
    (site / "acme_ends.py").write_text("import sys; sys.exit(5)")
    assert plugin("acme-one").status == "ok"
    with pytest.raises(
        PluginError, match=rf"^Attack `still` of `acme-one` cannot be imported from `{target}`: {reason}"
    ):
        registry().make("attack", "still")


@pytest.mark.parametrize("target", ["acme_parts:number", "acme_parts:option", "acme_parts:Threat", "acme_parts:Lazy"])
def test_a_target_that_is_no_component_of_its_kind_is_refused(target: str, install: Install, parts: None) -> None:
    install("acme-one", [spec(target=target)])
    with pytest.raises(PluginError, match=f"^`{target}` of `acme-one` is not a component of kind attack"):
        registry().make("attack", "still")


def test_a_component_without_its_decorator_is_refused_since_its_options_would_be_ignored(
    install: Install, parts: None
) -> None:
    install("acme-one", [spec(target="acme_parts:Undecorated")])
    with pytest.raises(PluginError, match=r"^`acme_parts:Undecorated` of `acme-one` lacks the decorator `@component`"):
        registry().make("attack", "still")


def test_a_component_knows_the_choice_that_builds_it_again(install: Install, parts: None) -> None:
    install("acme-one", [spec(), spec("plain", "teacher", target="acme_parts:Lazy")])
    still = registry().make("attack", "still:strength=7")
    assert registry().choice_of(still) == Choice("still", {"strength": 7})
    lazy = registry().make("teacher", "acme-one/plain")
    assert registry().choice_of(lazy) == Choice("plain", {}, "acme-one")
    assert registry().make("teacher", registry().choice_of(lazy)) == lazy
    install("acme-two", [spec()], version="1.0", module="acme_two")
    assert registry().choice_of(still).distribution == "acme-one"


def test_a_component_is_known_by_any_module_that_offers_it(install: Install, parts: None) -> None:
    site = install("acme-one", [spec(target="acme_front:Still")])
    (site / "acme_front.py").write_text("from acme_parts import Still")
    assert registry().choice_of(registry().make("attack", "still")).name == "still"


def test_a_component_that_nobody_announces_cannot_be_recorded(install: Install, parts: None) -> None:
    install("acme-one", [spec()])
    other = sys.modules[type(registry().make("attack", "still")).__module__].Other()
    with pytest.raises(RequestError, match="`Other` is announced by no installed plugin"):
        registry().choice_of(other)


# -- hooks ------------------------------------------------------------------------------------------------------------

ADDS = """
import click

@hookimpl
def rcframe_commands(group):
    group.add_command(click.Command("{name}", callback=lambda: None, help="Says hello."))
    {then}
"""


@pytest.fixture
def group() -> click.Group:
    return click.Group("rcframe", commands={"run": click.Command("run")})


def test_plugins_add_commands(install: Install, group: click.Group) -> None:
    install("acme-one", body=ADDS.format(name="hello", then=""))
    install("acme-two", body="@hookimpl\ndef rcframe_commands():\n    pass\n")
    registry().add_commands(group)
    assert set(group.commands) == {"run", "hello"}
    assert (plugin("acme-one").status, plugin("acme-two").status) == ("ok", "ok")


@pytest.mark.parametrize(
    ("name", "then", "error"),
    [
        ("hello", "raise ValueError('no luck')", "ValueError: no luck"),
        ("hello", "raise SystemExit(3)", "SystemExit: 3"),
        ("run", "", "it replaces or removes the command `run`"),
        ("hello", "del group.commands['run']", "it replaces or removes the command `run`"),
    ],
)
def test_a_plugin_that_fails_to_add_commands_adds_none_and_is_named(
    name: str, then: str, error: str, install: Install, group: click.Group
) -> None:
    install("acme-bad", [spec()], body=ADDS.format(name=name, then=then))
    install("acme-good", body=ADDS.format(name="more", then=""))
    run = group.commands["run"]
    registry().add_commands(group)
    assert set(group.commands) == {"run", "more"}
    assert group.commands["run"] is run
    bad = plugin("acme-bad")
    assert (bad.status, bad.error, bad.version) == ("broken", error, "1.0")
    assert [item.name for item in bad.specs] == ["still"]
    assert plugin("acme-good").status == "ok"


def test_strictness_covers_commands(install: Install, group: click.Group, monkeypatch: pytest.MonkeyPatch) -> None:
    install("acme-bad", body=ADDS.format(name="hello", then="1 / 0"))
    monkeypatch.setenv("RCFRAME_STRICT", "1")
    with pytest.raises(PluginError, match="`acme-bad` cannot be used: ZeroDivisionError"):
        registry().add_commands(group)


WATCHES = """
import torch
seen = []

@hookimpl
def rcframe_run_started(session):
    seen.append(("started", session.config.seed))
    torch.rand(7)

@hookimpl
def rcframe_run_finished(report, session):
    seen.append(("finished", session.config.seed, report.student.clean.n))
"""
FAILS = """
import torch, random
torch.manual_seed(99)
random.seed(99)

@hookimpl
def rcframe_run_started():
    raise ValueError("cannot watch")

@hookimpl
def rcframe_run_finished(report):
    report.no_such_figure
"""


def tiny_run(out: Path | None = None) -> rcframe.Report:
    return rcframe.run(
        out=out,
        data="glyphs:size=8,classes=3,train=48,test=12,augment=flip",
        model="mlp:hidden=8",
        teacher="plain:epochs=2,lr=0.02",
        student="kd:epochs=2,lr=0.02",
        attack="pgd:steps=3,restarts=2",
        device="cpu",
        seed=5,
    )


@pytest.fixture
def said() -> Iterator[list[str]]:
    """What rcframe logs."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]  # the shortest way
    logging.getLogger("rcframe").addHandler(handler)
    yield lines
    logging.getLogger("rcframe").removeHandler(handler)


def test_observers_see_a_run_and_one_that_fails_does_not_stop_it(install: Install, said: list[str]) -> None:
    install("acme-bad", body=FAILS)
    install("acme-watch", body=WATCHES)
    report = tiny_run()
    assert report.student.clean.n == 12
    assert sys.modules["acme_watch"].seen == [("started", 5), ("finished", 5, 12)]
    assert said == [
        "`rcframe_run_started` of plugin `acme-bad` failed: ValueError: cannot watch",
        "`rcframe_run_finished` of plugin `acme-bad` failed: "
        "AttributeError: 'Report' object has no attribute 'no_such_figure'",
    ]


FOLLOWS = """
import random, torch, numpy
seen = []

@hookimpl
def rcframe_run_started(session, folder):
    seen.append(("started", session, folder))

@hookimpl
def rcframe_epoch_done(stage, metrics, epoch):
    seen.append((stage, epoch, dict(metrics)))
    torch.rand(3), random.random(), numpy.random.rand()

@hookimpl
def rcframe_run_stopped(reason):
    seen.append(("stopped", reason))
"""
GRUMBLES = """
@hookimpl
def rcframe_epoch_done(epoch, metrics):
    {then}
"""


@pytest.fixture
def session() -> Session:
    settings = {"data": "glyphs:size=8,classes=3,train=24,test=12", "model": "mlp:hidden=4", "device": "cpu"}
    return prepare_session(make_config(settings), "a test")


def test_observers_follow_a_run_with_those_arguments_that_they_take(
    install: Install, session: Session, tmp_path: Path
) -> None:
    install("acme-old", body=WATCHES)
    install("acme-watch", body=FOLLOWS)
    registry().run_started(session, tmp_path)
    registry().epoch_done(session, "teacher", 1, {"loss": 0.5})
    registry().epoch_done(session, "teacher", 2, {"loss": 0.25})
    registry().run_stopped(session, "The disk is full.")
    registry().run_started(session)
    assert sys.modules["acme_watch"].seen == [
        ("started", session, tmp_path),
        ("teacher", 1, {"loss": 0.5}),
        ("teacher", 2, {"loss": 0.25}),
        ("stopped", "The disk is full."),
        ("started", session, None),
    ]
    assert sys.modules["acme_old"].seen == [("started", 0), ("started", 0)]


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ("raise ValueError(f'cannot watch {epoch}')", "ValueError: cannot watch 1"),
        ("raise SystemExit(epoch)", "SystemExit: 1"),
        ("metrics['loss'] = 0", "TypeError: 'mappingproxy' object does not support item assignment"),
    ],
)
def test_an_observer_that_keeps_failing_is_noted_once_in_a_run(
    then: str, reason: str, install: Install, session: Session, said: list[str]
) -> None:
    install("acme-bad", body=GRUMBLES.format(then=then))
    install("acme-watch", body=FOLLOWS)
    for _ in range(2):
        registry().run_started(session)
        for epoch in (1, 2, 3):
            metrics = {"loss": 0.5}
            registry().epoch_done(session, "teacher", epoch, metrics)
            assert metrics == {"loss": 0.5}
    assert said == [f"`rcframe_epoch_done` of plugin `acme-bad` failed: {reason}"] * 2
    assert [entry[1] for entry in sys.modules["acme_watch"].seen if entry[0] == "teacher"] == [1, 2, 3] * 2


def test_what_observers_draw_at_random_is_not_missing_in_training(install: Install, session: Session) -> None:
    install("acme-watch", body=FOLLOWS)
    outcomes = []
    for observed in (False, True):
        seed_everything(3)
        if observed:
            registry().epoch_done(session, "teacher", 1, {})
        outcomes.append((torch.rand(2).tolist(), random.random(), np.random.rand()))
    assert outcomes[0] == outcomes[1]


def test_a_plugin_knows_which_hooks_it_implements(install: Install) -> None:
    install("acme-one", [spec()])
    install("acme-watch", body=WATCHES)
    install("acme-more", source="from rcframe import hookimpl\n" + ADDS.format(name="hello", then="1 / 0"))
    assert plugin("acme-one").hooks == ("rcframe_components",)
    assert plugin("acme-watch").hooks == ("rcframe_components", "rcframe_run_finished", "rcframe_run_started")
    assert [plugin(name).watches for name in ("acme-one", "acme-watch", "acme-more")] == [False, True, False]
    registry().add_commands(click.Group("rcframe"))
    assert (plugin("acme-more").status, plugin("acme-more").hooks) == ("broken", ("rcframe_commands",))


def test_installing_plugins_changes_no_bit_of_a_run_that_does_not_name_them(
    install: Install, parts: None, tmp_path: Path
) -> None:
    def outcome(folder: Path) -> tuple[dict[str, object], dict[str, bytes]]:
        report = {key: value for key, value in tiny_run(folder).as_json().items() if key != "seconds"}
        files = ("run.toml", "teacher.safetensors", "student.safetensors")
        return report, {name: (folder / name).read_bytes() for name in files}

    before = outcome(tmp_path / "before")
    install("acme-bad", [spec("pdg"), spec("plain", "teacher", target="acme_parts:Lazy")], body=FAILS)
    install("acme-watch", [spec("kdd", "student"), spec("mlp", "model")], body=WATCHES)
    assert outcome(tmp_path / "after") == before
    assert {found.distribution for found in registry().plugins} >= {"acme-bad", "acme-watch"}


def test_the_registry_is_made_once(install: Install) -> None:
    install("acme-one")
    assert registry() is registry()
    assert Registry([]).plugins == registry().plugins[:1]


# -- recipes ----------------------------------------------------------------------------------------------------------

REPEATS = """
from pathlib import Path

@hookimpl
def rcframe_recipes():
    return [Path("somewhere", name) for name in {names!r}]
"""


def test_recipes_are_named_after_their_plugin_and_file_and_sorted(install: Install) -> None:
    install("rcframe-zeta", body=REPEATS.format(names=["table.2.toml", "a.toml"]))
    install("acme-one", body=REPEATS.format(names=["table.toml"]))
    install("acme-two", [spec()])
    found = [recipe for recipe in registry().recipes() if str(recipe.file).startswith("somewhere")]
    assert [(recipe.name, recipe.distribution, recipe.file.name) for recipe in found] == [
        ("acme-one/table", "acme-one", "table.toml"),
        ("zeta/a", "rcframe-zeta", "a.toml"),
        ("zeta/table.2", "rcframe-zeta", "table.2.toml"),
    ]
    names = [recipe.name for recipe in registry().recipes()]
    assert names == sorted(names)
    assert [plugin(name).repeats for name in ("rcframe-zeta", "acme-one", "acme-two")] == [True, True, False]
