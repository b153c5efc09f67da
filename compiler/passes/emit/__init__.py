"""Phase emit: every tile kernel becomes machine code, once per instruction set level."""
