"""Group all ops into dispatches: a root with the views before it and the elementwise ops after it, or a map.

Before: a function of graph ops. After: the function holds stored constants, checks, ``graph.dispatch`` and its return,
and slices that are places in memory, where a value is cut in many (unrolled loops do: their rounds then share kernels);
every other op stands in the body of a dispatch. A loop stays, and its body is grouped as a function is. Views and small
constants are copied into every dispatch that uses them; other ops are computed once.

Compressed weights are decoded in every dispatch that reads them.

Legality and profit: an op follows a root into its dispatch when it is the only user of the value, is elementwise and
does not broadcast it (or is a reshape, or a transpose that keeps the innermost axis). Contractions, convolutions,
attention and recurrences read their operands many times, so only views are fused before them, and only those that keep
the innermost axis; reductions and maps take elementwise producers that nobody else needs. Depthwise and Winograd's
convolutions and pools widen bf16 as they read it. A depthwise convolution and the product of its pixels that alone uses
them, a pointwise convolution, are one dispatch where its weights are few and rows of the image long (``separable``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from xdsl.context import Context
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp
from xdsl.ir import Block, Operation, SSAValue
from xdsl.passes import ModulePass

from penstock.compiler.dialects.graph.attention import Attention
from penstock.compiler.dialects.graph.base import GraphOp, element_of, elements
from penstock.compiler.dialects.graph.compression import Decompress
from penstock.compiler.dialects.graph.contraction import Matmul
from penstock.compiler.dialects.graph.convolution import Conv
from penstock.compiler.dialects.graph.counting import Counting, counted, counted_symbols, mentioned
from penstock.compiler.dialects.graph.elementwise import Cast, Elementwise
from penstock.compiler.dialects.graph.logic import Select
from penstock.compiler.dialects.graph.loop import Loop, Next, blocks_of
from penstock.compiler.dialects.graph.shape import Expand, Iota, Pad, Reshape, Slice, Transpose
from penstock.compiler.dialects.graph.structure import Checked, Constant, Dispatch, Yield
from penstock.compiler.dialects.graph.window import CHANNELS_LAST
from penstock.compiler.dtypes import BF16, F32, shape_of
from penstock.compiler.extents import Symbol, is_number, surely, typical
from penstock.compiler.locations import fuse_ops, source_names

ROOT_KINDS = {
    "graph.matmul": "contraction",
    "graph.conv": "convolution",
    "graph.winograd_conv": "winograd",
    "graph.pool": "window",
    "graph.reduce": "reduction",
    "graph.arg_reduce": "reduction",
    "graph.normalize": "normalization",
    "graph.softmax": "normalization",
    "graph.log_softmax": "normalization",
    "graph.attention": "attention",
    "graph.lstm": "recurrence",
    "graph.gru": "recurrence",
    "graph.rnn": "recurrence",
    "graph.linear_attention": "linear_attention",
    "graph.cumulative": "scan",
    "graph.top_k": "scan",
    "graph.scatter_nd": "scatter",
    "graph.scatter_elements": "scatter",
    "graph.custom": "custom",
    "graph.roi_align": "roi",
    "graph.roi_max_pool": "roi",
    "graph.det": "determinant",
    "graph.non_zero": "counting",
    "graph.measure": "measuring",
    "graph.group": "grouping",
    "graph.suppress": "suppression",
}
STREAMING = ("reduction", "normalization", "map", "counting", "measuring")
MANY = 8  # slices of one value, each of which would be another kernel
FEW = 64  # elements, which are computed in the time that it takes to ask whether they are needed
VIEWS = (Reshape, Transpose, Expand, Slice)
READ_OFTEN = ("graph.sample",)  # ops that read each element of their first operand several times
WIDENING = ("depthwise", "winograd", "window")  # kinds that widen bf16 as they read it
LEAST_ROW = 14  # pixels of a row, and rows, that a separable convolution is fused for
MOST_WEIGHTS = 512 * 1024  # bytes of its product's weights, which have to stay in the second level of cache
IN_PLACE = ("scatter", "custom")  # kinds whose results are built up in memory, so that nothing can follow tile by tile


@dataclass(frozen=True)
class FormDispatches(ModulePass):
    """``max_ops`` limits how many ops one dispatch may hold."""

    name: ClassVar[str] = "form-dispatches"
    max_ops: int = 64

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        for function in op.body.block.ops:
            if isinstance(function, func.FuncOp):
                symbols: dict[str, int] = {}
                for block in blocks_of(function.body.block):
                    Fusion(block, self.max_ops, symbols).run()


def root_kind(op: Operation) -> str | None:
    """The schedule family of a root op; None for an op that is not a root."""
    kind = ROOT_KINDS.get(op.name)
    if isinstance(op, Attention) and op.pairs:
        return "paired_attention"
    if isinstance(op, Conv) and op.layout == CHANNELS_LAST and op.groups > 1:
        *_, inner, features = shape_of(op.operands[1].type)
        if inner == 1 and not op.panel and features >= op.groups:
            return "depthwise"
    return kind


def chooses(op: Operation) -> bool:
    """True for a select by one boolean: what it does not choose is better left out of a run than fused with it."""
    return isinstance(op, Select) and elements(op.operands[0].type) == 1


def is_place(op: Operation) -> bool:
    """True for one of many slices of a value, whose elements lie one after the other in it."""
    if not isinstance(op, Slice) or any(step != 1 for step in op.steps):
        return False
    whole, part = shape_of(op.operands[0].type), shape_of(op.out.type)
    last = max((axis for axis in range(len(whole)) if whole[axis] != part[axis]), default=-1)
    together = all(part[axis] == 1 for axis in range(last)) and surely(elements(op.out.type), ">", 0)
    many = 0
    for use in op.operands[0].uses:
        many += isinstance(use.operation, Slice)
        if many >= MANY:
            return together
    return False


def widens(op: Operation) -> bool:
    """True for a cast from bf16 to f32."""
    return isinstance(op, Cast) and (element_of(op.operands[0]), element_of(op.out)) == (BF16, F32)


def narrows(op: Operation) -> bool:
    """True for a cast from f32 to bf16."""
    return isinstance(op, Cast) and (element_of(op.operands[0]), element_of(op.out)) == (F32, BF16)


def separable(chain: list[Operation], product: Matmul) -> bool:
    """True for a depthwise convolution, with what follows it, that a product with packed weights takes row by row.

    A row of the image has to be long enough that weights are not read too often for it, and rows enough to share;
    weights have to stay in the second level of cache. All of it is f32; only the batch may be symbolic.
    """
    *inner, last = chain
    if not isinstance(last, Reshape) or any(isinstance(op, VIEWS) for op in inner) or not product.b_panel:
        return False
    if len(list(last.out.uses)) != 1 or any(element_of(op.results[0]) != F32 for op in chain):
        return False
    image, pixels = shape_of(last.operands[0].type), shape_of(last.out.type)
    if len(image) != 4 or not all(is_number(extent) for extent in image[1:]):
        return False
    batch, rows, columns, channels = image
    weights, row = 4 * elements(product.operands[1].type), 4 * columns * channels
    fits = weights <= MOST_WEIGHTS and row <= MOST_WEIGHTS // 4 and min(rows, columns) >= LEAST_ROW
    return fits and pixels == (batch * rows * columns, channels)


class Fusion:
    """The grouping of one function, or of the body of a loop. ``symbols`` are the names of kernels made so far."""

    def __init__(self, block: Block, max_ops: int, symbols: dict[str, int]) -> None:
        self.block, self.max_ops = block, max_ops
        self.followers: dict[Operation, list[Operation]] = {}
        self.member: dict[Operation, Operation] = {}
        self.kinds: dict[Operation, str] = {}
        self.symbols = symbols
        self.done: dict[SSAValue, SSAValue] = {}

    def run(self) -> None:
        """Group, build the dispatches in place, and erase what they replace."""
        block = self.block
        for op in list(block.ops):
            if root_kind(op) is not None and op not in self.member:
                self._follow(op)
                self._join(op)
        terminator = block.last_op
        assert terminator is not None
        for op in list(block.ops):  # others may know what is counted by its symbol alone
            if isinstance(op, Counting):
                self._materialise(op.results[-1])
        for index, value in enumerate(list(terminator.operands)):
            if not (isinstance(terminator, Next) and isinstance(value.owner, Constant)):
                terminator.operands[index] = self._materialise(value)
        for op in reversed(list(block.ops)):
            unused = isinstance(op, GraphOp) and all(result.first_use is None for result in op.results)
            unused = unused and op is not terminator
            if unused and not (isinstance(op, Dispatch | Loop) and counted(op)):
                op.detach()
                op.erase()
        self._sort(block)

    def _sort(self, block: Block) -> None:
        """Put every op after what it uses: dispatches were made from the results backwards."""
        placed: set[Operation] = set()
        terminator = block.last_op
        live = [op for op in block.ops if op is not terminator]
        order: list[Operation] = []

        source: dict[Symbol, Operation] = {}
        for op in live:
            for symbol in counted_symbols([op], block.args):
                source.setdefault(symbol, op)

        def needs(op: Operation) -> list[Operation]:
            """What defines the operands of ``op`` and, where it is computed, the counted symbols it mentions."""
            owners = [operand.owner for operand in op.operands if isinstance(operand.owner, Operation)]
            counts = [source[symbol] for symbol in sorted(mentioned(op), key=str) if symbol in source] if source else []
            return [*owners, *(other for other in counts if other is not op)]

        def place(op: Operation) -> None:
            stack: list[tuple[Operation, bool]] = [(op, False)]
            while stack:
                current, ready = stack.pop()
                if current in placed:
                    continue
                if ready:
                    placed.add(current)
                    order.append(current)
                    continue
                stack.append((current, True))
                for owner in reversed(needs(current)):
                    if owner not in placed and owner.parent is block:
                        stack.append((owner, False))

        for op in live:
            if isinstance(op, Dispatch | Constant | Checked | Slice | Loop):
                place(op)
        for op in order:
            op.detach()
            assert terminator is not None
            block.insert_op_before(op, terminator)

    # Epilogues -------------------------------------------------------------------------------------------------------

    def _follow(self, root: Operation) -> None:
        """Collect the ops that follow ``root`` into its dispatch."""
        chain: list[Operation] = [root]
        self.member[root] = root
        reshaped = False
        follows = len(root.results) == 1 and root_kind(root) not in IN_PLACE
        while follows and len(chain) < self.max_ops:
            value = chain[-1].results[0]
            users = {use.operation for use in value.uses}
            if len(users) != 1:
                break
            (user,) = users
            if not self._may_follow(user, value, reshaped):
                break
            reshaped = reshaped or isinstance(user, Reshape)
            chain.append(user)
            self.member[user] = root
        self.followers[root] = chain

    def _may_follow(self, user: Operation, value: SSAValue, reshaped: bool) -> bool:
        if user in self.member or chooses(user) or (widens(user) and isinstance(value.owner, Cast)):
            return False  # what is rounded to be widened again is rounded for memory
        if isinstance(user, Elementwise):
            return shape_of(user.out.type) == shape_of(value.type)
        if isinstance(user, Transpose):
            return not reshaped and user.permutation[-1] == len(user.permutation) - 1
        return isinstance(user, Reshape)

    def _join(self, product: Operation) -> None:
        """Make one dispatch of a product and the depthwise convolution whose pixels it multiplies, where that pays."""
        if not isinstance(product, Matmul) or not isinstance(product.operands[0].owner, Operation):
            return
        source = self.member.get(product.operands[0].owner)
        if source is None or root_kind(source) != "depthwise" or not separable(self.followers[source], product):
            return
        chain = [*self.followers[source], *self.followers[product]]
        if len(chain) <= self.max_ops:
            del self.followers[source]
            self.followers[product] = chain
            self.member.update(dict.fromkeys(chain, product))
            self.kinds[product] = "separable"

    # Dispatches ------------------------------------------------------------------------------------------------------

    def _materialise(self, value: SSAValue) -> SSAValue:
        """``value`` as a result of a dispatch, an argument of the function or a stored constant."""
        stack = [value]
        while stack:
            current = stack[-1]
            if current in self.done or not isinstance(current.owner, Operation):
                stack.pop()
                continue
            owner = current.owner
            if isinstance(owner, Constant) and "key" in owner.attributes:
                self.done[current] = current
                stack.pop()
                continue
            body = None if isinstance(owner, Checked | Dispatch | Loop) or is_place(owner) else Body(self, current)
            inputs = owner.operands if body is None else body.inputs
            if isinstance(owner, Loop):  # what it reads of constants needs no kernel
                inputs = [value for value in inputs if not isinstance(value.owner, Constant)]
            waiting = [needed for needed in inputs if needed not in self.done and isinstance(needed.owner, Operation)]
            if waiting:
                stack.extend(waiting)
                continue
            if body is None:
                self._keep(owner)
            else:
                self._build(body)
            stack.pop()
        return self.done.get(value, value)

    def _keep(self, op: Operation) -> None:
        """``op``, which is a dispatch already or stays outside of them, on what they compute."""
        if isinstance(op, Loop):
            for index, value in enumerate(list(op.operands)):
                if not isinstance(value.owner, Constant):
                    op.operands[index] = self.done.get(value, value)
            self.done.update((result, result) for result in op.results)
            return
        copy = op.clone(value_mapper={value: self.done.get(value, value) for value in op.operands})
        last = self.block.last_op
        assert last is not None
        self.block.insert_op_before(copy, last)
        self.done.update(zip(op.results, copy.results, strict=True))

    def _build(self, body: Body) -> None:
        inputs = [self.done.get(value, value) for value in body.inputs]
        arguments = Block(arg_types=[value.type for value in inputs])
        mapping: dict[SSAValue, SSAValue] = dict(zip(body.inputs, arguments.args, strict=True))
        for op in body.ops:
            copy = op.clone(value_mapper=mapping)
            arguments.add_op(copy)
        located = [op for op in body.ops if not isinstance(op, Constant)] or body.ops
        location = fuse_ops(located)
        outputs = [mapping[value] for value in body.outputs]
        arguments.add_op(Yield.create(operands=outputs, location=location))
        symbol = self._symbol(body)
        dispatch = Dispatch.around(inputs, arguments, kind=body.kind, symbol=symbol, location=location)
        last = self.block.last_op
        assert last is not None
        self.block.insert_op_before(dispatch, last)
        for old, new in zip(body.outputs, dispatch.results, strict=True):
            new.name_hint = old.name_hint
            self.done[old] = new

    def _symbol(self, body: Body) -> str:
        """A kernel name from the root's source node."""
        op = body.root or next((op for op in reversed(body.ops) if not isinstance(op, Constant)), None)
        names = source_names(op.location) if op is not None else ()
        stem = re.sub(r"[^A-Za-z0-9_]+", "_", names[0] if names else body.kind).strip("_")[:60] or body.kind
        stem = f"k_{stem}" if stem[0].isdigit() else stem
        symbol = stem
        while symbol in self.symbols:  # a model's own names may look like numbered ones
            self.symbols[stem] += 1
            symbol = f"{stem}_{self.symbols[stem]}"
        self.symbols[symbol] = 1
        return symbol


