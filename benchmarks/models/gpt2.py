"""GPT-2 (124 M parameters, random weights): the prefill of 128 tokens, and one decode step after 127 past positions.

Causal attention, tanh gelu, a tied 50257-wide output projection; the keys and values of every layer are inputs and
outputs of the graph.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel

from .base import BenchmarkModel, Example, generator, spread_vectors


class CachedDecoder(nn.Module):
    """input_ids: i64 [1, s], key and value: f32 [1, heads, past, d] per layer -> logits, present keys and values."""

    def __init__(self, decoder: GPT2LMHeadModel) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, input_ids: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = DynamicCache(list(zip(past[::2], past[1::2], strict=True)) or None)
        result = self.decoder(input_ids=input_ids, past_key_values=cache, use_cache=True)
        present: list[Tensor] = []
        for layer in result.past_key_values.layers:
            present += [layer.keys, layer.values]
        return (result.logits, *present)


def build(tiny: bool, decode: bool) -> Example:
    """-> logits: f32 [1, s, 50257] and, per layer i, present.i.key and present.i.value: f32 [1, 12, past + s, 64]."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=2, n_head=3, n_embd=24, vocab_size=61, n_positions=32) if tiny else GPT2Config()
    config.initializer_range = 1 / math.sqrt(config.n_embd)
    decoder = GPT2LMHeadModel(config)
    spread_vectors(decoder)
    past_length, length = (0, 128) if not decode else (127, 1)
    if tiny:
        past_length, length = (0, 11) if not decode else (10, 1)
    random = generator(1)
    inputs = {"input_ids": torch.randint(0, config.vocab_size, (1, length), generator=random)}
    present: list[str] = []
    for layer in range(config.n_layer):
        for part in ("key", "value"):
            present.append(f"present.{layer}.{part}")
            if decode:
                shape = (1, config.n_head, past_length, config.n_embd // config.n_head)
                inputs[f"past.{layer}.{part}"] = torch.randn(shape, generator=random)
    symbols = {name: {0: "batch", 2: "past"} for name in inputs if name != "input_ids"}
    symbols["input_ids"] = {0: "batch"} if decode else {0: "batch", 1: "sequence"}
    return Example(CachedDecoder(decoder), inputs, ("logits", *present), symbols)


MODELS = (
    BenchmarkModel("gpt2_prefill", "GPT-2, 128 tokens -> logits, keys, values", lambda tiny: build(tiny, decode=False)),
    BenchmarkModel("gpt2_decode", "GPT-2, 1 token after 127 past ones", lambda tiny: build(tiny, decode=True)),
)
