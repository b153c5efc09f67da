"""Artifacts of every kind of plan whose code does nothing, and what Python makes of them when they are damaged.

In: a random generator. Out: nothing, or what was raised beside a ``PenstockError``. The one idea: the runtime in C is
fuzzed in C, under sanitizers; here it is what Python reads off an artifact (the manifest, descriptions of inputs,
outputs and sizes) and what it takes as arguments: arrays of other types, shapes, layouts and kinds than are wanted.
"""

from __future__ import annotations

import io
import json
import os
import random
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("", "x", "\0", "\ud800", "x" * 5000, "\N{RIGHT-TO-LEFT OVERRIDE}", "cpu", "n + 1")
NUMBERS = (-1, 0, 1, 2**31, 2**63, 10**400, -(2**63), 0.5, float("nan"), float("inf"))
EXTENTS = (0, 1, 2, 3, 5, 16, 17, 1000)
MOST_BYTES = 1 << 26
"""Of one array that is fed."""


def harmless(plan: Any) -> Any:
    """The contents of an artifact with this plan, whose code returns at once."""
    from penstock.compiler.artifact.elf import LinkedImage
    from penstock.compiler.artifact.writer import Contents
    from penstock.compiler.passes.package.contents import facts

    plans, image = {"x86-64-v3": plan}, LinkedImage(b"\xc3" * 64, {"kernel": 0})
    manifest = {"model": "for the fuzzer", "target": "cpu", **facts(plans)}
    return Contents(plans, {"x86-64-v3": image}, [], manifest, {})


def symbolic() -> Any:
    """An artifact whose sizes are chosen at run time, with extents of every kind; its code does nothing."""
    from penstock.compiler.artifact.plan import ArenaBuffer, BufferRange, Command, CommandKind, Plan, Space, TensorInfo
    from penstock.compiler.extents import Symbol, floordiv, largest, smallest, symbol

    batch, seq = symbol("batch", 1, 64), symbol("seq", 0, 1 << 40)
    size, blocks = 4 * batch * seq, floordiv(seq + 15, 16)
    padded, few = 4 * largest(batch * 16, seq) * blocks, smallest(seq, 5)
    x, y = BufferRange(Space.INPUT, 0, size), BufferRange(Space.OUTPUT, 0, size)
    a, b, c = (BufferRange(Space.BUFFER, 0, count, at) for at, count in enumerate((size, padded, size)))
    tail, last = BufferRange(Space.BUFFER, size - 4 * seq, 4 * seq, 2), BufferRange(Space.OUTPUT, 0, 4 * seq, 1)
    sizes, scale = BufferRange(Space.SIZES, 8, 16), BufferRange(Space.INPUT, 0, 4 * (few + 1), 1)
    commands = [
        Command(CommandKind.DISPATCH, (x, scale, sizes), (a,), 0, batch * seq, 8, "first", 7 * seq, 8 * seq),
        Command(CommandKind.DISPATCH, (a, sizes), (b,), 0, blocks, 1, "second"),
        Command(CommandKind.DISPATCH, (b, sizes), (c, y), 0, largest(batch, 3), 1, "third"),
        Command(CommandKind.COPY, (tail,), (last,), source="copy"),
    ]
    plan = Plan(
        [TensorInfo("x", "f32", (batch, seq)), TensorInfo("scale", "f32", (few + 1,))],
        [TensorInfo("y", "f32", (batch, seq)), TensorInfo("last", "f32", (seq,))],
        ["kernel"],
        commands,
        arena_bytes=2 * size + padded + 192,
        scratch_bytes_per_thread=64 * blocks,
        symbols=(Symbol("batch", 1, 64), Symbol("seq", 0, 1 << 40)),
        buffers=(ArenaBuffer(size, 0, 1), ArenaBuffer(padded, 1, 2), ArenaBuffer(size, 2, 3)),
        sizes=(1, 0, 1),
        equal=((few, smallest(5, seq)),),
    )
    return harmless(plan)


