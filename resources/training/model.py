"""The student in plain PyTorch: qwen3_moe with all experts computed and masked.

At this size one wide product over all 16 experts is faster than sorting tokens by expert, and it is the same function:
an expert that was not picked has weight 0. Weights are exported to the Hub's per-expert names by export.py.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int = 4096
    hidden: int = 256
    layers: int = 5
    heads: int = 8
    kv_heads: int = 2
    head: int = 64
    experts: int = 16
    top_k: int = 4
    width: int = 128
    theta: float = 100000.0
    context: int = 8192
    eps: float = 1e-6


def rotate(x, cos, sin):
    """x [B, heads, N, head]; cos, sin [N, head / 2]."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1).to(x.dtype)


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        q, kv, inner = c.heads * c.head, c.kv_heads * c.head, c.experts * c.width

        def matrix(rows, cols, gain=1.0):
            return nn.Parameter(torch.randn(rows, cols) * gain * cols**-0.5)

        depth = (2 * c.layers) ** -0.5
        self.norm1, self.norm2 = nn.Parameter(torch.ones(c.hidden)), nn.Parameter(torch.ones(c.hidden))
        self.q_norm, self.k_norm = nn.Parameter(torch.ones(c.head)), nn.Parameter(torch.ones(c.head))
        self.q, self.k, self.v = matrix(q, c.hidden), matrix(kv, c.hidden), matrix(kv, c.hidden)
        self.o = matrix(c.hidden, q, depth)
        self.router = matrix(c.experts, c.hidden, 0.3)
        self.gate, self.up = matrix(inner, c.hidden), matrix(inner, c.hidden)  # expert e: rows e * width ...
        self.down = nn.Parameter(torch.randn(c.hidden, inner) * depth * c.width**-0.5)  # expert e: columns e * width ...

    def attention(self, x, cos, sin):
        c, (b, n, _) = self.c, x.shape
        q = F.linear(x, self.q).view(b, n, c.heads, c.head)
        k = F.linear(x, self.k).view(b, n, c.kv_heads, c.head)
        v = F.linear(x, self.v).view(b, n, c.kv_heads, c.head).transpose(1, 2)
        q = rotate(F.rms_norm(q, (c.head,), self.q_norm.to(q.dtype), c.eps).transpose(1, 2), cos, sin)
        k = rotate(F.rms_norm(k, (c.head,), self.k_norm.to(k.dtype), c.eps).transpose(1, 2), cos, sin)
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(y.transpose(1, 2).reshape(b, n, -1), self.o)

    def experts(self, x):
        """Returns the sum over the picked experts and the load-balancing loss (Switch Transformer, eq. 4, top-k form)."""
        c = self.c
        p = F.linear(x, self.router).float().softmax(-1)
        index = torch.arange(c.experts, device=x.device)
        better = (p[..., None, :] > p[..., :, None]) | (
            (p[..., None, :] == p[..., :, None]) & (index[None, :] < index[:, None]))
        picked = (better.sum(-1) < c.top_k).float()
        weight = p * picked
        weight = weight / weight.sum(-1, keepdim=True)
        h = F.silu(F.linear(x, self.gate)) * F.linear(x, self.up)
        h = h.view(*h.shape[:-1], c.experts, c.width) * weight.to(h.dtype)[..., None]
        load = picked.flatten(0, -2).mean(0) / c.top_k
        balance = c.experts * (load * p.flatten(0, -2).mean(0)).sum()
        return F.linear(h.flatten(-2), self.down), balance

    def forward(self, x, cos, sin):
        c = self.c
        x = x + self.attention(F.rms_norm(x, (c.hidden,), self.norm1.to(x.dtype), c.eps), cos, sin)
        y, balance = self.experts(F.rms_norm(x, (c.hidden,), self.norm2.to(x.dtype), c.eps))
        return x + y, balance


class Student(nn.Module):
    def __init__(self, c=None):
        super().__init__()
        self.c = c = c or Config()
        self.embed = nn.Parameter(torch.randn(c.vocab, c.hidden) * 0.05)
        self.blocks = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = nn.Parameter(torch.ones(c.hidden))
        angle = torch.outer(torch.arange(c.context).double(), c.theta ** (-torch.arange(0, c.head, 2).double() / c.head))
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(self, ids):
        """ids [B, N] -> (logits [B, N, V], mean load-balancing loss: 1 when perfectly even)."""
        x = F.embedding(ids, self.embed)
        n, balance = ids.shape[1], 0.0
        for block in self.blocks:
            x, b = block(x, self.cos[:n], self.sin[:n])
            balance = balance + b / len(self.blocks)
        return F.linear(F.rms_norm(x, (self.c.hidden,), self.norm.to(x.dtype), self.c.eps), self.embed), balance

    def loss(self, ids, targets):
        logits, balance = self(ids)
        return F.cross_entropy(logits.float().flatten(0, -2), targets.flatten()), balance
