"""The texts, tokenizers, conversations and templates that make_text_goldens.py turns into goldens."""

TEXTS = [
    "", " ", "a", "Hello, world!", "The quick brown fox jumps over the lazy dog.",
    "I'm you're he'll WE'VE they'd it's 'S 'Re don't", "ſtop it'ſ", "camelCase HTTPServer XMLHttpRequest iPhone ÜBERfall",
    "1 12 123 1234 12345 3.14159 1,000,000 ٣٤٥ ²³ Ⅷ ½", "   leading", "trailing   ", "a  b   c    d",
    "tabs\t\tand\ttabs", "\n", "\n\n\n", "line\nline\n\nline\r\nline\r\n\r\nend\r", " \n \n  \n x",
    "\u00a0nbsp\u00a0\u00a0x", "\u2003em\u2003space \u3000ideographic\u3000", "x\u0085y\u2028z\u2029", "\u180e\u180ea \u180e",
    "\x00\x01\x1f\x7f", "\u200bzero\u200dwidth\ufeff", "naïve café Ångström", "nai\u0308ve cafe\u0301 A\u030angstro\u0308m",
    "\u1e9b\u0323 \u0344 q\u0307\u0323 q\u0323\u0307", "\u0f73\u0f73 \u0958 \u2126 \u212b", "각\u1100\u1161\u11a8 한국어 문장입니다.",
    "日本語のテキスト、カタカナとひらがな。", "中文分词：今天天气很好！你好，世界。", "龥龦 ゠ヿ㐀𠀀", "Привет, как дела? Ёлка ЩИТ", "Ελληνικά ΣΊΣΥΦΟΣ",
    "שלום עולם", "مرحبا بالعالم ١٢٣ \u202bنص\u202c", "नमस्ते दुनिया क्षत्रिय", "ภาษาไทยไม่มีช่องว่าง", "Tiếng Việt có dấu",
    "😀😃😄", "👨\u200d👩\u200d👧\u200d👦 family 🏳️\u200d🌈 🇩🇪🇫🇷 👍🏽 ❤️", "🤷🏻\u200d♂️ shrug", "e\u0301\u0302\u0303\u0304\u0305 zalgo",
    "def f(x: int) -> str:\n    return f\"{x!r:>10}\"  # comment\n", "if (a != b && c <= d) { return -1; } /* x */ //",
    "SELECT * FROM t WHERE id=42;\n\n\n", "<html><body class=\"x\">&nbsp;</body></html>", "https://example.org/a/b?c=d&e=f#g",
    "{\"key\": [1, 2.5e-3, null, true], \"k2\": \"\\u00e9\\n\"}", "C:\\Users\\name\\file.txt ~/.config/x", "$x^2 + \\frac{1}{2}$ \\begin{a}",
    "!!!???...---===***", "@user #tag $5.00 50% a&b", "\"quoted\" 'single' “curly” ‘x’ «guillemets»", "a_b__c ___ -_-",
    "ﬁ ﬂ ligatures Ǆ ǅ ǆ ß ẞ İ ı", "\ufffd\ufffe\U0010ffff", "𝕳𝖊𝖑𝖑𝖔 𝟙𝟚𝟛 𐍈", "aAaAaA BbBb aBCdEFg", "x" * 300, "ab" * 150,
    " " * 200, " " * 200 + "x", "\n" * 120, "=" * 100, "-" * 79 + "\n", "0" * 100, "哈" * 60, "é" * 50, "e\u0301" * 30, "😂" * 30,
    "supercalifragilisticexpialidocious antidisestablishmentarianism", "\t \t \n\t x\t", "word\u0301s and\u0301",
    "Once upon a time there was a small dragon.\nIt lived in a cave, and it liked to read.\n\n\"Who are you?\" it asked.",
]

TRAINING_TEXT = "the small dragon sat on the hill and read the book to the other dragons. hello hello helloo 1234 12 it's it's"

_MARKS = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False}


def _added(identifier, content, **flags):
    return {"id": identifier, "content": content} | _MARKS | flags


_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def _split(pattern, behavior="Isolated", invert=False):
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}, _BYTES]}}


