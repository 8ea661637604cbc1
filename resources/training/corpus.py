"""Makes the student's tokenizer and its training and validation tokens.

    python3 corpus.py TEACHER_FOLDER OUT_FOLDER [--stories 400000]

TEACHER_FOLDER has filter.py's teacher-*.jsonl.xz. Writes tokenizer.json, train.npy, val.npy (uint16) and heldout.txt.
Grammar stories with seeds from HELD_OUT_SEED on, and every hundredth answer of the teacher, are never trained on.
"""

import argparse
import functools
import glob
import json
import lzma
import multiprocessing
import random
import re

import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

import stories
from prompts import Prompt

VOCABULARY = 4096
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
QWEN_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
              r"|\s+(?!\S)|\s+")
HELD_OUT_SEED = 1_000_000_000
HELD_OUT_BYTES = 200_000

SMALL_TALK = [
    ("Hello!|Hi!|Hi there!|Hello there.|Good morning!|Hey!", "Hello! I can tell you a short story or answer a simple question.|"
     "Hi! What would you like to hear about?|Hello! Shall I tell you a story?"),
    ("Who are you?|What are you?|What is your name?|Tell me about yourself.", "I am a tiny language model inside Krasis "
     "Workbench. I tell short stories.|I am the small model that comes with Krasis Workbench. I like short stories and simple "
     "questions."),
    ("What can you do?|How can you help me?|Can you help me?", "I can tell short stories and answer simple questions. I am "
     "very small, so please check what I say.|Ask me for a story about an animal, a person or a thing, and I will try."),
    ("Thank you!|Thanks!|Thank you very much.|That was a nice story.", "You are welcome! Would you like another story?|I am "
     "glad that you liked it."),
    ("How are you?|How are you today?", "I am well, thank you. Would you like to hear a story?|Very well, thank you!"),
    ("Goodbye!|Bye!|Good night.|See you later.", "Goodbye! Come back for another story.|Good night, and sweet dreams!"),
    ("Are you a person?|Are you human?", "No, I am a small computer program that writes text.|No, I am only a tiny language model."),
    ("How many experts do you have?|How are you built?", "I have five layers with sixteen experts each, and four of them "
     "work on every word.|I am a small mixture of experts: sixteen experts in each layer, four at a time."),
]

SYSTEM = ["You are a helpful assistant.", "You are a storyteller.", "You tell short stories.", "Answer briefly.",
          "You are a friendly assistant who answers in simple words."]


def train_tokenizer(texts):
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.NFC()
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN_SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tok.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False))
    tok.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    assert tok.get_vocab_size() == VOCABULARY
    return tok


def read_teacher(folder):
    """[(number, text)], held out ones apart."""
    train, held_out = [], []
    for path in sorted(glob.glob(f"{folder}/teacher-*.jsonl.xz")):
        with lzma.open(path, "rt") as f:
            for line in f:
                number, text = json.loads(line)
                (held_out if number % 100 == 0 else train).append((number, text))
    return train, held_out


def exchanges(job):
    """(request, answer) pairs of one slice of the corpus. The teacher's stories wander:
    they are no answers, but plain text (see documents)."""
    teacher, seeds, rng = job["teacher"], job["seeds"], random.Random(job["seed"])
    out = [(Prompt(number).request, text) for number, text in teacher if not is_story(text)]
    out += [stories.story(seed) for seed in seeds]
    for _ in range(len(out) // 150):
        asked, answers = rng.choice(SMALL_TALK)
        out.append((rng.choice(asked.split("|")), rng.choice(answers.split("|"))))
    rng.shuffle(out)
    return out


def flat(text):
    """A story as one block: its paragraphs are lines."""
    return re.sub(r"\n+", "\n", text)


def is_story(text):
    return "\n" in text  # answers to questions are one paragraph


def documents(job, pairs, rng):
    """Chats of one or more turns, and runs of plain stories, the teacher's among them, separated by blank lines."""
    plain = [flat(a) for _, a in pairs if is_story(a) and rng.random() < 0.2]
    plain += [flat(text) for _, text in job["teacher"] if is_story(text)]
    rng.shuffle(plain)
    while plain:
        n = min(len(plain), rng.choice([1, 2, 4, 8, 16, 40]))
        yield "\n\n".join(plain[:n])
        plain = plain[n:]
    i = 0
    while i < len(pairs):
        turns = 1 if rng.random() < 0.65 else rng.randint(2, 6)
        text = f"<|im_start|>system\n{rng.choice(SYSTEM)}<|im_end|>\n" if rng.random() < 0.1 else ""
        told = False
        for request, answer in pairs[i : i + turns]:
            if told and is_story(answer) and rng.random() < 0.3:
                request = rng.choice(["Tell me another story.", "Another one, please.", "Tell me one more story.", "One more!"])
            told = told or is_story(answer)
            text += f"<|im_start|>user\n{request}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
        i += turns
        yield text


def tokens_of(job, tokenizer_path):
    tok = Tokenizer.from_file(tokenizer_path)
    end = tok.token_to_id("<|endoftext|>")
    ids = []
    for text in documents(job, exchanges(job), random.Random(job["seed"] + 1)):
        ids.extend(tok.encode(text, add_special_tokens=False).ids)
        ids.append(end)
    return np.array(ids, np.uint16)


def held_out_text(teacher_held_out):
    """About 200 KB: grammar stories and teacher stories in turn, one block each."""
    taught = [flat(t) for n, t in teacher_held_out if is_story(t)]
    blocks, size, i = [], 0, 0
    while size < HELD_OUT_BYTES:
        text = taught.pop() if i % 3 == 2 and taught else flat(stories.story(HELD_OUT_SEED + i)[1])
        blocks.append(text)
        size += len(text.encode()) + 2
        i += 1
    return "\n\n".join(blocks) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("teacher")
    parser.add_argument("out")
    parser.add_argument("--stories", type=int, default=400000)
    args = parser.parse_args()
    train, held_out = read_teacher(args.teacher)
    path = f"{args.out}/tokenizer.json"
    sample = [x for p in exchanges({"teacher": train[::4], "seeds": range(min(25000, args.stories)), "seed": 1}) for x in p]
    train_tokenizer(sample).save(path)
    random.Random(5).shuffle(train)
    slices = max(1, args.stories // 2500)
    jobs = [{"teacher": train[i::slices], "seeds": range(i, args.stories, slices), "seed": 100 + 2 * i} for i in range(slices)]
    with multiprocessing.Pool() as pool:
        parts = pool.map(functools.partial(tokens_of, tokenizer_path=path), jobs, 1)
    tokens = np.concatenate(parts)
    # The held-out file takes the first held-out seeds; validation takes other ones.
    val = tokens_of({"teacher": held_out, "seeds": range(HELD_OUT_SEED + 10000, HELD_OUT_SEED + 10000 + max(8, args.stories // 100)),
                     "seed": 7}, path)
    np.save(f"{args.out}/train.npy", tokens)
    np.save(f"{args.out}/val.npy", val)
    with open(f"{args.out}/heldout.txt", "w", encoding="utf-8") as f:
        f.write(held_out_text(held_out))
    print(f"teacher texts {len(train)}, grammar stories {args.stories}, training tokens {len(tokens)}, validation {len(val)}")


if __name__ == "__main__":
    main()
