"""Turns the teacher's raw tokens into accepted texts: complete, free of repetition, without duplicates.

    python3 filter.py TEACHER.gguf RAW.npz OUT_FOLDER [PARTS]

Writes OUT_FOLDER/teacher-N.jsonl.xz, one line [prompt number, text] for each accepted answer.
"""

import functools
import json
import lzma
import multiprocessing
import re
import sys

import numpy as np

from generate import _tokenizer
from prompts import TEACHER_EOS, Prompt

PART_BYTES = 15_000_000
_PLAIN = re.compile(r"[A-Za-z0-9 .,;:!?'\"()\n-]+")
_BAD = re.compile(r"\b(AI|language model|SmolLM|Hugging|assistant|sorry, but|as follows|http|user|prompt|sentence)\b", re.I)
_END = re.compile(r"[.!?][\"']?(?=\s|$)")


def repeats(text):
    """True if a run of four words occurs twice, or a sentence says nearly what another one said."""
    words = re.findall(r"[a-z']+", text.lower())
    runs = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
    if len(runs) != len(set(runs)):
        return True
    return any(a == b == c for a, b, c in zip(words, words[1:], words[2:])) or len(set(words)) < 0.5 * len(words)


def accept(prompt, text, finished):
    """The text to keep, or None."""
    text = text.replace("\u2019", "'").replace("\u2018", "'").replace("\u201c", '"').replace("\u201d", '"')
    text = text.replace("\u2014", " - ").replace("\u2013", "-").replace("\u2026", "...").rstrip()
    lead = "\n\n" if text.startswith("\n\n") else " "
    text = text.strip()
    if prompt.kind == "story" or not finished:
        ends = [m.end() for m in _END.finditer(text)]
        if not ends or (prompt.kind == "qa" and not finished):
            return None
        text = text[: ends[-1]]
    words = len(text.split())
    if not _PLAIN.fullmatch(text) or _BAD.search(text) or repeats(text) or not _END.search(text[-2:]):
        return None
    if text.count('"') % 2 or "\n\n\n" in text or "1." in text or words < (4 if prompt.kind == "qa" else 25):
        return None
    if prompt.kind == "story":
        if repeats(prompt.opening + " " + text) or "The end" in text or not text[0].isupper():
            return None
        if prompt.name not in text and not re.search(r"\b(he|she)\b", text, re.I):
            return None
        return prompt.opening + lead + text + "\n\n" + prompt.ending
    return text if text[0].isupper() and "\n" not in text else None


def _job(piece, gguf):
    tok = _tokenizer(gguf)
    out, kinds = [], {"qa": [0, 0], "story": [0, 0]}
    for number, ids in piece:
        finished = ids[-1] == TEACHER_EOS
        prompt = Prompt(int(number))
        kinds[prompt.kind][0] += 1
        text = accept(prompt, tok.decode(ids[:-1] if finished else ids, skip_special_tokens=False), finished)
        if text:
            kinds[prompt.kind][1] += 1
            out.append((int(number), text))
    return out, kinds


def main():
    gguf, raw, folder = sys.argv[1:4]
    parts = int(sys.argv[4]) if len(sys.argv) > 4 else 4
    data = np.load(raw)
    prompt, start, tokens = data["prompt"], data["start"], data["tokens"]
    n = len(prompt)

    def pieces(step=2000):
        for i in range(0, n, step):
            yield [(prompt[j], tokens[start[j] : start[j + 1]].tolist()) for j in range(i, min(i + step, n))]

    seen, rows, total = set(), [], {"qa": [0, 0], "story": [0, 0]}
    with multiprocessing.Pool() as pool:
        for out, kinds in pool.imap(functools.partial(_job, gguf=gguf), pieces()):
            for k, (a, b) in kinds.items():
                total[k][0] += a
                total[k][1] += b
            for number, text in out:
                key = hash(re.sub(r"[^a-z]", "", text.lower())[-120:])
                if key not in seen:
                    seen.add(key)
                    rows.append(json.dumps([number, text]))
        step = -(-len(rows) // 64)
        blobs = ["\n".join(rows[i : i + step]).encode() + b"\n" for i in range(0, len(rows), step)]
        packed = pool.map(functools.partial(lzma.compress, preset=6), blobs, 1)
    files = [b""]
    for blob in packed:
        if len(files[-1]) + len(blob) > PART_BYTES:
            files.append(b"")
        files[-1] += blob
    for i, content in enumerate(files[:parts]):
        with open(f"{folder}/teacher-{i}.jsonl.xz", "wb") as f:
            f.write(content)
    print(f"answers [written, accepted before duplicates]: {total}; kept {len(rows)}, "
          f"{sum(map(len, blobs))} bytes, {sum(map(len, packed))} compressed")
    for row in rows[:: max(1, len(rows) // 40)]:
        print(row[:700])


if __name__ == "__main__":
    main()
