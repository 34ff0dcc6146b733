"""`rcframe check`."""

from __future__ import annotations

import rich_click as click


@click.command()
@click.argument("distribution")
def check(distribution: str) -> None:
    """Check that a plugin keeps the promises of its interfaces.

    DISTRIBUTION is the name of an installed plugin, such as rcframe-attacks. Exits with 3 if a check fails.
    """
    from rich.console import Console
    from rich.markup import escape

    from rcframe.errors import CheckFailed
    from rcframe.testing import checks_of

    console = Console(highlight=False, emoji=False)
    failed = total = 0
    for one in checks_of(distribution):
        total += 1
        try:
            one()
        except Exception as error:
            failed += 1
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            console.print(f"[red]failed[/] {one}: {escape(reason)}", soft_wrap=True)
        else:
            console.print(f"[green]passed[/] {one}", soft_wrap=True)
    if failed:
        raise CheckFailed(f"{failed} of {total} checks of `{distribution}` failed.")
    if not total:
        nothing = "announces no component, watches no run and brings no recipe: there is nothing to check."
        console.print(f"`{distribution}` {nothing}", soft_wrap=True)
        return
    console.print(f"All {total} checks of `{distribution}` passed.")
