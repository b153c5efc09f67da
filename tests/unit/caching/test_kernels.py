"""Compilations with the cache: the same artifacts, without the work; and nothing where somebody looks at the IR."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import helper
from unit.frontend.dynamic import model, value

import penstock
from penstock.compiler.backends import backend
from penstock.compiler.backends.cpu import compile as cpu_compile
from penstock.compiler.caching import ingredients
from penstock.compiler.caching.ingredients import ingredients_of, sources, sources_digest
from penstock.compiler.caching.kernels import nearest_difference
from penstock.compiler.caching.store import SUFFIX, VARIABLE, Store, key_of
from penstock.compiler.dialects.tile.memory import Kernel
from penstock.compiler.driver import CompileOptions, run_phases
from penstock.compiler.errors import InternalError
from penstock.compiler.passes.fuse.form_dispatches import dispatches
from penstock.compiler.passes.lower import kernel as lowering

MODELS = Path(__file__).parents[2] / "data" / "models"
OPTIONS = {"lstm": {"target": "cpu:x86-64-v3"}, "mlp_b1": {"target": "null"}, "unet_small": {"winograd": False}}


def first_dispatch(name: str) -> dict[str, str]:
    """The ingredients of a model's first kernel."""
    module = run_phases(MODELS / f"{name}.onnx", CompileOptions(), last="fuse").module
    return ingredients_of(next(iter(dispatches(module))), "cpu", "x86-64-v3")


@pytest.mark.parametrize("name", ["digits_b1", "mobilenet_v2", "minilm_b8", "gpt2_decode", *OPTIONS])
def test_artifacts_do_not_depend_on_the_cache(name: str, store: Store) -> None:
    model, options = MODELS / f"{name}.onnx", OPTIONS.get(name, {})
    without = penstock.compile(model, **options, cache=False)
    assert store.stats().entries == 0
    first, again = penstock.compile(model, **options), penstock.compile(model, **options)
    assert first.bytes == again.bytes == without.bytes
    total = sum(again.report.kernels.values())
    assert first.report.cached == without.report.cached == 0
    assert again.report.cached == total == store.stats().entries
    assert again.report.memory == without.report.memory
    assert again.report.code_bytes == without.report.code_bytes


def test_symbolic_sizes_and_plans_for_fixed_ones(store: Store) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Softmax", ["y"], ["z"])]
    w = np.arange(15 * 17, dtype=np.float32).reshape(15, 17)
    shapes = value("x", ["batch", "seq", 15]), value("z", ["batch", "seq", 17])
    candidate = model(nodes, shapes[:1], shapes[1:], w=w)
    sizes = {"batch": [1, 8]}
    without = penstock.compile(candidate, cache=False, specialize=sizes)
    first, again = (penstock.compile(candidate, specialize=sizes) for _ in range(2))
    assert first.bytes == again.bytes == without.bytes
    assert again.report.cached >= sum(again.report.kernels.values()) > 0


def test_a_known_kernel_is_neither_lowered_nor_compiled(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MODELS / "digits_b1.onnx"
    expected = penstock.compile(model).bytes
    monkeypatch.setattr(lowering, "lower_dispatch", None)
    monkeypatch.setattr(cpu_compile, "compile_kernel", None)
    assert penstock.compile(model).bytes == expected
    assert store.clear() > 0
    with pytest.raises(InternalError):
        penstock.compile(model)


def test_damaged_entries_are_made_again(store: Store) -> None:
    model = MODELS / "digits_b1.onnx"
    expected = penstock.compile(model).bytes
    paths = sorted(store.folder.glob(f"*{SUFFIX}"))
    good = [path.read_bytes() for path in paths]
    for path, data in zip(paths, good, strict=True):
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 255]))
    result = penstock.compile(model)
    assert result.report.cached == 0
    assert result.bytes == expected
    assert [path.read_bytes() for path in paths] == good


