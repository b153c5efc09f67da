"""Models whose sizes are chosen at run time, of one hand-written kernel: placing, setting, refusing."""

from __future__ import annotations

import ctypes
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from unit.runtime.test_runtime import compiled

import penstock.runtime as runtime
from penstock.compiler.artifact import writer
from penstock.compiler.artifact.elf import LinkedImage, link
from penstock.compiler.artifact.plan import (
    ArenaBuffer,
    BufferRange,
    Command,
    CommandKind,
    Plan,
    Space,
    TensorInfo,
)
from penstock.compiler.artifact.plan_format import Variant, decode, encode
from penstock.compiler.extents import Dim, Extent, Symbol, evaluate, floordiv, largest, smallest, symbol
from penstock.compiler.passes.plan.memory import Lifetime, place
from penstock.runtime.errors import PenstockError
from penstock.runtime.library import Error, library

ADD = """
define void @add(ptr %ctx, ptr %buffers, i64 %begin, i64 %end) {
entry:
  %x = load ptr, ptr %buffers
  %second = getelementptr ptr, ptr %buffers, i64 1
  %sizes = load ptr, ptr %second
  %third = getelementptr ptr, ptr %buffers, i64 2
  %y = load ptr, ptr %third
  %first_size = load i64, ptr %sizes
  %size_at = getelementptr i64, ptr %sizes, i64 1
  %second_size = load i64, ptr %size_at
  %thousands = mul i64 %second_size, 1000
  %total = add i64 %first_size, %thousands
  %number = sitofp i64 %total to float
  %any = icmp slt i64 %begin, %end
  br i1 %any, label %loop, label %out
loop:
  %i = phi i64 [%begin, %entry], [%next, %loop]
  %from = getelementptr float, ptr %x, i64 %i
  %value = load float, ptr %from
  %sum = fadd float %value, %number
  %to = getelementptr float, ptr %y, i64 %i
  store float %sum, ptr %to
  %next = add i64 %i, 1
  %go = icmp slt i64 %next, %end
  br i1 %go, label %loop, label %out
out:
  ret void
}
"""

BATCH, SEQ = symbol("batch", 1, 64), symbol("seq", 0, 1 << 40)
NUMBERS = (Symbol("batch", 1, 64), Symbol("seq", 0, 1 << 40))


@pytest.fixture(scope="module")
def image() -> LinkedImage:
    """y = x + sizes[0] + 1000 sizes[1]."""
    return link([compiled(ADD)])


def plan() -> Plan:
    """y = x + 2 (seq + 1000 batch) + batch + 1000 seq: the first two go through the arena, the copy gives its tail."""
    size = 4 * BATCH * SEQ
    x, y = BufferRange(Space.INPUT, 0, size), BufferRange(Space.OUTPUT, 0, size)
    a, b, c = (BufferRange(Space.BUFFER, 0, size, index) for index in range(3))
    forward, backward = BufferRange(Space.SIZES, 0, 16), BufferRange(Space.SIZES, 16, 16)
    units = BATCH * SEQ
    tail = BufferRange(Space.BUFFER, 4 * (BATCH - 1) * SEQ, 4 * SEQ, 2)
    commands = [
        Command(CommandKind.DISPATCH, (x, backward), (a,), 0, units, 8, "first", 7 * units, 8 * units),
        Command(CommandKind.DISPATCH, (a, backward), (b,), 0, units, 8, "second"),
        Command(CommandKind.DISPATCH, (b, forward), (c,), 0, units, 8, "third"),
        Command(CommandKind.DISPATCH, (b, forward), (y,), 0, units, 8, "fourth"),
        Command(CommandKind.COPY, (tail,), (BufferRange(Space.OUTPUT, 0, 4 * SEQ, 1),), source="copy"),
    ]
    return Plan(
        [TensorInfo("x", "f32", (BATCH, SEQ)), TensorInfo("mask", "i64", (BATCH, SEQ + 1))],
        [TensorInfo("y", "f32", (BATCH, SEQ)), TensorInfo("tail", "f32", (SEQ,))],
        ["add"],
        commands,
        arena_bytes=3 * size + 192,
        symbols=NUMBERS,
        buffers=(ArenaBuffer(size, 0, 1), ArenaBuffer(size, 1, 3), ArenaBuffer(size, 2, 4)),
        sizes=(0, 1, 1, 0),
    )


