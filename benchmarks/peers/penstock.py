"""penstock: compile to an artifact, map it, run it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from .base import Compiled, Peer, Run

if TYPE_CHECKING:
    from penstock.runtime import Session


class Penstock(Peer):
    """The default options of `penstock.compile`. Never cached here: what is measured is the working tree."""

    name = "penstock"
    ours = True

    def version(self) -> str:
        import penstock
        import penstock.runtime

        return penstock.__version__

    def compile(self, model: Path, folder: Path, threads: int) -> Compiled:
        import penstock

        path = folder / f"{model.stem}-{self.name}.pens"
        penstock.compile(model, precision=self.precision).save(path)
        with zipfile.ZipFile(path) as archive:
            manifest = json.loads(archive.read("manifest.json"))
        return Compiled(path, path.stat().st_size, len(manifest["kernels"]))

    def load(self, path: Path, threads: int) -> Run:
        return self.session(path, threads).run

    def session(self, path: Path, threads: int) -> Session:
        """A session on the artifact."""
        import penstock

        model = penstock.load(path)
        memory = model.memory
        if memory.arena is not None and memory.scratch_per_thread is not None:
            self.planned = memory.weights + memory.arena + threads * memory.scratch_per_thread
        return model.session(threads=threads)
