"""How the command line starts: help, what it imports, what it says to what it does not know."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from penstock.compiler.errors import BAD_VALUE, UNEXPECTED, UNKNOWN_OPTION
from penstock.tools.cli import ORDER, cli, main

HEAVY = ("numpy", "onnx", "llvmlite", "xdsl", "rich", "onnxruntime")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in ORDER)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys; from penstock.tools.cli import main; status = main(sys.argv[1:]); "
        f"print(sorted(m for m in {HEAVY!r} if m in sys.modules), file=sys.stderr); sys.exit(status)"
    )
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.strip() == "[]"
    assert ran.stdout.strip()


def test_the_package_runs_as_the_command_line() -> None:
    command = [sys.executable, "-m", "penstock", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"penstock(, version)? \d+\.\d+\S*\n.*", ran.stdout, re.DOTALL)


def test_every_command_stands_in_the_order_and_has_help_with_examples() -> None:
    group = cli
    ctx = group.make_context("penstock", [], resilient_parsing=True)
    names = group.list_commands(ctx)
    assert tuple(names) == ORDER
    for name in names:
        command = group.get_command(ctx, name)
        assert command is not None
        assert command.help
        assert command.get_short_help_str()
        if name != "targets":
            assert "Examples:" in str(command.epilog)
            assert f"penstock {name}" in str(command.epilog)
        for param in command.params:
            if param.param_type_name == "option":
                assert param.help, f"{name} {param.name} says what it is for"  # type: ignore[attr-defined]


def test_help_lists_the_commands() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"\n  {name} " in text for name in ORDER)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["complie"], UNKNOWN_OPTION, "there is no command 'complie'; did you mean 'compile'?"),
        (["run", "--randm"], UNKNOWN_OPTION, "--random"),
        (["compile"], BAD_VALUE, "missing argument 'MODEL'"),
        (["run", "m.pens", "--threads", "0"], BAD_VALUE, "threads"),
        (["completion", "tcsh"], BAD_VALUE, "tcsh"),
    ],
)
def test_usage_errors(penstock: Callable[..., object], arguments: list[str], code: str, words: str) -> None:
    ran = penstock(*arguments)
    assert ran.status == 2  # type: ignore[attr-defined]
    lines = ran.err.splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert f"[{code}]" in lines[0]


def test_an_unexpected_error_is_one_sentence_and_a_folder(
    penstock: Callable[..., object], monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    from penstock.tools.commands import targets

    def broken(*_: object, **__: object) -> int:
        raise RuntimeError("the cat sat on the keyboard")

    monkeypatch.setattr(targets.command, "callback", broken)
    ran = penstock("targets")
    assert ran.status == 1  # type: ignore[attr-defined]
    assert f"internal error: RuntimeError: the cat sat on the keyboard. [{UNEXPECTED}]" in ran.err  # type: ignore[attr-defined]
    folder = re.search(r"penstock-failure-\w+", ran.err)[0]  # type: ignore[attr-defined, index]
    readme = (tmp_path / folder / "README.txt").read_text()  # type: ignore[operator]
    assert "penstock targets" in readme
    assert "RuntimeError" in readme
    with pytest.raises(RuntimeError):
        main(["--debug", "targets"])


def test_shell_completion(penstock: Callable[..., object]) -> None:
    for shell in ("bash", "zsh", "fish"):
        ran = penstock("completion", shell)
        assert "_PENSTOCK_COMPLETE" in ran.out  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("penstock comp", ["compile", "completion"]),
        ("penstock compile --from lo", ["lower"]),
        ("penstock opt --print-ir-after cs", ["cse"]),
        ("penstock opt --print-ir-after cse,dc", ["cse,dce"]),
        ("penstock compile --target c", ["cpu"]),
    ],
)
def test_completion_knows_names(words: str, wanted: list[str]) -> None:
    from click.shell_completion import ShellComplete

    *before, last = words.split()[1:]
    found = ShellComplete(cli, {}, "penstock", "_PENSTOCK_COMPLETE").get_completions(before, last)
    assert [item.value for item in found] == wanted