def counting() -> Any:
    """An artifact that counts: twice, then meets what it has counted; with and without sizes to be given."""
    from penstock.compiler.artifact.plan import ArenaBuffer, BufferRange, Command, CommandKind, Plan, Space, TensorInfo
    from penstock.compiler.extents import Symbol, smallest, symbol

    batch, n, m = symbol("batch", 1, 64), symbol("n", 0, 1 << 20), symbol("m", 1, 1 << 20)
    found, count = BufferRange(Space.BUFFER, 0, 16 * n, 0), BufferRange(Space.BUFFER, 0, 8, 1)
    rest, other = BufferRange(Space.BUFFER, 0, 8 * (4 * batch - n), 2), BufferRange(Space.OUTPUT, 0, 8, 1)
    tail, y = BufferRange(Space.BUFFER, 8 * n, 8 * n, 0), BufferRange(Space.OUTPUT, 0, 4 * n * m, 0)
    sizes, given = BufferRange(Space.SIZES, 0, 16), BufferRange(Space.SIZES, 0, 8)
    early = BufferRange(Space.BUFFER, 0, 4 * m, 2)  # how much is written is counted only then
    commands = [
        Command(CommandKind.DISPATCH, (BufferRange(Space.INPUT, 0, 16 * batch), given), (found, count), source="count"),
        Command(CommandKind.BIND, (count,), (), units=n),
        Command(CommandKind.DISPATCH, (tail, sizes), (rest, other, early), units=n, source="count again"),
        Command(CommandKind.BIND, (other,), (), units=m),
        Command(CommandKind.BIND, (count,), (), units=smallest(n, 4 * batch), source="meet"),
        Command(CommandKind.DISPATCH, (rest, tail), (y,), units=n * m, source="last"),
    ]
    plan = Plan(
        [TensorInfo("x", "f32", (batch, 4))],
        [TensorInfo("y", "f32", (n, m)), TensorInfo("number", "i64", (1,))],
        ["kernel"],
        commands,
        arena_bytes=96 * batch + 192,
        symbols=(Symbol("batch", 1, 64), Symbol("n", 0, 1 << 20), Symbol("m", 1, 1 << 20)),
        buffers=(ArenaBuffer(64 * batch, 0, 5), ArenaBuffer(8, 0, 4), ArenaBuffer(32 * batch, 2, 5)),
        sizes=(0, 1, 2),
        equal=((smallest(n, 3), smallest(n, 3, m + 2)),),
        counted=(4 * batch, 8 * batch),
    )
    return harmless(plan)


def looping() -> Any:
    """An artifact of loops in each other, rows of the inner one in a row of the outer one; its code does nothing."""
    from penstock.compiler.artifact.plan import (
        ArenaBuffer,
        BufferRange,
        Command,
        CommandKind,
        Move,
        Order,
        Plan,
        Space,
        TensorInfo,
    )
    from penstock.compiler.extents import Symbol, symbol

    steps = symbol("steps", 0, 1 << 30)
    trips, going, number, rounds, more = (
        BufferRange(Space.BUFFER, 0, size, at) for at, size in enumerate((8, 1, 8, 8, 1))
    )
    outer, inner = Move(0, Order.FORWARD, 64, steps), Move(1, Order.BACKWARD, 16, 4)
    now, to = Move(0, Order.NOW, 16, 2), Move(0, Order.NEXT, 16, 2)
    row, seen = BufferRange(Space.INPUT, 0, 16, 0, (inner, outer)), BufferRange(Space.BUFFER, 0, 16, 6, (inner, outer))
    before, after = BufferRange(Space.BUFFER, 0, 16, 5, (now,)), BufferRange(Space.BUFFER, 0, 16, 5, (to,))
    commands = [
        Command(CommandKind.LOOP, (trips, going), (number,), kernel=5, units=1 << 30, source="outer"),
        Command(CommandKind.LOOP, (trips, going), (number,), kernel=3, units=steps, source="inner"),
        Command(CommandKind.DISPATCH, (row, before), (seen, BufferRange(Space.OUTPUT, 0, 16, 0, (outer,))), source="k"),
        Command(CommandKind.NEXT, (more,), (rounds,), kernel=1),
        Command(CommandKind.DISPATCH, (before,), (after,), source="cell"),
        Command(CommandKind.NEXT, (more,), (rounds,), kernel=0),
        Command(CommandKind.COPY, (before,), (BufferRange(Space.OUTPUT, 0, 16, 1),), source="copy"),
    ]
    sizes = (8, 1, 8, 8, 1, 32, 64 * steps)
    plan = Plan(
        [TensorInfo("x", "f32", (steps, 16))],
        [TensorInfo("y", "f32", (steps, 16)), TensorInfo("last", "f32", (4,))],
        ["kernel"],
        commands,
        arena_bytes=64 * steps + 512,
        symbols=(Symbol("steps", 0, 1 << 30),),
        buffers=tuple(ArenaBuffer(size, 0, 6) for size in sizes),
    )
    return harmless(plan)


