"""More of transformers: newer decoders, mixtures of experts, state spaces, and less usual encoders."""

from __future__ import annotations

from typing import Any

import transformers as t
from torch import nn

from .base import TOKEN_AXES, TOKEN_SIZES, Architecture, Fields, tokens
from .text import DECODER, ENCODER, ENCODER_DECODER, NAMES, both, decoder, encoder, recurrent, with_float_mask

EXPERTS: dict[str, Any] = {
    **DECODER,
    "moe_intermediate_size": 24,
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "experts_implementation": "batched_mm",
}
DEEPSEEK: dict[str, Any] = {
    **DECODER,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 24,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "kv_lora_rank": 16,
    "q_lora_rank": 16,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
    "experts_implementation": "batched_mm",
}


def head(name: str, kind: str, model: str, fields: tuple[str, ...], **config: Any) -> Architecture:
    """An encoder with a head: input_ids, attention_mask -> fields."""

    def build() -> nn.Module:
        return Fields(getattr(t, f"{kind}{model}")(getattr(t, f"{kind}Config")(**config)), NAMES, fields)

    return Architecture(name, build, tokens(), TOKEN_AXES, TOKEN_SIZES)


def gemma3() -> nn.Module:
    """-> logits."""
    config = t.Gemma3TextConfig(head_dim=8, sliding_window=4, query_pre_attn_scalar=8, **DECODER)
    return Fields(t.Gemma3ForCausalLM(config), NAMES, ("logits",), use_cache=False)


def fnet() -> nn.Module:
    """-> last_hidden_state, mixed by a Fourier transform."""
    config = t.FNetConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, intermediate_size=48)
    return Fields(t.FNetModel(config), ("input_ids",), ("last_hidden_state",))


