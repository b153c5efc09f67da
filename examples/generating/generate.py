"""Continue a text with a compiled decoder whose sessions keep the keys and values of what they have read.

    penstock compile gpt2.onnx --state auto --dim past=0..1024
    python examples/generating/generate.py gpt2.pens gpt2 "The sea was" --words 40

In: an artifact, the name or folder of its tokenizer (transformers), a text. Out: the text and what the model takes to
follow, the likeliest word each time. The one idea: the session keeps the past, so a run is given the new words alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import penstock


def continued(session: Any, prompt: Sequence[int], count: int) -> Iterator[int]:
    """The ``count`` likeliest words after ``prompt``, each as soon as it is known; all are numbers of words.

    The session begins anew; its model has one input, of the shape [1, new], and one output, logits [1, new, words].
    """
    (words,), (logits,) = session.model.inputs, session.model.outputs
    session.reset()
    new = np.array([prompt], words.dtype)
    for _ in range(count):
        found = session.run({words.name: new})[logits.name]
        new = found[:, -1:].argmax(-1).astype(words.dtype)
        yield int(new[0, 0])


def main() -> int:
    """Print the text word by word."""
    import transformers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact")
    parser.add_argument("tokenizer")
    parser.add_argument("text")
    parser.add_argument("--words", type=int, default=40)
    given = parser.parse_args()
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(given.tokenizer)
    print(given.text, end="", flush=True)
    try:
        with penstock.load(given.artifact).session() as session:
            for word in continued(session, tokenizer.encode(given.text), given.words):
                print(tokenizer.decode([word]), end="", flush=True)
    except penstock.PenstockError as error:  # such as no room for more words
        print(f"\n{error}")
        return 2
    print()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
