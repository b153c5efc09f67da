"""A Python-embedded builder for tile kernels: loops and branches are context managers, ops are method calls.

In: Python code of a schedule or of an irregular kernel. Out: a ``tile.kernel``. The one idea: index arithmetic takes
Python integers and values alike and folds what is known, and equal pure ops in scope are built once, so schedules can
be written plainly and the kernel that comes out stays short::

    b = KernelBuilder("scale", [buffer(1024, F32), buffer(1024, F32)], outputs=1)
    x, y = b.buffers
    with b.units(1024 // 64) as unit:
        offset = b.imul(unit, 64)
        tile = b.load(x, offset, (64,), (1,))
        b.store(b.mul(tile, 2.0), y, offset, (1,))
    kernel = b.finish()
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xdsl.dialects import scf
from xdsl.dialects.builtin import FloatAttr, IntegerAttr, LocationAttr
from xdsl.ir import Attribute, Block, Operation, Region, SSAValue

from penstock.compiler.dialects.tile import arithmetic, memory
from penstock.compiler.dialects.tile.base import TileOp, buffer, buffer_element, element, shape, with_shape
from penstock.compiler.dtypes import I64, INDEX, is_float
from penstock.compiler.extents import (
    Atom,
    Dim,
    Extent,
    Extremum,
    Quotient,
    Symbol,
    bounds,
    floordiv,
    largest,
    smallest,
    surely,
)

Index = int | SSAValue  # a number, a symbolic extent or a value
Number = float | int | SSAValue
Limits = Sequence[tuple[int, Index]]


@dataclass
class Loop:
    """A loop being built: ``index`` inside; after the block, ``results`` are the final carried values."""

    index: SSAValue
    carried: tuple[SSAValue, ...]
    results: tuple[SSAValue, ...] = ()
    yielded: tuple[SSAValue, ...] | None = None

    def yield_(self, *values: SSAValue) -> None:
        """The carried values of the next iteration; call it once, last in the loop's body."""
        self.yielded = values


@dataclass
class Branch:
    """A conditional being built; ``results`` are valid after both sides are built."""

    condition: SSAValue
    results: tuple[SSAValue, ...] = ()
    yielded: tuple[SSAValue, ...] = ()
    taken: Block = field(default_factory=Block)

    def yield_(self, *values: SSAValue) -> None:
        """The values of the side being built."""
        self.yielded = values


@dataclass
class _Scope:
    block: Block
    known: dict[tuple[Any, ...], Any] = field(default_factory=dict[tuple[Any, ...], Any])


