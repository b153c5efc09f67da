"""The kernel cache: machine code kept in a folder from one compilation to the next (docs/kernel-cache.md)."""