def keeping() -> Any:
    """An artifact of which sessions keep a tensor that grows; its code does nothing."""
    from penstock.compiler.artifact.plan import BufferRange, Command, CommandKind, Plan, Space, TensorInfo
    from penstock.compiler.extents import Symbol, symbol

    new, rows = symbol("new", 1, 8), symbol("rows", 0, 24)
    past, more = BufferRange(Space.INPUT, 0, 4 * 24, 1), BufferRange(Space.OUTPUT, 0, 4 * 24, 1)
    x, y = BufferRange(Space.INPUT, 0, 4 * new), BufferRange(Space.OUTPUT, 0, 4 * (new + rows))
    sizes = BufferRange(Space.SIZES, 0, 16)
    commands = [
        Command(CommandKind.DISPATCH, (past, x, sizes), (more,), 0, new, 8, "append"),
        Command(CommandKind.DISPATCH, (more, sizes), (y,), 0, new + rows, 8, "read"),
        Command(CommandKind.COPY, (replace(past, bytes=4 * rows),), (replace(more, bytes=4 * rows),), source="copy"),
    ]
    plan = Plan(
        [TensorInfo("x", "f32", (new,)), TensorInfo("past", "f32", (24,))],
        [TensorInfo("y", "f32", (new + rows,)), TensorInfo("present", "f32", (24,))],
        ["kernel"],
        commands,
        symbols=(Symbol("new", 1, 8), Symbol("rows", 0, 24)),
        sizes=(0, 1),
        kept=1,
        axes=(0,),
        length=1,
        grown=new + rows,
    )
    return harmless(plan)


def special() -> bytes:
    """A model whose artifact has plans for fixed sizes."""
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "special", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()


HARMLESS: tuple[Callable[[], Any], ...] = (symbolic, counting, looping, keeping)
"""Artifacts whose code returns at once, so that they can be run with whatever plan damage has left."""


@cache
def artifacts() -> list[bytes]:
    """The bytes of each of ``HARMLESS``."""
    from penstock.compiler.artifact import writer

    return [writer.to_bytes(made()) for made in HARMLESS]


def use(rng: random.Random) -> None:
    """One artifact, described, loaded and run: damaged, or whole and fed with what nobody should feed."""
    from penstock.runtime import load
    from penstock.runtime.errors import PenstockError

    data = rng.choice(artifacts())
    whole = rng.random() < 0.4
    if not whole:
        data = _damaged(data, rng)
    for step in (partial(_describe, data), lambda: _run(load(data), rng)):
        try:
            step()
        except PenstockError as error:
            if not (error.code and error.message):
                raise AssertionError(f"refused without a word: {error!r}") from error
            if whole and error.code == "PENS-R004":
                raise


