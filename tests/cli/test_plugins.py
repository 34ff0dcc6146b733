from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

import rcframe
from rcframe.api import KINDS
from rcframe.options import options_of, to_text
from rcframe.registry import registry

if TYPE_CHECKING:
    from tests.conftest import Command, Install

STILL = {
    "kind": "attack",
    "name": "still",
    "target": "acme_one:Still",
    "summary": "Does [nothing], up to [/nothing].",
}
BODY = """
from rcframe import Attack, component, option

@component
class Still(Attack):
    "Does [nothing], of [/any] kind."
    strength: int = option(default=1, help="How [much] of nothing.")

    def craft(self, source, x, y, threat):
        return x
"""


def words(text: str) -> str:
    return " ".join(text.split())


# -- plugins ----------------------------------------------------------------------------------------------------------


def test_json_lists_distributions_with_their_components_and_errors(install: Install, cli: Command) -> None:
    install("acme-one", [STILL], body=BODY, version="2.1")
    install("acme-bad", source="1 / 0")
    outcome = cli("plugins", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    listed = {plugin["name"]: plugin for plugin in json.loads(outcome.out)}
    assert listed["acme-one"] == {
        "name": "acme-one",
        "version": "2.1",
        "status": "ok",
        "error": None,
        "components": [{"kind": "attack", "name": "still", "summary": "Does [nothing], up to [/nothing]."}],
        "hooks": ["rcframe_components"],
    }
    assert listed["acme-bad"] == {
        "name": "acme-bad",
        "version": "1.0",
        "status": "broken",
        "error": "ZeroDivisionError: division by zero",
        "components": [],
        "hooks": [],
    }
    kernel = listed["rcframe"]
    assert (kernel["version"], kernel["status"]) == (rcframe.__version__, "ok")
    assert {"kind": "teacher", "name": "plain", "summary": "A network trained on the labels."} in kernel["components"]
    assert {plugin.distribution for plugin in registry().plugins} == set(listed)


def test_tables_list_every_component_and_the_broken_with_their_reason(install: Install, cli: Command) -> None:
    install("acme-one", [STILL], body=BODY, version="2.1")
    install("acme-bad", source="raise RuntimeError('[red]no[/] [/luck]')")
    outcome = cli("plugins")
    assert (outcome.code, outcome.err) == (0, "")
    rows = [words(line.replace("│", " ")) for line in outcome.out.splitlines()]
    assert "attack still Does [nothing], up to [/nothing]. acme-one 2.1" in rows
    assert "broken acme-bad 1.0: RuntimeError: [red]no[/] [/luck]" in rows
    for kind in KINDS:
        for item in registry().announced(kind):
            assert f"{kind} {item.spec.name} {item.spec.summary} {item.distribution} {item.version}" in rows


def test_plugins_that_act_without_being_chosen_are_listed_below(install: Install, cli: Command) -> None:
    watches = "from rcframe import hookimpl\n@hookimpl\ndef rcframe_epoch_done(metrics):\n    pass\n"
    adds = "@hookimpl\ndef rcframe_commands():\n    pass\n"
    install("acme-watch", source=watches, version="0.3")
    install("acme-more", source="from rcframe import hookimpl\n" + adds)
    install("acme-both", [STILL], body=BODY + adds + "@hookimpl\ndef rcframe_run_stopped():\n    pass\n")
    install("acme-one", [STILL], body=BODY)
    lines = cli("plugins").out.splitlines()
    acme = [line for line in lines if "acme" in line and "│" not in line]
    assert acme == [
        "watches runs and adds commands acme-both 1.0",
        "adds commands acme-more 1.0",
        "watches runs acme-watch 0.3",
    ]
    (watching,) = [plugin for plugin in json.loads(cli("plugins", "--json").out) if plugin["name"] == "acme-watch"]
    assert (watching["status"], watching["components"]) == ("ok", [])
    assert watching["hooks"] == ["rcframe_epoch_done"]


# -- info -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_info_describes_every_component_of_a_kind_with_all_its_options(kind: str, cli: Command) -> None:
    known = registry().announced(kind)
    assert known
    for item in known:
        outcome = cli("info", kind, item.spec.name)
        assert (outcome.code, outcome.err) == (0, "")
        text = words(outcome.out.replace("│", " "))
        assert text.startswith(f"{kind} {item.spec.name} from {item.distribution} {item.version} ")
        cls = registry().load(kind, rcframe.choice.Choice(item.spec.name))
        assert words(cls.__doc__ or "").split(".")[0] in text
        for option in options_of(cls):
            row = f"{option.name} {to_text(option.default)} {option.allowed} {option.help}"
            assert words(row) in text


def test_info_says_what_a_method_needs(cli: Command) -> None:
    assert "Needs from the teacher: logits.\nReads: labelled images.\n" in cli("info", "student", "kd").out
    assert "Needs from the teacher: nothing.\n" in cli("info", "student", "plain").out
    assert "Needs from the model: logits, input gradients.\nNorms: linf.\n" in cli("info", "attack", "fgsm").out
    assert "Norms: linf, l2.\nIts bounds can be trained on.\n" in cli("info", "certifier", "convex").out
    assert "Set them as in `pgd:steps=...`" in cli("info", "attack", "pgd").out
    assert "customary eps: rcframe data show digits.\n" in cli("info", "data", "digits").out


def test_info_lists_presets_with_what_they_stand_for(install: Install, cli: Command) -> None:
    body = (
        "from rcframe import Attack, component, option\n@component\nclass Ready(Attack):\n    'Has presets.'\n"
        "    steps: int = option(default=1, help='Steps.')\n"
        "    sizes: tuple[int, ...] = option(default=(), help='Sizes.')\n"
        "    presets = {'quick': {'steps': 2, 'sizes': (3, 4)}, 'long': {'steps': 9}}\n"
        "    def craft(self, source, x, y, threat):\n        return x\n"
    )
    install(
        "acme-one",
        [{"kind": "attack", "name": "ready", "target": "acme_one:Ready", "summary": "Has presets."}],
        body=body,
    )
    text = words(cli("info", "attack", "ready").out.replace("│", " "))
    assert "quick steps=2, sizes=3+4 long steps=9" in text.replace("─", "")
    assert "Choose one as in `ready:preset=quick`; options given beside it win." in text
    assert "Presets" not in cli("info", "attack", "pgd").out


PROSE = """Learns from a teacher, which it asks about the images as often as it
likes.

Author: "A title that is so long that it does not fit into one line of a
narrow terminal" (2020). And a last sentence.

Steps:
* one that is explained by so many words that they take two lines of the
  source, and of the terminal;
* another.

    code = of(it)
    stays
"""


@pytest.mark.parametrize("width", [60, 80, 300])
def test_info_wraps_paragraphs_for_the_terminal_and_not_for_the_source(
    width: int, install: Install, cli: Command
) -> None:
    body = f"{BODY}\nStill.__doc__ = {PROSE!r}\n"
    install("acme-one", [STILL], body=body)
    shown = cli("info", "attack", "still", COLUMNS=str(width)).out.partition("\n")[2]
    learns, author, steps, code, *_ = shown.split("\n\n")
    for paragraph in (learns, author):
        lines = paragraph.splitlines()
        assert max(map(len, lines)) <= width
        # No line is short but the last: its next word would not have fitted.
        for line, following in pairwise(lines):
            assert len(line) + 1 + len(following.split()[0]) > width
    assert words(f"{learns} {author} {steps}") == words(PROSE.partition("    code")[0])
    first, item, *rest = steps.splitlines()
    assert (first, rest[-1]) == ("Steps:", "* another.")
    assert item.startswith("* one that")
    assert all(line.startswith("  ") and line[2] != " " for line in rest[:-1])
    assert bool(rest[:-1]) == (width < 100)
    assert code == "    code = of(it)\n    stays"


def test_info_says_when_bounds_cannot_be_trained_on(install: Install, cli: Command) -> None:
    body = (
        "from rcframe import Certifier, component\n@component\nclass Sure(Certifier):\n    'Proves nothing.'\n"
        "    def unsupported(self, module):\n        return None\n"
        "    def margins(self, module, x, y, threat):\n        return x\n"
    )
    install("acme-one", [{**STILL, "kind": "certifier", "name": "sure", "target": "acme_one:Sure"}], body=body)
    assert "Norms: linf.\nIts bounds cannot be trained on.\n" in cli("info", "certifier", "sure").out


def test_info_prints_texts_of_plugins_as_they_are(install: Install, cli: Command) -> None:
    install("acme-one", [STILL], body=BODY)
    outcome = cli("info", "attack", "acme-one/still")
    assert "Does [nothing], of [/any] kind." in outcome.out
    assert "How [much] of nothing." in outcome.out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["attack", "pdg"], "No attack named `pdg`. Did you mean `pgd`?"),
        (["attack", "rcframe-distill/pgd"], "No attack named `pgd` in `rcframe-distill`."),
        (["attack", "PGD"], "Cannot read the attack `PGD`"),
    ],
)
def test_info_on_nothing_is_a_sentence(arguments: list[str], complaint: str, cli: Command) -> None:
    outcome = cli("info", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"Error: {complaint}")
