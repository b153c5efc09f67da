"""Pull-based lowering: the value of any tensor of a dispatch at given coordinates, as a register tile.

In: a dispatch's body, the buffers its arguments live in, and coordinates (one index expression per axis). Out: tile
instructions that compute the tensor there. The one idea: nothing inside a dispatch is stored to be read again; a
schedule asks for values where it needs them, and views, padding, indexing and elementwise chains answer by asking
their own operands, so anything fuses into any root.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from xdsl.ir import BlockArgument, Operation, SSAValue

from penstock.compiler.dialects.graph.base import element_of
from penstock.compiler.dialects.graph.elementwise import Elementwise
from penstock.compiler.dialects.tile.base import shape
from penstock.compiler.dialects.tile.builder import Index, KernelBuilder
from penstock.compiler.dtypes import I32, shape_of
from penstock.compiler.errors import PASS_FAILED, InternalError
from penstock.compiler.extents import Dim, Extent, ceildiv, largest, surely
from penstock.compiler.passes.lower.affine import Data, Expr, FloorDiv, Iv, Lane, Mod, data, linearise
from penstock.compiler.passes.lower.tile_scalars import TileScalars, Typed, memory_type, register_type

Coordinates = tuple[Expr, ...]
Rule = Callable[["Evaluator", Any, Coordinates], Typed]
RULES: dict[str, Rule] = {}


def rule(name: str) -> Callable[[Rule], Rule]:
    """Register how the op called ``name`` answers for its value at coordinates."""

    def register(function: Rule) -> Rule:
        RULES[name] = function
        return function

    return register


@dataclass(frozen=True)
class TileShape:
    """The register tile being computed: extents per lane dimension, how many lanes of a dimension are valid at run
    time, and the range of lanes of a dimension that is valid as known at compile time."""

    extents: tuple[int, ...] = ()
    limits: Mapping[int, Index] = field(default_factory=dict[int, Index])
    bounds: Mapping[int, tuple[int, int]] = field(default_factory=dict[int, tuple[int, int]])

    def static_bounds(self, lanes: frozenset[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(lower, upper) over all dimensions for an access that depends on ``lanes``; empty when all are valid."""
        if not any(dim in lanes for dim in self.bounds):
            return (), ()
        both = [
            self.bounds.get(dim, (0, extent)) if dim in lanes else (0, 1) for dim, extent in enumerate(self.extents)
        ]
        return tuple(low for low, _ in both), tuple(high for _, high in both)

    @property
    def rank(self) -> int:
        return len(self.extents)


