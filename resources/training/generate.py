"""Lets the teacher write: continuous batching in one CUDA graph, every decode step identical, no host in the loop.

    python3 generate.py TEACHER.gguf OUT_FOLDER --seconds 240 [--batch 8192]

A slot reads its prompt token by token, samples until the end token or its limit, and takes the next prompt, all on the
device. The KV cache takes 30 layers x 3 KV heads x 64 x K and V x 2 bytes = 23 KB per token. Measured on one H200 at batch
8192: 37.7 ms per step, 217,000 tokens/s with prompts; its bytes would need about 14 ms, so there is room (not profiled).
Writes OUT_FOLDER/raw.npz: `prompt` (number), `start` (offsets), `tokens` of every finished answer.
"""

import argparse
import functools
import multiprocessing
import time

import numpy as np
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

import gguf_teacher
from prompts import TEACHER_EOS, Prompt

LAYERS, HIDDEN, HEADS, KV_HEADS, HEAD, WIDTH, EPS, THETA = 30, 576, 9, 3, 64, 1536, 1e-5, 100000.0
CONTEXT, PROMPT_MAX = 256, 136
TEMPERATURE, MIN_P, PRESENCE, FREQUENCY = 0.8, 0.08, 0.4, 0.4


@triton.jit
def attend(qkv, k_cache, v_cache, cos, sin, pos, out, S: tl.constexpr, BLOCK: tl.constexpr):
    """One program per (slot, KV head): rotates and appends this token's K and V, then three query heads attend.

    qkv [B, 960]; k_cache, v_cache [B, 3, S, 64]; cos, sin [S, 32]; out [B, 576]."""
    b, h = tl.program_id(0), tl.program_id(1)
    p = tl.load(pos + b)
    half, full = tl.arange(0, 32), tl.arange(0, 64)
    c, s = tl.load(cos + p * 32 + half), tl.load(sin + p * 32 + half)
    row = qkv + b.to(tl.int64) * 960
    base = (b.to(tl.int64) * 3 + h) * S * 64
    k1 = tl.load(row + 576 + h * 64 + half).to(tl.float32)
    k2 = tl.load(row + 576 + h * 64 + 32 + half).to(tl.float32)
    new1, new2 = k1 * c - k2 * s, k2 * c + k1 * s
    v_new = tl.load(row + 768 + h * 64 + full).to(tl.float32)
    tl.store(k_cache + base + p * 64 + half, new1.to(tl.bfloat16))
    tl.store(k_cache + base + p * 64 + 32 + half, new2.to(tl.bfloat16))
    tl.store(v_cache + base + p * 64 + full, v_new.to(tl.bfloat16))
    r = tl.arange(0, 4)
    q_at = row + (h * 3 + r[:, None]) * 64 + half[None, :]
    q1 = tl.load(q_at, mask=r[:, None] < 3, other=0).to(tl.float32)
    q2 = tl.load(q_at + 32, mask=r[:, None] < 3, other=0).to(tl.float32)
    a1 = (q1 * c[None, :] - q2 * s[None, :]) * 0.125
    a2 = (q2 * c[None, :] + q1 * s[None, :]) * 0.125
    # The token's own K and V come from registers: the stores above need not be visible yet.
    m = tl.sum(a1 * new1[None, :], 1) + tl.sum(a2 * new2[None, :], 1)
    total = tl.full((4,), 1.0, tl.float32)
    acc = tl.zeros((4, 64), tl.float32) + v_new[None, :]
    for start in range(0, p, BLOCK):
        t = start + tl.arange(0, BLOCK)
        live = t < p
        at = k_cache + base + t[:, None] * 64 + half[None, :]
        kb1 = tl.load(at, mask=live[:, None], other=0).to(tl.float32)
        kb2 = tl.load(at + 32, mask=live[:, None], other=0).to(tl.float32)
        vb = tl.load(v_cache + base + t[:, None] * 64 + full[None, :], mask=live[:, None], other=0).to(tl.float32)
        score = tl.sum(a1[:, None, :] * kb1[None, :, :], 2) + tl.sum(a2[:, None, :] * kb2[None, :, :], 2)
        score = tl.where(live[None, :], score, float("-inf"))
        m_new = tl.maximum(m, tl.max(score, 1))
        weight = tl.exp(score - m_new[:, None])
        shrink = tl.exp(m - m_new)
        total = total * shrink + tl.sum(weight, 1)
        acc = acc * shrink[:, None] + tl.sum(weight[:, :, None] * vb[None, :, :], 1)
        m = m_new
    o_at = out + b.to(tl.int64) * 576 + (h * 3 + r[:, None]) * 64 + full[None, :]
    tl.store(o_at, (acc / total[:, None]).to(tl.bfloat16), mask=r[:, None] < 3)


