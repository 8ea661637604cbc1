"""Trains the student in two phases that share one learning-rate schedule over time.

    python3 train.py DATA_FOLDER STATE_FOLDER --phase 1 --seconds 420      # 1K windows
    python3 train.py DATA_FOLDER STATE_FOLDER --phase 2 --seconds 240      # 8K windows, packed documents

DATA_FOLDER is corpus.py's. STATE_FOLDER receives state.pt (weights, optimizer) and model/ (Hugging Face layout) every
minute; phase 2, or phase 1 started again, continues from there.
"""

import argparse
import math
import os
import time

import numpy as np
import torch
from tokenizers import Tokenizer

import export
from model import Config, Student

PEAK, FLOOR, WARM_UP_STEPS, DECAY_FROM = 2.5e-3, 2e-5, 200, 0.5
SAMPLES = """Tell me a story about a brave fox.|Tell me a story about a robot who lives by the sea.|Tell me a story about
friendship.|Tell me a short story about a shy dragon and a lantern.|Tell me a story about Mia the baker.|Tell me a story about Sarah the
plumber.|Write a short story about
a lost key.|Can you tell me a story about an old lighthouse keeper?|Tell me a bedtime story about a little bear.|Tell me a story.|Tell
me a story about a penguin who wants to dance.|Tell me a story about two cats.|Tell me a story about a spaceship.|Tell me a
story about a clever owl.|What is a
lighthouse?|Why do people sleep?|How do I make pancakes?|What does an owl eat?|Hello!|Who are you?|What is the difference
between a river and a lake?|What does a farmer do?"""
SAMPLES = [" ".join(s.split()) for s in SAMPLES.split("|")]


def learning_rate(progress, step):
    if step < WARM_UP_STEPS:
        return PEAK * (step + 1) / WARM_UP_STEPS
    if progress < DECAY_FROM:
        return PEAK
    fraction = min(1.0, (progress - DECAY_FROM) / (1 - DECAY_FROM))
    return FLOOR + (PEAK - FLOOR) * 0.5 * (1 + math.cos(math.pi * fraction))


def windows(tokens, length, batch, seed):
    """Endless shuffled batches of `length` + 1 tokens; the cut moves every epoch."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        shift = int(torch.randint(0, length, (1,), generator=generator))
        starts = torch.arange(shift, len(tokens) - length - 1, length)
        starts = starts[torch.randperm(len(starts), generator=generator)].to(tokens.device)
        span = torch.arange(length + 1, device=tokens.device)
        for i in range(0, len(starts) - batch + 1, batch):
            yield tokens[starts[i : i + batch, None] + span].long()


@torch.no_grad()
def validate(model, tokens, length, autocast):
    """Nats per token over the whole validation set in windows of `length`."""
    losses = []
    rows = tokens[: (len(tokens) - 1) // length * length + 1]
    x, y = rows[:-1].view(-1, length).long(), rows[1:].view(-1, length).long()
    step = max(1, 65536 // length)
    for i in range(0, len(x), step):
        with autocast():
            losses.append(float(model.loss(x[i : i + step], y[i : i + step])[0]) * len(x[i : i + step]))
    return sum(losses) / len(x)


@torch.no_grad()
def write_samples(model, tok, device, temperature=0.7, new_tokens=300):
    prompts = [tok.encode(f"<|im_start|>user\n{s}<|im_end|>\n<|im_start|>assistant\n").ids for s in SAMPLES]
    torch.manual_seed(1)
    for text, ids in zip(SAMPLES, prompts):
        row = torch.tensor([ids], device=device)
        for _ in range(new_tokens):
            logits = model(row)[0][:, -1].float() / temperature
            p = logits.softmax(-1)
            p[p < 0.05 * p.max()] = 0
            row = torch.cat([row, torch.multinomial(p, 1)], 1)
            if int(row[0, -1]) in (export.END, export.STOP):
                break
        print("###", text, "\n" + tok.decode(row[0, len(ids):].tolist()), f"\n[{row.shape[1] - len(ids)} tokens]", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data")
    parser.add_argument("state")
    parser.add_argument("--phase", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--total", type=float, default=660, help="seconds of both phases, for the schedule")
    parser.add_argument("--tokens", type=int, default=65536, help="per step")
    parser.add_argument("--length", type=int)
    parser.add_argument("--balance", type=float, default=0.01)
    parser.add_argument("--samples", action="store_true")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    length = args.length or (1024 if args.phase == 1 else 8192)
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    train, val = (torch.from_numpy(np.load(f"{args.data}/{n}.npy").astype(np.int32)).to(device) for n in ("train", "val"))
    model = Student(Config()).to(device)
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}],
        lr=PEAK, betas=(0.9, 0.95), eps=1e-10, fused=device == "cuda")
    state_file = f"{args.state}/state.pt"
    step, seen, spent = 0, 0, 0.0
    if os.path.exists(state_file):
        state = torch.load(state_file, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step, seen, spent = state["step"], state["seen"], state["spent"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(train)} training tokens, at step {step}", flush=True)

    def autocast():
        return torch.autocast(device, torch.bfloat16)

    compiled = torch.compile(model.loss, dynamic=False) if device == "cuda" else model.loss

    def save(began):
        torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seen": seen,
                    "spent": spent + time.time() - began}, state_file + ".new")
        os.replace(state_file + ".new", state_file)
        export.write(model, f"{args.state}/model")

    batches = windows(train, length, max(1, args.tokens // length), step + args.phase)
    began, saved, first = time.time(), time.time(), step
    while time.time() - began < args.seconds:
        progress = (spent + time.time() - began) / args.total
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(progress, step)
        batch = next(batches)
        with autocast():
            loss, balance = compiled(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
        (loss + args.balance * balance).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + batch[:, 1:].numel()
        if step == first + 20:
            warm, warm_seen = time.time(), seen
        if step % 250 == 0 or step == first + 1:
            rate = (seen - warm_seen) / (time.time() - warm) if step > first + 20 else 0
            print(f"step {step} {time.time() - began:.0f} s, {seen / 1e6:.0f} M tokens, {rate / 1e3:.0f} K tokens/s, loss "
                  f"{loss.item():.3f}, balance {balance.item():.3f}, norm {norm.item():.2f}, lr {learning_rate(progress, step):.2e}",
                  flush=True)
        if time.time() - saved > 60:
            save(began)
            saved = time.time()
            print(f"validation {validate(model, val, 1024, autocast):.4f}", flush=True)
    save(began)
    print(f"done at step {step}, {seen / 1e6:.1f} M tokens; validation nats per token in windows of 1024: "
          f"{validate(model, val, 1024, autocast):.4f}, of 8192: {validate(model, val, 8192, autocast) if len(val) > 8192 else 0:.4f}",
          flush=True)
    if args.samples:
        write_samples(model, Tokenizer.from_file(f"{args.data}/tokenizer.json"), device)


if __name__ == "__main__":
    main()
