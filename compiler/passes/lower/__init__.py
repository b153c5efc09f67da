"""Phase lower: every dispatch becomes a tile kernel, once per ISA level."""
