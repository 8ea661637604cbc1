"""Writes <name>.safetensors for the models named on the command line; README.md defines every tensor."""

import hashlib
import json
import pathlib
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import Qwen3MoeForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeTopKRouter, eager_attention_forward

import quantize

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
FOLDERS = {
    "tiny-a": HERE / "models/tiny-a",
    "tiny-b": HERE / "models/tiny-b",
    "embedded": ROOT / "resources/models/tiny-moe",
    "embedded-8k": ROOT / "resources/models/tiny-moe",
}
GREEDY_PROMPT, GREEDY_TOKENS, PERPLEXITY_TOKENS = 64, 64, 4096


def through_e4m3(x):
    amax = x.abs().amax(-1, keepdim=True)
    scale = torch.where(amax == 0, torch.ones_like(amax), amax / 448)
    return (x / scale).to(torch.float8_e4m3fn).float() * scale


def fp8_kv_attention(module, query, key, value, attention_mask, scaling, **kwargs):
    return eager_attention_forward(
        module, query, through_e4m3(key), through_e4m3(value), attention_mask, scaling, **kwargs)


ALL_ATTENTION_FUNCTIONS.register("fp8_kv", fp8_kv_attention)
transformers.AttentionInterface.register("fp8_kv", fp8_kv_attention)
transformers.AttentionMaskInterface.register("fp8_kv", transformers.masking_utils.ALL_MASK_ATTENTION_FUNCTIONS["eager"])


def load(folder, dtype, attention="eager"):
    model, info = Qwen3MoeForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    assert not info["unexpected_keys"] and set(info["missing_keys"]) <= tied, info
    assert not info["mismatched_keys"], info
    if attention != "eager":
        model.set_attn_implementation(attention)
    return model.eval()


@torch.no_grad()
def logits_of(model, ids):
    """All logits of one sequence in one context, FP32 [N, V]."""
    return model(input_ids=torch.as_tensor(ids)[None], use_cache=False).logits[0].float()


def nats_per_token(logits, ids):
    return torch.nn.functional.cross_entropy(logits[:-1], torch.as_tensor(ids)[1:].long()).reshape(1)


def kl(reference, other):
    p, q = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1).mean().float().reshape(1)


def record_routers(model):
    """Appends (ids, weights, margin) of every router call to the returned list."""
    records = []

    def hook(router, _, result):
        probabilities = result[0].float().softmax(-1)
        top = probabilities.topk(router.top_k + 1, dim=-1).values
        records.append((result[2].int(), result[1].float(), top[:, -2] - top[:, -1]))

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, Qwen3MoeTopKRouter)]
    return records, handles


@torch.no_grad()
def greedy(model, ids):
    ids, out, margins = list(ids), [], []
    for _ in range(GREEDY_TOKENS):
        best = model(input_ids=torch.tensor([ids + out]), use_cache=False).logits[0, -1].topk(2)
        out.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
    return out, margins


def quantize_experts(model, bits):
    """In place. transformers fuses the experts: gate_up_proj [E, 2 W, H] (gate first), down_proj [E, H, W]."""
    for module in model.modules():
        if type(module).__name__ != "Qwen3MoeExperts":
            continue
        for fused in (module.gate_up_proj, module.down_proj):
            for e in range(fused.shape[0]):
                rows = quantize.round_trip(fused.data[e].numpy(), bits)
                fused.data[e] = torch.from_numpy(rows)
    return model


def heldout_ids(folder):
    from tokenizers import Tokenizer

    text = (ROOT / "resources/prompts/heldout.txt").read_text(encoding="utf-8")
    return np.array(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text, add_special_tokens=False).ids)


def inputs_of(name, folder):
    """(input ids, perplexity ids or None)."""
    config = json.loads((folder / "config.json").read_text())
    if name != "embedded":
        return np.random.default_rng(7).integers(0, config["vocab_size"], 200), None
    ids = heldout_ids(folder)
    return ids[:700], ids[:PERPLEXITY_TOKENS]


def sample_positions(n, count=32):
    """Evenly spread with a seeded jitter, 0 and n - 1 included."""
    rng = np.random.default_rng(11)
    inner = np.linspace(1, n - 2, count - 2) + rng.integers(-2, 3, count - 2)
    return np.unique(np.concatenate([[0], np.clip(inner.round().astype(int), 1, n - 2), [n - 1]]))


def add_uncertain(positions, logits, blocks=16):
    """Half of the even positions, and the one of highest entropy of each of `blocks` stretches.

    Most tokens of the embedded model's text are nearly certain; the others tell implementations apart."""
    entropy = torch.distributions.Categorical(logits=logits).entropy().numpy()
    edges = np.linspace(0, len(logits), blocks + 1).astype(int)
    uncertain = [a + int(entropy[a:b].argmax()) for a, b in zip(edges, edges[1:])]
    return np.unique(np.concatenate([positions[::2], positions[-1:], uncertain]))


