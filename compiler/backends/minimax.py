"""Computes the coefficients in ``math.py``: minimax polynomials by the Remez exchange, in many digits.

In: the functions below. Out: the module ``coefficients``
(``python -m penstock.compiler.backends.minimax > compiler/backends/coefficients.py``; needs mpmath, at development
time only). The one idea: each
coefficient is rounded to the working precision in turn, and the later ones are fitted again to what is left.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from penstock.compiler.backends.math import ERF_JOIN
from penstock.compiler.dialects.graph.scalar import GELU_TAIL_END

Function = Callable[[Any], Any]


def _mp() -> Any:
    """mpmath's arithmetic, which has no types."""
    from importlib import import_module

    return import_module("mpmath").mp


def remez(function: Function, low: Any, high: Any, degree: int, weight: Function, rounds: int = 12) -> list[Any]:
    """Coefficients (lowest first) of the polynomial p that minimises max |weight(t) (function(t) - p(t))|.

    E. Ya. Remez, "Sur la détermination des polynômes d'approximation de degré donnée", 1934.
    """
    mp = _mp()

    count = degree + 2
    nodes = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / count) for i in range(count)]
    grid = [low + (high - low) * (1 - mp.cos(mp.pi * i / 800)) / 2 for i in range(801)]
    values = [(t, function(t), weight(t)) for t in grid]
    solution: Any = None
    for _ in range(rounds):
        matrix = mp.matrix(count, count)
        right = mp.matrix(count, 1)
        for row, t in enumerate(nodes):
            for power in range(degree + 1):
                matrix[row, power] = t**power
            matrix[row, degree + 1] = (-1) ** row / weight(t)
            right[row] = function(t)
        solution = mp.lu_solve(matrix, right)
        errors = [w * (f - mp.polyval(list(solution[degree::-1]), t)) for t, f, w in values]
        nodes = _extrema(grid, errors, count)
    return [solution[i] for i in range(degree + 1)]


def _extrema(grid: list[Any], errors: list[Any], count: int) -> list[Any]:
    """The places of ``count`` alternating extrema of the error, the largest of each sign run."""
    best: list[tuple[Any, Any]] = []
    for t, error in zip(grid, errors, strict=True):
        if best and (best[-1][1] > 0) == (error > 0):
            best[-1] = max(best[-1], (t, error), key=lambda item: abs(item[1]))
        else:
            best.append((t, error))
    while len(best) > count:
        best.pop(0 if abs(best[0][1]) < abs(best[-1][1]) else -1)
    return [t for t, _ in best] if len(best) == count else [grid[round(i * 800 / (count - 1))] for i in range(count)]


def rounded(function: Function, low: Any, high: Any, degree: int, weight: Function, single: bool) -> list[float]:
    """As ``remez``, each coefficient representable in f32 (``single``) or f64."""
    mp = _mp()

    result: list[float] = []
    for power in range(degree + 1):
        known = list(result)

        def rest(t: Any, known: list[float] = known, power: int = power) -> Any:
            return (function(t) - sum(mp.mpf(c) * t**i for i, c in enumerate(known))) / t**power

        def scaled(t: Any, power: int = power) -> Any:
            return weight(t) * t**power

        first = remez(rest, low, high, degree - power, scaled)[0]
        result.append(float(np.float32(float(first))) if single else float(first))
    return result


