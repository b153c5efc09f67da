"""Networks that read text: encoders, decoders, and both."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import transformers as t
from torch import Tensor, nn

from .base import TOKEN_AXES, TOKEN_SIZES, Architecture, Fields, Inputs, Sizes, generator, tokens

NAMES = ("input_ids", "attention_mask")
ENCODER: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
DECODER: dict[str, Any] = {**ENCODER, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
ENCODER_DECODER: dict[str, Any] = {
    "vocab_size": 99,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
}


def encoder(name: str, kind: str, **config: Any) -> Architecture:
    """input_ids, attention_mask -> last_hidden_state."""

    def build() -> nn.Module:
        return Fields(getattr(t, f"{kind}Model")(getattr(t, f"{kind}Config")(**config)), NAMES, ("last_hidden_state",))

    return Architecture(name, build, tokens(), TOKEN_AXES, TOKEN_SIZES)


def decoder(name: str, kind: str, model: str = "ForCausalLM", **config: Any) -> Architecture:
    """input_ids, attention_mask -> logits of all positions."""

    def build() -> nn.Module:
        made = getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**config))
        return Fields(made, NAMES, ("logits",), use_cache=False)

    return Architecture(name, build, tokens(), TOKEN_AXES, TOKEN_SIZES)


def recurrent(name: str, kind: str, **config: Any) -> Architecture:
    """A decoder whose steps are a loop of Python's, which both exporters unroll: only its batch is symbolic."""
    sizes = {**TOKEN_SIZES, "sequence": (7, 7)}
    axes = {name: {0: "batch"} for name in NAMES}
    return dataclasses.replace(decoder(name, kind, **config), axes=axes, sizes=sizes)


def with_float_mask(architecture: Architecture) -> Architecture:
    """The same with attention_mask in f32: the dynamo exporter cannot subtract an integer tensor from a float."""

    def inputs(sizes: Sizes) -> Inputs:
        made = architecture.inputs(sizes)
        return {**made, "attention_mask": made["attention_mask"].float()}

    return dataclasses.replace(architecture, inputs=inputs)


def both(name: str, kind: str, model: str = "ForConditionalGeneration", **config: Any) -> Architecture:
    """input_ids, attention_mask, decoder_input_ids -> logits."""

    def build() -> nn.Module:
        made = getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**config))
        return Fields(made, (*NAMES, "decoder_input_ids"), ("logits",), use_cache=False)

    def inputs(sizes: Sizes) -> Inputs:
        shape = (sizes["batch"], sizes["target"])
        return {**tokens()(sizes), "decoder_input_ids": torch.randint(3, 99, shape, generator=generator(3))}

    axes = {**TOKEN_AXES, "decoder_input_ids": {0: "batch", 1: "target"}}
    return Architecture(name, build, inputs, axes, {**TOKEN_SIZES, "target": (5, 8)})


def t5_encoder() -> nn.Module:
    """-> last_hidden_state."""
    config = t.T5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4)
    return Fields(t.T5EncoderModel(config), NAMES, ("last_hidden_state",))


class Step(nn.Module):
    """One step of a decoder with a cache: input_ids, attention_mask and keys and values of every layer -> the same."""

    def __init__(self, model: nn.Module, layers: int) -> None:
        super().__init__()
        self.model, self.layers = model, layers

    def forward(self, input_ids: Tensor, attention_mask: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        """past: key and value of each layer, f32 [batch, heads, past, depth]."""
        cache = t.DynamicCache()
        for layer in range(self.layers):
            cache.update(past[2 * layer], past[2 * layer + 1], layer)
        result = self.model(input_ids=input_ids, attention_mask=attention_mask, past_key_values=cache, use_cache=True)
        present: list[Tensor] = []
        for layer in result.past_key_values.layers:
            present += [layer.keys, layer.values]
        return (result.logits, *present)


def step(name: str, kind: str, model: str, heads: int, **config: Any) -> Architecture:
    """One token more, with the keys and values of those before it."""

    def build() -> nn.Module:
        return Step(getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**config)), 2)

    def inputs(sizes: Sizes) -> Inputs:
        batch, past = sizes["batch"], sizes["past"]
        random = generator(4)
        made = {
            "input_ids": torch.randint(3, 99, (batch, 1), generator=random),
            "attention_mask": torch.ones(batch, past + 1, dtype=torch.int64),
        }
        for layer in range(2):
            for part in ("key", "value"):
                made[f"past_{part}_{layer}"] = torch.randn(batch, heads, past, 8, generator=random)
        return made

    axes: dict[str, dict[int, str]] = {"input_ids": {0: "batch"}, "attention_mask": {0: "batch", 1: "total"}}
    for layer in range(2):
        for part in ("key", "value"):
            axes[f"past_{part}_{layer}"] = {0: "batch", 2: "past"}
    return Architecture(name, build, inputs, axes, {"batch": (2, 3), "past": (6, 9)})