def save(name, out):
    folder, digest = FOLDERS[name], hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    save_file({k: v.contiguous() for k, v in sorted(out.items())}, HERE / f"{name}.safetensors", metadata={
        "transformers": transformers.__version__, "torch": torch.__version__.split("+")[0],
        "sha256": digest.hexdigest(), "model": str(folder.relative_to(ROOT))})
    (HERE / f"{name}.safetensors").chmod(0o644)
    print(name, {k: tuple(v.shape) for k, v in out.items() if v.numel() > 1})
    print({k: round(float(v), 6) for k, v in out.items() if v.numel() == 1})


def make_long(name):
    """The model's whole context: the router's tensors in few bytes, and of the other precisions only the FP8 KV cache, the
    one that a long text is longer for."""
    folder = FOLDERS[name]
    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    ids = heldout_ids(folder)[:context]
    assert len(ids) == context
    model = load(folder, torch.float32)
    records, _ = record_routers(model)
    every = logits_of(model, ids)
    positions = add_uncertain(sample_positions(context), every)
    reference = every[positions]
    router_ids, weights, margin = (torch.stack(x) for x in zip(*records))
    error = logits_of(load(folder, torch.bfloat16), ids)[positions] - reference
    rounded = logits_of(load(folder, torch.float32, "fp8_kv"), ids)[positions]

    def fixed_point(probabilities):
        return torch.from_numpy((probabilities.double() * 65535).round().numpy().astype(np.uint16))

    save(name, {
        "input_ids": torch.tensor(ids, dtype=torch.int32), "positions": torch.tensor(positions, dtype=torch.int32),
        "logits": reference, "logits_fp8kv": rounded, "kl_fp8kv": kl(reference, rounded),
        "rms_bf16": error.square().mean().sqrt().reshape(1), "rms_bf16_per_position": error.square().mean(-1).sqrt(),
        "router_ids": router_ids.to(torch.uint8), "router_weights": fixed_point(weights),
        "router_margin": fixed_point(margin)})


def make(name):
    folder = FOLDERS[name]
    ids, long_ids = inputs_of(name, folder)
    positions = sample_positions(len(ids))
    out = {"input_ids": torch.tensor(ids, dtype=torch.int32)}

    def run(model, suffix):
        logits = logits_of(model, ids)[positions]
        if long_ids is not None:
            out["perplexity_nats" + suffix] = nats_per_token(logits_of(model, long_ids), long_ids)
        return logits

    model = load(folder, torch.float32)
    records, handles = record_routers(model)
    every = logits_of(model, ids)
    if name == "embedded":
        positions = add_uncertain(positions, every)
    out["positions"] = torch.tensor(positions, dtype=torch.int32)
    for handle in handles:
        handle.remove()
    out["router_ids"], out["router_weights"], out["router_margin"] = (torch.stack(x) for x in zip(*records))
    reference = out["logits"] = run(model, "")
    tokens, margins = greedy(model, ids[:GREEDY_PROMPT].tolist())
    out["greedy_prompt_tokens"] = torch.tensor([GREEDY_PROMPT], dtype=torch.int32)
    out["greedy_ids"] = torch.tensor(tokens, dtype=torch.int32)
    out["greedy_margin"] = torch.tensor(margins)
    if long_ids is not None:
        out["perplexity_tokens"] = torch.tensor([len(long_ids)], dtype=torch.int32)

    error = run(load(folder, torch.bfloat16), "_bf16") - reference
    out["rms_bf16"] = error.square().mean().sqrt().reshape(1)
    out["rms_bf16_per_position"] = error.square().mean(-1).sqrt()

    out["logits_fp8kv"] = run(load(folder, torch.float32, "fp8_kv"), "_fp8kv")
    out["kl_fp8kv"] = kl(reference, out["logits_fp8kv"])
    for bits in (8, 4):
        out[f"logits_int{bits}"] = run(quantize_experts(load(folder, torch.float32), bits), f"_int{bits}")
        out[f"kl_int{bits}"] = kl(reference, out[f"logits_int{bits}"])

    save(name, out)
    margin = reference.topk(2, -1).values
    print("logit std", float(reference.std()), "median top-1 margin", float((margin[:, 0] - margin[:, 1]).median()),
          "median router margin", float(out["router_margin"].median()), "smallest", float(out["router_margin"].min()),
          "greedy margin min", min(margins))


if __name__ == "__main__":
    torch.manual_seed(0)
    for model_name in sys.argv[1:] or FOLDERS:
        (make_long if model_name == "embedded-8k" else make)(model_name)
