"""`rcframe import-weights`."""

from __future__ import annotations

from pathlib import Path

import rich_click as click


@click.command("import-weights")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path), required=False)
@click.option(
    "--trust", is_flag=True, help="Run the code that FILE asks for: it may do anything that you may do on this machine."
)
def import_weights(file: Path, out: Path | None, trust: bool) -> None:
    """Convert the weights in FILE, a `.pt`, `.pth` or other pickle, to safetensors in OUT (default: FILE's name).

    A file that holds tensors only is converted as it is. Any other can run code when it is read, such as one that holds
    a whole model; it is refused unless you vouch for it with --trust.
    """
    import contextlib
    import shlex

    from rcframe.choice import Choice
    from rcframe.models.own import importable_here
    from rcframe.networks.foreign import read_foreign, without_parallel
    from rcframe.networks.weights import save_plain

    out = out or file.with_suffix(".safetensors")
    _check_names(file, out)
    # Modules of the folder that the user is in count as vouched for with the file that needs them.
    with importable_here() if trust else contextlib.nullcontext():
        found = read_foreign(file, trust)
    tensors = without_parallel(found.tensors)
    save_plain(out, tensors)
    if found.entry is not None:
        click.echo(f"Took the weights from the entry `{found.entry}`.")
    if tensors.keys() != found.tensors.keys():
        click.echo("Removed `module.` from the start of every name, which DataParallel had put there.")
    click.echo(f"Wrote {len(tensors)} tensors to {out}. Next, with the --model they belong to:")
    click.echo(f"    rcframe run --teacher {shlex.quote(str(Choice('file', {'': str(out)})))}")


def _check_names(file: Path, out: Path) -> None:
    """Refuse what would come to nothing before any code of the file is run."""
    from rcframe.errors import RequestError

    if file.suffix.lower() == ".safetensors":
        raise RequestError(f"`{file}` needs no conversion: use it as `--teacher file:{file}` with its --model.")
    if out.suffix.lower() != ".safetensors":
        raise RequestError(f"`{out}` does not end in `.safetensors`, by which its kind is known: choose another name.")
    if out.exists() or out.is_symlink():
        raise RequestError(f"`{out}` exists already: remove it, or name another as `rcframe import-weights FILE OUT`.")
    if not out.parent.is_dir():
        raise RequestError(f"There is no folder `{out.parent}` to write `{out.name}` into: create it first.")
