"""The records of ``plan.bin``: the only description of the format, from which writer, readers and C structs derive.

In: nothing. Out: ``RECORDS``, by table. The one idea: a *quantity* is a number that may depend on sizes: from 0 on it
is the number itself, below 0 it is the extent number -1 - q, whose program computes it from the symbols.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from penstock.compiler.artifact.plan import PlanError


@dataclass(frozen=True)
class Record:
    """A fixed-size record: ``fields`` are (name, type, meaning); types are u16, u32, u64, i64, quantity and
    char8."""

    name: str
    doc: str
    fields: tuple[tuple[str, str, str], ...]

    @property
    def struct(self) -> struct.Struct:
        """The packing of one record, natural alignment spelled out by the fields themselves."""
        codes = {"u16": "H", "u32": "I", "u64": "Q", "i64": "q", "quantity": "q", "char8": "8s"}
        return struct.Struct("<" + "".join(codes[kind] for _, kind, _ in self.fields))

    def pack(self, **values: int | bytes) -> bytes:
        """One record from its fields by name; all must be given."""
        if set(values) != {name for name, _, _ in self.fields}:
            raise PlanError(f"record {self.name} got fields {sorted(values)}")
        return self.struct.pack(*(values[name] for name, _, _ in self.fields))


def _string(name: str, doc: str) -> tuple[tuple[str, str, str], ...]:
    return ((f"{name}_offset", "u32", f"{doc}: where it starts in the strings"), (f"{name}_bytes", "u32", "its length"))


TABLES = (
    "tensors", "dims", "weights", "needs", "variants", "kernels", "commands", "arguments", "symbols", "extents",
    "terms", "buffers", "sizes", "equals", "counted", "states", "moves", "specials", "fixed", "strings",
)  # fmt: skip
"""The tables, in file order; each starts at the next multiple of 8 after the one before."""

RECORDS: dict[str, Record] = {
    record.name: record
    for record in (
        Record(
            "table",
            "One table of the directory.",
            (
                ("offset", "u64", "from the start of plan.bin"),
                ("count", "u32", "records"),
                ("record_bytes", "u32", "size of one record; 1 for strings"),
            ),
        ),
        Record(
            "header",
            "The first record; the table directory follows it.",
            (
                ("magic", "char8", "PENSPLAN"),
                ("version", "u32", "format version"),
                ("table_count", "u32", "tables in the directory"),
                ("plan_bytes", "u64", "size of plan.bin"),
                ("weights_bytes", "u64", "size of weights.bin"),
                ("input_count", "u32", "the first tensors are the inputs"),
                ("output_count", "u32", "the other tensors are the outputs"),
            ),
        ),
        Record(
            "tensors",
            "A model input or output.",
            (
                *_string("name", "name"),
                ("dtype", "u16", "enum pens_dtype"),
                ("rank", "u16", "dims"),
                ("first_dim", "u32", "index into dims"),
                ("bytes", "quantity", "size"),
                ("room", "quantity", "the most that can be, whatever is counted"),
            ),
        ),
        Record("dims", "One extent of a tensor.", (("extent", "quantity", "in elements"),)),
        Record(
            "variants",
            "The plan for one instruction set, whose machine code is member code/<isa>.",
            (
                *_string("isa", "instruction set, such as x86-64-v4"),
                ("first_kernel", "u32", "index into kernels"),
                ("kernel_count", "u32", "kernels of this variant"),
                ("first_command", "u32", "index into commands"),
                ("command_count", "u32", "commands of this variant"),
                ("image_bytes", "u64", "size of the member"),
                ("arena_bytes", "quantity", "intermediate values of one run; a bound where there are buffers"),
                ("scratch_bytes", "quantity", "scratch of one thread"),
            ),
        ),
        Record(
            "kernels",
            "A kernel: its symbol and where it starts in the variant's image.",
            (*_string("name", "symbol"), ("entry", "u64", "from the start of the image")),
        ),
        Record(
            "commands",
            "One step of the plan.",
            (
                ("kind", "u16", "0 dispatch, 1 copy, 2 check, 3 bind, 4 loop, 5 next"),
                ("device", "u16", "0: the CPU"),
                ("kernel", "u32", "counted from the variant's first; of a loop and its next, the other's command"),
                ("first_argument", "u32", "index into arguments"),
                ("read_count", "u16", "arguments only read, first"),
                ("write_count", "u16", "arguments written, after them"),
                ("units", "quantity", "parallel units; of a bind, what its i64 is; of a loop, the most rounds"),
                ("grain", "i64", "fewest units worth one more thread"),
                ("flops", "quantity", "arithmetic of one execution"),
                ("bytes", "quantity", "memory traffic of one execution"),
                *_string("source", "source nodes"),
                *_string("message", "what a check that fails says"),
                ("guard_count", "u16", "arguments of one boolean each, after those read and written"),
                ("team", "u16", "1: its kernel runs units in phases, and takes them"),
                ("guard_senses", "u32", "bit i: what guard i must be, or else the command is left out"),
            ),
        ),
        Record(
            "arguments",
            "A byte range a command reads or writes.",
            (
                ("space", "u32", "0 arena, 1 weights, 2 input, 3 output, 4 sizes, 5 buffer"),
                ("index", "u32", "which input, output or buffer"),
                ("offset", "quantity", "from the start of the space"),
                ("bytes", "quantity", "length"),
            ),
        ),
        Record(
            "symbols",
            "A size that is known when a session is given its sizes.",
            (*_string("name", "name"), ("low", "i64", "least value"), ("high", "i64", "greatest value")),
        ),
        Record(
            "extents",
            "A number that depends on the symbols: a program in postfix order.",
            (
                *_string("text", "for people"),
                ("first_term", "u32", "index into terms"),
                ("term_count", "u32", "length of the program"),
            ),
        ),
        Record(
            "terms",
            "One step of an extent's program.",
            (
                ("kind", "u32", "0 constant, 1 symbol, 2 add, 3 mul, 4 floordiv, 5 max, 6 min"),
                ("symbol", "u32", "of kind 1: which symbol"),
                ("value", "i64", "of kind 0: the number"),
            ),
        ),
        Record(
            "buffers",
            "Memory in the arena that is placed when the sizes are known.",
            (
                ("bytes", "quantity", "size"),
                ("first", "u32", "the first command that touches it"),
                ("last", "u32", "the last"),
            ),
        ),
        Record(
            "equals",
            "Two extents that sizes must make equal.",
            (("left", "quantity", "one"), ("right", "quantity", "the other")),
        ),
        Record(
            "counted",
            "One of the last symbols: known once a bind has read it, in the order of this table.",
            (("most", "quantity", "the greatest value it can have"),),
        ),
        Record(
            "states",
            "What a session keeps from run to run; none, or one record.",
            (
                ("count", "u32", "so many of the last inputs and of the last outputs, in order, are one memory"),
                ("symbol", "u32", "how many rows they have before a run, at most as many as the symbol may be"),
                ("grown", "quantity", "how many they have after it"),
            ),
        ),
        Record(
            "moves",
            "How far an argument is from its offset in a round of a loop; in order of arguments.",
            (
                ("argument", "u32", "index into arguments"),
                ("loop", "u32", "the command that begins the loop, counted from the variant's first"),
                ("order", "u32", "0 step * i, 1 step * (turns - 1 - i), 2 step * (i mod 2), 3 the other one"),
                ("reserved", "u32", "0"),
                ("step", "quantity", "bytes from one part to the next"),
                ("turns", "quantity", "how many parts there are: what i is less than"),
            ),
        ),
        Record(
            "specials",
            "A plan for fixed sizes: member plan-<number from 1>.bin, which shares code and weights with this one.",
            (("first_fixed", "u32", "index into fixed"), ("fixed_count", "u32", "how many sizes are fixed")),
        ),
        Record("fixed", "One size.", (("symbol", "u32", "which"), ("reserved", "u32", "0"), ("value", "i64", "it"))),
        Record("sizes", "One i64 of the space 4.", (("symbol", "u32", "which symbol"), ("reserved", "u32", "0"))),
        Record(
            "weights",
            "A named range of weights.bin.",
            (*_string("name", "name"), ("offset", "u64", "from the start of weights.bin"), ("bytes", "u64", "length")),
        ),
        Record(
            "needs",
            "Which of 64 commands an output needs; for each output as many of these as its variants' commands take.",
            (("commands", "u64", "bit i: command 64 * n + i, counted from the variant's first"),),
        ),
    )
}
