"""Disks that fill up, files cut where a section begins or ends, and models loaded again and again."""

from __future__ import annotations

import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

import penstock
import penstock.runtime as runtime
from penstock.runtime.errors import PenstockError

MODEL = Path(__file__).parents[2] / "data" / "models" / "mlp_b1.onnx"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model, compiled."""
    path = tmp_path_factory.mktemp("limits") / "model.pens"
    penstock.compile(MODEL).save(path)
    return path


@pytest.mark.parametrize("room", [0, 100, 5000])
def test_a_disk_that_fills_up_leaves_nothing(room: int, tmp_path: Path) -> None:
    """``penstock compile`` where no file outgrows ``room`` bytes: status 2, a sentence, an old file untouched."""
    target = tmp_path / "model.pens"
    target.write_bytes(b"old")
    code = (
        "import resource, sys\n"
        "from penstock.tools.cli import main\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))\n"
        f"sys.argv = ['penstock', 'compile', {str(MODEL)!r}, '-o', {str(target)!r}]\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done
    assert "PENS-A001" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model.pens"]
    assert target.read_bytes() == b"old"


def test_a_file_cut_at_any_section_is_refused(artifact: Path) -> None:
    """At, one before and one after every start and end of a member's header and data, and of the directory."""
    data = artifact.read_bytes()
    cuts = set[int]()
    with zipfile.ZipFile(artifact) as archive:
        for info in archive.infolist():
            name, extra = (int.from_bytes(data[info.header_offset + at :][:2], "little") for at in (26, 28))
            start = info.header_offset + 30 + name + extra
            cuts |= {info.header_offset, start, start + info.file_size}
        cuts |= {archive.start_dir, len(data) - 22 - len(archive.comment)}
    for cut in sorted({cut + step for cut in cuts for step in (-1, 0, 1)}):
        if 0 <= cut < len(data):
            with pytest.raises(PenstockError, match="PENS-R00"):
                runtime.load(data[:cut])


def test_every_byte_of_plan_and_code_is_checked(artifact: Path) -> None:
    """One flipped bit in the manifest, the plan, any table or the code is found at load; in the weights with verify."""
    data = artifact.read_bytes()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(artifact) as archive:
        members = archive.infolist()
    for info in members:
        name, extra = (int.from_bytes(data[info.header_offset + at :][:2], "little") for at in (26, 28))
        start = info.header_offset + 30 + name + extra
        for offset in {0, info.file_size - 1, *rng.integers(0, info.file_size, 40).tolist()}:
            damaged = bytearray(data)
            damaged[start + offset] ^= 1 << int(rng.integers(8))
            if info.filename == "weights.bin":
                runtime.load(bytes(damaged)).close()
            with pytest.raises(PenstockError, match=r"PENS-R00[45]"):
                runtime.load(bytes(damaged), verify=True)
            if info.filename != "weights.bin":
                with pytest.raises(PenstockError, match="PENS-R004"):
                    runtime.load(bytes(damaged))


def test_loading_again_and_again_does_not_grow(artifact: Path, tmp_path: Path) -> None:
    """Neither memory nor open files, whether a load succeeds, is refused, or is left to the garbage collector."""
    broken = tmp_path / "broken.pens"
    broken.write_bytes(artifact.read_bytes()[:-30])

    def rounds(count: int) -> None:
        for turn in range(count):
            model = runtime.load(artifact)
            session = model.session(threads=2)
            session.run({t.name: np.zeros(t.shape, t.dtype) for t in model.inputs})
            if turn % 2:
                session.close()
                model.close()
            del session, model
            with pytest.raises(PenstockError):
                runtime.load(broken)

    rounds(30)
    maps, files, peak = count_maps(), count_files(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rounds(150)
    assert count_files() == files
    assert count_maps() <= maps + 4
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss <= peak + 8192  # kilobytes


def count_maps() -> int:
    """Mapped regions of this process."""
    return Path("/proc/self/maps").read_text().count("\n")


def count_files() -> int:
    """Open file descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
