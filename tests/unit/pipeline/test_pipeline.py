"""Phases, passes found by scanning, and the text of pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.compiler.errors import (
    BAD_PASS_OPTION,
    PHASE_ORDER,
    PIPELINE_SYNTAX,
    UNKNOWN_PASS,
    UNKNOWN_PHASE,
    OptionError,
)
from penstock.compiler.pipeline import (
    PHASE_NAMES,
    PHASES,
    default_groups,
    parse_pipeline,
    pass_class,
    pass_doc,
    pass_files,
    phase,
    phases_between,
    spell,
)

FILECHECK = Path(__file__).parents[2] / "filecheck"


def test_the_ten_phases_in_order() -> None:
    wanted = ["import", "simplify", "quantize", "place", "layout", "fuse", "lower", "plan", "emit", "package"]
    assert list(PHASE_NAMES) == wanted
    assert [p.number for p in PHASES] == list(range(1, 11))


def test_what_a_phase_gives_the_next_takes() -> None:
    assert [p.gives for p in PHASES[:-1]] == [p.takes for p in PHASES[1:]]


def test_every_pass_of_a_default_pipeline_exists_and_is_built() -> None:
    for group in default_groups(PHASES):
        assert group.phase is not None
        assert [which.name for which in group.passes] == list(group.phase.passes)


def test_every_pass_is_run_by_default() -> None:
    used = {name for p in PHASES for name in p.passes}
    assert used == set(pass_files())


@pytest.mark.parametrize("name", list(pass_files()))
def test_a_pass_is_named_as_its_file_and_says_what_it_does(name: str) -> None:
    which = pass_class(name)
    assert which.name == name
    assert which.__module__.rsplit(".", 1)[1] == name.replace("-", "_")
    assert pass_doc(which).endswith((".", ":")), "the first paragraph is a sentence"
    assert len(pass_doc(which)) < 400


@pytest.mark.parametrize("name", list(pass_files()))
def test_a_pass_has_a_filecheck_test(name: str) -> None:
    path = FILECHECK / pass_files()[name].phase / f"{name}.mlir"
    assert path.exists()
    assert any(name in line for line in path.read_text().splitlines() if "RUN:" in line)


def test_a_range_of_phases() -> None:
    assert [p.name for p in phases_between("layout", "lower")] == ["layout", "fuse", "lower"]
    assert phases_between(None, None) == PHASES


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("cse,dce", "cse,dce"),
        (" cse , dce ", "cse,dce"),
        ("form-dispatches{max-ops=8}", "form-dispatches{max_ops=8}"),
        ("form-dispatches{max_ops=8}", "form-dispatches{max_ops=8}"),
        ("fuse{max-ops=8},cse", "form-dispatches{max_ops=8},share-kernels,cse"),
        ("fuse", "form-dispatches,share-kernels"),
    ],
)
def test_pipelines_are_read_and_spelled(text: str, spelled: str) -> None:
    groups = parse_pipeline(text)
    assert spell(groups) == spelled
    assert spell(parse_pipeline(spelled)) == spelled


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("csee", UNKNOWN_PASS, "did you mean 'cse'?"),
        ("fuze", UNKNOWN_PASS, "did you mean 'fuse'?"),
        ("cse{deep=1}", BAD_PASS_OPTION, "no option 'deep'"),
        ("fuse{max-op=1}", BAD_PASS_OPTION, "did you mean 'max-ops'?"),
        ("form-dispatches{max-ops=many}", BAD_PASS_OPTION, "cannot take"),
        ("fuse{max-ops=1", PIPELINE_SYNTAX, "cannot be read"),
        ("cse dce", PIPELINE_SYNTAX, "cannot be read"),
        ("cse;dce", PIPELINE_SYNTAX, "cannot be read"),
    ],
)
def test_wrong_pipelines_are_refused_in_a_sentence(text: str, code: str, words: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_pipeline(text)
    assert caught.value.code == code
    assert words in caught.value.message


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(OptionError, match="did you mean 'lower'") as caught:
        phase("lowr")
    assert caught.value.code == UNKNOWN_PHASE


def test_phases_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(OptionError, match="comes before lower") as caught:
        phases_between("lower", "fuse")
    assert caught.value.code == PHASE_ORDER
