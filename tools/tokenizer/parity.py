#!/usr/bin/env python3
"""Writes what the reference (Hugging Face tokenizers) makes of strings of every
script: parity.sh runs it. In the folder given, texts.jsonl.gz gets the strings
({"text"}, or {"bytes"} in base64 where they are not UTF-8), and for each
tokenizer NAME.ids.gz gets a line for each string: its ids, a limit, and the ids
of the string cut to that limit.

    parity.py FOLDER COUNT SEED NAME=TOKENIZER.JSON[.gz] ...
"""
import base64
import gzip
import json
import pathlib
import re
import sys

from tokenizers import Tokenizer

from texts import texts


def write(path, lines):
    data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_bytes(gzip.compress(data.encode(), 9, mtime=0))


def valid(text):
    """One U+FFFD in place of each run of bytes that are not UTF-8."""
    return re.sub("[\ud800-\udfff]+", "\ufffd", text.decode("utf-8", "surrogateescape"))


def stored(text):
    try:
        return {"text": text.decode()}
    except UnicodeDecodeError:
        return {"bytes": base64.b64encode(text).decode()}


def golden(path, all_texts):
    data = pathlib.Path(path).read_bytes()
    tokenizer = Tokenizer.from_str((gzip.decompress(data) if path.endswith(".gz") else data).decode())
    tokenizer.no_truncation()
    tokenizer.no_padding()
    whole = [tokenizer.encode(t).ids for t in all_texts]
    for i, t in enumerate(all_texts):
        limit = 3 + i % 30
        tokenizer.enable_truncation(limit)
        yield [whole[i], limit, tokenizer.encode(t).ids]


def main():
    out, count, seed = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    out.mkdir(parents=True, exist_ok=True)
    drawn = texts(count, seed)
    write(out / "texts.jsonl.gz", [stored(t) for t in drawn])
    for arg in sys.argv[4:]:
        name, path = arg.split("=", 1)
        write(out / f"{name}.ids.gz", golden(path, [valid(t) for t in drawn]))


main()
