"""From a tile kernel to LLVM IR text, shared by the back ends that end in LLVM.

One walk over the kernel writes text for ``llvmlite.binding.parse_assembly``: register tiles become lists of machine
vectors, structured control flow becomes basic blocks, mathematics becomes our own polynomials. ``emitter.emit_kernel``
is the entry; the other modules hold the handlers of the tile ops by kind.
"""
