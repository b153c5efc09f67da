"""Runs bound to their arrays: the same memory is read and written by every call.

In: arrays that a session has checked. Out: an object to call. The one idea: what a call would have to look up and to
allocate is fixed beforehand; that the arrays are still what they were is checked by each call, for a few nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.runtime.arrays import Array
from penstock.runtime.library import Error


class Binding:
    """Runs a session on the arrays in ``inputs``, into those in ``outputs``. Make it with ``Session.bind``.

    Write to the input arrays, call it, read the output arrays. A call returns ``outputs``; for a model that counts, the
    parts of them that the run has written, in their shapes. Raises RuntimeFailure as ``Session.run`` does: PENS-R010
    while the session runs in another thread, PENS-R011 or PENS-R012 if an array has got another shape or type since.
    """

    __slots__ = ("_again", "_quick", "error", "inputs", "names", "outputs")

    def __init__(
        self,
        inputs: dict[str, Any],
        outputs: dict[str, Array] | None,
        again: Callable[[Binding, int | None], dict[str, Array]],
    ) -> None:
        self.inputs = inputs
        self.outputs = outputs
        self.names = None if outputs is None else list(outputs)
        """The results that are computed; None: all."""
        self.error = Error()
        self._again = again
        self._quick: Callable[[], Any] = _nothing

    def use(self, quick: Callable[[], Any], error: Error) -> None:
        """Call ``quick`` from now on: it returns ``outputs``, None if it cannot run, or the status of its ``error``."""
        self._quick, self.error = quick, error

    def __call__(self) -> dict[str, Array]:
        """Run once."""
        found = self._quick()
        return found if found.__class__ is dict else self._again(self, found)


def _nothing() -> None:
    return None