class Body:
    """The ops of one dispatch that computes ``value``: in order, with what comes from outside."""

    def __init__(self, fusion: Fusion, value: SSAValue) -> None:
        self.fusion = fusion
        self.inputs: list[SSAValue] = []
        self.ops: list[Operation] = []
        self._seen: set[Operation] = set()
        self._often: set[Operation] = set()
        owner = value.owner
        assert isinstance(owner, Operation)
        self.root: Operation | None = fusion.member.get(owner)
        if self.root is None:
            self.kind = "map"
            self.outputs: list[SSAValue] = [value]
            self._include(owner, {owner})
            return
        chain = fusion.followers[self.root]
        kind = fusion.kinds.get(self.root) or root_kind(self.root)
        assert kind is not None
        self.kind = kind
        last = chain[-1]
        self.outputs = list(self.root.results) if len(self.root.results) > 1 else [last.results[0]]
        for op in chain:
            self._include(op, set(chain))

    def _include(self, op: Operation, members: set[Operation]) -> None:
        if op in self._seen:
            return
        self._seen.add(op)
        for operand in op.operands:
            self._take(operand, op, members)
        self.ops.append(op)

    def _take(self, value: SSAValue, user: Operation, members: set[Operation]) -> None:
        if user.name == "graph.custom":  # its kernel takes buffers as they are listed, the same one twice if need be
            self.inputs.append(value)
            return
        owner = value.owner
        weights = isinstance(user, Conv) and value is user.operands[1]
        often = user in self._often or (user.name in READ_OFTEN and value is user.operands[0])
        if often and isinstance(owner, Operation):
            self._often.add(owner)
        if isinstance(owner, Operation) and not weights and (owner in members or self._fuses(owner, user)):
            self._include(owner, members)
        elif value not in self.inputs:
            self.inputs.append(value)

    def _fuses(self, producer: Operation, user: Operation) -> bool:
        """Whether ``producer``, an operand of ``user``, is computed inside this dispatch."""
        if isinstance(producer, Constant):
            return "value" in producer.attributes
        if isinstance(producer, Decompress):
            return True
        if producer in self.fusion.member or len(self.ops) >= self.fusion.max_ops or is_place(producer):
            return False
        if chooses(user) and typical(elements(user.results[0].type)) > FEW and not isinstance(producer, VIEWS):
            return False
        heavy = self.root is not None and self.kind not in STREAMING and self._feeds_root(user)
        if producer in self._often and not isinstance(producer, VIEWS):
            return False
        if isinstance(producer, VIEWS):
            return not heavy or self._keeps_inner_axis(producer)
        if isinstance(producer, Iota) or (self.kind in WIDENING and widens(producer)):
            return True
        if isinstance(producer, Pad) and narrows(user) and not heavy:
            return len(list(producer.out.uses)) == 1
        if heavy or not isinstance(producer, Elementwise):
            return producer.name == "graph.gather" and self._cheap_gather(producer) and not heavy
        alone = len({use.operation for use in producer.results[0].uses}) == 1
        made, used = (typical(elements(op.results[0].type)) for op in (producer, user))
        return alone and (made >= used or producer.flops_per_element <= 1 or made <= 64)

    def _feeds_root(self, user: Operation) -> bool:
        """True for the root itself and for views between it and ``producer``: not for ops after the root."""
        assert self.root is not None
        return root_kind(user) is not None or user not in self.fusion.followers[self.root]

    def _keeps_inner_axis(self, view: Operation) -> bool:
        """The view's result runs along the same innermost axis as its operand, one element after the other."""
        if isinstance(view, Transpose):
            if view.permutation[-1] == len(view.permutation) - 1:
                return True
            return self.kind == "recurrence" and isinstance(view.operands[0].owner, Constant)
        if isinstance(view, Slice):
            return view.steps[-1] == 1
        if isinstance(view, Expand):
            return True
        if isinstance(view, Reshape):
            before, after = shape_of(view.operands[0].type), shape_of(view.out.type)
            return (
                bool(before) and bool(after) and not isinstance(view.operands[0].owner, Transpose | Expand | Slice)
            ) or (before[-1:] == after[-1:])
        return False

    def _cheap_gather(self, producer: Any) -> bool:
        alone = len({use.operation for use in producer.results[0].uses}) == 1
        return alone and producer.axis < len(shape_of(producer.operands[0].type)) - 1


def dispatches(module: Operation) -> Iterable[Dispatch]:
    """All dispatches of a module, in order."""
    return (op for op in module.walk() if isinstance(op, Dispatch))
