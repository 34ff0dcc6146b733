"""Finding components: the only place that calls pluggy and reads entry points.

Each plugin is loaded by itself; one that fails is kept with its error and hurts nobody else. Names are listed without
importing the code behind them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from pathlib import PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import attrs
import pluggy

import rcframe.hookspecs
from rcframe.api import API, KINDS, Component
from rcframe.choice import Choice, parse_choice
from rcframe.errors import PluginError, RequestError, UnknownOption, listed, nearest
from rcframe.hookspecs import Spec
from rcframe.nesting import belongs_inside
from rcframe.options import build, values_of

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

    import click

    from rcframe.session.report import Report
    from rcframe.session.session import Session

GROUP = "rcframe"
KERNEL = "rcframe"
#: The hooks by which plugins follow a run.
WATCHING = frozenset({"rcframe_run_started", "rcframe_epoch_done", "rcframe_run_finished", "rcframe_run_stopped"})
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
_LOG = logging.getLogger("rcframe")


@attrs.frozen
class Announced:
    """A component and the distribution that announces it."""

    spec: Spec
    distribution: str
    version: str


@attrs.frozen
class FoundRecipe:
    """A published table that an installed plugin repeats."""

    #: `plugin/table`.
    name: str
    file: Traversable
    distribution: str


@attrs.frozen
class Plugin:
    """An installed distribution with what it announces, or the reason why it could not be loaded."""

    distribution: str
    version: str
    module: str
    specs: tuple[Spec, ...] = ()
    error: str | None = None
    #: Names of the hooks it implements.
    hooks: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        """`ok` or `broken`."""
        return "broken" if self.error else "ok"

    @property
    def watches(self) -> bool:
        """Whether it is told about runs."""
        return not WATCHING.isdisjoint(self.hooks)

    @property
    def repeats(self) -> bool:
        """Whether it brings recipes of published tables."""
        return "rcframe_recipes" in self.hooks


class Registry:
    """All plugins of this environment."""

    def __init__(self, points: Iterable[EntryPoint], only: frozenset[str] | None = None) -> None:
        self._hooks = pluggy.PluginManager(GROUP)
        self._hooks.add_hookspecs(rcframe.hookspecs)
        self.plugins: list[Plugin] = [_kernel_plugin()]
        #: Hooks and plugins whose failure was noted since the last run started.
        self._noted: set[tuple[str, str]] = set()
        points = sorted(points, key=lambda point: (_distribution(point)[0], point.name))
        if only is not None:
            self._refuse_missing(only, {_distribution(point)[0] for point in points})
        for point in points:
            name, version = _distribution(point)
            if only is None or name in only:
                self.plugins.append(self._load(point, name, version))

    def _refuse_missing(self, only: frozenset[str], installed: set[str]) -> None:
        for name in sorted(only - installed):
            self.plugins.append(_broken(name, "", "", "it is named in RCFRAME_PLUGINS but not installed"))

    def _load(self, point: EntryPoint, name: str, version: str) -> Plugin:
        """Load one entry point; whatever goes wrong is kept as text and undone."""
        earlier = next((plugin for plugin in self.plugins if plugin.module == point.value), None)
        if earlier:
            error = f"its module `{point.value}` is also announced by `{earlier.distribution}`; uninstall one of them"
            return _broken(name, version, point.value, error)
        try:
            module = point.load()
            specs = self._register(module, point.value)
            return Plugin(name, version, point.value, specs, hooks=self._hooks_of(module))
        except KeyboardInterrupt:
            raise
        # A module that was not meant to be imported may well end the process.
        except BaseException as error:
            self._hooks.unregister(name=point.value)
            return _broken(name, version, point.value, _explain(error), error)

    def _register(self, module: object, name: str) -> tuple[Spec, ...]:
        self._hooks.register(module, name)
        for caller in self._hooks.get_hookcallers(module) or []:
            if not caller.has_spec():
                raise PluginError(
                    f"it implements `{caller.name}`, which is no hook of rcframe."
                    f"{nearest(caller.name, _hook_names())} Hooks: {listed(_hook_names())}"
                )
        own = self._hooks.subset_hook_caller(
            "rcframe_components", [other for other in self._hooks.get_plugins() if other is not module]
        )
        specs = tuple(spec for announced in own() for spec in announced)
        _check_specs(specs)
        return specs

    def _hooks_of(self, module: object) -> tuple[str, ...]:
        return tuple(sorted(caller.name for caller in self._hooks.get_hookcallers(module) or []))

    # -- looking up -------------------------------------------------------------------------------------------------

    def broken(self) -> list[Plugin]:
        """List the plugins that could not be loaded."""
        return [plugin for plugin in self.plugins if plugin.error]

    def announced(self, kind: str) -> list[Announced]:
        """List the components of a kind, the kernel's first, then by distribution and name."""
        return [
            Announced(spec, plugin.distribution, plugin.version)
            for plugin in self.plugins
            for spec in plugin.specs
            if spec.kind == kind
        ]

    def find(self, kind: str, choice: Choice) -> Announced:
        """Return the one component a choice names; the kernel's own win, a clash of plugins is refused."""
        everything = self.announced(kind)
        found = [
            item
            for item in everything
            if item.spec.name == choice.name and choice.distribution in (None, item.distribution)
        ]
        if not found:
            raise RequestError(self._unknown(kind, choice, everything))
        if len(found) > 1 and found[0].distribution != KERNEL:
            ways = listed(f"`{item.distribution}/{choice.name}`" for item in found)
            raise RequestError(
                f"{kind.capitalize()} `{choice.name}` is announced by {listed(i.distribution for i in found)}. "
                f"Say which one: {ways}."
            )
        return found[0]

    def _unknown(self, kind: str, choice: Choice, everything: list[Announced]) -> str:
        names = [item.spec.name for item in everything]
        place = f" in `{choice.distribution}`" if choice.distribution else ""
        text = f"No {kind} named `{choice.name}`{place}.{nearest(choice.name, names)} Installed: {listed(names)}."
        elsewhere = [other for other in KINDS if any(item.spec.name == choice.name for item in self.announced(other))]
        if elsewhere:
            text += f" `{choice.name}` is of another kind: {listed(elsewhere)}."
        elif kind == "model" and "" in choice.options:
            text += f" A function of your own is named `python:{choice.name}:{choice.options['']}`."
        if broken := self.broken():
            count = "1 plugin" if len(broken) == 1 else f"{len(broken)} plugins"
            text += f" {count} failed to load ({listed(p.distribution for p in broken)}): see `rcframe plugins`."
        return text

    def recipes(self) -> list[FoundRecipe]:
        """List the published tables that plugins repeat, by name; a plugin that fails to say is passed over."""
        found = []
        for plugin, call in self.implementations("rcframe_recipes"):
            try:
                files = cast("list[Traversable]", call())
                owner = plugin.distribution.removeprefix(f"{KERNEL}-")
                found += [FoundRecipe(f"{owner}/{PurePath(f.name).stem}", f, plugin.distribution) for f in files]
            except (Exception, SystemExit) as error:
                _LOG.warning("`rcframe_recipes` of plugin `%s` failed: %s", plugin.distribution, _explain(error))
        return sorted(found, key=lambda recipe: recipe.name)

    def load(self, kind: str, choice: Choice) -> type[Component]:
        """Import the class behind a choice."""
        found = self.find(kind, choice)
        module_name, _, class_name = found.spec.target.partition(":")
        try:
            cls = getattr(importlib.import_module(module_name), class_name)
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"{kind.capitalize()} `{choice.name}` of `{found.distribution}` cannot be imported from "
                f"`{found.spec.target}`: {_explain(error)}"
            ) from error
        if not (isinstance(cls, type) and issubclass(cls, Component) and cls.kind == kind):
            raise PluginError(f"`{found.spec.target}` of `{found.distribution}` is not a component of kind {kind}.")
        if "__attrs_attrs__" not in vars(cls):
            raise PluginError(f"`{found.spec.target}` of `{found.distribution}` lacks the decorator `@component`.")
        return cls

    def make(self, kind: str, choice: Choice | str) -> Component:
        """Build the component a choice or spec string describes."""
        if kind not in KINDS:
            raise RequestError(f"No kind `{kind}`.{nearest(kind, KINDS)} Kinds: {listed(KINDS)}.")
        chosen = parse_choice(choice, kind) if isinstance(choice, str) else choice
        cls = self.load(kind, chosen)
        try:
            return build(cls, chosen.options, chosen.name)
        except UnknownOption as error:
            raise RequestError(f"{error}{belongs_inside(self, kind, chosen, error.option)}") from None

    def choice_of(self, component: Component) -> Choice:
        """Return the choice that builds a component again, with the distribution where the name is not enough."""
        everything = self.announced(component.kind)
        for item in everything:
            if _loaded(item.spec.target) is type(component):
                unique = [other.spec.name for other in everything].count(item.spec.name) == 1
                return Choice(item.spec.name, values_of(component), None if unique else item.distribution)
        raise RequestError(
            f"`{type(component).__name__}` is announced by no installed plugin, so a run cannot record it. "
            f"Add it to your plugin's `rcframe_components`."
        )

    # -- hooks ------------------------------------------------------------------------------------------------------

    def add_commands(self, group: click.Group) -> None:
        """Let plugins add commands; one that fails is reported as broken and skipped."""
        for plugin, call in self.implementations("rcframe_commands", group=group):
            before = dict(group.commands)
            try:
                call()
                _refuse_replaced(before, group.commands)
            except (Exception, SystemExit) as error:
                group.commands = before
                broken = _broken(plugin.distribution, plugin.version, plugin.module, _explain(error), error)
                self.plugins[self.plugins.index(plugin)] = attrs.evolve(broken, specs=plugin.specs, hooks=plugin.hooks)

    def run_started(self, session: Session, folder: Path | None = None) -> None:
        """Tell watching plugins that a run starts, and where it writes."""
        self._noted.clear()
        self._tell("rcframe_run_started", session=session, folder=folder)

    def epoch_done(self, session: Session, stage: str, epoch: int, metrics: Mapping[str, float]) -> None:
        """Tell watching plugins that an epoch, counted from 1, is over."""
        shown = MappingProxyType(dict(metrics))
        self._tell("rcframe_epoch_done", session=session, stage=stage, epoch=epoch, metrics=shown)

    def run_finished(self, session: Session, report: Report) -> None:
        """Tell watching plugins that a run is finished."""
        self._tell("rcframe_run_finished", session=session, report=report)

    def run_stopped(self, session: Session, reason: str) -> None:
        """Tell watching plugins that a run ended without a report."""
        self._tell("rcframe_run_stopped", session=session, reason=reason)

    def _tell(self, hook: str, **arguments: object) -> None:
        """Call a hook of every plugin; one that fails is noted once in a run, and the run it watches goes on."""
        for plugin, call in self.implementations(hook, **arguments):
            try:
                with _undisturbed():
                    call()
            except (Exception, SystemExit) as error:
                if (hook, plugin.module) not in self._noted:
                    self._noted.add((hook, plugin.module))
                    _LOG.warning("`%s` of plugin `%s` failed: %s", hook, plugin.distribution, _explain(error))

    def implementations(self, hook: str, **arguments: object) -> Iterator[tuple[Plugin, Callable[[], object]]]:
        """Yield each plugin that implements a hook, and the call with those arguments that it takes."""
        for found in getattr(self._hooks.hook, hook).get_hookimpls():
            plugin = next(plugin for plugin in self.plugins if plugin.module == found.plugin_name)
            taken = [arguments[name] for name in found.argnames]
            yield plugin, functools.partial(found.function, *taken)


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Give the training its random generators back as they were, whatever a plugin draws from them."""
    from rcframe.training.randomness import generator_states, restore_generators

    before = generator_states()
    try:
        yield
    finally:
        restore_generators(before)


def _hook_names() -> list[str]:
    return sorted(name for name in vars(rcframe.hookspecs) if name.startswith("rcframe_"))


def _distribution(point: EntryPoint) -> tuple[str, str]:
    # What is left of a half-removed distribution has neither name nor version.
    with contextlib.suppress(AttributeError, KeyError, FileNotFoundError):
        return point.dist.name or point.module, point.dist.version or ""  # type: ignore[union-attr]  # suppressed
    return point.module, ""


def _kernel_plugin() -> Plugin:
    from rcframe import __version__
    from rcframe.builtins import SPECS

    return Plugin(KERNEL, __version__, "rcframe.builtins", SPECS)


def _broken(distribution: str, version: str, module: str, error: str, cause: BaseException | None = None) -> Plugin:
    """Keep a failure as text, or raise it when the user asked for that."""
    if os.environ.get("RCFRAME_STRICT") == "1":
        raise PluginError(f"Plugin `{distribution}` cannot be used: {error}.") from cause
    return Plugin(distribution, version, module, error=error)


def _explain(error: BaseException) -> str:
    text = str(error).strip() or "no message"
    if isinstance(error, pluggy.PluginValidationError):
        return " ".join(text.split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text.splitlines()[0]}"


def _refuse_replaced(before: Mapping[str, click.Command], after: Mapping[str, click.Command]) -> None:
    replaced = [name for name, command in before.items() if after.get(name) is not command]
    if replaced:
        raise PluginError(f"it replaces or removes the command {listed(f'`{name}`' for name in replaced)}")


def _loaded(target: str) -> object:
    """Return what a target names if its module was imported already, else None."""
    module, _, name = target.partition(":")
    return getattr(sys.modules.get(module), name, None)


def _check_specs(specs: tuple[Spec, ...]) -> None:
    """Refuse announcements that could never be used, with the sentence for its author."""
    seen: set[tuple[str, str]] = set()
    for spec in specs:
        if not isinstance(spec, Spec):
            raise PluginError(f"`rcframe_components` must return a list of `Spec`, but it holds {spec!r}")
        if spec.api != API[0]:
            newer = "upgrade rcframe" if spec.api > API[0] else "upgrade the plugin"
            raise PluginError(
                f"it was written for plugin API {spec.api}, but this rcframe has API {API[0]}.{API[1]}: {newer}"
            )
        if spec.kind not in KINDS:
            raise PluginError(
                f"`{spec.name}` has kind `{spec.kind}`.{nearest(spec.kind, KINDS)} Kinds: {listed(KINDS)}"
            )
        if not _NAME.fullmatch(spec.name):
            raise PluginError(f"`{spec.name}` is not a component name: lower-case letters, digits and hyphens")
        if not _TARGET.fullmatch(spec.target):
            raise PluginError(f"target `{spec.target}` of `{spec.name}` is not of the form `package.module:Class`")
        if (spec.kind, spec.name) in seen:
            raise PluginError(f"it announces {spec.kind} `{spec.name}` twice")
        seen.add((spec.kind, spec.name))


@functools.cache
def registry() -> Registry:
    """Return the registry of this process.

    `RCFRAME_PLUGINS` (names separated by commas) loads exactly the named distributions; `RCFRAME_STRICT=1` turns
    every plugin failure into an exception.
    """
    named = os.environ.get("RCFRAME_PLUGINS")
    only = None if named is None else frozenset(filter(None, (name.strip() for name in named.split(","))))
    return Registry(entry_points(group=GROUP), only)