@triton.jit
def sample(logits, counts, exempt, fresh, seed, out, V, inv_t, log_min_p, presence, frequency, BLOCK: tl.constexpr):
    """Temperature and min-p sampling (Gumbel maximum) with a penalty on words this answer has used already."""
    b = tl.program_id(0)
    row = b.to(tl.int64) * V
    is_fresh, sd = tl.load(fresh + b), tl.load(seed)
    top = float("-inf")
    for start in range(0, V, BLOCK):
        i = start + tl.arange(0, BLOCK)
        n = tl.load(counts + row + i)
        n = tl.where(is_fresh != 0, 0, n)
        if is_fresh != 0:
            tl.store(counts + row + i, n)
        n = n.to(tl.float32) * (1 - tl.load(exempt + i).to(tl.float32))
        x = tl.load(logits + row + i).to(tl.float32) - tl.where(n > 0, presence + frequency * n, 0.0)
        top = tl.maximum(top, tl.max(x * inv_t, 0))
    best, best_i = float("-inf"), 0
    for start in range(0, V, BLOCK):
        i = start + tl.arange(0, BLOCK)
        n = tl.load(counts + row + i)
        n = tl.where(is_fresh != 0, 0, n).to(tl.float32) * (1 - tl.load(exempt + i).to(tl.float32))
        x = (tl.load(logits + row + i).to(tl.float32) - tl.where(n > 0, presence + frequency * n, 0.0)) * inv_t
        u = tl.rand(sd, b * V + i)
        g = x - tl.log(-tl.log(tl.maximum(u, 1e-10)) + 1e-10)
        g = tl.where(x >= top + log_min_p, g, float("-inf"))
        m = tl.max(g, 0)
        at = tl.argmax(g, 0)
        best_i = tl.where(m > best, start + at, best_i)
        best = tl.maximum(best, m)
    tl.store(out + b, best_i)


class Teacher:
    def __init__(self, weights, batch, device):
        def get(name):
            return torch.from_numpy(weights[name]).to(device, torch.bfloat16)

        self.embed = get("model.embed_tokens.weight")
        self.norm = get("model.norm.weight")
        self.layers = []
        for i in range(LAYERS):
            p = f"model.layers.{i}."
            self.layers.append((
                get(p + "input_layernorm.weight"),
                torch.cat([get(p + f"self_attn.{x}_proj.weight") for x in "qkv"]),
                get(p + "self_attn.o_proj.weight"), get(p + "post_attention_layernorm.weight"),
                torch.cat([get(p + "mlp.gate_proj.weight"), get(p + "mlp.up_proj.weight")]),
                get(p + "mlp.down_proj.weight")))
        self.k = torch.zeros(LAYERS, batch, KV_HEADS, CONTEXT, HEAD, dtype=torch.bfloat16, device=device)
        self.v = torch.zeros_like(self.k)
        angle = torch.outer(torch.arange(CONTEXT).double(), THETA ** (-torch.arange(0, HEAD, 2).double() / HEAD))
        self.cos, self.sin = angle.cos().float().to(device), angle.sin().float().to(device)
        self.attended = torch.empty(batch, HIDDEN, dtype=torch.bfloat16, device=device)

    def __call__(self, token, pos):
        x = self.embed[token]
        for i, (norm1, qkv, o, norm2, gate_up, down) in enumerate(self.layers):
            y = F.linear(F.rms_norm(x, (HIDDEN,), norm1, EPS), qkv)
            attend[(x.shape[0], KV_HEADS)](y, self.k[i], self.v[i], self.cos, self.sin, pos, self.attended,
                                           S=CONTEXT, BLOCK=32, num_warps=4)
            x = x + F.linear(self.attended, o)
            gate, up = F.linear(F.rms_norm(x, (HIDDEN,), norm2, EPS), gate_up).chunk(2, -1)
            x = x + F.linear(F.silu(gate) * up, down)
        return F.linear(F.rms_norm(x, (HIDDEN,), self.norm, EPS), self.embed)


