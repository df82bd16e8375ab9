"""Strings of every script, and what breaks tokenizers: drawn with a fixed seed."""
import random

BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x0, 0x1F), (0x7F, 0xFF), (0x100, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF),
    (0x400, 0x52F), (0x530, 0x5FF), (0x600, 0x77F), (0x900, 0xDFF), (0xE00, 0xFFF), (0x1000, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x13FF),
    (0x1680, 0x18AF), (0x1D00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x20CF), (0x2100, 0x2BFF), (0x2E80, 0x30FF), (0x3100, 0x33FF),
    (0x4E00, 0x9FFF), (0xA000, 0xABFF), (0xAC00, 0xD7A3), (0xE000, 0xE0FF), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFFFD),
    (0x10000, 0x10FFF), (0x11000, 0x12FFF), (0x1B000, 0x1BFFF), (0x1D000, 0x1D7FF), (0x1F000, 0x1FAFF), (0x20000, 0x2A6DF), (0xE0000, 0xE01EF),
    (0xF0000, 0xF00FF),
]
WORDS = """the index keeps level with a corpus that never stops changing Über straße naïve café Ångström ΑΘΗΝΑ ἀρχή Москва ёлка
Zażółć gęślą jaźń İstanbul ŒUVRE ǅ ﬁnance ½ №5 x² 東京 トウキョウ 한국어 عربى עִבְרִית हिन्दी ภาษาไทย 🚀 👩‍👩‍👧 [SEP] [CLS] [MASK] [UNK] [PAD] [sep] ##ing don't e-mail
C++ func(x)=>y 3.14159 1,000,000 antidisestablishmentarianism hippopotomonstrosesquippedaliophobia
<s> </s> <pad> <mask> <unk> <bos> <eos> <url> <think> </think> <|endoftext|> <|im_start|> <|im_end|> <|begin_of_text|> <|eot_id|> <0x0A> ▁the Ġthe ĊĊ
I'LL they've 👨🏽‍⚕️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🇩🇪🇫🇷 ⓗⓔⓛⓛⓞ ﷺ Å Å ǆ ſ ı 각 각 ﾊﾟ かが ｆｕｌｌ　ｗｉｄｔｈ ไทยแลนด์ ελληνικά ‏עברית‏ ‪ltr‬ a​b a‌b soft­hyphen zero﻿width
不管怎样，索引总是最新的。 データベースは常に最新です。 색인은항상최신입니다 Ĳsselmeer Straßenbahnhaltestelle""".split()
EDGES = ["", " ", "   ", "\n", "\n\n\n", " \n \t\r\n ", "\0", "a\0b", "\ufffd\ufffd", "\U0010ffff", "e\u0301\u0327", "\u0327\u0301e", "\u1100\u1161\u11a8",
         "  lead", "trail  ", "a  b   c", "<mask> <mask>", "x <mask> y", "[MASK][MASK]", "[ MASK ]", "[CLS][SEP]", "<s></s>", "</s", "\n\n index \n\n", "indexindex index",
         "<url>  x", "  <url>", "12345678901", "1 234,5", "١٢٣٤", "''''", "'s'S'll'LL", "\u2028\u2029\u0085", "\u202eabc\u202c", "\U000e0001", "\u0e33\u0e33"]
# The first two parts of a code point in three bytes, a surrogate, an overlong
# slash, bytes of no code point, a lone continuation.
BROKEN = [b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf", b"\xff\xfe", b"\x80", b"\xf0\x9f\x98", b"caf\xc3"]


def draw(rng):
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
            out.append(rng.choice([" ", " ", " ", "  ", "\n", "\t"]))
    return "".join(out)


def texts(n, seed=1):
    """n texts as bytes; some are not UTF-8, a few have 10 kB."""
    rng = random.Random(seed)
    out = [e.encode() for e in EDGES]
    for _ in range(5):
        long = ""
        while len(long.encode()) < 10_000:
            long += draw(rng) + " "
        out.append(long.encode())
    while len(out) < n:
        text = draw(rng).encode()
        if rng.random() < 0.05:
            at = rng.randint(0, len(text))
            text = text[:at] + b"".join(rng.choice(BROKEN) for _ in range(rng.randint(1, 3))) + text[at:]
        out.append(text)
    return out
