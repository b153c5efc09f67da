"""Write a decoder of transformers as an ONNX model that takes words and the keys and values of those before them.

    python examples/generating/export.py gpt2 -o gpt2.onnx

In: the name or folder of a causal language model (``transformers.AutoModelForCausalLM``). Out: a model with the inputs
input_ids [1, new] and past.<layer>.key and .value [1, heads, past, depth], and the outputs logits [1, new, words] and
present.<layer>.key and .value, which feed the past in the next run. The one idea: both sizes stay symbols, so that one
model reads a prompt and writes the words after it.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
import transformers


class Decoder(torch.nn.Module):
    """The model with its cache as tensors: ids, then a key and a value for each layer -> logits, then the same."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, *past: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """input_ids: i64 [1, new]; past: f32 [1, heads, past, depth]."""
        cache = transformers.DynamicCache()
        for layer in range(len(past) // 2):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        found = self.model(input_ids=input_ids, past_key_values=cache, use_cache=True)
        present = [tensor for layer in found.past_key_values.layers for tensor in (layer.keys, layer.values)]
        return (found.logits, *present)


def export(model: Any, path: str) -> None:
    """Write ``model`` to ``path``."""
    config = model.config
    heads: int = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    depth: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    names = [f"{layer}.{kind}" for layer in range(config.num_hidden_layers) for kind in ("key", "value")]
    past = [torch.randn(1, heads, 5, depth) for _ in names]
    most = config.max_position_embeddings // 2  # what is traced is right for more, and for no past as well
    new, before = torch.export.Dim("new", min=1, max=most), torch.export.Dim("past", min=1, max=most)
    torch.onnx.export(
        Decoder(model).eval(),
        (torch.ones(1, 3, dtype=torch.int64), *past),
        path,
        input_names=["input_ids", *(f"past.{name}" for name in names)],
        output_names=["logits", *(f"present.{name}" for name in names)],
        dynamic_shapes={"input_ids": {1: new}, "past": tuple({2: before} for _ in names)},
        dynamo=True,
        external_data=False,
    )


def main() -> int:
    """Load the model, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="name or folder of a causal language model")
    parser.add_argument("-o", "--output", default="decoder.onnx")
    given = parser.parse_args()
    export(transformers.AutoModelForCausalLM.from_pretrained(given.model, attn_implementation="sdpa"), given.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
