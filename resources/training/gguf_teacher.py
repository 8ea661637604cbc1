"""Reads the teacher: a Llama-architecture GGUF file with Q4_1, Q8_0 and F32 tensors.

GGUF layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
Only what SmolLM2-135M-Instruct.Q4_1.gguf needs is implemented; any other tensor type is an error.
"""

import struct

import numpy as np

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_F32, _Q4_1, _Q8_0 = 0, 3, 8


class _Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, code):
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return value

    def string(self):
        length = self.scalar("Q")
        self.at += length
        return bytes(self.data[self.at - length : self.at]).decode("utf-8", "surrogateescape")

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            kind, count = self.scalar("I"), self.scalar("Q")
            return [self.value(kind) for _ in range(count)]
        return self.scalar(_SCALARS[kind])


def read(path):
    """Returns (metadata, {name: (type, shape with rows first, raw bytes)})."""
    data = np.memmap(path, np.uint8, "r")
    cursor = _Cursor(data)
    assert cursor.scalar("I") == 0x46554747, "not a GGUF file"
    assert cursor.scalar("I") == 3, "GGUF version 3 expected"
    n_tensors, n_pairs = cursor.scalar("Q"), cursor.scalar("Q")
    metadata = {}
    for _ in range(n_pairs):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.scalar("I"))
    infos = []
    for _ in range(n_tensors):
        name = cursor.string()
        shape = tuple(cursor.scalar("Q") for _ in range(cursor.scalar("I")))[::-1]
        infos.append((name, shape, cursor.scalar("I"), cursor.scalar("Q")))
    alignment = metadata.get("general.alignment", 32)
    base = -(-cursor.at // alignment) * alignment
    bytes_per_32 = {_F32: 128, _Q4_1: 20, _Q8_0: 34}
    tensors = {}
    for name, shape, kind, offset in infos:
        size = int(np.prod(shape)) // 32 * bytes_per_32[kind]
        tensors[name] = (kind, shape, data[base + offset : base + offset + size])
    return metadata, tensors


def dequantize(kind, shape, raw):
    """F32 values. Q4_1: 32 values share d and m (FP16), w = d * q + m; Q8_0: w = d * q."""
    if kind == _F32:
        return np.frombuffer(raw.tobytes(), "<f4").reshape(shape).copy()
    if kind == _Q4_1:
        blocks = np.asarray(raw).reshape(-1, 20)
        d = blocks[:, 0:2].copy().view("<f2").astype(np.float32)
        m = blocks[:, 2:4].copy().view("<f2").astype(np.float32)
        q = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
        return (d * q + m).reshape(shape)
    if kind == _Q8_0:
        blocks = np.asarray(raw).reshape(-1, 34)
        d = blocks[:, 0:2].copy().view("<f2").astype(np.float32)
        return (d * blocks[:, 2:].view(np.int8)).reshape(shape)
    raise ValueError(f"tensor type {kind}")


def _unpermute(w, heads):
    """GGUF interleaves each head's rotary halves; this restores the Hub's order."""
    rows, cols = w.shape
    return w.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)


def hub_weights(metadata, tensors):
    """State dict of LlamaForCausalLM (tied embeddings), FP32 NumPy arrays."""
    heads, kv_heads = metadata["llama.attention.head_count"], metadata["llama.attention.head_count_kv"]
    names = {
        "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }
    out = {}
    for name, tensor in tensors.items():
        w = dequantize(*tensor)
        if name == "token_embd.weight":
            out["model.embed_tokens.weight"] = w
        elif name == "output_norm.weight":
            out["model.norm.weight"] = w
        else:
            _, layer, part, _ = name.split(".")
            if part in ("attn_q", "attn_k"):
                w = _unpermute(w, heads if part == "attn_q" else kv_heads)
            out[f"model.layers.{layer}.{names[part]}.weight"] = w
    return out


def tokenizer(metadata):
    """The teacher's byte-level BPE as a `tokenizers.Tokenizer`."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in metadata["tokenizer.ggml.merges"]]
    tok = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tok.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tok.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, metadata["tokenizer.ggml.token_type"]) if kind == 3]
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return tok
