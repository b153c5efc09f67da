"""The tools: the `penstock` command line and what it shows of the compiler's and the runtime's work."""
