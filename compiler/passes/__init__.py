"""The passes, one folder per phase, one pass per file; both found by scanning."""