def test_an_unsafe_folder_is_noted_even_under_strict(store: Store) -> None:
    store.folder.chmod(0o777)
    result = penstock.compile(MODELS / "digits_b1.onnx", strict=True)
    assert result.report.notes == [f"kernels are not cached: {store.folder} can be written to by other users."]
    assert list(store.folder.iterdir()) == []


def test_the_cache_can_be_switched_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "off")
    assert penstock.compile(MODELS / "digits_b1.onnx").report.notes == []
    assert store.stats().entries == 0


def test_where_the_ir_is_shown_kernels_have_bodies(store: Store) -> None:
    model = MODELS / "mlp_b1.onnx"
    penstock.compile(model)
    module = run_phases(model, CompileOptions(), last="lower").module
    kernels = [op for op in module.walk() if isinstance(op, Kernel)]
    assert kernels
    assert all(len(list(kernel.body.ops)) > 3 and not kernel.cached for kernel in kernels)
    kept = penstock.compile(model, keep_debug=True)
    assert kept.report.cached == 0
    assert kept.bytes == penstock.compile(model, keep_debug=True, cache=False).bytes


def test_names_do_not_count_and_all_else_does() -> None:
    wanted = first_dispatch("mlp_b1")
    assert wanted == first_dispatch("mlp_b1")
    other = first_dispatch("mlp_b32")
    assert [name for name in wanted if wanted[name] != other[name]] == ["types", "body"]
    keys = {key_of({**wanted, name: "another"}) for name in wanted}
    assert len(keys | {key_of(wanted)}) == len(wanted) + 1


def test_the_nearest_entry_explains_a_miss() -> None:
    wanted = {"compiler": "1", "target": "a", "body": "x"}
    entries = [{"compiler": "2", "target": "b", "body": "y"}, {"compiler": "1", "target": "b", "body": "x"}]
    assert nearest_difference(entries, wanted) == ("target", "b", "a")
    assert nearest_difference([], wanted) == ("", "", "")


def test_the_sources_that_make_kernels_are_an_ingredient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever lowering and emission import of penstock's compiler is part of the digest."""
    program = (
        "import sys, penstock.compiler.passes.lower.kernel as k, penstock.compiler.backends.cpu.compile;"
        "from penstock.compiler.backends.llvm.emitter import handlers; k.load_schedules(); handlers();"
        "print(*[m.__file__ for n, m in sys.modules.items() if n.startswith('penstock.compiler.')])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    used = {Path(name).resolve() for name in ran.stdout.split()}
    assert len(used) > 50
    assert used <= {path.resolve() for _, path in sources()}
    before = sources_digest()
    copy = tmp_path / "emitter.py"
    copy.write_text("# changed")
    found = [*list(sources())[:-1], ("emitter.py", copy)]
    monkeypatch.setattr(ingredients, "sources", lambda: iter(found))
    assert sources_digest() != before


def test_facts_cover_every_parameter_of_a_kernel() -> None:
    """A new parameter of ``tile.kernel`` must be kept with its code."""
    kept = {"units", "outputs", "sizes", "unit_cost", "team"}
    assert set(Kernel.parameters) == kept | {"sym_name", "cached", "object", "entry"}


def test_a_body_that_was_left_out_is_not_compiled() -> None:
    kernel = Kernel.empty("k", [], outputs=0)
    kernel.cached = 1
    with pytest.raises(InternalError, match="kernel k has no body"):
        backend("cpu").compile([kernel], "x86-64-v3")


def test_levels_share_the_description_of_a_dispatch(store: Store) -> None:
    """Both levels' kernels are found by the ingredients that ``penstock cache why`` computes."""
    model = MODELS / "digits_b1.onnx"
    penstock.compile(model)
    module = run_phases(model, CompileOptions(), last="fuse").module
    found = {dispatch.symbol: dispatch for dispatch in dispatches(module)}
    wanted = [ingredients_of(one, "cpu", level) for one in found.values() for level in ("x86-64-v3", "x86-64-v4")]
    assert all(store.get(item) is not None for item in wanted)
    assert len(wanted) == store.stats().entries
