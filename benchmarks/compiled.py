"""What engines compile, kept between runs where compiling is slow.

In: an engine, a model and a number of threads. Out: the fields of a measurement that compiling gives, and the path to
load. The one idea: an entry's key is the content of all it depends on: the model, the engine's version, the source of
its module (the settings), the processor's extensions, the number of threads; so no entry is ever wrong, only unused.
A failure to compile is kept too. `result.json` is written last: an entry without it is not there.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from peers import Peer


def compile_with(peer: Peer, model: Path, folder: Path, threads: int, cache: Path | None) -> dict[str, Any]:
    """`path`, `size`, `kernels`, `compile_s`, and `old`: whether an earlier run has compiled it."""
    if not peer.cached or cache is None:
        return {**_compile(peer, model, folder, threads), "old": False}
    entry = cache / f"{model.stem}-{peer.name}-{_key(peer, model, threads)}"
    result = entry / "result.json"
    old = result.exists()
    if not old:
        shutil.rmtree(entry, ignore_errors=True)
        entry.mkdir(parents=True)
        try:
            fields = _compile(peer, model, entry, threads)
        except ImportError:
            raise
        except Exception as error:
            fields = {"failure": f"{type(error).__name__}: {' '.join(str(error).split())}"[:400]}
        temporary = entry / "result.json.tmp"
        temporary.write_text(json.dumps(fields))
        os.replace(temporary, result)
    fields = json.loads(result.read_text())
    if "failure" in fields:
        raise RuntimeError(fields["failure"])
    return {**fields, "old": old}


def _compile(peer: Peer, model: Path, folder: Path, threads: int) -> dict[str, Any]:
    start = time.perf_counter()
    made = peer.compile(model, folder, threads)
    seconds = time.perf_counter() - start
    return {"path": str(made.path), "size": made.size, "kernels": made.kernels, "compile_s": seconds}


def _key(peer: Peer, model: Path, threads: int) -> str:
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    for part in type(peer).__mro__:
        module = sys.modules.get(part.__module__)
        if issubclass(part, Peer) and part is not Peer and module is not None:
            digest.update(inspect.getsource(module).encode())
    flags = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")]
    digest.update(json.dumps([peer.version(), str(model.resolve()), flags[:1]]).encode())
    digest.update(str(threads if peer.per_thread_count else 0).encode())
    return digest.hexdigest()[:16]
