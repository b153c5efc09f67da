"""Store the f32 weights of products with few rows in 28 bits each, without loss, where they come from memory.

Before: packed matmuls of few rows, and what else reads their panels, such as the rows of a tied embedding. After: they
read ``decompress`` of words and a list of exceptions (compiler/dialects/graph/compression.py), which kernels decode as
they go.

Such a product takes as long as reading its weights takes, and decoding hides behind it, if they come from memory: where
all weights of this kind together are more than the last level of cache holds, so that each run reads them anew. With
fewer, or more rows, decoding takes longer than what it saves. Weights whose exponents are spread stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

from xdsl.context import Context
from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass

from penstock.compiler.context import CompilerContext
from penstock.compiler.dialects.graph.base import element_of, elements, tensor_bytes
from penstock.compiler.dialects.graph.compression import GROUP, Decompress, compress
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.shape import Transpose
from penstock.compiler.dialects.graph.structure import Constant
from penstock.compiler.dtypes import F32, shape_of
from penstock.compiler.extents import is_number
from penstock.compiler.releasing import Releasing
from penstock.compiler.rewriting import Pattern, Rewriter, rewrite

MOST_ROWS = 4
"""With more, arithmetic takes about as long as reading the weights."""
MANY_BYTES = 64 << 20
"""Of weights that one run reads: more than the part of a last level of cache that a process can count on."""
LEAST = 1 << 18
"""Elements of weights that are worth a kernel of their own."""
COMPRESSED = "compressed_weights"
"""Where a compilation's facts, and an artifact's, tell how many weights were compressed and what it saved."""


@dataclass(frozen=True)
class CompressWeights(ModulePass):
    """``many_bytes``: of weights that could be compressed, how many there must be; ``least``: elements of each one.
    The option ``compress`` of a compilation (``--no-compress``) turns it off."""

    name: ClassVar[str] = "compress-weights"
    many_bytes: int = MANY_BYTES
    least: int = LEAST

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        compiler = cast(CompilerContext, ctx)
        if not compiler.options.get("compress", True):
            return
        found: dict[str, Matmul] = {}
        others: set[str] = set()  # what something else reads too
        for constant in op.walk():
            if isinstance(constant, Constant) and "key" in constant.attributes:
                for use in constant.out.uses:
                    if isinstance(use.operation, Matmul) and use.index == 1 and _fits(use.operation, self.least):
                        found[constant.key] = use.operation
                    elif not isinstance(use.operation, Transpose):
                        others.add(constant.key)
        found = {key: product for key, product in found.items() if key not in others}
        if sum(tensor_bytes(product.operands[1].type) for product in found.values()) >= self.many_bytes:
            columns = {key: product.n for key, product in found.items()}
            pattern = ReadCompressed(compiler, Releasing(compiler.weights, op), columns)
            rewrite(compiler, op, [pattern])
            if any(pattern.made.values()):
                done = sum(map(bool, pattern.made.values()))
                compiler.options[COMPRESSED] = {"count": done, "bytes_saved": pattern.saved}
                compiler.statistics.update({"weights compressed": done, "bytes saved": pattern.saved})


class ReadCompressed(Pattern):
    """Constants of those keys of which the number of ``columns`` is given."""

    roots = (Constant,)

    def __init__(self, ctx: CompilerContext, releasing: Releasing, columns: dict[str, int]) -> None:
        self.ctx, self.releasing, self.columns = ctx, releasing, columns
        self.made: dict[str, tuple[Constant, ...]] = {}
        self.saved = 0

    def rewrite(self, op: Constant, rewriter: Rewriter, /) -> None:
        if "key" not in op.attributes or op.key not in self.columns:
            return
        if op.key not in self.made:
            self.made[op.key] = self._compressed(op)
        if self.made[op.key]:
            operands = [rewriter.insert(self.releasing.made(each.clone())).out for each in self.made[op.key]]
            rewriter.replace(op, Decompress.build(*operands))
            self.releasing.replaced([op.out])

    def _compressed(self, op: Constant) -> tuple[Constant, ...]:
        """What ``graph.decompress`` takes for the weights of ``op``; nothing where it does not pay."""
        found = compress(op.array(self.ctx.weights), self.columns[op.key])
        if found is None:
            return ()
        self.saved += tensor_bytes(op.out.type) - sum(array.nbytes for array in found)
        return tuple(Constant.of(array, self.ctx.weights, name=op.key, location=op.location) for array in found)


def _fits(op: Matmul, least: int) -> bool:
    """Whether the op multiplies few rows by packed weights of f32 that are large."""
    weights = op.operands[1]
    if not op.b_panel or op.pairs:
        return False
    rows = elements(op.operands[0].type) // max(shape_of(weights.type)[1], 1)
    if not is_number(rows) or rows > MOST_ROWS or elements(weights.type) < least:
        return False
    return element_of(weights) == element_of(op.out) == F32 and shape_of(weights.type)[1] % GROUP == 0