FUNCTION_WORDS = """the a an and or but to of in on at by for with from as is was were be been are had has have did do he she it
they him her his its their them I you we my your our that this who what when where so not no all said one day out up into
then there""".split()


def exempt_tokens(tok, size):
    """Function words, punctuation, line breaks and the end token are never penalized."""
    mask = torch.zeros(size, dtype=torch.uint8)
    texts = [v for word in FUNCTION_WORDS for v in (word, " " + word, word.capitalize(), " " + word.capitalize())]
    texts += list(".,!?;:'\"-\n") + [" \"", ".\"", ",\"", "!\"", "?\"", "\n\n", "'s", "n't", " '"]
    for text in texts:
        ids = tok.encode(text, add_special_tokens=False).ids
        if len(ids) == 1:
            mask[ids[0]] = 1
    mask[TEACHER_EOS] = 1
    return mask


def _encode(numbers, gguf):
    tok = _tokenizer(gguf)
    out = []
    for n in numbers:
        prompt = Prompt(n)
        ids = tok.encode(prompt.teacher_text, add_special_tokens=False).ids
        out.append((n, ids, min(len(ids) + prompt.new_tokens, CONTEXT)))
    return [x for x in out if len(x[1]) <= PROMPT_MAX]


@functools.lru_cache(1)
def _tokenizer(gguf):
    return gguf_teacher.tokenizer(gguf_teacher.read(gguf)[0])


def encode_prompts(count, gguf):
    step = 4000
    chunks = [range(i, min(i + step, count)) for i in range(0, count, step)]
    with multiprocessing.Pool() as pool:
        rows = [r for part in pool.imap(functools.partial(_encode, gguf=gguf), chunks) for r in part]
    ids = np.zeros((len(rows), PROMPT_MAX), np.int32)
    for i, (_, row, _) in enumerate(rows):
        ids[i, : len(row)] = row
    return np.array([r[0] for r in rows]), ids, np.array([len(r[1]) for r in rows]), np.array([r[2] for r in rows])