def fits() -> dict[str, tuple[Function, float, float, int, int, Function]]:
    """Name (with the type it is for, if only one) -> (function, interval, degree for f32, degree for f64, weight of
    the error)."""
    mp = _mp()

    root = mp.sqrt
    half_log2 = float(mp.log(2) / 2) * 1.001
    octant = float(mp.pi / 4) * 1.001
    eighth = float(mp.tan(mp.pi / 8)) * 1.001
    one: Function = lambda t: mp.mpf(1)  # noqa: E731
    log2_tail: Function = lambda t: mp.log(mp.erfc(t / root(2)) / 2) / mp.log(2)  # noqa: E731
    low, high = float(root(0.5) - 1), float(root(2) - 1)
    atanh_end = float(((root(2) - 1) / (root(2) + 1)) ** 2) * 1.001
    return {
        # exp(r) = 1 + r + r^2 q(r)
        "EXP": (lambda t: (mp.exp(t) - 1 - t) / t**2, -1.003 * half_log2, half_log2, 4, 10, lambda t: t**2),
        # 2^r = 1 + r ln 2 + r^2 q(r)
        "EXP2": (lambda t: (2**t - 1 - t * mp.log(2)) / t**2, -0.5015, 0.5, 4, 10, lambda t: t**2),
        # sin(r) = r + r^3 s(r^2), cos(r) = 1 - r^2/2 + r^4 c(r^2)
        "SIN": (lambda u: (mp.sin(root(u)) - root(u)) / root(u) ** 3, 1e-9, octant**2, 2, 6, lambda u: u),
        "COS": (lambda u: (mp.cos(root(u)) - 1 + u / 2) / u**2, 1e-9, octant**2, 2, 5, lambda u: u**2),
        # atan(z) = z + z^3 a(z^2) up to tan(pi/8), asin(z) = z + z^3 a(z^2) up to 1/2
        "ATAN": (lambda u: (mp.atan(root(u)) - root(u)) / root(u) ** 3, 1e-12, eighth**2, 4, 11, lambda u: u),
        "ASIN": (lambda u: (mp.asin(root(u)) - root(u)) / root(u) ** 3, 1e-12, 0.2501, 4, 12, lambda u: u),
        # log(1 + f) = f - f^2/2 + f^3 l(f) (f32)
        "LOG_F32": (lambda t: (mp.log1p(t) - t + t * t / 2) / t**3, low, high, 8, 8, lambda t: t**2),
        # atanh(s) = s + s^3 a(s^2) (f64; the short one serves pow of f32)
        "ATANH_F64": (lambda u: (mp.atanh(root(u)) - root(u)) / root(u) ** 3, 1e-12, atanh_end, 7, 7, lambda u: u),
        "SHORT_ATANH_F64": (
            lambda u: (mp.atanh(root(u)) - root(u)) / root(u) ** 3,
            1e-12,
            atanh_end,
            4,
            4,
            lambda u: u,
        ),
        # erf(x) = x + x e(x^2)
        "ERF": (lambda u: mp.erf(root(u)) / root(u) - 1, 1e-12, ERF_JOIN**2, 5, 11, one),
        # erf(x) = 1 - exp(x t(x)) from there on (f32), 1 - exp(t(x - 3.5)) (f64)
        "ERFC_F32": (lambda t: mp.log(mp.erfc(t)) / t, 0.92, 4.0, 7, 7, lambda t: t * mp.erfc(t)),
        # log2 of the chance of a normal number above t (f32), as exact as its rounding
        "NORMAL_TAIL_F32": (log2_tail, 1e-3, GELU_TAIL_END[4], 10, 10, lambda t: 1 / (1 - log2_tail(t))),
        "ERFC_F64": (lambda t: mp.log(mp.erfc(t + 3.5)), 0.92 - 3.5, 6.0 - 3.5, 24, 24, lambda t: mp.erfc(t + 3.5)),
    }


def main() -> None:
    """Print the module ``coefficients``."""
    mp = _mp()

    mp.dps = 50
    print('"""Minimax polynomials of ``math.py``, lowest power first. Written by ``minimax.py``: do not edit.\n')
    print('The comment gives the polynomial\'s own worst error, relative to the function.\n"""\n')
    for name, (function, low, high, single, double, weight) in fits().items():
        for label, degree in (("F32", single), ("F64", double)):
            if name.endswith(("F32", "F64")) and not name.endswith(label):
                continue
            found = rounded(function, mp.mpf(low), mp.mpf(high), degree, weight, label == "F32")
            worst = max(
                abs(weight(t) * (function(t) - mp.polyval([mp.mpf(c) for c in found[::-1]], t)))
                for t in (mp.mpf(low) + (mp.mpf(high) - mp.mpf(low)) * (i + mp.mpf("0.37")) / 3000 for i in range(3000))
            )
            shown = "".join(f"    {c!r},\n" for c in found)
            print(f"{name.removesuffix('_' + label)}_{label} = (  # {float(worst):.1e}\n{shown})", flush=True)


if __name__ == "__main__":
    main()
