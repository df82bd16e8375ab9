#!/usr/bin/env python3
"""Writes strings of every script with the ids that the reference (Hugging Face
tokenizers) gives them, a JSON object a line.

    python3 -m venv /tmp/v && /tmp/v/bin/pip install tokenizers==0.23.3
    /tmp/v/bin/python tools/tokenizer/parity.py TOKENIZER.JSON 2400 > embedder/tokenizer/testdata/parity.jsonl

The strings are drawn with a fixed seed (a third argument changes it).
"""
import json
import random
import sys

from tokenizers import Tokenizer

BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x0, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x77F), (0x900, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x13FF),
    (0x1680, 0x18AF), (0x1D00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x20CF), (0x2100, 0x2BFF), (0x2E80, 0x30FF), (0x3100, 0x33FF),
    (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD),
    (0x10000, 0x10FFF), (0x11000, 0x12FFF), (0x1B000, 0x1BFFF), (0x1D000, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF),
]
WORDS = """the index keeps level with a corpus that never stops changing Über straße naïve café Ångström ΑΘΗΝΑ ἀρχή Москва ёлка
Zażółć gęślą jaźń İstanbul ŒUVRE ǅ ﬁnance ½ №5 x² 東京 トウキョウ 한국어 عربى עִבְרִית हिन्दी ภาษาไทย 🚀 👩‍👩‍👧 [SEP] [CLS] [MASK] [UNK] [PAD] [sep] ##ing don't e-mail
C++ func(x)=>y 3.14159 1,000,000 antidisestablishmentarianism hippopotomonstrosesquippedaliophobia""".split()


def text(rng):
    kind = rng.random()
    if kind < 0.35:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))
    if kind < 0.4:
        return "".join(rng.choice(WORDS) for _ in range(rng.randint(1, 6)))
    if kind < 0.43:
        return "".join(chr(rng.randint(0x61, 0x7A)) for _ in range(rng.choice([99, 100, 101, 150])))
    blocks = [rng.choice(BLOCKS) for _ in range(rng.randint(1, 3))]
    out = []
    for _ in range(rng.randint(1, 24)):
        lo, hi = rng.choice(blocks)
        c = rng.randint(lo, hi)
        if not 0xD800 <= c <= 0xDFFF:
            out.append(chr(c))
        if rng.random() < 0.15:
            out.append(" ")
    return "".join(out)


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    tokenizer.no_truncation()
    tokenizer.no_padding()
    rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
    for _ in range(int(sys.argv[2])):
        t = text(rng)
        print(json.dumps({"text": t, "ids": tokenizer.encode(t).ids}, ensure_ascii=True, separators=(",", ":")))


main()
