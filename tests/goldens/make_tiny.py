"""Writes the two random qwen3_moe checkpoints, models/tiny-a and models/tiny-b, in the Hub's layout and tensor names."""

import json
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).parent

COMMON = dict(
    architectures=["Qwen3MoeForCausalLM"], model_type="qwen3_moe", torch_dtype="bfloat16", hidden_act="silu",
    attention_bias=False, attention_dropout=0.0, decoder_sparse_step=1, initializer_range=0.02, rms_norm_eps=1e-6,
    rope_scaling=None, use_cache=True, use_sliding_window=False, sliding_window=None, output_router_logits=False,
    router_aux_loss_coef=0.001, bos_token_id=None, eos_token_id=0, max_position_embeddings=2048)

MODELS = {
    "tiny-a": dict(
        COMMON, vocab_size=384, hidden_size=128, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, num_experts=5, num_experts_per_tok=3, norm_topk_prob=True, moe_intermediate_size=128,
        intermediate_size=256, mlp_only_layers=[], tie_word_embeddings=True, rope_theta=1000000.0),
    "tiny-b": dict(
        COMMON, vocab_size=512, hidden_size=192, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3,
        head_dim=32, num_experts=11, num_experts_per_tok=2, norm_topk_prob=False, moe_intermediate_size=64,
        intermediate_size=320, mlp_only_layers=[0], tie_word_embeddings=False, rope_theta=10000.0),
}


def bf16_bits(x):
    """Round to nearest even; returns uint16."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def write_safetensors(path, tensors):
    """tensors: {name: uint16 array of BF16 bits}."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, bits in tensors.items():
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [at, at + bits.nbytes]}
        at += bits.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for bits in tensors.values():
            f.write(bits.tobytes())


def random_weights(c, seed):
    """Scales such that activations stay of order one, routing has clear winners and logits spread over a few nats."""
    rng = np.random.default_rng(seed)
    hidden, head_dim = c["hidden_size"], c["head_dim"]
    q_rows, kv_rows = c["num_attention_heads"] * head_dim, c["num_key_value_heads"] * head_dim
    out = {}

    def matrix(name, rows, cols, gain=1.0):
        out[name + ".weight"] = bf16_bits(rng.standard_normal((rows, cols)) * (gain / np.sqrt(cols)))

    def norm(name, size, mean=1.0):
        out[name + ".weight"] = bf16_bits(mean + 0.1 * rng.standard_normal(size))

    def mlp(name, width):
        matrix(name + ".gate_proj", width, hidden, 1.2)
        matrix(name + ".up_proj", width, hidden, 1.2)
        matrix(name + ".down_proj", hidden, width)

    out["model.embed_tokens.weight"] = bf16_bits(rng.standard_normal((c["vocab_size"], hidden)) * (3 / np.sqrt(hidden)))
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        norm(layer + "input_layernorm", hidden)
        matrix(layer + "self_attn.q_proj", q_rows, hidden)
        matrix(layer + "self_attn.k_proj", kv_rows, hidden)
        matrix(layer + "self_attn.v_proj", kv_rows, hidden)
        matrix(layer + "self_attn.o_proj", hidden, q_rows)
        norm(layer + "self_attn.q_norm", head_dim, 1.1)
        norm(layer + "self_attn.k_norm", head_dim, 1.1)
        norm(layer + "post_attention_layernorm", hidden)
        if i in c["mlp_only_layers"]:
            mlp(layer + "mlp", c["intermediate_size"])
            continue
        matrix(layer + "mlp.gate", c["num_experts"], hidden, 2.0)
        for e in range(c["num_experts"]):
            mlp(f"{layer}mlp.experts.{e}", c["moe_intermediate_size"])
    norm("model.norm", hidden)
    if not c["tie_word_embeddings"]:
        matrix("lm_head", c["vocab_size"], hidden, 3.0)
    return out


def main():
    for seed, (name, config) in enumerate(MODELS.items(), start=20260222):
        folder = HERE / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        write_safetensors(folder / "model.safetensors", random_weights(config, seed))
        print(name, (folder / "model.safetensors").stat().st_size, "bytes")


if __name__ == "__main__":
    main()
