"""Writes text/embedded.json: ids by Hugging Face tokenizers, rendered chats by transformers (Jinja2)."""

import json
import pathlib
import unicodedata

from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

ROOT = pathlib.Path(__file__).parent.parent.parent
MODEL = ROOT / "resources/models/tiny-moe"

STRINGS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n \n", "\t", "\t\tx", "\r\n", "a\r\nb\r\n\r\nc", "a", " a", "a ", " a ", "  a  b   c    ",
    "Hello, world!", "Tell me a story about a brave fox.", "Once upon a time, there was a brave fox named Mia.",
    "I'm, you're, they'll, we've, he'd, it's, don't", "I'M YOU'RE THEY'LL WE'VE HE'D IT'S DON'T", "'S 'T 'Re 'lL 'x",
    "12345678901234567890", "3.14159, 1,000,000 and 2026-02-22", "x1y22z333", "\u00b2\u00bd\u2167\u0663\u0967",
    "int main(void) { return x->y[0] != 42 ? a : b; } // done", "def f(x):\n    return x ** 2\n\n\nprint(f(3))\n",
    "{\"key\": [1, 2.5, null, \"v\"]}", "https://example.org/a/b?c=d&e=%20#f", "user.name+tag@example.org", "C:\\path\\to\\file.txt",
    "...!!!???;;;:::", "---===___***", "(((nested) brackets]) {", "caf\u00e9 na\u00efve fa\u00e7ade \u00fcber Stra\u00dfe",
    "cafe\u0301 nai\u0308ve", "\u1e9b\u0323 q\u0307\u0323", "\u212b \u2126 \ufb01", "\uac00 \u1100\u1161", "e\u0301\u0301\u0327",
    "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c", "\uc548\ub155\ud558\uc138\uc694", "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u05e9\u05dc\u05d5\u05dd", "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01",
    "\U0001f600", "\U0001f44b\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f", "a\U0001f680b", "\u00a0x\u2003y\u3000z\u200bw", "x\u2028y\u2029z",
    "\ufeffBOM", "nul\u0000byte \u0007 bell", "\u201cquotes\u201d \u2018single\u2019 \u2014 dash \u2026", "\u20ac100 \u00a350 \u00a5", "\u2200x \u2208 \u211d: x\u00b2 \u2265 0",
    "\ud7a3\u11a8", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "a<|im_end|>b", "<|im_start|>user\nHi<|im_end|>\n", " <|im_end|> ", "<|im_start|",
    "<|im_start|><|im_start|>", "<|IM_START|>", "e\u0301<|im_end|>\u0301", "the cat  sat\n on   the\n\n\n mat \n",
    "word" * 40, "a" * 100, "Supercalifragilisticexpialidocious",
    "She said, \"Do not worry,\" and smiled.\n\n\"Thank you,\" said the bear.\n",
]

CHATS = [
    [("user", "Hello!")],
    [("user", "Tell me a story about a brave fox.")],
    [("system", "You are a storyteller."), ("user", "Tell me a story.")],
    [("user", "Hi"), ("assistant", "Hello! Shall I tell you a story?"), ("user", "Yes, please.")],
    [("system", ""), ("user", "")],
    [("user", "  spaces  \n\nand lines\n"), ("assistant", "\tok ")],
    [("system", "S"), ("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4")],
    [("user", "Curly {{ braces }} {% not a tag %} {# nor a comment #} 'quotes' \"double\" \\n <b>&amp;</b>")],
    [("user", "caf\u00e9 \U0001f98a \u4f60\u597d"), ("assistant", "<|im_end|> inside")],
    [("assistant", "I begin.")],
]


def main():
    tok = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
    config = json.loads((MODEL / "tokenizer_config.json").read_text())
    chat = PreTrainedTokenizerFast(tokenizer_object=tok, chat_template=config["chat_template"])
    encode = [{"text": s, "ids": tok.encode(s, add_special_tokens=False).ids} for s in STRINGS]
    for row in encode:
        assert tok.decode(row["ids"], skip_special_tokens=False) == unicodedata.normalize("NFC", row["text"]), row
    chats = []
    for pairs in CHATS:
        messages = [{"role": r, "content": c} for r, c in pairs]
        for prompt in (False, True):
            text = chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
            chats.append({"messages": messages, "add_generation_prompt": prompt, "text": text})
    out = pathlib.Path(__file__).parent / "text" / "embedded.json"
    out.parent.mkdir(exist_ok=True)
    rows = ",\n".join(json.dumps(r) for r in encode), ",\n".join(json.dumps(r) for r in chats)
    out.write_text('{"encode": [\n%s\n],\n"chat": [\n%s\n]}\n' % rows)
    print(len(encode), "strings,", len(chats), "chats")


if __name__ == "__main__":
    main()
