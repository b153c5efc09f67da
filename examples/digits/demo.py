"""Compile the digits model, run it over images it never saw, and follow one node down the levels.

In: `digits.onnx` and `held_out.npz`, next to this file. Out: what happened, on standard output; the artifact and the
IR after every pass in `build/demo/` for a closer look. `./dev demo` runs this.
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import penstock

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parents[1] / "build" / "demo"
NODE = "conv2"
EXCERPT_LINES = 14
SHADES = " .:-=+*#%@"


def main() -> int:
    """Run the demo; exit status 2 with one sentence when something is in the way."""
    parser = argparse.ArgumentParser(description="Compile and run the digits model.")
    parser.add_argument("--node", default=NODE, help=f"the node of the model to follow (default: {NODE})")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    try:
        artifact = compile_model()
        run_model(artifact, options.threads)
        follow(options.node)
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    print(f"\nThe artifact and the IR after every step are in {shown(OUTPUT)}/.")
    return 0


class DemoError(Exception):
    """Why the demo cannot go on, in one sentence."""


def compile_model() -> Path:
    """Compile with the command line, as a user would; returns the artifact's path."""
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    artifact = OUTPUT / "digits.pens"
    command = ["compile", shown(HERE / "digits.onnx"), "-o", shown(artifact), "--dump-dir", shown(OUTPUT / "dumps")]
    print(f"$ penstock {' '.join(command)}", flush=True)
    program = Path(sys.executable).with_name("penstock")
    status = subprocess.run([program, *command], check=False).returncode
    if status != 0 or not artifact.exists():
        raise DemoError(f"penstock compile ended with exit status {status} and the model was not compiled")
    return artifact


def run_model(artifact: Path, threads: int) -> None:
    """Load the artifact, classify every held-out image, print accuracy, latency and one image."""
    with np.load(HERE / "held_out.npz") as held_out:
        images, labels = held_out["images"].astype(np.float32), held_out["labels"]

    started = time.perf_counter_ns()
    session = penstock.load(artifact).session(threads=threads)
    load_us = (time.perf_counter_ns() - started) / 1e3

    answers: list[int] = []
    times: list[int] = []
    for image in images:
        started = time.perf_counter_ns()
        outputs = session.run({"image": image[None]})
        times.append(time.perf_counter_ns() - started)
        answers.append(int(outputs["probabilities"].argmax()))

    right = int((np.asarray(answers) == labels).sum())
    print(f"\nHeld-out image 0, read as {answers[0]}:")
    for row in images[0, 0]:
        print("    " + "".join(SHADES[min(int(v) * len(SHADES) // 17, len(SHADES) - 1)] * 2 for v in row))
    print(f"\naccuracy   {right} of {len(labels)} held-out images right ({right / len(labels):.2%})")
    print(
        f"latency    {np.median(times) / 1e3:.1f} us an image from Python (median of {len(times)}, {threads} thread(s))"
    )
    print(f"load       {load_us / 1e3:.2f} ms")
    print(f"artifact   {artifact.stat().st_size / 1e3:.1f} kB")


def follow(node: str) -> None:
    """Print, for each level that names the node, the first op there that came from it."""
    print(f"\nThe path of node {node!r} down the levels:")
    previous: list[str] = []
    found = False
    for path in sorted((OUTPUT / "dumps").iterdir()):
        lines = excerpt(path.read_text(), node) if path.is_file() else []
        if lines and lines != previous:
            found = True
            print(f"\n--- {path.name}")
            print("\n".join(f"    {line}" for line in lines))
        previous = lines or previous
    if not found:
        raise DemoError(f"no level names a node {node!r}")


def excerpt(text: str, node: str) -> list[str]:
    """The first op located at `node` (alone or fused), shortened to EXCERPT_LINES lines and without its locations."""
    lines = text.splitlines()
    location = re.compile(rf'loc\([^()]*"{re.escape(node)}"')
    end = next((i for i, line in enumerate(lines) if location.search(line)), None)
    if end is None:
        return []
    indent = len(lines[end]) - len(lines[end].lstrip())
    start = end
    if lines[end].lstrip().startswith("}"):
        while start > 0 and (len(lines[start - 1]) - len(lines[start - 1].lstrip()) > indent or start == end):
            start -= 1
        start = max(start - 1, 0)
    block = [re.sub(r"\s*loc\(.*?\)(?=\s|$)", "", line)[indent:].rstrip() for line in lines[start : end + 1]]
    if len(block) > EXCERPT_LINES:
        block = [*block[:EXCERPT_LINES], f"... {len(block) - EXCERPT_LINES} more lines"]
    return block


def shown(path: Path) -> str:
    """A path as a person would type it from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    sys.exit(main())