# Damage --------------------------------------------------------------------------------------------------------------


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Members with other content (but for the code), in another order, twice, or of other names; the archive around
    them sealed as the writer would; or some bytes of the file itself, its checksums left wrong."""
    from penstock.compiler.artifact import writer

    if rng.random() < 0.2:
        return changed_bytes(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(item.filename, archive.read(item)) for item in archive.infolist()]
    for _ in range(rng.randint(1, 2)):
        at = rng.randrange(len(members))
        name, content = members[at]
        match rng.randrange(5):
            case 0 if name == "manifest.json":
                members[at] = (name, changed_bytes(content, rng))
            case 0 | 1 if name == "plan.bin":
                members[at] = (name, changed_bytes(content, rng))
            case 2 if len(members) > 1:
                members.insert(rng.randrange(len(members)), members.pop(at))
            case 3:
                members.append((rng.choice(("", name, "a/../b", "/etc/passwd", "weights.bin", "plan-1.bin")), content))
            case _:
                members = [(name, _other_facts(content, rng)) for name, content in members]
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two members with one name
        writer.write_members(((name, [content], writer.PAGE) for name, content in members), file)
    return file.getvalue()


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """As ``fuzz.damage`` does it."""
    from fuzz.fuzz import damage

    return damage(data, rng)


def _other_facts(content: bytes, rng: random.Random) -> bytes:
    """A manifest that says something else; other members, and a manifest that is no JSON any more, as they are."""
    try:
        facts = json.loads(content)
    except ValueError:
        return content
    return json.dumps(_changed_facts(facts, rng)).encode()


def _changed_facts(facts: Any, rng: random.Random) -> Any:
    """A few values of a manifest, however deep, are others, or gone."""
    for _ in range(rng.randint(1, 3)):
        here: Any = facts
        while isinstance(here, dict | list) and here:
            key: Any = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
            inner: Any = here[key]
            if isinstance(inner, dict | list) and inner and rng.random() < 0.7:
                here = inner
                continue
            match rng.randrange(4):
                case 0:
                    del here[key]
                case 1:
                    here[key] = rng.choice(WORDS)
                case 2:
                    here[key] = rng.choice(NUMBERS)
                case _:
                    here[key] = rng.choice((None, True, [], {}, [[]], {"x": None}, _nested(rng.choice((3, 900)))))
            break
    return facts


def _nested(depth: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(depth):
        found = [found]
    return found


# Use -----------------------------------------------------------------------------------------------------------------


def _describe(data: bytes) -> None:
    """``penstock info`` on a file."""
    from penstock.tools.commands import info

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.pens"
        path.write_bytes(data)
        with open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
            info.show(info.artifact_facts(str(path)))


def _run(model: Any, rng: random.Random) -> None:
    """A few calls of a session with good and bad arguments, in any order; each ends in arrays or in a sentence."""
    from penstock.runtime.errors import PenstockError

    with model, model.session(threads=1) as session:
        sizes = {symbol.name: rng.choice(EXTENTS) for symbol in model.symbols}
        for _ in range(rng.randint(1, 5)):
            try:
                match rng.randrange(6):
                    case 0:
                        session.set_sizes({name: rng.choice((*EXTENTS, -1, 2**62, 2**70)) for name in sizes})
                    case 1:
                        names = [info.name for info in model.outputs]
                        session.needed_inputs([rng.choice([*names, "nowhere", ""]) for _ in range(rng.randrange(3))])
                    case _:
                        _call(model, session, sizes, rng)
            except PenstockError as error:
                if not (error.code and error.message):
                    raise AssertionError(f"refused without a word: {error!r}") from error


def _call(model: Any, session: Any, sizes: dict[str, int], rng: random.Random) -> None:
    feeds = {info.name: _array(info, sizes, rng) for info in model.inputs}
    if feeds and rng.random() < 0.2:
        del feeds[rng.choice(list(feeds))]
    if rng.random() < 0.1:
        feeds["nowhere"] = np.zeros(3, np.float32)
    names = [info.name for info in model.outputs]
    outputs = rng.choice((None, None, [], names[:1], names * 2, ["nowhere"]))
    out = {info.name: _array(info, sizes, rng) for info in model.outputs} if rng.random() < 0.3 else None
    if out and rng.random() < 0.1:  # results into what is being read
        out[rng.choice(list(out))] = rng.choice(list(feeds.values()) or [None])
    results = session.run(feeds, outputs, out=out)
    for info in model.outputs:
        if info.name in results:
            found = results[info.name]
            assert (found.dtype, found.ndim) == (info.dtype, len(info.shape)), info


def _array(info: Any, sizes: dict[str, int], rng: random.Random) -> Any:
    """An array for ``info``: as it should be, or of another type, shape, layout or kind."""
    shape = [extent if isinstance(extent, int) else _extent(extent, sizes, rng) for extent in info.shape]
    dtype = info.dtype
    if rng.random() < 0.2:
        match rng.randrange(4):
            case 0 if shape:
                shape[rng.randrange(len(shape))] = rng.choice(EXTENTS)
            case 1:
                shape.insert(rng.randrange(len(shape) + 1), rng.choice(EXTENTS))
            case 2 if shape:
                shape.pop()
            case _:
                dtype = np.dtype(rng.choice(("f8", ">f4", "i4", "?", "c8", "S3", "O", "M8[s]", "f2", [("a", "f4")])))
    if int(np.prod([max(extent, 1) for extent in shape], dtype=object)) * dtype.itemsize > MOST_BYTES:
        shape = [1] * len(shape)
    array = np.zeros(shape, dtype)
    match rng.randrange(14):
        case 0:
            return np.broadcast_to(np.zeros((), dtype), shape)  # every stride 0, read-only
        case 1:
            return np.asfortranarray(array)
        case 2:
            return np.zeros([2 * extent for extent in shape], dtype)[tuple(slice(None, None, 2) for _ in shape)]
        case 3 if array.ndim:
            return array[::-1]
        case 4:
            return array.tolist()
        case 5:
            matrix = array.view(np.matrix) if array.ndim == 2 else 1.5
            return rng.choice((None, 3, "text", b"bytes", {}, [[1], [2, 3]], object(), matrix))
        case 6 if array.size and dtype.kind == "f":
            odd = np.zeros(array.nbytes + 1, np.uint8)[1:]
            return odd.view(dtype).reshape(shape)  # not aligned
        case 7 if dtype.kind == "f" and dtype.isnative:
            return memoryview(array)
        case _:
            return array


def _extent(formula: str, sizes: dict[str, int], rng: random.Random) -> int:
    """What a text like ``batch`` or ``past + 1`` may come to; often what it does come to."""
    return sizes.get(formula) or rng.choice(EXTENTS)
