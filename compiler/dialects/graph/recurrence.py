"""Recurrent layers with ONNX's semantics: LSTM, GRU and the plain RNN, in one or both directions.

In: a sequence x [T, B, I], weights, biases and initial states, all of them always present (zeros where the model has
none), then optionally ``lengths`` [B] (integers) and, for LSTM, ``peepholes``; which of these two are there is what
the parameter ``extras`` says. Out: all hidden states [T, directions, B, H] and the last ones [directions, B, H].
The activation functions are written in the scalar language, so that kernels share them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from xdsl.dialects.builtin import IntegerType
from xdsl.ir import SSAValue

from penstock.compiler.dialects.graph.base import (
    Bool,
    Cost,
    Float,
    GraphOp,
    Tensor,
    Text,
    TypeRuleError,
    element_of,
    elements,
    require,
    require_same,
    show,
    wide,
)
from penstock.compiler.dialects.graph.scalar import NumpyScalars, ScalarBuilder
from penstock.compiler.dtypes import BF16, F32, is_float, shape_of, tensor, type_name

if TYPE_CHECKING:
    from penstock.compiler.dialects.graph.base import Array

V = TypeVar("V")

# Names, and ONNX's default alpha and beta, of the functions a layer may use.
FUNCTIONS: dict[str, tuple[float, ...]] = {
    "sigmoid": (),
    "tanh": (),
    "relu": (),
    "softsign": (),
    "softplus": (),
    "affine": (1.0, 0.0),
    "leaky_relu": (0.01,),
    "thresholded_relu": (1.0,),
    "scaled_tanh": (1.0, 1.0),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.0,),
}


def parse_activation(text: str) -> tuple[str, tuple[float, ...]]:
    """Name and numbers of ``tanh`` or ``hard_sigmoid(0.2;0.5)``. Raises TypeRuleError."""
    match = re.fullmatch(r"(\w+)(?:\(([^()]*)\))?", text)
    require(match is not None and match[1] in FUNCTIONS, f"{text!r} is no activation; there are {', '.join(FUNCTIONS)}")
    assert match is not None
    try:
        given = tuple(float(item) for item in match[2].split(";")) if match[2] else ()
    except ValueError as error:
        raise TypeRuleError(f"{text!r} is no activation: its parameters are numbers") from error
    defaults = FUNCTIONS[match[1]]
    require(len(given) <= len(defaults), f"{match[1]} takes {len(defaults)} parameters, not {len(given)}")
    return match[1], given + defaults[len(given) :]


def activate(s: ScalarBuilder[V], text: str, x: V) -> V:
    """The activation function ``text`` of ``x``, in the scalar language."""
    name, numbers = parse_activation(text)
    alpha, beta = (*numbers, 0.0, 0.0)[:2]
    match name:
        case "sigmoid":
            return s.div(1.0, s.add(s.exp(s.neg(x)), 1.0))
        case "tanh":
            return s.tanh(x)
        case "relu":
            return s.maximum(x, 0.0)
        case "softsign":
            return s.div(x, s.add(s.abs(x), 1.0))
        case "softplus":
            return s.add(s.maximum(x, 0.0), s.log(s.add(s.exp(s.neg(s.abs(x))), 1.0)))
        case "affine":
            return s.add(s.mul(x, alpha), beta)
        case "leaky_relu":
            return s.select(s.compare("lt", x, 0.0), s.mul(x, alpha), x)
        case "thresholded_relu":
            return s.select(s.compare("ge", x, alpha), x, s.constant(0.0, x))
        case "scaled_tanh":
            return s.mul(s.tanh(s.mul(x, beta)), alpha)
        case "hard_sigmoid":
            return s.maximum(s.minimum(s.add(s.mul(x, alpha), beta), 1.0), 0.0)
        case _:
            negative = s.mul(s.sub(s.exp(s.minimum(x, 0.0)), 1.0), alpha)
            return s.select(s.compare("lt", x, 0.0), negative, x)


class Recurrent(GraphOp):
    """Base: parameters and shapes that the layers share.

    ``gates`` is how many blocks of H rows weights have; ``states`` how many states a step carries.
    """

    gates: ClassVar[int]
    states: ClassVar[tuple[str, ...]]
    default_activations: ClassVar[str]
    direction = Text("forward", "forward", "reverse", "bidirectional", doc="order in which the sequence is read")
    clip = Float(0.0, doc="bound of the arguments of the gates' activations; 0: none")
    extras = Text(
        "", "", "lengths", "peepholes", "lengths,peepholes", doc="which optional operands are present, in order"
    )

    activations: Text

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    def operand(self, name: str) -> SSAValue | None:
        """The operand called ``name``; optional ones stand at the end, as ``extras`` says."""
        fixed = self.operand_names[: len(self.operand_names) - self.optional_operands]
        if name in fixed:
            return self.operands[fixed.index(name)]
        present = self.extras.split(",") if self.extras else []
        return self.operands[len(fixed) + present.index(name)] if name in present else None

    def functions(self) -> list[list[str]]:
        """Names of the activation functions, for each direction."""
        names = self.activations.split(",")
        count = len(self.default_activations.split(","))
        return [names[:count], names[-count:]][: self.directions]

    def infer(self) -> list[Tensor]:
        present = self.extras.split(",") if self.extras else []
        required = len(self.operand_names) - self.optional_operands
        require(set(present) <= set(self.operand_names), f"{self.name} has no operand {self.extras}")
        require(len(self.operands) == required + len(present), f"{self.name} has the operands that extras say")
        x, _, r = self.shapes()[:3]
        require(len(x) == 3, f"{self.name} takes a sequence [time, batch, features], not {show(x)}")
        require(len(r) == 3, f"{self.name} takes recurrent weights [directions, rows, hidden], not {show(r)}")
        steps, batch, features = x
        hidden, ways = r[2], self.directions
        expected: dict[str, tuple[int, ...]] = {
            "w": (ways, self.gates * hidden, features),
            "r": (ways, self.gates * hidden, hidden),
            "b": (ways, 2 * self.gates * hidden),
            "lengths": (batch,),
            "peepholes": (ways, 3 * hidden),
        }
        expected |= {f"initial_{state}": (ways, batch, hidden) for state in self.states}
        for name, shape in expected.items():
            value = self.operand(name) if name in self.operand_names else None
            if value is not None:
                found = shape_of(value.type)
                require_same(shape, found, f"operand {name} of {self.name} has shape {show(shape)}, not {show(found)}")
                self._check_element(name, value)
        count, names = len(self.default_activations.split(",")), self.activations.split(",")
        fits = len(names) in (count, ways * count)
        require(fits, f"{self.name} has {count} activations per direction, not {len(names)}")
        for name in names:
            parse_activation(name)
        state = tensor((ways, batch, hidden), self.element())
        return [tensor((steps, ways, batch, hidden), self.element()), *[state for _ in self.states]]

    def _check_element(self, name: str, value: SSAValue) -> None:
        kind = element_of(value)
        fits = isinstance(kind, IntegerType) if name == "lengths" else kind == self.element() and is_float(kind)
        fits = fits or (name in ("w", "r") and (self.element(), kind) == (F32, BF16))
        require(fits, f"operand {name} of {self.name} does not take {type_name(kind)}")

    def arrays(self, operands: tuple[Array, ...]) -> dict[str, Any]:
        """Operands by name, floating-point ones in the type arithmetic is done in."""
        by_value = dict(zip(self.operands, operands, strict=True))
        found = {name: self.operand(name) for name in self.operand_names}
        return {
            name: by_value[v] if name == "lengths" else wide(by_value[v], element_of(v))
            for name, v in found.items()
            if v is not None
        }

    def evaluate(self, *operands: Array) -> tuple[Array, ...]:
        arrays = self.arrays(operands)
        steps, batch = arrays["x"].shape[:2]
        lengths = arrays.get("lengths", np.full(batch, steps)).astype(np.int64)
        ways: list[tuple[Any, ...]] = []
        for way in range(self.directions):
            backwards = self.direction == "reverse" or way == 1
            with np.errstate(all="ignore"):
                ways.append(self._run_one(arrays, way, backwards, lengths))
        every = np.stack([way[0] for way in ways], axis=1)
        last = [np.stack([way[1][i] for way in ways]) for i in range(len(self.states))]
        return tuple(value.astype(operands[0].dtype, copy=False) for value in (every, *last))

    def _run_one(self, arrays: dict[str, Any], way: int, backwards: bool, lengths: Any) -> tuple[Any, tuple[Any, ...]]:
        """One direction: hidden states [T, B, H] (0 beyond a sequence's length), and the states after its last step."""
        step = self.stepper(arrays, way)
        x = arrays["x"]
        carried: tuple[Any, ...] = tuple(arrays[f"initial_{state}"][way] for state in self.states)
        hidden = np.zeros((*x.shape[:2], carried[0].shape[-1]), x.dtype)
        order = range(x.shape[0])
        for t in reversed(order) if backwards else order:
            alive = (t < lengths)[:, None]
            new: tuple[Any, ...] = step(x[t], carried)
            carried = tuple(NumpyScalars().select(alive, a, b) for a, b in zip(new, carried, strict=True))
            hidden[t] = np.where(alive, carried[0], 0)
        return hidden, carried

    def stepper(self, arrays: dict[str, Any], way: int) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
        """A function from one input [B, I] and the states to the new states."""
        raise NotImplementedError(self.name)

    def apply(self, text: str, x: Any) -> Any:
        """Clip, then the activation function ``text``."""
        if self.clip:
            x = np.clip(x, x.dtype.type(-self.clip), x.dtype.type(self.clip))
        return activate(NumpyScalars(), text, x)

    def cost(self) -> Cost:
        steps, batch, features = self.shapes()[0]
        ways, rows, hidden = self.shapes()[2]
        products = 2 * rows * (features + hidden)
        activations = 14 * elements(self.results[0].type) * self.gates
        return Cost(steps * batch * ways * products + activations, self.bytes_moved())


class Lstm(Recurrent):
    """Long short-term memory. Gates in the order of ONNX: input i, output o, forget f, cell c.

    i = f1(W_i x + R_i h + b + P_i C), f likewise, c = f2(W_c x + R_c h + b), C' = f C + i c,
    o = f1(W_o x + R_o h + b + P_o C'), h' = o f3(C'). w [dirs, 4H, I], r [dirs, 4H, H], b [dirs, 8H] (first for w,
    then for r), peepholes [dirs, 3H] (i, o, f). Results: every h, the last h, the last C.
    """

    name = "graph.lstm"
    operand_names = ("x", "w", "r", "b", "initial_h", "initial_c", "lengths", "peepholes")
    optional_operands = 2
    gates = 4
    states = ("h", "c")
    default_activations = "sigmoid,tanh,tanh"
    activations = Text("sigmoid,tanh,tanh", doc="f1,f2,f3, for all directions or each; numbers as in elu(0.5)")
    input_forget = Bool(False, doc="the forget gate is 1 minus the input gate")

    def stepper(self, arrays: dict[str, Any], way: int) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
        w, r, b = arrays["w"][way].T, arrays["r"][way].T, np.add(*np.split(arrays["b"][way], 2))
        peep = arrays["peepholes"][way] if "peepholes" in arrays else np.zeros(3 * r.shape[0], r.dtype)
        peep_i, peep_o, peep_f = np.split(peep, 3)
        f1, f2, f3 = self.functions()[way]

        def step(x: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
            h, cell = states
            i, o, f, c = np.split(x @ w + h @ r + b, 4, axis=-1)
            i = self.apply(f1, i + peep_i * cell)
            f = 1 - i if self.input_forget else self.apply(f1, f + peep_f * cell)
            cell = f * cell + i * self.apply(f2, c)
            # ``clip`` bounds the arguments of gates, not that of the last function (as onnxruntime and OpenVINO do).
            return self.apply(f1, o + peep_o * cell) * activate(NumpyScalars(), f3, cell), cell

        return step


class Gru(Recurrent):
    """Gated recurrent unit. Gates in the order of ONNX: update z, reset r, hidden h.

    z = f(W_z x + R_z h + b), r likewise, n = g(W_h x + R_h (r h) + b), or with ``linear_before_reset``
    g(W_h x + r (R_h h + b_R) + b_W); h' = (1 - z) n + z h. w [dirs, 3H, I], r [dirs, 3H, H], b [dirs, 6H] (first for
    w, then for r). Results: every h, the last h.
    """

    name = "graph.gru"
    operand_names = ("x", "w", "r", "b", "initial_h", "lengths")
    optional_operands = 1
    gates = 3
    states = ("h",)
    default_activations = "sigmoid,tanh"
    activations = Text("sigmoid,tanh", doc="f,g, for all directions or each; numbers as in elu(0.5)")
    linear_before_reset = Bool(False, doc="the reset gate multiplies after the recurrent product")

    def stepper(self, arrays: dict[str, Any], way: int) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
        w, r = arrays["w"][way].T, arrays["r"][way].T
        b_w, b_r = np.split(arrays["b"][way], 2)
        f, g = self.functions()[way]
        size = r.shape[0]

        def step(x: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
            (h,) = states
            outer, inner = x @ w + b_w, h @ r[:, : 2 * size] + b_r[: 2 * size]
            z, reset = np.split(self.apply(f, outer[:, : 2 * size] + inner), 2, axis=-1)
            candidate, bias = outer[:, 2 * size :], b_r[2 * size :]
            if self.linear_before_reset:
                candidate = candidate + reset * (h @ r[:, 2 * size :] + bias)
            else:
                candidate = candidate + (reset * h) @ r[:, 2 * size :] + bias
            return ((1 - z) * self.apply(g, candidate) + z * h,)

        return step


class Rnn(Recurrent):
    """The plain recurrent layer: h' = f(W x + R h + b).

    w [dirs, H, I], r [dirs, H, H], b [dirs, 2H] (first for w, then for r). Results: every h, the last h.
    """

    name = "graph.rnn"
    operand_names = ("x", "w", "r", "b", "initial_h", "lengths")
    optional_operands = 1
    gates = 1
    states = ("h",)
    default_activations = "tanh"
    activations = Text("tanh", doc="f, for all directions or each; numbers as in elu(0.5)")

    def stepper(self, arrays: dict[str, Any], way: int) -> Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]:
        w, r, b = arrays["w"][way].T, arrays["r"][way].T, np.add(*np.split(arrays["b"][way], 2))
        (f,) = self.functions()[way]

        def step(x: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
            return (self.apply(f, x @ w + states[0] @ r + b),)

        return step
