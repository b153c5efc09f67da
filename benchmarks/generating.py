"""What keeping the past saves: a decoder that its session appends to, beside the same one whose outputs are fed back.

    python benchmarks/make_models.py --dynamic gpt2_decode    # gpt2_decode.dynamic.onnx into benchmarks/build
    python benchmarks/generating.py [LENGTH ...]

In: GPT-2 that takes one word and the past. Out: a markdown table: the least latency of a word after LENGTH others with
one thread, kept, fed back and by onnxruntime (fed back), and the bytes that each had in memory beyond the weights. The
three take turns, word by word, so that they see the same minutes; the words and the values are the same.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from page import duration, table

import penstock

Array = np.ndarray[Any, Any]
HEADER = ("words before", "kept", "fed back", "onnxruntime", "fed back / kept", "same bits", "kept, memory", "fed back")
HEADS, WIDTH, LAYERS = 12, 64, 12
MOST = 1024
MODEL = "gpt2_decode.dynamic.onnx"


class FedBack:
    """A decoder whose outputs are its inputs the next time; ``run`` takes inputs by name and gives outputs by name."""

    def __init__(self, run: Callable[[dict[str, Array]], dict[str, Array]]) -> None:
        self.run = run
        names = [f"{layer}.{kind}" for layer in range(LAYERS) for kind in ("key", "value")]
        self.past = {f"past.{name}": np.zeros((1, HEADS, 0, WIDTH), np.float32) for name in names}

    def __call__(self, word: Array) -> Array:
        found = self.run({"input_ids": word, **self.past})
        logits = found.pop("logits")
        self.past = {name.replace("present", "past"): array for name, array in found.items()}
        return logits

    @property
    def memory(self) -> int:
        """Bytes of the past, which stands in memory twice: what is read, and what is written."""
        return 2 * sum(array.nbytes for array in self.past.values())


def engines(folder: Path, compiled: bool) -> tuple[Any, dict[str, Callable[[Array], Array]]]:
    """The session that keeps the past, and what gives the logits of the next word, by engine."""
    made: list[Any] = []
    for state in (["auto"], []):
        path = folder / f"{MODEL}.{'kept' if state else 'plain'}.pens"
        if not compiled:
            penstock.compile(folder / MODEL, dims={"batch": 1, "past": (0, MOST)}, state=state).save(path)
        made.append(penstock.load(path).session(threads=1))
    kept, plain = made
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    peer = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in peer.get_outputs()]
    return kept, {
        "kept": lambda word: kept.run({"input_ids": word})["logits"],
        "fed back": FedBack(plain.run),
        "onnxruntime": FedBack(lambda inputs: dict(zip(names, map(np.asarray, peer.run(None, inputs)), strict=True))),
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lengths", nargs="*", type=int, default=[16, 128, 512, 1000], metavar="LENGTH")
    parser.add_argument("--folder", type=Path, default=Path("benchmarks/build"))
    parser.add_argument("--words", type=int, default=16, help="how many words are measured at each length")
    parser.add_argument("--compiled", action="store_true", help="take what the last call has compiled")
    given = parser.parse_args()
    kept, runs = engines(given.folder, given.compiled)
    random, rows, same = np.random.default_rng(0), list[tuple[str, ...]](), True
    for length in sorted(given.lengths):
        while kept.length < length:
            word = random.integers(0, 50257, (1, 1))
            found = {name: run(word) for name, run in runs.items()}
            same &= np.array_equal(found["kept"].view(np.uint32), found["fed back"].view(np.uint32))
        least = dict.fromkeys(runs, float("inf"))
        for _ in range(given.words):
            word = random.integers(0, 50257, (1, 1))
            for name, run in runs.items():
                start = time.perf_counter()
                run(word)
                least[name] = min(least[name], time.perf_counter() - start)
        fed = runs["fed back"]
        assert isinstance(fed, FedBack)
        times = [duration(seconds) for seconds in least.values()]
        memory = (f"{kept.memory / 1e6:.0f} MB reserved", f"{fed.memory / 1e6:.0f} MB")
        rows.append((str(length), *times, f"{least['fed back'] / least['kept']:.2f}", "yes" if same else "NO", *memory))
    print("\n".join(table(HEADER, rows)))
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
