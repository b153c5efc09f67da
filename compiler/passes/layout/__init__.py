"""Phase layout: which order of axes values have in memory, and constants packed for the kernels that read them."""
