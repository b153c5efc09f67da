"""The ONNX front end: opsets 7 to 28, IR versions to 14, external data, function bodies.

In: an ONNX model (path, bytes or ModelProto). Out: a module of graph ops, every op located by its source node; or all
the reasons why it cannot be compiled, by source node.
"""

from __future__ import annotations

from penstock.compiler.frontends.onnx.importer import check_model, import_model

__all__ = ["check_model", "import_model"]
