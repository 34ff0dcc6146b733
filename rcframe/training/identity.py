"""What determines the result of a stage, as far as the stage knows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from rcframe.storage.code import code_of
from rcframe.storage.state_file import digest_state

if TYPE_CHECKING:
    from rcframe.training.stage import Stage


def identity_of(stage: Stage) -> Mapping[str, str] | None:
    """Return what determines the result of a begun stage, by name; None if the source of its code is unknown."""
    code = code_of(_modules_of(stage))
    prepared = stage.prepare.identity() if stage.prepare else {}
    if code is None or prepared is None:
        return None
    state = stage.state_dict()
    start = {
        "target": state["target"],
        "module": state["module"],
        "observers": state["observers"],
        "scaler": state["scaler"],
        "players": [process["players"] for process in state["processes"]],
    }
    return {
        "name": stage.name,
        "epochs": str(stage.epochs),
        "batches": str(len(stage.batches)),
        "optimizer": _digest(f"{stage.optimizer}{type(stage.schedule).__name__ if stage.schedule else ''}"),
        "observers": ", ".join(type(observer).__name__ for observer in stage.observers),
        # Two networks of one shape may still compute different things.
        "layers": _digest(f"{stage.target}{stage.module}"),
        "start": digest_state(start),
        **{f"code of {package}": digest for package, digest in code.items()},
        **prepared,
        **stage.determined_by,
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _modules_of(stage: Stage) -> set[str]:
    """Name the modules whose code a stage runs, as far as objects tell."""
    parts = [*stage.target.modules(), *stage.module.modules(), *stage.observers, *stage.players.values(), stage.batches]
    called = [stage.step, stage.make_optimizer, *([stage.make_schedule] if stage.make_schedule else [])]
    return {_module_of(part) for part in (*parts, *called)}


def _module_of(code: object) -> str:
    """Name the module that a function, or the class of an object, is from; "" for one that was made without any."""
    while isinstance(code, partial):
        code = code.func
    name = getattr(code, "__module__", None)
    # Nothing that a stage runs is a builtin: that is what a class says which `exec` made.
    return name if isinstance(name, str) and name != "builtins" else ""