class Evaluator:
    """Answers for tensor values of one dispatch body while its kernel is being built."""

    def __init__(self, builder: KernelBuilder, buffers: Mapping[SSAValue, SSAValue]) -> None:
        self.b = builder
        self.buffers = dict(buffers)
        self.shapes: dict[SSAValue, tuple[int, ...]] = {}
        self.pairs: set[SSAValue] = set()
        self.staged: dict[SSAValue, Callable[[Coordinates], Typed]] = {}  # what a schedule keeps in scratch memory
        self.scalars = TileScalars(builder)
        self.tile = TileShape()
        from penstock.compiler.passes.lower import rules

        rules.load()

    @contextmanager
    def lanes(self, extents: tuple[int, ...], limits: Mapping[int, Index] | None = None) -> Generator[None]:
        """Within, tiles have ``extents``; lanes at or beyond ``limits[dim]`` are not touched in memory."""
        before, self.tile = self.tile, TileShape(extents, dict(limits or {}))
        yield
        self.tile = before

    @contextmanager
    def valid(self, bounds: Mapping[int, tuple[int, int]]) -> Generator[None]:
        """Within, only lanes [low, high) of the given dimensions are read; the others load as zero."""
        before = self.tile
        self.tile = TileShape(before.extents, before.limits, dict(bounds))
        yield
        self.tile = before

    def shape(self, value: SSAValue) -> tuple[int, ...]:
        """Extents of a tensor of the body (``shapes`` overrides them when a schedule has merged axes)."""
        return self.shapes.get(value) or shape_of(value.type)

    def read_pairs(self, value: SSAValue, extents: tuple[Extent, ...]) -> None:
        """Read an argument of bf16, from here on, as a tensor of ``extents`` of words that hold pairs."""
        if not isinstance(value, BlockArgument) or len(list(value.uses)) != 1:
            raise InternalError(PASS_FAILED, "pairs are read of an argument that has no other use")
        self.buffers[value] = self.b.words(self.buffers[value])
        self.shapes[value] = extents
        self.pairs.add(value)

    # Values ----------------------------------------------------------------------------------------------------------

    def define(self, value: SSAValue, at: Coordinates, tile: Typed) -> None:
        """State that ``value`` at coordinates ``at`` is ``tile`` (what a root computed); holds in this block."""
        self.b.remember(self._key(value, at), tile)

    def value(self, value: SSAValue, at: Coordinates) -> Typed:
        """The tile of ``value`` at ``at``: rank of the current tile, extent 1 where the value does not vary."""
        key = self._key(value, at)
        found = self.b.recall(key)
        if found is None:
            found = self._compute(value, at)
            self.b.remember(key, found)
        return found

    def _key(self, value: SSAValue, at: Coordinates) -> tuple[Any, ...]:
        limits = tuple(sorted(self.tile.limits.items(), key=lambda item: item[0]))
        return ("value", value, at, self.tile.extents, limits, tuple(sorted(self.tile.bounds.items())))

    def _compute(self, value: SSAValue, at: Coordinates) -> Typed:
        if value in self.staged:
            return self.staged[value](at)
        if isinstance(value, BlockArgument):
            return self.load(self.buffers[value], linearise(at, self.shape(value)), value)
        op = value.owner
        assert isinstance(op, Operation)
        if isinstance(op, Elementwise):
            operands = [self.value(o, broadcast_coordinates(at, self.shape(o))) for o in op.operands]
            return op.scalar(self.scalars, *operands)
        if op.name not in RULES:
            raise InternalError(PASS_FAILED, f"{op.name} cannot be computed inside a kernel whose root is another op")
        return RULES[op.name](self, op, at)

    # Memory ----------------------------------------------------------------------------------------------------------

    def load(self, source: SSAValue, position: Expr, like: SSAValue) -> Typed:
        """Elements of the flat buffer ``source`` at ``position``, held as ``like``'s element type in registers."""
        kind = element_of(like)
        lanes = position.lanes()
        if not self._is_affine(position):
            loaded = self.b.gather(source, self.index_tile(position), self._mask(lanes))
        else:
            loaded = self._load_affine(source, position, lanes)
        if like in self.pairs:
            return Typed(loaded, I32)
        return Typed(self.b.cast(loaded, register_type(kind)), kind)

    def _is_affine(self, position: Expr) -> bool:
        """True if an access at ``position`` has a stride per lane dimension that an access can have: the innermost
        one, or the outer one of two where they change places, is a number."""
        if not position.is_linear():
            return False
        strides = [position.stride(dim) for dim in range(self.tile.rank)]
        return not strides or not isinstance(strides[-1], Dim) or (len(strides) == 2 and strides[0] == 1)

    def _load_affine(self, source: SSAValue, position: Expr, lanes: frozenset[int]) -> SSAValue:
        extents = tuple(extent if dim in lanes else 1 for dim, extent in enumerate(self.tile.extents))
        strides = tuple(position.stride(dim) for dim in range(self.tile.rank))
        base = self.scalar(position.without_lanes())
        limits = [(dim, limit) for dim, limit in self.tile.limits.items() if dim in lanes]
        if len(extents) == 2 and 1 not in extents and strides[1] != 1 and strides[0] == 1:
            swapped = [(1 - dim, limit) for dim, limit in limits]
            lower, upper = self.tile.static_bounds(lanes)
            loaded = self.b.load(
                source, base, extents[::-1], strides[::-1], limits=swapped, lower=lower[::-1], upper=upper[::-1]
            )
            return self.b.transpose(loaded)
        lower, upper = self.tile.static_bounds(lanes)
        return self.b.load(source, base, extents, strides, limits=limits, lower=lower, upper=upper)

    def load_scratch(self, source: SSAValue, position: Expr) -> SSAValue:
        """A tile of a scratch buffer, as stored there."""
        return self._load_affine(source, position, position.lanes())

    def store(self, tile: Typed, target: SSAValue, position: Expr) -> None:
        """Store a tile to the flat buffer ``target`` at ``position``, which says where each lane goes."""
        value = self.b.cast(tile.value, memory_type(tile.element))
        value = self.b.broadcast(value, self.tile.extents)
        if not self._is_affine(position):
            mask = self._mask(frozenset(self.tile.limits))
            mask = mask if mask is None else self.b.broadcast(mask, self.tile.extents)
            self.b.scatter(value, target, self.index_tile(position, full=True), mask)
            return
        strides = tuple(position.stride(dim) for dim in range(self.tile.rank))
        base = self.scalar(position.without_lanes())
        limits = list(self.tile.limits.items())
        if self.tile.rank == 2 and 1 not in self.tile.extents and strides[0] == 1 and strides[1] != 1:
            swapped = [(1 - dim, limit) for dim, limit in limits]
            self.b.store(self.b.transpose(value), target, base, strides[::-1], limits=swapped)
            return
        self.b.store(value, target, base, strides, limits=limits)

    def _mask(self, lanes: frozenset[int]) -> SSAValue | None:
        mask: SSAValue | None = None
        for dim, (low, high) in self.tile.bounds.items():
            if dim in lanes:
                lanes_of = self.b.iota(self._extents(frozenset((dim,))), dim)
                inside = self.b.binary(
                    "and_", self.b.compare("ge", lanes_of, low), self.b.compare("lt", lanes_of, high)
                )
                mask = inside if mask is None else self.b.binary("and_", mask, inside)
        for dim, limit in self.tile.limits.items():
            if dim in lanes:
                extents = tuple(e if d == dim else 1 for d, e in enumerate(self.tile.extents))
                inside = self.b.compare("lt", self.b.iota(extents, dim), self.b.index(limit))
                mask = inside if mask is None else self.b.binary("and_", mask, inside)
        return mask if mask is None else self.b.broadcast(mask, self._extents(lanes))

    def _extents(self, lanes: frozenset[int]) -> tuple[int, ...]:
        return tuple(extent if dim in lanes else 1 for dim, extent in enumerate(self.tile.extents))

    # Index expressions -----------------------------------------------------------------------------------------------

    def scalar(self, expression: Expr) -> Index:
        """A lane-free expression as a number or an index value."""
        return self.b.isum(
            [self.b.imul(self._atom(atom), factor) for atom, factor in expression.terms] + [expression.constant]
        )

    def _atom(self, atom: Iv | Lane | FloorDiv | Mod | Data) -> Index:
        match atom:
            case Iv() | Data():
                return atom.value
            case FloorDiv():
                shift = _shift(atom)
                shifted = self.scalar(atom.numerator + shift * atom.divisor)
                return self.b.isub(self.b.idiv(shifted, atom.divisor), shift)
            case Mod():
                shift = _shift(atom)
                return self.b.irem(self.scalar(atom.numerator + shift * atom.divisor), atom.divisor)
            case Lane():
                raise InternalError(PASS_FAILED, "a lane has no scalar value")

    def index_tile(self, expression: Expr, *, full: bool = False) -> SSAValue:
        """An expression as a tile of index values, extent 1 where it does not vary (``full``: of the whole tile)."""
        base = self.scalar(Expr(expression.constant, tuple(t for t in expression.terms if not Expr(0, (t,)).lanes())))
        total: SSAValue | None = None
        for atom, factor in expression.terms:
            if Expr(0, ((atom, factor),)).lanes():
                term = self._atom_tile(atom)
                term = term if factor == 1 else self.b.mul(term, self.b.index(factor))
                total = term if total is None else self.b.add(total, term)
        if total is None:
            total = self.b.index(base)
        elif self.b.known(base) != 0:
            total = self.b.add(total, self.b.index(base))
        return self.b.broadcast(total, self.tile.extents if full else self._extents(expression.lanes()))

    def _atom_tile(self, atom: Iv | Lane | FloorDiv | Mod | Data) -> SSAValue:
        match atom:
            case Lane():
                return self.b.iota(self._extents(frozenset((atom.dim,))), atom.dim)
            case FloorDiv() | Mod():
                shift = _shift(atom)
                tile = self.index_tile(atom.numerator + shift * atom.divisor)
                divisor = self.b.index(atom.divisor)
                if isinstance(atom, Mod):
                    return self.b.binary("remu", tile, divisor)
                quotient = self.b.binary("divu", tile, divisor)
                return quotient if shift == 0 else self.b.sub(quotient, self.b.index(shift))
            case Iv() | Data():
                return atom.value

    def compare(self, predicate: str, expression: Expr, number: Extent) -> SSAValue:
        """A mask (tile, or scalar when no lane is involved): ``expression predicate number``."""
        if expression.lanes():
            return self.b.compare(predicate, self.index_tile(expression), self.b.index(number))
        return self.b.compare(predicate, self.b.index(self.scalar(expression)), self.b.index(number))

    def inside(self, expression: Expr, extent: Extent) -> SSAValue | None:
        """A mask: 0 <= expression < extent; None when that always holds."""
        low, high = expression.bounds()
        checks = [] if surely(low, ">=", 0) else [self.compare("ge", expression, 0)]
        if not surely(high, "<", extent):
            checks.append(self.compare("lt", expression, extent))
        if len(checks) == 2:
            return self.b.binary("and_", checks[0], checks[1])
        return checks[0] if checks else None

    def clamp(self, expression: Expr, extent: Extent) -> Expr:
        """``expression`` limited to [0, extent), unchanged when it always is."""
        low, high = expression.bounds()
        if surely(low, ">=", 0) and surely(high, "<", extent):
            return expression
        last = extent - 1
        if expression.lanes():
            tile = self.b.binary("max", self.index_tile(expression), 0)
            return data(self.b.binary("min", tile, self.b.index(last)), 0, last)
        limited = self.b.imin(self.b.imax(self.scalar(expression), 0), last)
        return data(limited, 0, last) if isinstance(limited, SSAValue) else Expr(limited)

    def as_index(self, tile: Typed, extent: Extent) -> Expr:
        """An integer tile read from memory as a coordinate of an axis of ``extent``: negatives count from the end, and
        what is outside is limited to the axis, so that no input can make a kernel leave its buffers."""
        raw, count = self.scalars.index(tile), self.b.index(extent)
        wrapped = self.b.select(self.b.compare("lt", raw, 0), self.b.add(raw, count), raw)
        limited = self.b.binary("min", self.b.binary("max", wrapped, 0), self.b.index(extent - 1))
        if shape(limited) and all(e == 1 for e in shape(limited)):
            limited = self.b.extract(limited, (0,) * len(shape(limited)))
        return data(limited, 0, largest(extent - 1, 0))

    def from_index(self, expression: Expr, like: SSAValue) -> Typed:
        """A coordinate as a number of ``like``'s element type."""
        kind = element_of(like)
        tile = self.index_tile(expression) if expression.lanes() else self.b.index(self.scalar(expression))
        return Typed(self.b.cast(tile, register_type(kind)), kind)

    def mask_and(self, masks: Sequence[SSAValue | None]) -> SSAValue | None:
        """Conjunction of masks; None stands for true."""
        present = [mask for mask in masks if mask is not None]
        total = present[0] if present else None
        for mask in present[1:]:
            assert total is not None
            total = self.b.binary("and_", total, mask)
        return total


def _shift(atom: FloorDiv | Mod) -> Extent:
    """How often the divisor is to be added to the numerator for it not to be negative: machines divide such only."""
    low = atom.numerator.bounds()[0]
    return 0 if surely(low, ">=", 0) else largest(0, ceildiv(-low, atom.divisor))


def broadcast_coordinates(at: Coordinates, operand_shape: tuple[int, ...]) -> Coordinates:
    """Coordinates of an operand that broadcasts, numpy-style, to the tensor that ``at`` points into."""
    trailing = at[len(at) - len(operand_shape) :]
    return tuple(Expr() if extent == 1 else c for c, extent in zip(trailing, operand_shape, strict=True))
