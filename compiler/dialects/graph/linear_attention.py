"""Linear attention: a matrix-valued state per head, read and written once per step of a sequence.

In: queries, keys and values by step and head, the state before the first step, and optionally what the state is
multiplied with at each step and how strongly it is corrected. Out: one vector of values per query, and the last state.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Tensor,
    Text,
    element_of,
    require,
    require_same,
    require_static,
    show,
    wide,
)
from penstock.compiler.dialects.graph.scalar import compute_dtype
from penstock.compiler.dtypes import is_float, shape_of, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array


class LinearAttention(GraphOp):
    """S = gate S + k u^T with u = v, or with ``beta`` u = beta (v - (gate S)^T k); out = scale S^T q, step by step.

    q [B, T, H, D], k [B, T, G, D], v [B, T, G, E], state S [B, G, D, E], gate [B, T, G, 1 or D] (one factor per row of
    S), beta [B, T, G]. Results: out [B, T, H, E] and the state after the last step. G divides H: each state serves H/G
    neighbouring heads of q. Half precision computes in f32, the state too. (Gated delta rule: Yang et al. 2024.)
    """

    name = "graph.linear_attention"
    operand_names = ("q", "k", "v", "state", "gate", "beta")
    optional_operands = 2
    scale = Float(1.0, doc="factor of the results")
    by_width = Bool(False, doc="the results are divided by sqrt(D) besides")
    extras = Text("", "", "gate", "beta", "gate,beta", doc="which optional operands are present, in order")

    def operand(self, name: str) -> SSAValue | None:
        """The operand called ``name``; optional ones stand at the end, as ``extras`` says."""
        if name in self.operand_names[:4]:
            return self.operands[self.operand_names.index(name)]
        present = self.extras.split(",") if self.extras else []
        return self.operands[4 + present.index(name)] if name in present else None

    def infer(self) -> list[Tensor]:
        present = self.extras.split(",") if self.extras else []
        require(len(self.operands) == 4 + len(present), f"{self.name} has the operands that extras say")
        q, k, v = self.shapes()[:3]
        ranks = len(q) == len(k) == len(v) == 4
        require(ranks, f"linear attention takes q, k and v of rank 4, not {show(q)}, {show(k)} and {show(v)}")
        (batch, steps, heads, depth), shared = q, k[2]
        require_static((heads, shared), "the heads of linear attention")
        sentence = f"queries {show(q)}, keys {show(k)} and values {show(v)} do not fit together"
        require_same(k, (batch, steps, shared, depth), sentence)
        require_same(v[:3], k[:3], sentence)
        require(shared > 0 and heads % shared == 0, f"{shared} heads of keys cannot serve {heads} heads of queries")
        require(depth > 0, "linear attention takes queries of one element or more")
        expected = {
            "state": ((batch, shared, depth, v[3]),),
            "gate": ((batch, steps, shared, depth), (batch, steps, shared, 1)),
            "beta": ((batch, steps, shared),),
        }
        for name, shapes in expected.items():
            value = self.operand(name)
            if value is not None:
                found = shape_of(value.type)
                sentence = f"operand {name} of {self.name} has shape {show(shapes[0])}, not {show(found)}"
                require_same(found, found if found in shapes else shapes[0], sentence)
        self._check_elements()
        state = self.operands[3]
        return [tensor((batch, steps, heads, v[3]), self.element()), tensor(shape_of(state.type), element_of(state))]

    def _check_elements(self) -> None:
        kind = self.element()
        for name in self.operand_names:
            value = self.operand(name)
            if value is not None:
                own = element_of(value)
                same = own == kind if name in ("k", "v") else is_float(own)
                fits = same and compute_dtype(own) == compute_dtype(kind)
                require(fits, f"operand {name} of {self.name} does not take {type_name(own)} beside {type_name(kind)}")

    def evaluate(self, *operands: Array) -> tuple[Array, ...]:
        by_value = dict(zip(self.operands, operands, strict=True))
        found = {name: self.operand(name) for name in self.operand_names}
        arrays: dict[str, Any] = {
            name: wide(by_value[value], element_of(value)) for name, value in found.items() if value is not None
        }
        q, k, v, state = (arrays[name] for name in self.operand_names[:4])
        group = q.shape[2] // k.shape[2]
        out = np.empty((*q.shape[:3], v.shape[3]), q.dtype)
        scale = self.scale / math.sqrt(q.shape[3]) if self.by_width else self.scale
        with np.errstate(all="ignore"):
            for t in range(q.shape[1]):
                update = v[:, t]
                if "gate" in arrays:
                    state = state * arrays["gate"][:, t, :, :, None]
                if "beta" in arrays:
                    seen = np.einsum("bgde,bgd->bge", state, k[:, t])
                    update = arrays["beta"][:, t, :, None] * (update - seen)
                state = state + k[:, t, :, :, None] * update[:, :, None, :]
                read = np.repeat(state, group, axis=1)
                out[:, t] = np.einsum("bhd,bhde->bhe", q[:, t], read) * q.dtype.type(scale)
        return out.astype(operands[0].dtype, copy=False), np.asarray(state).astype(operands[3].dtype, copy=False)

    def cost(self) -> Cost:
        (batch, steps, heads, depth), (*_, shared, width) = self.shapes()[0], self.shapes()[2]
        per_step = shared * (2 + 3 * len(self.operands[4:])) + 2 * heads
        return Cost(batch * steps * depth * width * per_step, self.bytes_moved())
