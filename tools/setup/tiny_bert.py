#!/usr/bin/env python3
"""Write a small random BERT for tests that need a real session but no real model.

    tiny_bert.py MODEL_DIR [fp32|fp16|int8]   writes config.json, tokenizer.json and model.onnx (100 kB) there

The results are checked in as embedder/testdata/tiny and, for int8, tiny-int8; the same script makes the same bytes everywhere.
"""
import json
import math
import os
import random
import struct
import sys

sys.dont_write_bytecode = True
import build_onnx  # noqa: E402


def tiny(folder):
    """Two layers, random weights, and a vocabulary that can spell."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("abcdefghijklmnopqrstuvwxyz0123456789.,?!'-")
    words += ["##" + c for c in "abcdefghijklmnopqrstuvwxyz0123456789"] + "the of and index vector model chunk".split()
    config = {"hidden_size": 32, "intermediate_size": 64, "layer_norm_eps": 1e-12, "max_position_embeddings": 64,
              "model_type": "bert", "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": len(words)}
    rng, tensors, h, m = random.Random(1), {}, config["hidden_size"], config["intermediate_size"]

    def add(name, *shape, around=0.0):
        values = [around + rng.uniform(-0.5, 0.5) for _ in range(math.prod(shape))]
        tensors[name] = (list(shape), struct.pack("<%df" % len(values), *values))

    def layer(name, out, inner):
        add(name + ".weight", out, inner)
        add(name + ".bias", out)

    for table, rows in (("word", len(words)), ("position", config["max_position_embeddings"]), ("token_type", 2)):
        add("embeddings.%s_embeddings.weight" % table, rows, h)
    norms = ["embeddings.LayerNorm"]
    for i in range(config["num_hidden_layers"]):
        at = "encoder.layer.%d." % i
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            layer(at + "attention." + part, h, h)
        layer(at + "intermediate.dense", m, h)
        layer(at + "output.dense", h, m)
        norms += [at + "attention.output.LayerNorm", at + "output.LayerNorm"]
    for name in norms:
        add(name + ".weight", h, around=1.0)
        add(name + ".bias", h)

    special = [{"id": i, "content": w, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
               for i, w in enumerate(words[:5])]
    one, ends = {"Sequence": {"id": "A", "type_id": 0}}, [{"SpecialToken": {"id": w, "type_id": 0}} for w in ("[CLS]", "[SEP]")]
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [ends[0], one, ends[1]],
                           "pair": [ends[0], one, ends[1], {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
                           "special_tokens": {w: {"id": w, "ids": [words.index(w)], "tokens": [w]} for w in ("[CLS]", "[SEP]")}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
                  "vocab": {w: i for i, w in enumerate(words)}}}
    os.makedirs(folder, exist_ok=True)
    for name, value in (("config.json", config), ("tokenizer.json", tokenizer)):
        with open(os.path.join(folder, name), "w") as f:
            json.dump(value, f, indent=1)
            f.write("\n")
    return config, build_onnx.Weights(tensors)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-") or sys.argv[2:] not in [[]] + [[p] for p in build_onnx.PRECISIONS]:
        sys.exit(__doc__)
    precision = sys.argv[2] if len(sys.argv) == 3 else "fp32"
    build_onnx.save(build_onnx.bert(*tiny(sys.argv[1]), fused=precision == "int8", precision=precision), sys.argv[1])
