"""The runtime: loads a penstock artifact and runs it.

In: an artifact file and numpy arrays. Out: numpy arrays. Imports numpy and the standard library only, so that a
machine that serves a model needs nothing of the compiler.
"""