class Generator:
    """All state of the loop lives on the device, so that one step can be recorded and replayed."""

    def __init__(self, teacher, prompts, lengths, limits, exempt, batch, steps, device):
        self.teacher, self.batch, self.device = teacher, batch, device
        self.prompts = torch.from_numpy(prompts).to(device)
        self.lengths, self.limits = (torch.from_numpy(x).to(device).long() for x in (lengths, limits))
        self.exempt, self.vocabulary = exempt.to(device), teacher.embed.shape[0]
        self.slot = torch.arange(batch, device=device)
        self.next_prompt = torch.tensor(batch, device=device)
        self.pos = torch.zeros(batch, dtype=torch.long, device=device)
        self.token = self.prompts[self.slot, 0].long()
        self.fresh = torch.ones(batch, dtype=torch.int32, device=device)
        self.counts = torch.zeros(batch, self.vocabulary, dtype=torch.uint8, device=device)
        self.seed = torch.zeros(1, dtype=torch.int32, device=device)
        self.picked = torch.zeros(batch, dtype=torch.int32, device=device)
        self.row = torch.zeros(1, dtype=torch.long, device=device)
        self.history = torch.full((steps, batch), -1, dtype=torch.int32, device=device)
        self.history_slot = torch.zeros((steps, batch), dtype=torch.int32, device=device)

    def step(self):
        logits = self.teacher(self.token, self.pos)
        sample[(self.batch,)](logits, self.counts, self.exempt, self.fresh, self.seed, self.picked, self.vocabulary,
                              1 / TEMPERATURE, float(np.log(MIN_P)), PRESENCE, FREQUENCY, BLOCK=2048, num_warps=8)
        after = self.pos + 1
        reading = after < self.lengths[self.slot]
        forced = self.prompts[self.slot, after.clamp(max=PROMPT_MAX - 1)].long()
        token = torch.where(reading, forced, self.picked.long())
        index = (torch.arange(self.batch, device=self.device) * self.vocabulary + token)
        flat = self.counts.view(-1)
        flat[index] = (flat[index] + (~reading).to(torch.uint8)).clamp(max=250)
        self.history.index_copy_(0, self.row, torch.where(reading, -1, token).int()[None])
        self.history_slot.index_copy_(0, self.row, self.slot.int()[None])
        done = ~reading & ((token == TEACHER_EOS) | (after + 1 >= self.limits[self.slot]))
        fresh_slot = (self.next_prompt + done.long().cumsum(0) - 1) % self.prompts.shape[0]
        self.next_prompt += done.sum()
        self.slot.copy_(torch.where(done, fresh_slot, self.slot))
        self.pos.copy_(torch.where(done, 0, after))
        self.token.copy_(torch.where(done, self.prompts[self.slot, 0].long(), token))
        self.fresh.copy_(done)
        self.seed += 1
        self.row += 1

    def answers(self, steps):
        """(slot per answer, offsets, tokens) of the answers that are complete."""
        tokens = self.history[:steps].T.cpu().numpy().ravel()
        slots = self.history_slot[:steps].T.cpu().numpy().ravel()
        keep = tokens >= 0
        tokens, slots = tokens[keep], slots[keep]
        start = np.concatenate([[0], np.flatnonzero(np.diff(slots)) + 1, [len(slots)]])
        return slots[start[:-1]], start, tokens


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--prompts", type=int, default=900000)
    args = parser.parse_args()
    began = time.time()
    numbers, ids, lengths, limits = encode_prompts(args.prompts, args.gguf)
    print(f"{len(numbers)} prompts, {lengths.mean():.0f} tokens each, {time.time() - began:.0f} s", flush=True)
    metadata, tensors = gguf_teacher.read(args.gguf)
    weights = gguf_teacher.hub_weights(metadata, tensors)
    device = "cuda"
    with torch.no_grad():
        teacher = Teacher(weights, args.batch, device)
        exempt = exempt_tokens(_tokenizer(args.gguf), teacher.embed.shape[0])
        check(teacher, weights, ids[0, : lengths[0]], device)
        max_steps = int(args.seconds / 0.006)
        g = Generator(teacher, ids, lengths, limits, exempt, args.batch, max_steps, device)
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            for _ in range(3):
                g.step()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            g.step()
        torch.cuda.synchronize()
        steps, t0 = 3, time.time()
        while time.time() - t0 < args.seconds and steps < max_steps - 64:
            for _ in range(50):
                graph.replay()
            steps += 50
            torch.cuda.synchronize()
            if steps % 2000 == 3:
                rate = args.batch * (steps - 3) / (time.time() - t0)
                print(f"step {steps}: {1e3 * (time.time() - t0) / (steps - 3):.2f} ms, {rate:.0f} tokens/s, "
                      f"prompt {int(g.next_prompt)}", flush=True)
            if int(g.next_prompt) > len(numbers) - args.batch:
                break
        slots, start, tokens = g.answers(steps)
    print(f"{len(slots)} answers, {len(tokens)} teacher tokens written, {time.time() - began:.0f} s", flush=True)
    np.savez(f"{args.out}/raw.npz", prompt=numbers[slots], start=start, tokens=tokens.astype(np.uint16))


def check(teacher, weights, ids, device):
    """The decode path against transformers' Llama on the same prompt."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(weights["model.embed_tokens.weight"]), hidden_size=HIDDEN, intermediate_size=WIDTH,
        num_hidden_layers=LAYERS, num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, rms_norm_eps=EPS,
        rope_parameters={"rope_type": "default", "rope_theta": THETA}, tie_word_embeddings=True))
    model.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
    model = model.to(device).eval()
    expected = model(torch.tensor(ids, device=device)[None].long()).logits[0, -1].float()
    batch = teacher.attended.shape[0]
    for p, t in enumerate(ids):
        token = torch.full((batch,), int(t), device=device)
        logits = teacher(token, torch.full((batch,), p, device=device))
    got = logits[batch // 2].float()
    error = float((got - expected).norm() / expected.norm())
    print(f"decode path against transformers: relative error {error:.4f}, same argmax {got.argmax() == expected.argmax()}")
    assert error < 0.05


if __name__ == "__main__":
    main()
