"""Loop-invariant code motion on a tile kernel.

In: a kernel as a schedule built it. Out: the same kernel with pure ops moved out of the loops they do not depend on.
The one idea: schedules ask for values where they need them; what does not change in a loop is found here, once.
"""

from __future__ import annotations

from xdsl.dialects import scf
from xdsl.ir import Block, Operation
from xdsl.traits import Pure

from penstock.compiler.dialects.tile.base import TileOp, shape
from penstock.compiler.dialects.tile.memory import Kernel

MAX_HOISTED_LANES = 256


def hoist_invariants(kernel: Kernel) -> None:
    """Move pure ops out of ``scf.for`` bodies, innermost loops first; wide tiles stay where they are used."""
    _visit(kernel.body)


def _visit(block: Block) -> None:
    for op in list(block.ops):
        for region in op.regions:
            for inner in region.blocks:
                _visit(inner)
        if isinstance(op, scf.ForOp):
            _hoist(op)


def _hoist(loop: scf.ForOp) -> None:
    body, parent = loop.body.block, loop.parent
    assert parent is not None
    for op in list(body.ops):
        if isinstance(op, TileOp) and op.has_trait(Pure) and _small(op) and not _depends(op, body):
            op.detach()
            parent.insert_op_before(op, loop)


def _small(op: Operation) -> bool:
    lanes = 1
    for extent in shape(op.results[0]):
        lanes *= extent
    return lanes <= MAX_HOISTED_LANES


def _depends(op: Operation, body: Block) -> bool:
    """True if an operand is defined in ``body`` (operands from blocks around it do not change in the loop)."""
    return any(
        operand.owner is body or (isinstance(operand.owner, Operation) and operand.owner.parent is body)
        for operand in op.operands
    )
