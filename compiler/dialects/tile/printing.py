"""Makes ``scf.while`` print its location where it parses it.

xDSL 0.74 prints the location of a while loop in the middle of it, behind its type, where its parser does not expect
one. The one idea: the same text but for the location, which the printer appends to every op anyway.
"""

from __future__ import annotations

from xdsl.dialects import scf
from xdsl.printer import Printer


def print_while(self: scf.WhileOp, printer: Printer) -> None:
    """``scf.while (%a = %b) : (types) -> types { ... } do { ... }``."""
    arguments = list(zip(self.before_region.block.args, self.arguments, strict=True))
    printer.print_string(" (")
    for number, (argument, value) in enumerate(arguments):
        printer.print_string(", " if number else "")
        printer.print_ssa_value(argument)
        printer.print_string(" = ")
        printer.print_ssa_value(value)
    printer.print_string(") : ")
    with printer.in_parens():
        printer.print_list([value.type for value in self.arguments], printer.print_attribute)
    printer.print_string(" -> ")
    with printer.in_parens():
        printer.print_list([result.type for result in self.results], printer.print_attribute)
    printer.print_string(" ")
    printer.print_region(self.before_region, print_entry_block_args=False)
    printer.print_string(" do ")
    printer.print_region(self.after_region)
    if self.attributes:
        printer.print_op_attributes(self.attributes, print_keyword=True)


def install() -> None:
    """Have while loops printed so, in this process."""
    scf.WhileOp.print = print_while
