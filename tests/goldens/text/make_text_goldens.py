"""Makes the goldens of tests/engine/text with Hugging Face's `tokenizers` and `transformers` (Jinja2).

    pip install tokenizers transformers jinja2
    python make_text_goldens.py FOLDER_OF_TOKENIZERS

The folder holds qwen3/, gptoss/ and deepseek_v3/, each with tokenizer.json.xz and tokenizer_config.json.xz as
published with the models. Writes {qwen3,gptoss,deepseek_v3,fixtures,jinja}.json beside this script.
"""
import json
import lzma
import pathlib
import random
import sys

import jinja2
import tokenizers
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

from text_cases import CONVERSATIONS, FIXTURE_TEXTS, FIXTURES, JINJA, TEXTS, TRAINING_TEXT

HERE = pathlib.Path(__file__).parent


def write(name, value, lists):
    """Like json.dump, with each entry of the named lists on a line of its own."""
    parts = []
    for key, entry in value.items():
        if key in lists:
            rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in entry)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(entry, ensure_ascii=False)}")
    (HERE / f"{name}.json").write_text("{" + ",\n".join(parts) + "}\n", encoding="utf-8")


def encode(tokenizer, text, allow_special):
    tokenizer.encode_special_tokens = not allow_special
    return tokenizer.encode(text, add_special_tokens=False).ids


def goldens(tokenizer, texts, seed):
    rng = random.Random(seed)
    known = [i for i in range(tokenizer.get_vocab_size(with_added_tokens=True)) if tokenizer.id_to_token(i) is not None]
    # Added tokens with letters outside ASCII are left out: the library decodes them as byte-level characters.
    added = {i: t.content for i, t in tokenizer.get_added_tokens_decoder().items()}
    known = [i for i in known if i not in added or added[i].isascii()]
    ids = [[rng.choice(known) for _ in range(rng.randint(1, 12))] for _ in range(12)]
    special = [i for i, t in tokenizer.get_added_tokens_decoder().items() if t.special and t.content.isascii()]
    if special:
        ids += [[rng.choice(known), rng.choice(special), rng.choice(known)] for _ in range(4)]
    cases = [{"text": t, "ids": encode(tokenizer, t, True)} for t in texts]
    for case in cases:
        plain = encode(tokenizer, case["text"], False)
        if plain != case["ids"]:
            case["plain_ids"] = plain
    return {
        "encode": cases,
        "decode": [{"ids": i, "text": tokenizer.decode(i, skip_special_tokens=False),
                    "without_special": tokenizer.decode(i, skip_special_tokens=True)} for i in ids],
    }


def chat_goldens(config):
    source = config.get("chat_template")
    if not source:
        return []
    template = _compile_jinja_template(source)
    token = lambda key: (config.get(key) or {}).get("content") if isinstance(config.get(key), dict) else config.get(key)
    # As apply_chat_template: tools and documents are defined; a token only if there is one.
    variables = {"tools": None, "documents": None}
    variables |= {key: token(key) for key in ("bos_token", "eos_token") if token(key)}
    cases = []
    for conversation in CONVERSATIONS:
        for prompt in (False, True):
            for extra in ({}, {"enable_thinking": False}):
                text = template.render(messages=conversation, add_generation_prompt=prompt, **variables, **extra)
                cases.append({"messages": conversation, "add_generation_prompt": prompt, "variables": extra, "text": text})
    return cases


def model_goldens(folder, name):
    read = lambda file: lzma.open(folder / name / f"{file}.json.xz", "rt", encoding="utf-8").read()
    tokenizer = tokenizers.Tokenizer.from_str(read("tokenizer"))
    special = [t.content for t in tokenizer.get_added_tokens_decoder().values()]
    inside = [f"before{s}after" for s in special[:3] + special[-3:]] + ["".join(special[:4]), f" {special[0]} \n{special[1]}"]
    result = {"made_with": f"tokenizers {tokenizers.__version__}, transformers {transformers.__version__}, jinja2 {jinja2.__version__}"}
    result |= goldens(tokenizer, TEXTS + inside, name)
    result["chat"] = chat_goldens(json.loads(read("tokenizer_config")))
    write(name, result, ["encode", "decode", "chat"])


def base_fixture():
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + 48, show_progress=False, initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator([TRAINING_TEXT], trainer)
    base = json.loads(tokenizer.to_str())
    base["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in base["model"]["merges"]]
    return base


def merge_patch(target, patch):
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge_patch(result.get(key), value)
    return result


def fixture_goldens():
    base = base_fixture()
    fixtures = []
    for name, patch in FIXTURES.items():
        if patch == "pairs":
            patch = {"model": {"merges": [m.split(" ") for m in base["model"]["merges"]]}}
        patched = merge_patch(base, patch)
        for key in ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"):
            patched.setdefault(key, None)
        tokenizer = tokenizers.Tokenizer.from_str(json.dumps(patched))
        entry = {"name": name, "patch": patch} | goldens(tokenizer, FIXTURE_TEXTS, name)
        with_affixes = tokenizer.encode("x", add_special_tokens=True).ids
        if with_affixes != encode(tokenizer, "x", True):
            entry["x_with_affixes"] = with_affixes
        fixtures.append(entry)
    write("fixtures", {"base": base, "fixtures": fixtures}, ["fixtures"])


def jinja_goldens():
    cases = []
    for source, variables in JINJA:
        case = {"template": source, "variables": variables}
        try:
            case["text"] = _compile_jinja_template(source).render(**variables)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError) as error:
            case["error"] = f"{type(error).__name__}: {error}"
        cases.append(case)
    write("jinja", {"cases": cases}, ["cases"])
    print(len(cases), "templates,", sum("error" in c for c in cases), "of them fail")


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    for model in ("qwen3", "gptoss", "deepseek_v3"):
        model_goldens(folder, model)
    fixture_goldens()
    jinja_goldens()