ARCHITECTURES = (
    encoder("bert", "Bert", **ENCODER),
    encoder("roberta", "Roberta", **ENCODER),
    encoder("xlm_roberta", "XLMRoberta", **ENCODER),
    encoder("distilbert", "DistilBert", vocab_size=99, dim=32, n_layers=2, n_heads=4, hidden_dim=48),
    encoder("albert", "Albert", embedding_size=16, **ENCODER),
    encoder("electra", "Electra", embedding_size=16, **ENCODER),
    encoder(
        "deberta_v2",
        "DebertaV2",
        relative_attention=True,
        position_buckets=8,
        pos_att_type=["p2c", "c2p"],
        norm_rel_ebd="layer_norm",
        share_att_key=True,
        **ENCODER,
    ),
    encoder("mpnet", "MPNet", **ENCODER),
    encoder("modernbert", "ModernBert", local_attention=4, global_attn_every_n_layers=2, pad_token_id=0, **ENCODER),
    encoder("longformer", "Longformer", attention_window=4, **ENCODER),
    encoder("squeezebert", "SqueezeBert", embedding_size=32, **ENCODER),
    decoder("gpt2", "GPT2", "LMHeadModel", vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4),
    decoder(
        "gpt_neo",
        "GPTNeo",
        vocab_size=99,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        window_size=4,
        attention_types=[[["global", "local"], 1]],
        max_position_embeddings=64,
    ),
    decoder("gpt_neox", "GPTNeoX", **ENCODER),
    decoder("gptj", "GPTJ", vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    decoder(
        "opt",
        "OPT",
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
    ),
    decoder("bloom", "Bloom", vocab_size=99, hidden_size=32, n_layer=2, n_head=4),
    decoder("falcon", "Falcon", vocab_size=99, hidden_size=32, num_hidden_layers=2, num_attention_heads=4),
    decoder("mpt", "Mpt", vocab_size=99, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
    decoder("llama", "Llama", **DECODER),
    decoder("mistral", "Mistral", sliding_window=4, **DECODER),
    decoder("qwen2", "Qwen2", **DECODER),
    decoder("qwen3", "Qwen3", head_dim=8, **DECODER),
    decoder("gemma", "Gemma", head_dim=8, **DECODER),
    decoder("gemma2", "Gemma2", head_dim=8, sliding_window=4, query_pre_attn_scalar=8, **DECODER),
    decoder("stablelm", "StableLm", **DECODER),
    decoder("phi", "Phi", **DECODER),
    decoder("phi3", "Phi3", **DECODER),
    decoder(
        "mixtral", "Mixtral", num_local_experts=4, num_experts_per_tok=2, experts_implementation="batched_mm", **DECODER
    ),
    recurrent("mamba", "Mamba", vocab_size=99, hidden_size=16, state_size=4, num_hidden_layers=2),
    Architecture("t5_encoder", t5_encoder, tokens(), TOKEN_AXES, TOKEN_SIZES),
    both("t5", "T5", vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
    both("bart", "Bart", **ENCODER_DECODER),
    both("marian", "Marian", "MTModel", pad_token_id=0, decoder_start_token_id=0, **ENCODER_DECODER),
    step("gpt2_step", "GPT2", "LMHeadModel", 4, vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4),
    step("llama_step", "Llama", "ForCausalLM", 2, **DECODER),
)