# Each is the base (byte-level BPE, trained on the text above) with a JSON merge patch.
FIXTURES = {
    "merges as strings": {},
    "merges as pairs": "pairs",
    "prefix space": {"pre_tokenizer": {"add_prefix_space": True}},
    "prefix space without pattern": {"pre_tokenizer": {"add_prefix_space": True, "use_regex": False}},
    "ignore merges": {"model": {"ignore_merges": True, "vocab": {"Ġbook": 304, "zzqq": 305}}},
    "token that no merge makes": {"model": {"vocab": {"Ġbook": 304, "zzqq": 305}}},
    "NFC": {"normalizer": {"type": "NFC"}},
    "normalizer sequence": {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Sequence", "normalizers": []}, {"type": "NFC"}]}},
    "added tokens": {"added_tokens": [
        _added(304, "<a>", special=True), _added(305, "<a>b", special=True), _added(306, "<plain>"),
        _added(307, "<left>", lstrip=True), _added(308, "<right>", rstrip=True, special=True),
        _added(309, "word", single_word=True), _added(310, "both", lstrip=True, rstrip=True, single_word=True)]},
    "added tokens, normalized": {"normalizer": {"type": "NFC"}, "added_tokens": [
        _added(304, "cafe\u0301", normalized=True), _added(305, "nai\u0308ve"), _added(306, "<plain>", normalized=True)]},
    "split isolated": _split({"Regex": "[aeiou]+|\\s"}),
    "split removed": _split({"Regex": "\\s+"}, "Removed"),
    "split removed, inverted": _split({"Regex": "\\w+"}, "Removed", True),
    "split on a string": _split({"String": "l."}),
    "split with \\w, \\W, \\d and a lazy quantifier": _split({"Regex": "\\d{2}|\\W|^\\w{2,}?|o\\b"}),
    "split at line ends": _split({"Regex": "^.|.$"}, "Removed"),
    "digits": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, _BYTES]}},
    "individual digits": {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _BYTES]}},
    "beginning and end of text": {
        "added_tokens": [_added(304, "<bos>", special=True), _added(305, "<eos>", special=True)],
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                                      {"SpecialToken": {"id": "<eos>", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<bos>": {"id": "<bos>", "ids": [304], "tokens": ["<bos>"]},
                                              "<eos>": {"id": "<eos>", "ids": [305], "tokens": ["<eos>"]}}}},
}

FIXTURE_TEXTS = [
    "", "hello the dragon", " the  hello\n\nbook", "it's 1234 12 x²Ⅷ", "cafe\u0301 café nai\u0308ve naïve", "zzqq book zzqqz",
    "x<a>b <a> <a>bb<plain>", "x  <left>  y  <right>  z\u3000<left>\u2003<left> <right> <left>", "word words word. aword \u0301word é word_",
    "a  both  b both, xboth boths\nboth ", "hill. hell.o\nl.l.", "日本 😀\u180e\u00a0x", "line one\nline two\n",
]

_SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
_USER = {"role": "user", "content": "Tell me a story about a dragon."}
_ANSWER = {"role": "assistant", "content": "Once upon a time, a dragon read books."}
_THOUGHT = {"role": "assistant", "content": "<think>\nA dragon, hm.\n</think>\n\nThere was a dragon."}

CONVERSATIONS = [
    [_USER],
    [_SYSTEM, _USER],
    [_USER, _ANSWER],
    [_SYSTEM, _USER, _ANSWER, {"role": "user", "content": "And then?\n"}],
    [_USER, _THOUGHT, {"role": "user", "content": "Go on"}],
    [_SYSTEM, _USER, _THOUGHT],
    [_USER, _ANSWER, {"role": "user", "content": "你好 😀 <|im_end|> {{ x }}"}, {"role": "assistant", "content": ""}, _USER],
    [_USER, {"role": "user", "content": "<tool_response>\n42\n</tool_response>"}],
    [{"role": "system", "content": ""}, {"role": "system", "content": "Two."}, {"role": "user", "content": ""}],
]

