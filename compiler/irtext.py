"""IR as text, and back.

In: a module, or text. Out: text that reads back as the same module, or the module. The one idea: an op without a
location in the text is located by file and line, so messages about hand-written IR point where the mistake is.
Never used between passes: parsing costs about 0.2 ms per op.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from functools import cached_property
from io import StringIO
from itertools import accumulate
from pathlib import Path

from xdsl.dialects.builtin import FileLineColLoc, IntAttr, ModuleOp, StringAttr
from xdsl.ir import Operation
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError, VerifyException
from xdsl.utils.mlir_lexer import MLIRTokenKind, StringLiteral

from penstock.compiler.context import CompilerContext
from penstock.compiler.errors import IR_SYNTAX, IRError
from penstock.compiler.locations import is_known

SPLIT_MARKER = "// -----"
_STRING_OR_UNKNOWN = re.compile(r'"(?:[^"\\]|\\.)*"| loc\(unknown\)')

_STRING = r'"[^"\\\n\v\f]*(?:\\(?:["nt\\]|[0-9A-Fa-f]{2})[^"\\\n\v\f]*)*"'
_STRING_OR_COMMENT = re.compile(rf'{_STRING}|//[^\n]*|"')


def to_text(op: Operation, *, locations: bool = True, generic: bool = False) -> str:
    """``op`` as text ending in a newline. With ``locations`` it reads back with every op's source nodes."""
    stream = StringIO()
    Printer(stream, print_debuginfo=locations, print_generic_format=generic).print_op(op)
    text = stream.getvalue()
    if locations:  # xDSL also writes loc(unknown), on block arguments above all, which says nothing
        text = _STRING_OR_UNKNOWN.sub(lambda found: found[0] if found[0][0] == '"' else "", text)
    return text + "\n"


def parse_module(text: str, ctx: CompilerContext, name: str = "<text>") -> ModuleOp:
    """The module written in ``text``; ops outside any ``builtin.module`` are put into one.

    ``name`` is the file's, for messages. The module is not verified. Raises IRError with line and column.
    """
    ctx.load_all()
    for found in _STRING_OR_COMMENT.finditer(text):
        if found[0] == '"':  # a string that does not end, which xDSL's lexer takes exponential time to find out
            where = _position(text, found.start())
            raise IRError(IR_SYNTAX, f"{name}:{where}: this string does not end, or has a wrong escape.")
    parser: _LocatingParser | None = None
    try:
        parser = _LocatingParser(ctx, text, name)  # which already reads the first token
        return parser.parse_module()
    except ParseError as error:
        raise IRError(IR_SYNTAX, f"{name}:{_position(text, error.span.start)}: {_sentence(error.msg)}") from error
    except (VerifyException, ValueError, TypeError, KeyError, AssertionError, RecursionError) as error:
        # What an op's own parser raises when the text is well formed but says something the op cannot be.
        where = _position(text, parser.pos if parser is not None else 0)
        raise IRError(IR_SYNTAX, f"{name}:{where}: {_sentence(str(error))}") from error


def _position(text: str, offset: int) -> str:
    """``line:column`` of an offset in the text, both counted from 1."""
    return f"{text.count(chr(10), 0, offset) + 1}:{offset - text.rfind(chr(10), 0, offset)}"


def read_text(path: str | Path) -> str:
    """The text of a file. Raises IRError when it cannot be read or is not text."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise IRError(IR_SYNTAX, f"{path} is not text: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        raise IRError(IR_SYNTAX, f"{path} cannot be read: {error.strerror or error}.") from error


class _LocatingParser(Parser):
    """xDSL's parser, which leaves ops without ``loc(...)`` unlocated, and here locates them by line and column. It also
    takes a string with escapes beyond ASCII, as its printer writes it, for bytes; here that is text if it is UTF-8."""

    def __init__(self, ctx: CompilerContext, text: str, name: str) -> None:
        super().__init__(ctx, text, name)
        self._text, self._file = text, StringAttr(name)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *accumulate(len(line) for line in self._text.splitlines(keepends=True))]

    def parse_optional_str_literal(self) -> str | None:
        text = self._escaped_text()
        if text is None:
            return super().parse_optional_str_literal()
        self._consume_token(MLIRTokenKind.BYTES_LIT)
        return text

    def parse_optional_bytes_literal(self) -> bytes | None:
        return super().parse_optional_bytes_literal() if self._escaped_text() is None else None

    def _escaped_text(self) -> str | None:
        token = self._current_token
        if token.kind != MLIRTokenKind.BYTES_LIT:
            return None
        try:
            return StringLiteral.from_span(token.span).bytes_contents.decode()
        except UnicodeDecodeError:
            return None

    def parse_operation(self) -> Operation:
        start = self.pos
        op = super().parse_operation()
        if not is_known(op.location) and not isinstance(op, ModuleOp):
            line, column = self._line_column(start)
            op.location = FileLineColLoc(self._file, IntAttr(line), IntAttr(column))
        return op

    def _line_column(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1


def _sentence(message: str) -> str:
    """The first line of a message, ending in a full stop."""
    first = message.strip().splitlines()[0] if message.strip() else "cannot be read"
    return first if first.endswith(".") else first + "."