class KernelBuilder:
    """Builds one ``tile.kernel`` over ``buffers`` (types from ``buffer``), the last ``outputs`` of them written.

    ``sizes`` names the symbols that extents in the kernel are made of; their values come in one more buffer, which
    stands before the outputs and not among ``buffers``.
    """

    def __init__(
        self,
        name: str,
        buffers: Sequence[Attribute],
        *,
        outputs: int = 1,
        sizes: Sequence[str] = (),
        location: LocationAttr | None = None,
    ) -> None:
        types = list(buffers)
        inputs = len(types) - outputs
        types[inputs:inputs] = [buffer(len(sizes), I64)] if sizes else []
        self.kernel = memory.Kernel.empty(name, types, outputs=outputs, sizes=sizes, location=location)
        self.location = location
        *arguments, self.begin, self.end = self.kernel.body.args
        self._sizes = {name: position for position, name in enumerate(sizes)}
        self._sizes_buffer: SSAValue | None = arguments.pop(inputs) if sizes else None
        self.buffers: tuple[SSAValue, ...] = tuple(arguments)
        self._scopes = [_Scope(self.kernel.body)]
        self._last_at_head: Operation | None = None

    def finish(self) -> memory.Kernel:
        """The finished kernel."""
        self._insert(memory.Return.build(location=self.location))
        return self.kernel

    # Insertion -----------------------------------------------------------------------------------------------------

    def _insert(self, op: Operation) -> Operation:
        if self.location is not None:
            op.location = self.location
        self._scopes[-1].block.add_op(op)
        return op

    def _pure(
        self, op_type: type[TileOp], /, *operands: SSAValue, result: Attribute | None = None, **parameters: Any
    ) -> Any:
        """Insert a pure op, or return the equal one already in scope."""
        key = (op_type.name, operands, result, tuple(sorted((k, str(v)) for k, v in parameters.items())))
        for scope in reversed(self._scopes):
            if key in scope.known:
                return scope.known[key]
        op = self._insert(op_type.build(*operands, result=result, **parameters))
        self._scopes[-1].known[key] = op.results[0]
        return op.results[0]

    def remember(self, key: tuple[Any, ...], value: Any) -> None:
        """Keep ``value`` under ``key`` while the block being built is in scope (what lowering knows about values)."""
        self._scopes[-1].known[key] = value

    def recall(self, key: tuple[Any, ...]) -> Any:
        """What was remembered under ``key`` in this block or one around it, or None."""
        return next((scope.known[key] for scope in reversed(self._scopes) if key in scope.known), None)

    # Constants -----------------------------------------------------------------------------------------------------

    def constant(self, number: float, kind: Attribute) -> SSAValue:
        """A number of type ``kind`` (scalar, index or tile); constants stand at the head of the kernel."""
        scalar = element(kind)
        attribute = FloatAttr(float(number), scalar) if is_float(scalar) else IntegerAttr(int(number), scalar)  # pyright: ignore
        key = ("constant", kind, repr(float(number)) if is_float(scalar) else int(number))
        root = self._scopes[0]
        if key not in root.known:
            op = memory_constant(attribute, kind, self.location)
            self._insert_at_head(op)
            root.known[key] = op.results[0]
        return root.known[key]

    def _insert_at_head(self, op: Operation) -> None:
        """Insert at the head of the kernel, after what was inserted there before."""
        block = self._scopes[0].block
        if self._last_at_head is not None:
            block.insert_op_after(op, self._last_at_head)
        elif block.first_op is None:
            block.add_op(op)
        else:
            block.insert_op_before(op, block.first_op)
        self._last_at_head = op

    def index(self, value: Index) -> SSAValue:
        """``value`` as an SSA value of type index."""
        if isinstance(value, SSAValue):
            return value
        return self._extent(value) if isinstance(value, Dim) else self.constant(value, INDEX)

    @staticmethod
    def known(value: Index) -> Extent | None:
        """The number, or symbolic extent, an index value is known to be, or None."""
        if not isinstance(value, SSAValue):
            return value
        owner = value.owner
        return int(owner.number()) if isinstance(owner, arithmetic.Constant) and not shape(value) else None

    # Symbolic extents ------------------------------------------------------------------------------------------------

    def _extent(self, extent: Extent) -> SSAValue:
        """The value of an extent, computed at the head of the kernel from the sizes of the run."""
        if not isinstance(extent, Dim):
            return self.constant(extent, INDEX)
        key = ("extent", extent)
        root = self._scopes[0]
        if key not in root.known:
            terms = [self._product(factor, monomial) for monomial, factor in extent.terms]
            total = terms[0]
            for term in terms[1:]:
                total = self._at_head("add", total, term)
            root.known[key] = total
        return root.known[key]

    def _product(self, factor: int, monomial: tuple[Atom, ...]) -> SSAValue:
        factors = [self._atom(atom) for atom in monomial]
        if factor != 1 or not factors:
            factors.append(self.constant(factor, INDEX))
        product = factors[0]
        for value in factors[1:]:
            product = self._at_head("mul", product, value)
        return product

    def _atom(self, atom: Atom) -> SSAValue:
        match atom:
            case Symbol():
                return self._size(atom.name)
            case Quotient():
                numerator, divisor = self._extent(atom.numerator), self._extent(atom.divisor)
                if bounds(atom.numerator)[0] >= 0:
                    return self._at_head("divu", numerator, divisor)
                # floor(-n / d) = -1 - (n - 1) divu d: all bits inverted, before and after, of numbers below 0.
                sign = self._at_head("shr", numerator, self.constant(63, INDEX))
                quotient = self._at_head("divu", self._at_head("xor", numerator, sign), divisor)
                return self._at_head("xor", quotient, sign)
            case Extremum():
                values = [self._extent(operand) for operand in atom.operands]
                chosen = values[0]
                for value in values[1:]:
                    chosen = self._at_head(atom.kind, chosen, value)
                return chosen

    def _size(self, name: str) -> SSAValue:
        key = ("size", name)
        root = self._scopes[0]
        if key not in root.known:
            assert self._sizes_buffer is not None
            position = self.constant(self._sizes[name], INDEX)
            load = memory.Load.build(self._sizes_buffer, position, result=I64, strides=(), location=self.location)
            self._insert_at_head(load)
            cast = arithmetic.Cast.build(load.results[0], result=INDEX, mode="signed", location=self.location)
            self._insert_at_head(cast)
            root.known[key] = cast.results[0]
        return root.known[key]

    def _at_head(self, name: str, *operands: SSAValue) -> SSAValue:
        key = (_op(name).name, operands, None, ())
        root = self._scopes[0]
        if key not in root.known:
            op = _op(name).build(*operands, location=self.location)
            self._insert_at_head(op)
            root.known[key] = op.results[0]
        return root.known[key]

    def _like(self, number: Number, like: SSAValue) -> SSAValue:
        return number if isinstance(number, SSAValue) else self.constant(number, element(like))

    def _pair(self, a: Number, b: Number) -> tuple[SSAValue, SSAValue]:
        if isinstance(a, SSAValue):
            return a, self._like(b, a)
        if isinstance(b, SSAValue):
            return self._like(a, b), b
        raise TypeError("at least one operand must be a value")

    # Index arithmetic (numbers and symbolic extents welcome) ---------------------------------------------------------

    def iadd(self, a: Index, b: Index) -> Index:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return x + y
        if x == 0:
            return b
        return a if y == 0 else self._pure(_op("add"), self.index(a), self.index(b))

    def isub(self, a: Index, b: Index) -> Index:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return x - y
        return a if y == 0 else self._pure(_op("sub"), self.index(a), self.index(b))

    def imul(self, a: Index, b: Index) -> Index:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return x * y
        if x == 0 or y == 0:
            return 0
        if x == 1:
            return b
        return a if y == 1 else self._pure(_op("mul"), self.index(a), self.index(b))

    def idiv(self, a: Index, b: Index) -> Index:
        """Quotient of non-negative numbers."""
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return floordiv(x, y)
        return a if y == 1 else self._pure(_op("divu"), self.index(a), self.index(b))

    def irem(self, a: Index, b: Index) -> Index:
        """Remainder of non-negative numbers."""
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return x - y * floordiv(x, y)
        return 0 if y == 1 else self._pure(_op("remu"), self.index(a), self.index(b))

    def imin(self, a: Index, b: Index) -> Index:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return smallest(x, y)
        return self._pure(_op("min"), self.index(a), self.index(b))

    def imax(self, a: Index, b: Index) -> Index:
        x, y = self.known(a), self.known(b)
        if x is not None and y is not None:
            return largest(x, y)
        return self._pure(_op("max"), self.index(a), self.index(b))

    def isum(self, terms: Iterable[Index]) -> Index:
        """Sum of indices."""
        total: Index = 0
        for term in terms:
            total = self.iadd(total, term)
        return total

    # Tiles and scalars -----------------------------------------------------------------------------------------------

    def unary(self, name: str, x: SSAValue) -> SSAValue:
        """neg abs sqrt exp exp2 log erf tanh sin cos tan asin acos atan sinh cosh asinh acosh atanh
        floor ceil round_even not_."""
        return self._pure(_op(name), x)

    def binary(self, name: str, a: Number, b: Number) -> SSAValue:
        """add sub mul div divu rem remu max min maxu minu max_fast min_fast and_ or_ xor shl shr shru pow."""
        return self._pure(_op(name), *self._pair(a, b))

    def add(self, a: Number, b: Number) -> SSAValue:
        return self.binary("add", a, b)

    def sub(self, a: Number, b: Number) -> SSAValue:
        return self.binary("sub", a, b)

    def mul(self, a: Number, b: Number) -> SSAValue:
        return self.binary("mul", a, b)

    def div(self, a: Number, b: Number) -> SSAValue:
        return self.binary("div", a, b)

    def fma(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        return self._pure(_op("fma"), a, b, c)

    def dot_pairs(self, a: SSAValue, b: SSAValue, c: SSAValue) -> SSAValue:
        """``c`` plus the products of the pairs of bf16 in the words ``a`` and ``b``."""
        return self._pure(arithmetic.DotPairs, a, b, c)

    def compare(self, predicate: str, a: Number, b: Number) -> SSAValue:
        return self._pure(arithmetic.Compare, *self._pair(a, b), predicate=predicate)

    def select(self, mask: SSAValue, a: Number, b: Number) -> SSAValue:
        return self._pure(arithmetic.Select, mask, *self._pair(a, b))

    def cast(self, x: SSAValue, to: Attribute, mode: str = "signed") -> SSAValue:
        """``x`` converted to element type ``to`` (see tile.cast); no op if it has it or was a half before widening."""
        known = x if element(x) == to else arithmetic.before_widening(x, to)
        if known is not None:
            return known
        return self._pure(arithmetic.Cast, x, result=with_shape(to, shape(x)), mode=mode)

    def broadcast(self, x: SSAValue, extents: tuple[int, ...]) -> SSAValue:
        """``x`` repeated to ``extents``."""
        if shape(x) == extents:
            return x
        return self._pure(memory.Broadcast, x, result=with_shape(element(x), extents))

    def reshape(self, x: SSAValue, extents: tuple[int, ...]) -> SSAValue:
        return x if shape(x) == extents else self._pure(memory.Reshape, x, result=with_shape(element(x), extents))

    def transpose(self, x: SSAValue) -> SSAValue:
        return self._pure(memory.Transpose, x)

    def extract(self, x: SSAValue, position: tuple[int, ...]) -> SSAValue:
        return self._pure(memory.Extract, x, position=position)

    def reduce(self, kind: str, x: SSAValue, dims: tuple[int, ...]) -> SSAValue:
        """Lanes of ``x`` combined along ``dims`` (which become 1)."""
        return self._pure(memory.Reduce, x, kind=kind, dims=dims)

    def iota(self, extents: tuple[int, ...], dim: int) -> SSAValue:
        """Lane indices along ``dim`` as a tile of index values."""
        return self._pure(memory.Iota, result=with_shape(INDEX, extents), dim=dim)

    def splat(self, number: float, extents: tuple[int, ...], kind: Attribute) -> SSAValue:
        """A tile of equal numbers."""
        return self.constant(number, with_shape(kind, extents))

    # Memory ----------------------------------------------------------------------------------------------------------

    def words(self, source: SSAValue) -> SSAValue:
        """The buffer ``source`` of bf16 as words that hold pairs."""
        return self._pure(memory.Words, source)

    def load(
        self,
        source: SSAValue,
        offset: Index,
        extents: tuple[int, ...] = (),
        strides: tuple[int, ...] = (),
        *,
        limits: Limits = (),
        lower: tuple[int, ...] = (),
        upper: tuple[int, ...] = (),
        fill: float = 0.0,
    ) -> SSAValue:
        """A tile of ``extents`` from ``source`` at ``offset`` (elements); ``limits``: (dimension, valid lanes)
        pairs. Strides may be symbolic, but for the last dimension's."""
        op = memory.Load.build(
            source,
            self.index(offset),
            *(self.index(limit) for _, limit in limits),
            *(self.index(stride) for stride in strides if isinstance(stride, Dim)),
            result=with_shape(buffer_element(source), extents),
            strides=strides,
            lower=lower or None,
            upper=upper or None,
            limited=tuple(dim for dim, _ in limits) or None,
            fill=fill or None,
        )
        return self._insert(op).results[0]

    def store(
        self,
        value: SSAValue,
        target: SSAValue,
        offset: Index,
        strides: tuple[int, ...] = (),
        *,
        limits: Limits = (),
        lower: tuple[int, ...] = (),
        upper: tuple[int, ...] = (),
    ) -> None:
        """Store a tile (or scalar) to ``target`` at ``offset``."""
        self._insert(
            memory.Store.build(
                value,
                target,
                self.index(offset),
                *(self.index(limit) for _, limit in limits),
                *(self.index(stride) for stride in strides if isinstance(stride, Dim)),
                strides=strides,
                lower=lower or None,
                upper=upper or None,
                limited=tuple(dim for dim, _ in limits) or None,
            )
        )

    def gather(self, source: SSAValue, indices: SSAValue, mask: SSAValue | None = None, fill: float = 0.0) -> SSAValue:
        """Elements of ``source`` at a tile of index values."""
        operands = (source, indices) if mask is None else (source, indices, mask)
        return self._insert(memory.Gather.build(*operands, fill=fill or None)).results[0]

    def scatter(self, value: SSAValue, target: SSAValue, indices: SSAValue, mask: SSAValue | None = None) -> None:
        """Store lanes to ``target`` at a tile of index values."""
        operands = (value, target, indices) if mask is None else (value, target, indices, mask)
        self._insert(memory.Scatter.build(*operands))

    def alloc(self, count: Extent, kind: Attribute, *, shared: bool = False) -> SSAValue:
        """A scratch buffer of this thread, or of all threads of a team kernel, alive for the kernel call."""
        counted = (self.index(count),) if isinstance(count, Dim) else ()
        given = {"shared": 1} if shared else {}
        op = memory.Alloc.build(*counted, result=buffer(count, kind), location=self.location, **given)
        self._insert_at_head(op)
        return op.results[0]

    def prefetch(self, source: SSAValue, offset: Index, locality: int = 3) -> None:
        """Hint that ``source[offset]`` will be read soon."""
        self._insert(memory.Prefetch.build(source, self.index(offset), locality=locality))

    # Control ---------------------------------------------------------------------------------------------------------

    @contextmanager
    def units(self, count: Extent, unit_cost: float = 0.0) -> Generator[SSAValue]:
        """The loop over this call's share of ``count`` parallel units; ``unit_cost`` in estimated nanoseconds."""
        self.kernel.units = count
        self.kernel.unit_cost = unit_cost
        with self.loop(self.begin, self.end) as loop:
            yield loop.index

    def team(self, count: Extent, unit_cost: float = 0.0) -> None:
        """Make this a team kernel of ``count`` units; ``phase`` runs them, as often as it is built or looped over."""
        self.kernel.units, self.kernel.unit_cost, self.kernel.team = count, unit_cost, 1

    @contextmanager
    def phase(self) -> Generator[SSAValue]:
        """The loop over units of a team kernel that this thread takes; behind it, all units have been run."""
        with self.while_([self._insert(memory.Take.build()).results[0]]) as loop:
            with loop.condition() as found:
                found.append(self.compare("ge", loop.before[0], 0))
            with loop.body() as following:
                yield loop.carried[0]
                following.append(self._insert(memory.Take.build()).results[0])

    @contextmanager
    def loop(self, lower: Index, upper: Index, step: int = 1, carried: Sequence[SSAValue] = ()) -> Generator[Loop]:
        """``for index in range(lower, upper, step)`` with carried values; see Loop.yield_ and Loop.results."""
        first, last = self.known(lower), self.known(upper)
        if first is not None and last is not None and surely(last, ">", first) and surely(last, "<=", first + step):
            yield from self._once(first, carried)
            return
        block = Block(arg_types=[INDEX, *(value.type for value in carried)])
        loop = Loop(block.args[0], tuple(block.args[1:]))
        start, stop, by = self.index(lower), self.index(upper), self.index(step)
        self._scopes.append(_Scope(block))
        yield loop
        if carried and loop.yielded is None:
            raise TypeError("the loop carries values but its body does not yield any")
        self._close(block, loop.yielded or ())
        loop.results = tuple(self._insert(scf.ForOp(start, stop, by, list(carried), Region(block))).results)

    def _once(self, index: int, carried: Sequence[SSAValue]) -> Generator[Loop]:
        """A loop known to run once is its body."""
        loop = Loop(self.index(index), tuple(carried))
        yield loop
        loop.results = loop.yielded or ()

    @contextmanager
    def when(self, condition: SSAValue) -> Generator[None]:
        """Run the block only if ``condition`` (a scalar i1) holds."""
        block = Block()
        self._scopes.append(_Scope(block))
        yield
        self._close(block, ())
        self._insert(scf.IfOp(condition, [], Region(block)))

    @contextmanager
    def then(self, condition: SSAValue) -> Generator[Branch]:
        """The side taken when ``condition`` holds; must be followed by ``otherwise`` on the same branch."""
        branch = Branch(condition)
        self._scopes.append(_Scope(branch.taken))
        yield branch
        self._close(branch.taken, branch.yielded)

    @contextmanager
    def otherwise(self, branch: Branch) -> Generator[None]:
        """The other side of ``then``; afterwards ``branch.results`` are the chosen values."""
        types = [value.type for value in branch.yielded]
        block = Block()
        self._scopes.append(_Scope(block))
        yield
        self._close(block, branch.yielded)
        op = scf.IfOp(branch.condition, types, Region(branch.taken), Region(block))
        branch.results = tuple(self._insert(op).results)

    @contextmanager
    def while_(self, carried: Sequence[SSAValue]) -> Generator[WhileLoop]:
        """``while condition(carried): carried = body(carried)``; see WhileLoop."""
        types = [value.type for value in carried]
        before, after = Block(arg_types=types), Block(arg_types=types)
        loop = WhileLoop(self, tuple(before.args), tuple(after.args), before, after)
        yield loop
        op = scf.WhileOp(list(carried), types, Region(before), Region(after))
        loop.results = tuple(self._insert(op).results)

    def _close(self, block: Block, values: Sequence[SSAValue]) -> None:
        terminator = scf.YieldOp(*values)
        if self.location is not None:
            terminator.location = self.location
        block.add_op(terminator)
        scope = self._scopes.pop()
        assert scope.block is block


@dataclass
class WhileLoop:
    """A while loop being built: build the condition in ``condition()``, then the body in ``body()``."""

    builder: KernelBuilder
    before: tuple[SSAValue, ...]
    carried: tuple[SSAValue, ...]
    _before: Block
    _after: Block
    results: tuple[SSAValue, ...] = ()

    @contextmanager
    def condition(self) -> Generator[list[SSAValue]]:
        """Inside, compute from ``before``; append the i1 that says whether to go on to the list given."""
        found: list[SSAValue] = []
        self.builder._scopes.append(_Scope(self._before))  # pyright: ignore[reportPrivateUsage]
        yield found
        self._before.add_op(scf.ConditionOp(found[0], *self.before))
        self.builder._scopes.pop()  # pyright: ignore[reportPrivateUsage]

    @contextmanager
    def body(self) -> Generator[list[SSAValue]]:
        """Inside, compute from ``carried``; append the next carried values to the list given."""
        following: list[SSAValue] = []
        self.builder._scopes.append(_Scope(self._after))  # pyright: ignore[reportPrivateUsage]
        yield following
        self.builder._close(self._after, following)  # pyright: ignore[reportPrivateUsage]


def memory_constant(attribute: Attribute, kind: Attribute, location: LocationAttr | None) -> arithmetic.Constant:
    """A tile.constant op holding ``attribute``."""
    return arithmetic.Constant.build(result=kind, value=attribute, location=location)


def _op(name: str) -> type[TileOp]:
    return getattr(arithmetic, "".join(part.capitalize() for part in name.split("_")))