def contents(image: LinkedImage, made: Plan | None = None) -> writer.Contents:
    """An artifact of the plan."""
    return writer.Contents({"x86-64-v3": made or plan()}, {"x86-64-v3": image}, [], {"made": "by a test"}, {})


@pytest.fixture(scope="module")
def model(image: LinkedImage) -> runtime.Model:
    """The artifact, loaded."""
    return runtime.load(writer.to_bytes(contents(image)))


def feeds(batch: int, seq: int) -> dict[str, Any]:
    """Arrays of these sizes."""
    x = np.arange(batch * seq, dtype=np.float32).reshape(batch, seq)
    return {"x": x, "mask": np.zeros((batch, seq + 1), np.int64)}


def check(outputs: dict[str, Any], batch: int, seq: int) -> None:
    """The outputs of ``feeds``."""
    y = feeds(batch, seq)["x"] + np.float32(2 * (seq + 1000 * batch)) + np.float32(batch + 1000 * seq)
    np.testing.assert_array_equal(outputs["y"], y)
    np.testing.assert_array_equal(outputs["tail"], y[-1])


def test_a_model_shows_its_symbols(model: runtime.Model) -> None:
    """Symbols with ranges; texts where an extent is chosen at run time."""
    assert [(s.name, s.low, s.high) for s in model.symbols] == [("batch", 1, 64), ("seq", 0, 1 << 40)]
    assert [t.shape for t in model.inputs] == [("batch", "seq"), ("batch", "seq + 1")]
    assert [t.shape for t in model.outputs] == [("batch", "seq"), ("seq",)]
    assert model.memory.arena is None
    assert model.memory.scratch_per_thread == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_sizes_come_from_the_arrays(model: runtime.Model, threads: int) -> None:
    """Growing, shrinking, empty: the outputs have the shapes that belong to the inputs'."""
    with model.session(threads=threads) as session:
        assert session.sizes is None
        for batch, seq in ((1, 1), (3, 17), (2, 0), (64, 1000), (3, 17), (1, 5), (1, 5), (1, 6)):
            check(session.run(feeds(batch, seq)), batch, seq)
            assert session.sizes == {"batch": batch, "seq": seq}
        assert session.memory >= 2 * 64 * 1000 * 4
        outputs, records = session.profile(feeds(2, 4))
        check(outputs, 2, 4)
        assert (records[0].flops, records[0].bytes) == (56, 64)


