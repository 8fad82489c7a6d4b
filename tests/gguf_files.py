"""GGUF files for tests: a tiny Llama as llama.cpp's converter would write it."""

from pathlib import Path

import gguf
import numpy as np
import torch
import transformers

#: Bytes as GPT-2 spells them, which a byte-level tokenizer cannot do without, and two merges:
#: transformers 5.17 takes one alone for a text.
LETTERS = [chr(c) for c in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
TOKENS = ["<|endoftext|>", *LETTERS, "Ġt", "Ġa"]


def tiny_llama(seed: int = 0) -> transformers.LlamaForCausalLM:
    """Random, with two queries per key and weights large enough to make every block matter."""
    config = transformers.LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=64, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, intermediate_size=96, max_position_embeddings=48, bos_token_id=0,
        eos_token_id=0, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() == 2 and "emb" not in name:
                weight.mul_(4)
    return model


def write_gguf(
    model: transformers.LlamaForCausalLM,
    file: Path,
    kind: gguf.GGMLQuantizationType = gguf.GGMLQuantizationType.F32,
    architecture: str = "llama",
) -> Path:
    """Write `model` and the tokenizer of TOKENS, matrices in the number format `kind`."""
    config = model.config
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    writer.add_token_types([control, *[normal] * (len(TOKENS) - 1)])
    writer.add_token_merges(["Ġ t", "Ġ a"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, tensor in _tensors(model).items():
        matrix = tensor.ndim == 2
        packed = gguf.quantize(tensor, kind) if matrix else tensor
        writer.add_tensor(name, packed, raw_dtype=kind if matrix else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _tensors(model: transformers.LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The weights under llama.cpp's names, queries and keys in its order of rotary pairs."""
    base, config = model.model, model.config
    tensors = {
        "token_embd.weight": base.embed_tokens.weight,
        "output_norm.weight": base.norm.weight,
    }
    for index, layer in enumerate(base.layers):
        attention, mlp = layer.self_attn, layer.mlp
        block = {
            "attn_norm": layer.input_layernorm.weight,
            "attn_q": _paired(attention.q_proj.weight, config.num_attention_heads),
            "attn_k": _paired(attention.k_proj.weight, config.num_key_value_heads),
            "attn_v": attention.v_proj.weight,
            "attn_output": attention.o_proj.weight,
            "ffn_norm": layer.post_attention_layernorm.weight,
            "ffn_gate": mlp.gate_proj.weight,
            "ffn_up": mlp.up_proj.weight,
            "ffn_down": mlp.down_proj.weight,
        }
        tensors |= {f"blk.{index}.{name}.weight": weight for name, weight in block.items()}
    return {name: weight.detach().float().contiguous().numpy() for name, weight in tensors.items()}


def _paired(weight: torch.Tensor, n_heads: int) -> torch.Tensor:
    """[n_heads · d_head, d_model] with the halves of each head interleaved."""
    n_rows, d_model = weight.shape
    halves = weight.reshape(n_heads, 2, n_rows // n_heads // 2, d_model)
    return halves.transpose(1, 2).reshape(n_rows, d_model)
