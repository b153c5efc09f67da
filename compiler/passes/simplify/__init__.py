"""Phase simplify: the same function in fewer and larger ops, with everything computed that can be computed now."""