def test_unchanged_shapes_set_nothing(model: runtime.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call of a shape takes the path of static models."""
    with model.session(threads=1) as session:
        session.run(feeds(2, 3))
        monkeypatch.setattr(session, "_bind_slowly", None)
        check(session.run(feeds(2, 3)), 2, 3)
        with pytest.raises(TypeError):
            session.run(feeds(2, 4))


@pytest.mark.parametrize(
    ("x", "mask", "words"),
    [
        ((2, 3), (3, 4), "Input mask has 3 along axis 0, where batch is 2."),
        ((2, 3), (2, 3), "Input mask has 3 along axis 1 and needs seq + 1 = 4."),
        ((65, 3), (65, 4), "Input x has 65 along axis 0, and batch is 1 to 64."),
        ((0, 3), (1, 4), "Input x has 0 along axis 0, and batch is 1 to 64; input mask has 1 along axis 0, where"),
        ((2,), (2, 4), "Input x has rank 1 (shape [2]) and needs shape [batch, seq]."),
    ],
)
def test_contradictions_name_input_axis_and_symbol(model: runtime.Model, x: Any, mask: Any, words: str) -> None:
    """One sentence; the session goes on with the sizes it had."""
    with model.session(threads=1) as session:
        session.run(feeds(4, 4))
        with pytest.raises(PenstockError, match="PENS-R011") as caught:
            session.run({"x": np.zeros(x, np.float32), "mask": np.zeros(mask, np.int64)})
        assert words in caught.value.message
        assert session.sizes == {"batch": 4, "seq": 4}
        check(session.run(feeds(4, 4)), 4, 4)


def test_sizes_can_be_set_beforehand(model: runtime.Model) -> None:
    """By name; what is wrong is told, and changes nothing."""
    with model.session(threads=1) as session:
        session.set_sizes({"seq": 7, "batch": 2})
        held = session.memory
        assert held >= 2 * 7 * 2 * 4
        for sizes, words in (
            ({"seq": 7}, "The size batch is missing"),
            ({"seq": 7, "batch": 2, "n": 1}, "There is no size called n"),
            ({"seq": 7, "batch": 0}, "The size batch is 1 to 64, not 0"),
            ({"seq": 7, "batch": 2**64 + 1}, "The size batch is 1 to 64, not 18446744073709551617"),
        ):
            with pytest.raises(PenstockError, match="PENS-R019") as caught:
                session.set_sizes(sizes)
            assert words in caught.value.message
        with pytest.raises(PenstockError, match=r"PENS-R008.*batch = 64, seq = 1099511627776"):
            session.set_sizes({"seq": 1 << 40, "batch": 64})
        assert session.sizes == {"batch": 2, "seq": 7}
        assert session.memory == held
        check(session.run(feeds(2, 7)), 2, 7)


def test_outputs_can_be_bound(model: runtime.Model) -> None:
    """Arrays for outputs must have the shapes that follow from the inputs."""
    with model.session(threads=1) as session:
        y = np.empty((2, 5), np.float32)
        assert session.run(feeds(2, 5), out={"y": y})["y"] is y
        with pytest.raises(PenstockError, match=r"PENS-R012.*\[2, 5\].*\[2, 6\]"):
            session.run(feeds(2, 6), out={"y": y})


def test_a_run_without_sizes_is_refused(model: runtime.Model) -> None:
    """The C call itself: PENS_NO_SIZES."""
    with model.session(threads=1) as session:
        error = Error()
        nothing = (ctypes.c_void_p * 2)()
        assert library().pens_run(session._handle, nothing, nothing, ctypes.byref(error)) == 18
        assert b"depend on batch" in error.message
        numbers = (ctypes.c_int64 * 2)(65, 1)
        assert library().pens_session_set_sizes(session._handle, numbers, ctypes.byref(error)) == 19
        assert error.message == b"The size batch is 1 to 64, not 65."


def test_a_symbol_that_no_input_tells(image: LinkedImage) -> None:
    """It has to be set; runs keep it."""
    made = plan()
    made.inputs = [TensorInfo("x", "f32", (BATCH * SEQ,)), TensorInfo("mask", "i64", (BATCH, 1))]
    with runtime.load(writer.to_bytes(contents(image, made))) as model, model.session(threads=1) as session:
        arrays = {"x": feeds(2, 3)["x"].reshape(6), "mask": np.zeros((2, 1), np.int64)}
        with pytest.raises(PenstockError, match="PENS-R018: No input tells the size seq"):
            session.run(arrays)
        session.set_sizes({"batch": 1, "seq": 3})
        check(session.run(arrays), 2, 3)
        with pytest.raises(PenstockError, match=r"PENS-R011: Input x has 6 along axis 0 and needs batch\*seq = 9"):
            session.run({**arrays, "mask": np.zeros((3, 1), np.int64)})


def test_a_session_in_use_keeps_its_sizes(image: LinkedImage) -> None:
    """Setting sizes while a run is under way is PENS-R010."""
    codes: list[str] = []

    def execute(task: Any, count: int) -> None:
        for call in (lambda: session.set_sizes({"batch": 1, "seq": 1}), lambda: session.run(feeds(1, 1))):
            with pytest.raises(PenstockError) as caught:
                call()
            codes.append(caught.value.code)
        numbers, error = (ctypes.c_int64 * 2)(1, 1), Error()
        codes.append(str(library().pens_session_set_sizes(session._handle, numbers, error)))
        assert b"another thread" in error.message
        for index in range(count):
            task(index)

    model = runtime.load(writer.to_bytes(contents(image)))
    with model, model.session(threads=2, executor=execute) as session:
        check(session.run(feeds(2, 100)), 2, 100)
    assert codes == ["PENS-R010", "PENS-R010", "10"] * 4


def test_sessions_of_different_sizes_at_once(model: runtime.Model) -> None:
    """Each has its own."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            with model.session(threads=1) as session:
                for _ in range(50):
                    batch, seq = int(rng.integers(1, 9)), int(rng.integers(0, 70))
                    check(session.run(feeds(batch, seq)), batch, seq)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures


def test_steps_of_one_do_not_map_memory_in_each(model: runtime.Model) -> None:
    """Memory grows by half at least."""
    with model.session(threads=1) as session:
        held: set[int] = set()
        for seq in range(1, 2000):
            session.set_sizes({"batch": 2, "seq": seq})
            held.add(session.memory)
        assert len(held) < 30


EXTENTS: list[Extent] = [
    BATCH,
    2 * BATCH * SEQ + 7,
    floordiv(SEQ + 3, 4) * BATCH + SEQ,
    largest(BATCH, SEQ, 5),
    smallest(BATCH + 1, floordiv(SEQ, 3)) * 64,
    (SEQ - BATCH) * (SEQ - BATCH),
    floordiv(floordiv(SEQ, BATCH) + 5, 7),
    floordiv(BATCH - SEQ, 3) + SEQ,
]


@pytest.mark.parametrize("extent", EXTENTS, ids=str)
def test_the_runtime_computes_what_the_compiler_does(image: LinkedImage, extent: Extent) -> None:
    """Extents of outputs, for many sizes; and they read back from the plan as they were."""
    made = plan()
    made.outputs = [*made.outputs, TensorInfo("z", "i1", (extent,))]
    data = writer.to_bytes(contents(image, made))
    with runtime.load(data) as model, model.session(threads=1) as session:
        for batch, seq in ((1, 0), (1, 1), (2, 3), (7, 100), (64, 17), (10, 9), (33, 64)):
            session.set_sizes({"batch": batch, "seq": seq})
            (found,) = session.run(feeds(batch, seq))["z"].shape
            assert found == evaluate(extent, {"batch": batch, "seq": seq})


@pytest.mark.parametrize("extent", EXTENTS, ids=str)
def test_extents_read_back(extent: Extent) -> None:
    """Encoding and decoding gives the same plan, to the last extent."""
    made = plan()
    made = replace(made, outputs=(*made.outputs, TensorInfo("z", "i1", (extent,))))
    found = decode(encode({"x86-64-v3": Variant(made, 100, (0,))}))["x86-64-v3"].plan
    assert found.outputs == tuple(made.outputs)
    assert list(found.commands) == list(made.commands)
    assert (found.symbols, found.buffers, found.sizes) == (made.symbols, made.buffers, made.sizes)
    assert isinstance(found.arena_bytes, Dim)


@pytest.mark.parametrize(
    ("extent", "sizes", "words"),
    [
        (SEQ - 4, {"batch": 1, "seq": 1}, "PENS-R019: With batch = 1, seq = 1 the extent seq - 4 is -3."),
        (SEQ * SEQ, {"batch": 1, "seq": 1 << 40}, "PENS-R019: .* the extent seq\\*seq is no number of 63 bits"),
        (floordiv(SEQ, largest(SEQ - 1, 1)) * 0 + SEQ * (1 << 23), {"batch": 1, "seq": 1 << 40}, "PENS-R019"),
    ],
)
def test_extents_that_cannot_be(image: LinkedImage, extent: Extent, sizes: dict[str, int], words: str) -> None:
    """Negative, or too large: refused by their text, and the session stays as it was."""
    made = plan()
    made.outputs = [*made.outputs, TensorInfo("z", "f32", (extent, 1))]
    with runtime.load(writer.to_bytes(contents(image, made))) as model, model.session(threads=1) as session:
        session.set_sizes({"batch": 2, "seq": 8})
        with pytest.raises(PenstockError, match=words):
            session.set_sizes(sizes)
        assert session.sizes == {"batch": 2, "seq": 8}
        check(session.run(feeds(2, 8)), 2, 8)


def test_what_the_model_takes_for_granted(image: LinkedImage) -> None:
    """Extents that must be equal: other sizes are refused by both of their texts."""
    made = plan()
    made.equal = ((2 * BATCH, SEQ + 1), (floordiv(SEQ, 100), 0))
    assert decode(encode({"x86-64-v3": Variant(made, 100, (0,))}))["x86-64-v3"].plan.equal == made.equal
    with runtime.load(writer.to_bytes(contents(image, made))) as model, model.session(threads=1) as session:
        check(session.run(feeds(2, 3)), 2, 3)
        message = r"PENS-R019: With batch = 2, seq = 4 2\*batch is 4 and seq \+ 1 is 5; the model needs them equal\."
        with pytest.raises(PenstockError, match=message):
            session.run(feeds(2, 4))
        with pytest.raises(PenstockError, match="seq floordiv 100 is 1 and 0 is 0"):
            session.set_sizes({"batch": 60, "seq": 119})
        check(session.run(feeds(2, 3)), 2, 3)


def test_a_command_that_leaves_its_memory(image: LinkedImage) -> None:
    """What cannot be shown when the model is compiled is checked when sizes are set."""
    made = plan()
    wide = BufferRange(Space.BUFFER, 0, 4 * SEQ * SEQ, 1)
    commands = list(made.commands)
    commands[2] = replace(commands[2], reads=(wide, commands[2].reads[1]))
    made.commands = commands
    with runtime.load(writer.to_bytes(contents(image, made))) as model, model.session(threads=1) as session:
        session.set_sizes({"batch": 3, "seq": 3})
        with pytest.raises(PenstockError, match="PENS-R019: With batch = 3, seq = 4 the command third leaves its"):
            session.set_sizes({"batch": 3, "seq": 4})


def test_buffers_are_placed_as_the_compiler_places_them(image: LinkedImage) -> None:
    """Random lifetimes and sizes: the arena is as large as the static planner makes it."""
    rng = np.random.default_rng(1)
    for _ in range(12):
        count = int(rng.integers(1, 40))
        factors = [(int(f), int(c)) for f, c in rng.integers(0, 300, (count, 2))]
        spans = [sorted(int(s) for s in rng.integers(0, 5, 2)) for _ in range(count)]
        made = plan()
        others = [
            ArenaBuffer(f * SEQ + c * BATCH, first, last) for (f, c), (first, last) in zip(factors, spans, strict=True)
        ]
        made.buffers = (*made.buffers, *others)
        with runtime.load(writer.to_bytes(contents(image, made))) as model:
            for sizes in ({"batch": 2, "seq": 100}, {"batch": 64, "seq": 1}):
                lives = [Lifetime(evaluate(b.bytes, sizes), b.first, b.last) for b in made.buffers]
                with model.session(threads=1) as session:
                    session.set_sizes(sizes)
                    assert session.memory == place(lives)[1] + 64
                    check(session.run(feeds(**sizes)), **sizes)
