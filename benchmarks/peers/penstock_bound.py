"""penstock with inputs and outputs bound once: what its call costs least, beside onnxruntime's io-binding."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .base import Arrays, Run
from .penstock import Penstock

if TYPE_CHECKING:
    from penstock.runtime import Binding


class PenstockBound(Penstock):
    """`session.bind`: from the caller's arrays into arrays allocated once."""

    name = "penstock-bound"
    largest_model = 3_000_000

    def load(self, path: Path, threads: int) -> Run:
        session = self.session(path, threads)
        binding: Binding | None = None
        bound: Arrays | None = None

        def run(inputs: Arrays) -> Arrays:
            nonlocal binding, bound
            if binding is None or inputs is not bound:
                binding, bound = session.bind(inputs), inputs
            return binding()

        return run
