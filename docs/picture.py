"""Draw the README's picture: the result table of the main command, as an SVG.

python docs/picture.py
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

import rcframe as rc

COMMAND = "rcframe run --teacher nasty --student skeptical --attack pgd"
TARGET = Path(__file__).parent / "images" / "run.svg"


def main() -> None:
    """Run and draw."""
    report = rc.run(teacher="nasty", student="skeptical", attack="pgd")
    console = Console(record=True, width=76)
    console.print(f"$ {COMMAND}\n", highlight=False)
    console.print(report)
    TARGET.parent.mkdir(exist_ok=True)
    console.save_svg(str(TARGET), title="rcframe")


if __name__ == "__main__":
    main()
