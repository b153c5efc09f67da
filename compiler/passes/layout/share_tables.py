"""Read a table that is also the packed right operand of a product from there, so that it is stored once.

Before: gathers of rows of a constant table, and packed products with the same numbers transposed (tied embeddings).
After: such a gather reads the panels, through views that cost nothing. Its rows lie in pieces then, one number a cache
line; so it is done for tables that are large, of which few rows are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of, tensor_type
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.index import Gather
from penstock.compiler.dialects.graph.shape import Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import shape_of, tensor
from penstock.compiler.releasing import Releasing
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite
from penstock.compiler.tied import LEAST, holds, table_of


@dataclass(frozen=True)
class ShareTables(ModulePass):
    """See the module. ``least``: numbers that a table has at least."""

    name: ClassVar[str] = "share-tables"
    least: int = LEAST

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        products = [each for each in op.walk() if isinstance(each, Matmul) and each.b_panel and not each.pairs]
        panels = [(each.n, each.operands[1].owner) for each in products]
        packed = [(n, panel) for n, panel in panels if isinstance(panel, Constant)]
        if packed:
            rewrite(compiler, op, [ReadPanels(compiler, Releasing(compiler.weights, op), self.least, packed)])


class ReadPanels(Pattern):
    """A gather from a table that one of the ``packed`` constants, given with their number of columns, holds."""

    roots = (Gather,)

    def __init__(
        self, ctx: CompilerContext, releasing: Releasing, least: int, packed: list[tuple[int, Constant]]
    ) -> None:
        self.ctx, self.releasing, self.least, self.packed = ctx, releasing, least, packed

    def rewrite(self, op: Gather, rewriter: Rewriter, /) -> None:
        table = table_of(op, self.least)
        panels = None if table is None else self._panels(table)
        if table is None or panels is None:
            return
        count, depth, panel = shape_of(panels.out.type)
        # The product's own constant may come later; equal ones are stored once.
        copy = rewriter.insert(self.releasing.made(panels.clone()))
        rows = rewriter.insert(Transpose.build(copy.out, permutation=(0, 2, 1)))
        flat = rewriter.insert(Reshape.build(rows.out, result=tensor((count * panel, depth), element_of(table.out))))
        kept = rewriter.insert(Slice.build(flat.out, starts=(0, 0), steps=(1, 1), result=tensor_type(table.out)))
        rewriter.set_operand(op, 0, kept.out)
        self.releasing.replaced([table.out])
        self.ctx.statistics["tables read from panels"] += 1

    def _panels(self, table: Constant) -> Constant | None:
        """The packed constant with the rows of ``table`` for its columns."""
        weights, (rows, depth) = self.ctx.weights, shape_of(table.out.type)
        found = [each for n, each in self.packed if n == rows and shape_of(each.out.type)[1] == depth]
        return next((each for each in found if holds(each.array(weights), table.array(weights))), None)
