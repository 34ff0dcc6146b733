"""Spec strings: how a user picks a component and sets its options, as in `plain:epochs=5,lr=0.01`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import attrs

from rcframe.errors import RequestError
from rcframe.options import Value, changed_options, to_text, values_of

_NAME = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")
#: `module:function`; the module has a dot or an underscore, which no component name has before a colon.
_FUNCTION = re.compile(r"(?=[^:]*[._])[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?=\s*(,|$))")


@attrs.frozen
class Choice:
    """A picked component: its name, raw option values, and the distribution if the user named one."""

    name: str
    options: Mapping[str, object] = attrs.field(factory=dict)
    distribution: str | None = None
    text: str = attrs.field(default="", eq=False)

    def __str__(self) -> str:
        return self.text or format_choice(self)


def format_choice(choice: Choice) -> str:
    """Write a choice as a spec string."""
    head = f"{choice.distribution}/{choice.name}" if choice.distribution else choice.name
    parts = []
    for key, value in choice.options.items():
        text = value if isinstance(value, str) else to_text(_as_value(value))
        text = f"({text})" if re.search(r"[,()=]|^\s|\s$", text) else text
        parts.append(f"{key}={text}" if key else text)
    return f"{head}:{','.join(parts)}" if parts else head


def shortest(choice: Choice, built: object) -> str:
    """Write the spec string of a component with those options that differ from their defaults."""
    return format_choice(attrs.evolve(choice, options=changed_options(built)))


def longest(choice: Choice, built: object) -> str:
    """Write the spec string of a component with every option, so that it stays the same when defaults change."""
    return format_choice(attrs.evolve(choice, options=values_of(built)))


def _as_value(value: object) -> Value:
    return tuple(value) if isinstance(value, list) else value  # type: ignore[return-value]  # checked when built


def parse_choice(text: str, kind: str) -> Choice:
    """Read a spec string: `name`, `distribution/name`, `name:value`, `name:key=value,key=value`.

    A value in parentheses is taken whole, so that it may contain commas. For models, `package.module:function`
    stands for `python:package.module:function`.
    """
    text = text.strip()
    if not text:
        raise RequestError(
            f"The {kind} is an empty text: write its name, with options as in `name:option=value,option=value`. "
            f"`rcframe plugins` lists every {kind}."
        )
    if kind == "model" and _FUNCTION.match(text):
        return attrs.evolve(parse_choice("python:" + text, kind), text=text)
    head, colon, tail = text.partition(":")
    distribution, slash, name = head.rpartition("/")
    if not _NAME.fullmatch(name) or (slash and not distribution):
        raise _malformed(text, kind, f"`{head}` is not a component name (lower-case letters, digits and hyphens)")
    if colon and not tail:
        raise _malformed(text, kind, "nothing follows the colon")
    options: dict[str, object] = {}
    for part in _split(tail, text, kind) if tail else []:
        key, value = _assignment(part)
        if not part or (options if key is None else not key.isidentifier()):
            nested = f"; a spec inside another goes in parentheses, as in `{name}:({tail})`" if ":" in part else ""
            raise _malformed(text, kind, f"`{part}` is not of the form option=value{nested}")
        if key in options:
            raise _malformed(text, kind, f"option `{key}` is given twice")
        options[key or ""] = value
    return Choice(name, options, distribution or None, text)


def _assignment(part: str) -> tuple[str | None, str]:
    key, equals, value = part.partition("=")
    if not equals or key.startswith("("):
        return None, _strip(part)
    return key.strip(), _strip(value.strip())


def _strip(value: str) -> str:
    return value[1:-1] if value.startswith("(") and _closing(value) == len(value) - 1 else value


def _closing(value: str) -> int:
    """Return where the parenthesis that `value` starts with is closed."""
    depth = 0
    for position, character in enumerate(value):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return position
    return -1


def _split(tail: str, text: str, kind: str) -> list[str]:
    """Split at commas outside parentheses."""
    parts, depth = [""], 0
    for character in tail:
        depth += (character == "(") - (character == ")")
        if depth < 0:
            break
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    if depth != 0:
        raise _malformed(text, kind, "its parentheses do not match")
    return [part.strip() for part in parts]


def _malformed(text: str, kind: str, reason: str) -> RequestError:
    return RequestError(
        f"Cannot read the {kind} `{text}`: {reason}. Write it as `name` or `name:option=value,option=value`."
    )
