"""Loops that run as often as a run says: a body that is a graph of its own, and what goes from round to round.

In: how often at most, whether to begin, first values, tensors that are scanned, and whatever else the body reads. Out:
the last values, the rows of every round stacked, and how many rounds there were. The one idea: the body is isolated and
everything in it has the same type in every round, so it is optimised, lowered and placed once, like a graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from xdsl.dialects.builtin import LocationAttr
from xdsl.ir import Block, Region, SSAValue
from xdsl.irdl import traits_def
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import IsolatedFromAbove, IsTerminator, Pure
from xdsl.utils.exceptions import VerifyException

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    GraphOp,
    Int,
    Ints,
    Tensor,
    TypeRuleError,
    element_of,
    require,
    require_equal,
    require_same,
    tensor_type,
)
from penstock.compiler.dialects.graph.counting import Counting
from penstock.compiler.dialects.graph.structure import Yield, numbers
from penstock.compiler.dtypes import I1, I64, shape_of, tensor
from penstock.compiler.extents import Extent, Symbol, symbols_of

MOST_ROUNDS = 1 << 30
"""After so many rounds a run ends with a sentence, if nothing bounds a loop more closely."""
UNKNOWN = -1


class Next(Yield):
    """Ends the body of a loop: whether there is another round, what it begins with, and a row for each result that is
    stacked."""

    name = "graph.next"
    traits = traits_def(IsTerminator())


class Loop(Counting):
    """Runs its body at most ``trips`` times, while its condition holds: ``going`` before the first round, later what
    the body says.

    The operands that follow are ``carried`` first values, ``scanned`` tensors, and what the body captures. The body
    gets the number of the round (from 0), the carried values, row ``round`` of each scanned tensor (counted from the
    end where ``backward`` is 1), and the captured values; ``graph.next`` gives the condition, the carried values and
    rows. Results: the carried values after the last round; the rows of each kind stacked along a new first axis of
    ``count`` elements (the first row comes last where ``backward``, which goes on for them, is 1); and the number of
    rounds.

    ``count`` is a counted symbol, or, if ``exact``, the extent that the number of rounds is known to be; -1: nothing is
    stacked. A run ends with a sentence if there would be more than ``limit`` rounds.
    """

    name = "graph.loop"
    operand_names = ("trips", "going", "values")
    optional_operands = 1
    variadic = True
    holds_storage = True
    traits = traits_def(IsolatedFromAbove(), Pure())
    carried = Int(0, doc="how many values go from round to round")
    scanned = Int(0, doc="how many tensors are read row by row")
    backward = Ints((), doc="1: from the last row to the first; for scanned tensors, then for stacked results")
    count = Int(UNKNOWN, doc="rounds")
    exact = Bool(False, doc="the number of rounds is known before the first one")
    limit = Int(MOST_ROUNDS, doc="the most rounds")

    @classmethod
    def around(
        cls, operands: Sequence[SSAValue], body: Block, *, location: LocationAttr | None = None, **parameters: Any
    ) -> Self:
        """A loop on ``operands`` around ``body``, which ends in ``graph.next``. Raises TypeRuleError."""
        attributes = cls.encode_parameters(parameters)
        op = cls.create(operands=operands, attributes=attributes, regions=[Region(body)], location=location)
        try:
            op.check_arity()
            types = op.infer()
        except Exception:
            op.drop_all_references()
            raise
        region = op.regions[0]
        op.detach_region(region)
        op.drop_all_references()
        return cls.create(
            operands=operands, result_types=types, attributes=attributes, regions=[region], location=location
        )

    # Parts -----------------------------------------------------------------------------------------------------------

    @property
    def body(self) -> Block:
        return self.regions[0].block

    @property
    def terminator(self) -> Next:
        last = self.body.last_op
        if not isinstance(last, Next):
            raise TypeRuleError("the body of a loop ends in graph.next")
        return last

    @property
    def first_values(self) -> list[SSAValue]:
        """What the carried values are before the first round."""
        return list(self.operands)[2 : 2 + self.carried]

    @property
    def scans(self) -> list[SSAValue]:
        """The tensors that are read row by row."""
        return list(self.operands)[2 + self.carried : 2 + self.carried + self.scanned]

    @property
    def captured(self) -> list[SSAValue]:
        """What the body reads of the values around it."""
        return list(self.operands)[2 + self.carried + self.scanned :]

    @property
    def stacked(self) -> list[SSAValue]:
        """The results that are stacked."""
        return [*self.results[self.carried : -1]]

    @property
    def counts(self) -> bool:
        """True if the number of rounds is an extent that nobody knows before they have run."""
        return self.count != UNKNOWN and not self.exact

    def turned(self, index: int) -> bool:
        """Whether scanned tensor ``index`` (or, after them, stacked result) is gone through from the end."""
        return bool(self.backward[index]) if self.backward else False

    def symbols(self) -> set[Symbol]:
        """The symbols in types and parameters of the loop and of all that is inside of it."""
        values: list[SSAValue] = [*self.results]
        extents: list[Extent] = [self.count]
        for op in self.walk():
            values += op.results
            values += [value for region in op.regions for block in region.blocks for value in block.args]
            extents += [extent for name in getattr(op, "parameters", ()) for extent in numbers(getattr(op, name))]
        extents += [extent for value in values for extent in shape_of(value.type)]
        return {symbol for extent in extents for symbol in symbols_of(extent)}

    # Meaning ---------------------------------------------------------------------------------------------------------

    def most(self) -> Extent:
        return self.limit

    def infer(self) -> list[Tensor]:
        trips, going = self.operands[:2]
        require(trips.type == tensor((), I64), f"a loop takes its trip count as one i64, not {trips.type}")
        require(going.type == tensor((), I1), f"a loop takes its condition as one i1, not {going.type}")
        given = len(self.operands) - 2 - self.carried - self.scanned
        require(min(self.carried, self.scanned, given) >= 0, "a loop has more values than operands")
        expected = [tensor((), I64), *(value.type for value in self.first_values)]
        for value in self.scans:
            shape = shape_of(value.type)
            require(bool(shape), "what a loop scans has a first axis")
            if self.exact:
                require_equal(shape[0], self.count, f"a loop of {self.count} rounds cannot scan {shape[0]} rows")
            expected.append(tensor(shape[1:], element_of(value)))
        expected += [value.type for value in self.captured]
        found = [argument.type for argument in self.body.args]
        require(found == expected, "the body of a loop takes the round, carried values, rows and captured values")
        condition, *values = self.terminator.operands
        require(condition.type == tensor((), I1), "the body of a loop gives whether there is another round")
        after, rows = values[: self.carried], values[self.carried :]
        require(len(after) == self.carried, f"the body of a loop gives {len(values)} values for {self.carried}")
        for old, new in zip(self.first_values, after, strict=True):
            require(element_of(old) == element_of(new), "a value has another type after a round of a loop")
            sentence = f"a value of type {old.type} has type {new.type} after a round of a loop"
            require_same(shape_of(old.type), shape_of(new.type), sentence)
        require(not rows or self.count != UNKNOWN, "a loop that stacks rows has a count")
        require(len(self.backward) in (0, self.scanned + len(rows)), "a loop has a direction for each of its tensors")
        return [
            *(tensor_type(value) for value in self.first_values),
            *(tensor([self.count, *shape_of(row.type)], element_of(row)) for row in rows),
            tensor([1], I64),
        ]

    def verify_(self) -> None:
        super().verify_()
        if self.limit < 0:
            raise VerifyException("the limit of a loop is not negative")

    def evaluate(self, *operands: Any) -> Any:
        raise TypeError("a loop is run by the interpreter")

    def cost(self) -> Cost:
        """That of one round, as often as is known."""
        inner = [op.cost() for op in self.body.ops if isinstance(op, GraphOp) and not isinstance(op, Yield)]
        times = self.count if self.exact else 1
        return Cost(sum(cost.flops for cost in inner) * times, sum(cost.bytes for cost in inner) * times)

    # Text ------------------------------------------------------------------------------------------------------------

    def print(self, printer: Printer) -> None:
        super().print(printer)
        printer.print_string(" ")
        printer.print_region(self.regions[0])

    @classmethod
    def parse(cls, parser: Parser) -> Self:
        op = super().parse(parser)
        op.add_region(parser.parse_region())
        return op


def blocks_of(block: Block) -> list[Block]:
    """``block`` and the bodies of the loops in it, inner ones first."""
    inner = [found for op in block.ops if isinstance(op, Loop) for found in blocks_of(op.body)]
    return [*inner, block]
