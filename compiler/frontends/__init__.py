"""Front ends: one package per model format, each turning a saved model into a module of the ``graph`` dialect.

In: a file or its bytes. Out: ``builtin.module`` with one ``func.func @main`` whose ops name the source nodes.
The one idea: a front end decomposes its format's operators into the small set of graph ops and does nothing else, so
every later phase is the same for all formats.
"""
