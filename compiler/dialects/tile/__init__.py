"""The ``tile`` dialect: one kernel as rolled loops over register tiles.

The second level. A kernel is 20 to 80 ops a person can read: ``scf`` loops, index arithmetic and ops on register
tiles (``vector<6x64xf32>``); tiles become machine vectors only when a back end emits code.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xdsl.ir import Dialect

    from penstock.compiler.dialects.tile.base import TileOp


@cache
def operations() -> tuple[type[TileOp], ...]:
    """Every op class of the dialect, in order of definition, found by scanning the folder."""
    from penstock.compiler.dialects.declared import ops_in
    from penstock.compiler.dialects.tile.base import TileOp

    return ops_in(__name__, __path__, TileOp)


def dialect() -> Dialect:
    """The xDSL dialect object."""
    from xdsl.ir import Dialect

    from penstock.compiler.dialects.tile.printing import install

    install()
    return Dialect("tile", list(operations()), [])