ARCHITECTURES = (
    Architecture("gemma3", gemma3, tokens(), TOKEN_AXES, TOKEN_SIZES),
    decoder("olmo2", "Olmo2", **DECODER),
    decoder("granite", "Granite", **DECODER),
    decoder("cohere", "Cohere", **DECODER),
    decoder("starcoder2", "Starcoder2", sliding_window=4, **DECODER),
    decoder("glm4", "Glm4", head_dim=8, **DECODER),
    decoder("nemotron", "Nemotron", **DECODER),
    decoder("smollm3", "SmolLM3", no_rope_layers=[1, 0], **DECODER),
    decoder("gpt_oss", "GptOss", sliding_window=4, num_local_experts=4, **{**EXPERTS, "head_dim": 8}),
    decoder("qwen2_moe", "Qwen2Moe", shared_expert_intermediate_size=24, **EXPERTS),
    decoder("qwen3_moe", "Qwen3Moe", head_dim=8, **EXPERTS),
    decoder("deepseek_v2", "DeepseekV2", **DEEPSEEK),
    decoder("deepseek_v3", "DeepseekV3", **DEEPSEEK),
    decoder("gpt_bigcode", "GPTBigCode", vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4),
    decoder("codegen", "CodeGen", vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4, rotary_dim=4),
    decoder(
        "xglm",
        "XGLM",
        vocab_size=99,
        d_model=32,
        ffn_dim=48,
        num_layers=2,
        attention_heads=4,
        max_position_embeddings=64,
    ),
    decoder("biogpt", "BioGpt", **ENCODER),
    recurrent(
        "mamba2",
        "Mamba2",
        vocab_size=99,
        hidden_size=16,
        state_size=4,
        num_hidden_layers=2,
        num_heads=4,
        head_dim=8,
        n_groups=2,
        chunk_size=4,
    ),
    recurrent("falcon_mamba", "FalconMamba", vocab_size=99, hidden_size=16, state_size=4, num_hidden_layers=2),
    decoder("rwkv", "Rwkv", vocab_size=99, hidden_size=32, num_hidden_layers=2, context_length=16),
    decoder(
        "recurrent_gemma",
        "RecurrentGemma",
        lru_width=32,
        attention_window_size=4,
        num_hidden_layers=3,
        **{key: value for key, value in DECODER.items() if key != "num_hidden_layers"},
    ),
    recurrent(
        "jamba",
        "Jamba",
        num_experts=2,
        num_experts_per_tok=1,
        mamba_d_state=4,
        use_mamba_kernels=False,
        attn_layer_period=2,
        attn_layer_offset=1,
        expert_layer_period=2,
        expert_layer_offset=1,
        experts_implementation="batched_mm",
        **DECODER,
    ),
    decoder("lfm2", "Lfm2", layer_types=["conv", "full_attention"], **DECODER),
    decoder("modernbert_decoder", "ModernBertDecoder", local_attention=4, pad_token_id=0, **ENCODER),
    decoder("openai_gpt", "OpenAIGPT", "LMHeadModel", vocab_size=99, n_positions=64, n_embd=32, n_layer=2, n_head=4),
    encoder("deberta", "Deberta", relative_attention=True, pos_att_type=["c2p", "p2c"], **ENCODER),
    with_float_mask(encoder("xlnet", "XLNet", vocab_size=99, d_model=32, n_layer=2, n_head=4, d_inner=48)),
    encoder("funnel", "Funnel", vocab_size=99, block_sizes=[1, 1], d_model=32, n_head=4, d_head=8, d_inner=48),
    Architecture("fnet", fnet, tokens(mask=False), {"input_ids": TOKEN_AXES["input_ids"]}, TOKEN_SIZES),
    encoder("roformer", "RoFormer", embedding_size=32, **ENCODER),
    encoder("convbert", "ConvBert", embedding_size=16, **ENCODER),
    encoder("mobilebert", "MobileBert", embedding_size=16, intra_bottleneck_size=16, **{**ENCODER, "hidden_size": 32}),
    encoder("big_bird", "BigBird", block_size=2, num_random_blocks=1, attention_type="original_full", **ENCODER),
    encoder("ibert", "IBert", quant_mode=False, **ENCODER),
    encoder("rembert", "RemBert", input_embedding_size=16, **ENCODER),
    encoder("ernie", "Ernie", **ENCODER),
    encoder("megatron_bert", "MegatronBert", **ENCODER),
    encoder("esm", "Esm", pad_token_id=1, mask_token_id=2, position_embedding_type="rotary", **ENCODER),
    encoder("xlm", "XLM", vocab_size=99, emb_dim=32, n_layers=2, n_heads=4, max_position_embeddings=64),
    encoder("ctrl", "CTRL", vocab_size=99, n_positions=64, n_embd=32, dff=48, n_layer=2, n_head=4),
    encoder("luke", "Luke", entity_vocab_size=20, entity_emb_size=16, **ENCODER),
    encoder("nomic_bert", "NomicBert", **ENCODER),
    encoder("data2vec_text", "Data2VecText", **ENCODER),
    encoder(
        "canine",
        "Canine",
        local_transformer_stride=4,
        downsampling_rate=2,
        num_hash_buckets=32,
        **{key: value for key, value in ENCODER.items() if key != "vocab_size"},
    ),
    head("bert_qa", "Bert", "ForQuestionAnswering", ("start_logits", "end_logits"), **ENCODER),
    head("bert_masked", "Bert", "ForMaskedLM", ("logits",), **ENCODER),
    head("layoutlm", "LayoutLM", "ForTokenClassification", ("logits",), **ENCODER),
    head(
        "gpt2_classifier",
        "GPT2",
        "ForSequenceClassification",
        ("logits",),
        vocab_size=99,
        n_positions=64,
        n_embd=32,
        n_layer=2,
        n_head=4,
        pad_token_id=0,
        use_cache=False,
    ),
    both("pegasus", "Pegasus", **ENCODER_DECODER),
    both("mbart", "MBart", **ENCODER_DECODER),
    both("blenderbot", "Blenderbot", **ENCODER_DECODER),
    both("m2m_100", "M2M100", **ENCODER_DECODER),
    both(
        "led",
        "LED",
        attention_window=4,
        max_encoder_position_embeddings=64,
        max_decoder_position_embeddings=64,
        **ENCODER_DECODER,
    ),
    both("longt5", "LongT5", vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, local_radius=3),
    both("umt5", "UMT5", vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
    both("mt5", "MT5", vocab_size=99, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4),
    with_float_mask(
        both(
            "prophetnet",
            "ProphetNet",
            vocab_size=99,
            hidden_size=32,
            num_encoder_layers=2,
            num_decoder_layers=2,
            num_encoder_attention_heads=4,
            num_decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=48,
            max_position_embeddings=64,
        )
    ),
    both(
        "switch_transformers",
        "SwitchTransformers",
        vocab_size=99,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        num_experts=2,
        expert_capacity=8,
    ),
)
