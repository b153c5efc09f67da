"""A polynomial with its coefficients as an input, as a custom operator with a kernel of its own in C (polynomial.c)."""

import math
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from penstock.operators import Kernel, Operator

SOURCE = Path(__file__).with_name("polynomial.c")


@cache
def compiled() -> bytes:
    """The object code of the C file: no calls out of it, no data of its own."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "polynomial.o")
        flags = ["-std=c11", "-O3", "-march=x86-64-v3", "-fPIC", "-ffreestanding", "-fno-asynchronous-unwind-tables"]
        subprocess.run(["cc", *flags, "-c", SOURCE, "-o", target], check=True)
        return target.read_bytes()


class Polynomial(Operator):
    """f32 tensors of any shape; the coefficients from the lowest power on."""

    domain = "com.example"

    def infer(self, x, coefficients):
        if x.dtype != np.float32 or coefficients.dtype != np.float32 or len(coefficients.shape) != 1:
            raise ValueError("x and the coefficients, which have one axis, are of type float32")
        return x

    def evaluate(self, x, coefficients):
        return np.polynomial.polynomial.polyval(x, coefficients).astype(np.float32)

    def kernel(self, x, coefficients):
        columns = x.shape[-1] if x.shape else 1
        rows, (count,) = math.prod(x.shape[:-1]), coefficients.shape
        return Kernel(
            object=compiled(),
            symbol="polynomial",
            units=rows,
            parameters=np.array([columns, count], np.int64),
            nanoseconds=columns * count / 8,
        )
