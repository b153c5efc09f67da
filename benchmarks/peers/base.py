"""What an inference engine must offer to be compared: compile (or nothing), load, run.

The one idea: a peer is one class in one file of this folder; everything about processes, timing and statistics is
elsewhere, so adding an engine adds one file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
Run = Callable[[Arrays], Arrays]


@dataclass(frozen=True)
class Compiled:
    """What `load` reads, its size in bytes, and the number of kernels in it (both None where unknown)."""

    path: Path
    size: int | None
    kernels: int | None


class Peer(ABC):
    """An inference engine. An instance lives in one process, for one model and one number of threads.

    `precision` is what it computes in; engines are ranked among those of the same. `ours` are ranked against the
    others, not among them. What `compile` makes is kept between runs where `cached`, made for each number of threads
    where `per_thread_count`. Above `largest_model` bytes (of the ONNX file) the engine shows nothing that another does
    not, and is left out. `planned`, set by `load`, are the bytes of weights and values an engine says it will need.
    """

    name: ClassVar[str]
    precision: ClassVar[str] = "f32"
    ours: ClassVar[bool] = False
    cached: ClassVar[bool] = False
    per_thread_count: ClassVar[bool] = False
    largest_model: ClassVar[int | None] = None
    planned: int | None = None

    @abstractmethod
    def version(self) -> str:
        """The engine's version; raises ImportError where it is not installed."""

    def compile(self, model: Path, folder: Path, threads: int) -> Compiled:
        """Turn an ONNX file into what `load` reads, written into `folder`; engines that load ONNX return the file."""
        return Compiled(model, model.stat().st_size, None)

    @abstractmethod
    def load(self, path: Path, threads: int) -> Run:
        """Make a session with that number of threads and return the function that runs it on inputs by name.

        The outputs come in the order of the model's; they may be overwritten by the next call. Where an engine can bind
        inputs, it does so once for a dictionary: the same one, again and again, is what is measured.
        """