_V = {"s": "Hello, Wörld", "n": 7, "f": 2.5, "l": [3, 1, 2], "d": {"b": 1, "a": [True, None]}, "t": True, "none": None, "e": [],
      "m": [{"role": "user", "content": " hi "}, {"role": "assistant", "content": "ok", "tool_calls": [{"name": "x"}]}]}


def _all(*sources):
    return [(source, _V) for source in sources]


JINJA = _all(
    # printing
    "{{ s }}|{{ n }}|{{ f }}|{{ t }}|{{ none }}|{{ missing }}|{{ l }}|{{ d }}|{{ e }}", "{{ 'a\\n\\t\\'\\\\b' }}{{ \"\\u00e9\\x41\\q\" }}",
    "{{ ['it\\'s', \"q\\\"\", 'a\\nb', 1.0, 1e20, 0.1, -0.0, 1e-7] }}", "{{ {'a': 1, 'b': {'c': [1, (2, 3), (4,)]}} }}", "{{ 1, 2 }}{{ () }}",
    "{{ 100000000000000000.0 }} {{ 1e16 }} {{ 123456789.125 }} {{ 1/3 }} {{ 5.0 }}",
    # arithmetic, precedence, comparison
    "{{ 1 + 2 * 3 - 4 }} {{ (1 + 2) * 3 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % 2 }} {{ -n }} {{ +n }}",
    "{{ 'a' ~ 1 + 2 ~ 'b' }}", "{{ 'a' ~ 1 ~ none ~ true ~ 2.0 }}", "{{ 'ab' * 3 }}{{ [1] * 2 }}{{ 2 * 'x' }}{{ 'x' * -1 }}", "{{ [1] + [2] }}{{ 'a' + 'b' }}",
    "{{ 1 < 2 }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == 1 }} {{ [1, 2] == [1, 2] }} {{ {'a': 1} != {'a': 2} }}",
    "{{ 'a' in 'abc' }} {{ 4 not in l }} {{ 'b' in d }} {{ 1 in [true] }} {{ not 'a' in 'abc' }} {{ [1,2] < [1,3] }}",
    "{{ 1 and 0 }} {{ 0 or 'x' }} {{ '' or none }} {{ not 1 }} {{ 1 and 2 or 3 }} {{ not e and not d == {} }}",
    "{{ 'yes' if n > 3 else 'no' }}{{ 'x' if false }}{{ 1 if 0 else 2 if 0 else 3 }}", "{{ 1 + 'a' }}", "{{ missing + 1 }}", "{{ 1 % 0 }}", "{{ none < 1 }}",
    # access
    "{{ d.b }} {{ d['b'] }} {{ d.a[0] }} {{ d['a'][-1] }} {{ l[0] }} {{ l[-1] }} {{ s[0] }} {{ s[-1] }} {{ l[9] }}|{{ d.zz }}|{{ s[99] }}",
    "{{ l[1:] }} {{ l[:1] }} {{ l[::-1] }} {{ l[-2:] }} {{ l[::2] }} {{ s[7:] }} {{ s[::-1] }} {{ s[:-3:2] }} {{ l[5:] }} {{ l[2:0:-1] }}", "{{ missing.x }}", "{{ d.zz.y }}",
    "{{ m[0].role }} {{ m[1]['tool_calls'][0].name }} {{ m[0].content|trim|length }} {{ l.0 }}", "{{ n.x }}|{{ s.x }}",
    # statements
    "{% if n > 5 %}big{% elif n > 3 %}mid{% else %}small{% endif %}", "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ x }};{% endfor %}",
    "{% for x in e %}a{% else %}empty{% endfor %}", "{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}/{{ loop.length }} {% endfor %}", "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for k, v in d|items %}{{ k }}={{ v }};{% endfor %}", "{% for c in 'aé😀' %}{{ c }}.{% endfor %}{% for x in missing %}y{% endfor %}", "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %},{% endfor %}",
    "{% for x in l %}{% for y in [1, 2] %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}", "{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}|{% endfor %}",
    "{% set x = 1 %}{% for i in l %}{% set x = x + i %}{{ x }} {% endfor %}{{ x }}", "{% set ns = namespace(a=1, b='x') %}{% for i in l %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}",
    "{% set a, b = 1, 2 %}{{ b }}{{ a }}", "{% set x %}in {{ n }}\n{% endset %}[{{ x }}]", "{% if true %}{% set y = 5 %}{% endif %}{{ y }}", "{% for i in [1] %}{% set z = 5 %}{% endfor %}{{ z is defined }}",
    "{% for a, b in [[1, 2], [3]] %}{{ a }}{% endfor %}", "{% for x in n %}{% endfor %}", "{% set d.b = 3 %}", "{% for i in range(3) %}{{ i }}{% endfor %}{{ range(2, 10, 3)|list }}{{ range(3, 0, -1)|list }}",
    # macros
    "{% macro f(a, b=2) %}<{{ a }},{{ b }}>{% endmacro %}{{ f(1) }}{{ f(1, 3) }}{{ f(b=5, a=4) }}{{ f() }}", "{%- macro list(x, depth=0) -%}{%- if x is string -%}{{ x }}{%- else -%}[{%- for y in x -%}{{ list(y, depth + 1) }}{{ depth }}{%- endfor -%}]{%- endif -%}{%- endmacro -%}{{ list(['a', ['b', ['c']]]) }}",
    "{% set g = 'G' %}{% macro f() %}{{ g }}{{ n }}{% set g2 = 1 %}{% endmacro %}{{ f() }}{{ g2 is defined }}{{ f()|length }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(1, 2) }}", "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(c=2) }}",
    # filters
    "[{{ '  a b \n'|trim }}]{{ 'xxaxx'|trim('x') }}{{ s|length }}{{ l|length }}{{ d|count }}{{ s|upper }}{{ s|lower }}", "{{ l|join }}{{ l|join(', ') }}{{ m|join('-', attribute='role') }}{{ 'abc'|join('.') }}{{ [1, none, 'x', true]|join('/') }}",
    "{{ l|first }}{{ l|last }}{{ 'abc'|first }}{{ e|first }}|{{ e|last }}", "{{ 'aXbXc'|replace('X', '--') }}{{ 'aaa'|replace('a', 'b', 2) }}", "{{ missing|default('d') }}{{ none|default('d') }}{{ ''|default('d', true) }}{{ none|d('z', boolean=true) }}{{ missing|default }}",
    "{{ '42'|int + 1 }}{{ 'x'|int }}{{ 'x'|int(5) }}{{ 3.9|int }}{{ ' 7 '|int }}{{ true|int }}{{ '3.7'|int }}", "{{ 5|string + 'x' }}{{ none|string }}{{ l|string }}{{ 'abc'|list }}{{ d|list }}{{ l|reverse|list }}{{ 'abc'|reverse }}",
    "{{ d|tojson }}{{ s|tojson }}{{ l|tojson }}{{ 'a\"\\n<>&\\u0007é'|tojson }}{{ 1.0|tojson }}{{ none|tojson }}", "{{ d|tojson(indent=2) }}{{ e|tojson(indent=4) }}{{ {}|tojson(indent=1) }}", "{{ {'b': 1, 'a': 2}|tojson(sort_keys=true) }}{{ m|tojson(separators=(',', ':')) }}{{ 'é'|tojson(ensure_ascii=true) }}",
    "{{ missing|tojson }}", "{{ n|length }}", "{{ 'a-b'|replace('-', '+')|upper|length }}", "{{ -3|string }}{{ (-3)|string }}{{ '1' ~ 2|string }}",
    # methods
    "[{{ ' a '.strip() }}][{{ 'xax'.lstrip('x') }}][{{ 'xax'.rstrip('x') }}][{{ '\\n\\n a'.lstrip('\\n') }}]", "{{ 'a,b,,c'.split(',') }}{{ ' a  b '.split() }}{{ 'a,b,c'.split(',', 1) }}{{ 'x</t>y'.split('</t>')[-1] }}{{ ''.split() }}{{ ''.split(',') }}{{ ' a b  c '.split(none, 1) }}",
    "{{ s.startswith('Hell') }}{{ s.endswith(('x', 'ld')) }}{{ s.upper() }}{{ s.lower() }}{{ 'a-b'.replace('-', '+') }}{{ '-'.join(['a', 'b']) }}", "{{ d.get('b') }}{{ d.get('q') }}{{ d.get('q', 5) }}{{ d.keys()|list }}{{ d.values()|list }}{{ d.items()|list }}", "{{ 'a'.split('') }}",
    # tests
    "{{ x is defined }}{{ n is defined }}{{ x is undefined }}{{ none is none }}{{ n is not none }}{{ s is string }}{{ d is mapping }}{{ l is mapping }}{{ l is sequence }}{{ s is iterable }}{{ n is iterable }}",
    "{{ n is number }}{{ t is number }}{{ t is boolean }}{{ n is integer }}{{ f is float }}{{ t is integer }}{{ t is true }}{{ false is false }}{{ n is odd }}{{ n is even }}{{ n is divisibleby 7 }}{{ n is divisibleby(2) }}",
    "{{ n is eq 7 }}{{ n is equalto(8) }}{{ 1 is in l }}{{ 1 is in [2] }}{{ not n is defined }}{{ 1 + 1 is number }}{{ d.b is defined and d.q is not defined }}{{ m[0].tool_calls is defined }}{{ 'A' is upper }}{{ 'a' is lower }}{{ n is gt 3 }}",
    # whitespace
    "  {% if true %}\n  a\n  {% endif %}\n  b\n", "a\n\n  {%- if true -%}\n\n  b  \n  {%- endif %}\n\nc", "x {%+ if true %} y {% endif +%}\nz", "\t{# comment #}\n  text {# c #} more {#- c -#}  z\n\n", "{{ 1 }}\n  {{- 2 -}}  \n3\n{{ 4 }}\n", "line\r\n  {% if true %}\r\nx\r\n{% endif %}\r\n",
    "a {%- set x = 1 %} b\n   {%- set y = 2 -%}   \n c", "{% for x in l %}\n  - {{ x }}\n{% endfor %}\nend", "  {# a #}  {% if true %}\n x {% endif %}  \n", "{%- for x in l -%}\n {{ x }} \n{%- endfor -%}\n", "\n\n{% if 1 %}x{% endif %}\n\n", "{{ '{% raw %}' }}{{ '}}' }}{{ {'a': {'b': 1}}['a']['b'] }}",
    "  {%- if true %}  \n  x{%- endif %} y", "a\n  {# c #}b\n  {% if true %}b{% endif %}",
    # errors of the template's own
    "{{ raise_exception('no system role') }}", "{% if n == 7 %}{{ raise_exception('bad ' ~ n) }}{% endif %}", "{{ s() }}", "{{ none.x }}", "{{ none['x'] }}", "{% for x in none %}{% endfor %}", "{{ missing() }}", "{{ d['q'].r }}", "{{ 'a' * 'b' }}", "{{ [] < {} }}", "{{ -'a' }}", "{{ 1 in 2 }}",
    # the constructs of published templates
    "{%- set tools = [{'type': 'function', 'function': {'name': 'f', 'parameters': {'properties': {'x': {'type': 'string', 'description': 'an x'}}}}}] %}{%- macro render_extra_keys(json_dict, handled_keys) %}{%- if json_dict is mapping %}{%- for json_key in json_dict if json_key not in handled_keys %}{%- if json_dict[json_key] is mapping or (json_dict[json_key] is sequence and json_dict[json_key] is not string) %}{{- '\\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | tojson | safe) ~ '</' ~ json_key ~ '>' }}{%- else %}{{- '\\n<' ~ json_key ~ '>' ~ (json_dict[json_key] | string) ~ '</' ~ json_key ~ '>' }}{%- endif %}{%- endfor %}{%- endif %}{% endmacro %}{%- for tool in tools %}{{- render_extra_keys(tool, ['type']) }}{%- for param_name, param_fields in tool.function.parameters.properties|items %}{{- param_name ~ render_extra_keys(param_fields, ['name', 'type']) }}{%- endfor %}{%- endfor %}",
    "{% for message in m %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "{% set loop_messages = m %}{% for message in loop_messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}",
    "{{ strftime_now('%d')|length }}", "{{ dict(a=1, b=[2])|tojson }}{{ namespace(x=1).x }}",
)
