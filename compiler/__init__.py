"""The compiler: from a saved model to one artifact file.

In: an ONNX file or its bytes. Out: a penstock artifact. The one idea: a fixed list of named phases (see
`penstock.compiler.pipeline`), each of which takes IR that a person can read to IR that a person can read.
"""
