"""Adversarial training for rcframe."""

from __future__ import annotations

from rcframe import Spec, hookimpl

#: Modules, the classes there, and what the methods do.
_METHODS = (
    ("adversarial", "Adversarial", "Trained on the images that iterated gradient steps make (Madry et al., 2018)."),
    ("trades", "Trades", "Trained on labels and on answering alike around every image (Zhang et al., 2019)."),
    ("mart", "Mart", "Trained on attacked images, most on those it gets wrong (Wang et al., 2020)."),
    ("fast", "Fast", "Trained on one gradient step from a random start, and watched (Wong et al., 2020)."),
    ("free", "Free", "Trained several times on each batch, which pays for its attack (Shafahi et al., 2019)."),
)


@hookimpl
def rcframe_components() -> list[Spec]:
    """Announce what this plugin brings: every method as a teacher and as a student."""
    return [
        Spec(
            kind=kind,
            name=name,
            target=f"rcframe_adversarial_training.{name}:{cls}{kind.capitalize()}",
            summary=summary,
        )
        for kind in ("teacher", "student")
        for name, cls, summary in _METHODS
    ]
