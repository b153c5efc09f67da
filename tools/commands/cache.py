"""``penstock cache``: what the kernel cache holds, and why a model's kernels are or are not in it.

In: the cache's folder; for ``why``, a model, which is taken down to its fused dispatches. Out: tables. The one idea:
every entry names the ingredients it was made from, so a miss is explained by the first of them that differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.tools.options import json_option, several, target_options

if TYPE_CHECKING:
    from penstock.compiler.caching.store import Store

EXAMPLES = """\b
Examples:
  penstock cache stats              where it is and how much it holds
  penstock cache why model.onnx     kernel by kernel: there, or what differs
  penstock cache clear              remove every entry
"""

SHOWN = 60
"""Characters of an ingredient's value that fit into a line."""


@click.group(name="cache", epilog=EXAMPLES)
def command() -> None:
    """Look at the kernel cache, explain it, empty it (docs/kernel-cache.md)."""


@command.command(name="stats")
@json_option
def stats(as_json: bool) -> int:
    """Show the cache's folder, how many kernels are in it, and how many bytes they take."""
    import json
    from dataclasses import asdict
    from datetime import datetime

    from penstock.compiler.tuning.record import Tunings
    from penstock.tools.tables import bytes_text

    store = opened()
    found, tunings = store.stats(), len(Tunings(store).files())
    if as_json:
        click.echo(json.dumps({"folder": str(store.folder), **asdict(found), "tunings": tunings}, indent=2))
        return 0
    click.echo(f"folder   {store.folder}")
    click.echo(f"kernels  {found.entries}, {bytes_text(found.bytes)} of at most {bytes_text(found.limit)}")
    if found.oldest is not None and found.newest is not None:
        first, last = (f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}" for at in (found.oldest, found.newest))
        click.echo(f"used     between {first} and {last}")
    click.echo(f"tuning   {tunings} measured {'choice' if tunings == 1 else 'choices'}")
    return 0


@command.command(name="clear")
@click.option("--tuning", is_flag=True, help="Remove what --tune has measured, and keep the kernels.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing when all is well.")
def clear(tuning: bool, quiet: bool) -> int:
    """Remove every kernel from the cache."""
    from penstock.compiler.tuning.record import Tunings

    store = opened()
    what = "measured choice" if tuning else "kernel"
    count = Tunings(store).clear() if tuning else store.clear()
    if not quiet:
        click.echo(f"removed {count} {what if count == 1 else what + 's'} from {store.folder}")
    return 0


@command.command(name="why")
@click.argument("model", metavar="MODEL")
@several(
    target_options,
    click.option("--no-winograd", is_flag=True, help="As in compile."),
    click.option("--no-compress", is_flag=True, help="As in compile."),
    click.option("--precision", default="f32", show_default=True, metavar="NAME", help="As in compile."),
    click.option("-p", "--passes", default="", metavar="PASSES", help="Options for passes, as in compile."),
    json_option,
)
def why(model: str, **given: Any) -> int:
    """Show for every kernel of MODEL whether it is in the cache, and if not, the first ingredient in which the nearest
    one that is there differs."""
    import json

    from penstock.compiler.driver import run_phases
    from penstock.tools.options import compile_options
    from penstock.tools.tables import table_lines

    store = opened()
    options = compile_options(
        given["target"],
        given["isa"],
        given["dims"],
        passes=given["passes"],
        winograd=not given["no_winograd"],
        compress=not given["no_compress"],
        precision=given["precision"],
    )
    rows = explained(store, run_phases(model, options, last="fuse"), options)
    if given["as_json"]:
        click.echo(json.dumps(rows, indent=2))
        return 0
    lines = [(row["kernel"], row["level"], "hit" if row["hit"] else told(row)) for row in rows]
    for line in table_lines(("kernel", "level", "in the cache"), lines, words=(0, 1, 2)):
        click.echo(line)
    hits = sum(row["hit"] for row in rows)
    click.echo(f"\n{hits} of {len(rows)} kernels are in the cache, {store.folder}")
    return 0


def explained(store: Store, result: Any, options: Any) -> list[dict[str, Any]]:
    """For every kernel and level: ``hit``, or which ingredient ``differs``, its value ``there`` (in the nearest entry)
    and ``here``."""
    from penstock.compiler.backends import backend
    from penstock.compiler.caching.ingredients import ingredients_of
    from penstock.compiler.caching.kernels import nearest_difference
    from penstock.compiler.passes.fuse.form_dispatches import dispatches

    unique = {dispatch.symbol: dispatch for dispatch in dispatches(result.module)}
    entries = [entry.ingredients for entry in store.entries()]
    rows: list[dict[str, Any]] = []
    for level in options.levels:
        for symbol, dispatch in unique.items():
            ingredients = ingredients_of(dispatch, backend(options.backend).name, level)
            hit = store.get(ingredients) is not None
            differs, there, here = ("", "", "") if hit else nearest_difference(entries, ingredients)
            rows.append(
                {"kernel": symbol, "level": level, "hit": hit, "differs": differs, "there": there, "here": here}
            )
    return rows


def told(row: dict[str, Any]) -> str:
    """Why a kernel is not there, on one line."""
    if not row["differs"]:
        return "the cache is empty"
    return f"{row['differs']}: {cut(row['here'])}; the nearest has {cut(row['there'])}"


def opened() -> Store:
    """The user's cache. Raises OptionError if it is switched off or its folder is not to be used."""
    from penstock.compiler.caching.store import VARIABLE, Store, Unusable, default_folder
    from penstock.compiler.errors import CACHE_UNUSABLE, OptionError

    folder = default_folder()
    if folder is None:
        raise OptionError(CACHE_UNUSABLE, f"the kernel cache is switched off ({VARIABLE}).", f"Unset {VARIABLE}.")
    try:
        return Store(folder)
    except Unusable as error:
        raise OptionError(
            CACHE_UNUSABLE, f"the kernel cache cannot be used: {error}.", CACHE_UNUSABLE.remedy
        ) from error


def cut(text: str) -> str:
    """A value on one line, no longer than ``SHOWN``; its end matters as much as its beginning."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN // 2 - 2]} .. {line[-SHOWN // 2 + 2 :]}"
