"""Writes the student in Hugging Face layout, two BF16 shards with the Hub's tensor names, and reads it back."""

import json
import pathlib

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model import Config, Student

CHAT_TEMPLATE = (
    "{%- for message in messages %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "{%- endif %}\n")
END, START, STOP = 4093, 4094, 4095


def hub_tensors(state, c):
    """Student state dict -> {Hub name: BF16 tensor}, in file order."""
    out = {"model.embed_tokens.weight": state["embed"]}
    for i in range(c.layers):
        s, h = f"blocks.{i}.", f"model.layers.{i}."
        out[h + "input_layernorm.weight"] = state[s + "norm1"]
        for part in "qkvo":
            out[f"{h}self_attn.{part}_proj.weight"] = state[s + part]
        out[h + "self_attn.q_norm.weight"] = state[s + "q_norm"]
        out[h + "self_attn.k_norm.weight"] = state[s + "k_norm"]
        out[h + "post_attention_layernorm.weight"] = state[s + "norm2"]
        out[h + "mlp.gate.weight"] = state[s + "router"]
        for e in range(c.experts):
            rows = slice(e * c.width, (e + 1) * c.width)
            out[f"{h}mlp.experts.{e}.gate_proj.weight"] = state[s + "gate"][rows]
            out[f"{h}mlp.experts.{e}.up_proj.weight"] = state[s + "up"][rows]
            out[f"{h}mlp.experts.{e}.down_proj.weight"] = state[s + "down"][:, rows]
    out["model.norm.weight"] = state["norm"]
    return {k: v.detach().cpu().to(torch.bfloat16).contiguous() for k, v in out.items()}


def student_state(folder, c):
    """The inverse of hub_tensors, FP32."""
    t = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        t.update(load_file(path))
    t = {k: v.float() for k, v in t.items()}
    out = {"embed": t["model.embed_tokens.weight"], "norm": t["model.norm.weight"]}
    for i in range(c.layers):
        s, h = f"blocks.{i}.", f"model.layers.{i}."
        out[s + "norm1"], out[s + "norm2"] = t[h + "input_layernorm.weight"], t[h + "post_attention_layernorm.weight"]
        for part in "qkvo":
            out[s + part] = t[f"{h}self_attn.{part}_proj.weight"]
        out[s + "q_norm"], out[s + "k_norm"] = t[h + "self_attn.q_norm.weight"], t[h + "self_attn.k_norm.weight"]
        out[s + "router"] = t[h + "mlp.gate.weight"]
        for mine, theirs, dim in (("gate", "gate_proj", 0), ("up", "up_proj", 0), ("down", "down_proj", 1)):
            out[s + mine] = torch.cat([t[f"{h}mlp.experts.{e}.{theirs}.weight"] for e in range(c.experts)], dim)
    return out


def config_json(c):
    return dict(
        architectures=["Qwen3MoeForCausalLM"], attention_bias=False, attention_dropout=0.0, bos_token_id=None,
        decoder_sparse_step=1, eos_token_id=STOP, head_dim=c.head, hidden_act="silu", hidden_size=c.hidden,
        initializer_range=0.02, intermediate_size=c.width * c.top_k, max_position_embeddings=c.context, max_window_layers=c.layers,
        mlp_only_layers=[], model_type="qwen3_moe", moe_intermediate_size=c.width, norm_topk_prob=True,
        num_attention_heads=c.heads, num_experts=c.experts, num_experts_per_tok=c.top_k, num_hidden_layers=c.layers,
        num_key_value_heads=c.kv_heads, output_router_logits=False, pad_token_id=END, rms_norm_eps=c.eps, rope_scaling=None,
        rope_theta=c.theta, router_aux_loss_coef=0.01, sliding_window=None, tie_word_embeddings=True, torch_dtype="bfloat16",
        use_cache=True, use_sliding_window=False, vocab_size=c.vocab)


def tokenizer_config_json():
    special = lambda text: dict(content=text, lstrip=False, normalized=False, rstrip=False, single_word=False, special=True)
    names = {END: "<|endoftext|>", START: "<|im_start|>", STOP: "<|im_end|>"}
    return dict(
        add_bos_token=False, add_prefix_space=False, added_tokens_decoder={str(i): special(t) for i, t in names.items()},
        additional_special_tokens=["<|im_start|>", "<|im_end|>"], bos_token=None, chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False, eos_token="<|im_end|>", errors="replace", model_max_length=8192,
        pad_token="<|endoftext|>", split_special_tokens=False, tokenizer_class="Qwen2Tokenizer", unk_token=None)


def write(model, folder):
    c, folder = model.c, pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = hub_tensors(model.state_dict(), c)
    total, half = sum(t.nbytes for t in tensors.values()), 0
    shards, placed = [{}, {}], {}
    for name, tensor in tensors.items():
        shard = int(half >= total / 2)
        shards[shard][name] = tensor
        placed[name] = f"model-0000{shard + 1}-of-00002.safetensors"
        half += tensor.nbytes
    for i, shard in enumerate(shards):
        save_file(shard, folder / f"model-0000{i + 1}-of-00002.safetensors", metadata={"format": "pt"})
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(placed.items()))}
    files = {
        "model.safetensors.index.json": index, "config.json": config_json(c), "tokenizer_config.json": tokenizer_config_json(),
        "generation_config.json": dict(do_sample=True, eos_token_id=[STOP, END], pad_token_id=END, temperature=0.7, top_k=40,
                                       top_p=0.95)}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def check(folder):
    """Names as on the Hub, and transformers' logits equal to ours (FP32, relative to their RMS)."""
    from transformers import Qwen3MoeForCausalLM

    c = Config()
    names = set()
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        with safe_open(path, "pt") as f:
            names |= set(f.keys())
    attention = ["q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"]
    expected = {"model.embed_tokens.weight", "model.norm.weight"}
    for i in range(c.layers):
        h = f"model.layers.{i}."
        expected |= {h + "input_layernorm.weight", h + "post_attention_layernorm.weight", h + "mlp.gate.weight"}
        expected |= {f"{h}self_attn.{a}.weight" for a in attention}
        expected |= {f"{h}mlp.experts.{e}.{p}_proj.weight" for e in range(c.experts) for p in ("gate", "up", "down")}
    assert names == expected, names ^ expected
    index = json.loads((pathlib.Path(folder) / "model.safetensors.index.json").read_text())
    assert set(index["weight_map"]) == names
    theirs, info = Qwen3MoeForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["unexpected_keys"] and set(info["missing_keys"]) <= {"lm_head.weight"}, info
    ours = Student(c)
    ours.load_state_dict(student_state(folder, c))
    ids = torch.randint(0, c.vocab, (1, 600), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        a, b = theirs.eval()(ids).logits, ours(ids)[0]
    error = float((a - b).square().mean().sqrt() / a.square().mean().sqrt())
    print(f"{len(names)} tensors named as on the Hub; transformers against our training code: relative RMS {error:.2e}")
    assert error < 1e-4


if __name__ == "__main__":
    import sys

    check(sys.argv[1])
