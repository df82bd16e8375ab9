#!/usr/bin/env python3
"""Trains the small tokenizers of embedder/tokenizer/testdata: one for each
family of models, with the vocabulary of a toy and every other part as the real
ones have it. Run it to add a family, then parity.sh; that a file changes
changes its golden ids, and no more.

    .cache/tokenizers/venv/bin/pip install sentencepiece==0.2.3
    .cache/tokenizers/venv/bin/python tools/tokenizer/models.py README.md docs/*.md
"""
import gzip
import io
import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from texts import WORDS, texts

OUT = pathlib.Path(__file__).parents[2] / "embedder" / "tokenizer" / "testdata"
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
BYTES = [f"<0x{b:02X}>" for b in range(256)]


def corpus():
    lines = [line for path in sys.argv[1:] for line in open(path, encoding="utf-8")]
    return lines + [" ".join(WORDS)] * 5 + [t.decode("utf-8", "replace") for t in texts(250, seed=7)]


def save(name, tokenizer, **model):
    """Writes the tokenizer with those parts of its model replaced."""
    t = json.loads(tokenizer.to_str())
    t["model"].update(model)
    data = json.dumps(t, ensure_ascii=False, separators=(",", ":")).encode()
    Tokenizer.from_str(data.decode())
    (OUT / f"{name}.json.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    print(name, len(data), "bytes,", tokenizer.get_vocab_size(), "tokens")


def template(single, t, *special):
    return processors.TemplateProcessing(single=single, special_tokens=[(s, t.token_to_id(s)) for s in special])


def wordpiece_cased():
    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    t.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=3000, limit_alphabet=500, special_tokens=special, show_progress=False))
    t.post_processor = template("[CLS] $A [SEP]", t, "[CLS]", "[SEP]")
    save("wordpiece-cased", t)


def byte_level(t, vocab, special):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=vocab, special_tokens=special, initial_alphabet=alphabet, show_progress=False))
    t.decoder = decoders.ByteLevel()


def bpe_roberta():
    t = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True)
    mask = AddedToken("<mask>", lstrip=True, special=True, normalized=False)
    byte_level(t, 2000, ["<s>", "<pad>", "</s>", "<unk>", mask])
    t.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    save("bpe-roberta", t)


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)])


def bpe_qwen():
    t = Tokenizer(models.BPE(continuing_subword_prefix="", end_of_word_suffix="", fuse_unk=False))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = split_then_bytes(QWEN)
    byte_level(t, 2000, [])
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<think>", normalized=False, special=False), AddedToken("</think>", normalized=False, special=False)])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False), template("$A <|endoftext|>", t, "<|endoftext|>")])
    save("bpe-qwen", t)


def bpe_llama3():
    t = Tokenizer(models.BPE(fuse_unk=False))
    t.pre_tokenizer = split_then_bytes(LLAMA3)
    byte_level(t, 2000, [])
    t.add_special_tokens(["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    t.post_processor = processors.Sequence([
        processors.ByteLevel(add_prefix_space=True, trim_offsets=False), template("<|begin_of_text|> $A", t, "<|begin_of_text|>")])
    save("bpe-llama3", t, ignore_merges=True)


def bpe_gemma():
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Replace(" ", "▁")
    t.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous", invert=False)
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=2400, special_tokens=special + BYTES, limit_alphabet=400, show_progress=False, max_token_length=16)
    t.train_from_iterator((word for line in corpus() for word in line.split()), trainer)
    keep = [a for a in json.loads(t.to_str())["added_tokens"] if a["content"] in special]
    t = Tokenizer.from_str(json.dumps({**json.loads(t.to_str()), "added_tokens": keep}))
    # These are looked for in the normalized text, and one is a word.
    t.add_tokens([AddedToken("\n\n", normalized=True, special=False), AddedToken("index", normalized=True, single_word=True),
                  AddedToken("<url>", rstrip=True, lstrip=True, normalized=True)])
    t.post_processor = template("<bos> $A <eos>", t, "<bos>", "<eos>")
    save("bpe-gemma", t)


def unigram_xlmr():
    import sentencepiece
    from sentencepiece import sentencepiece_model_pb2 as pb

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(line.replace("\0", " ") for line in corpus()), model_writer=out, vocab_size=3000, model_type="unigram",
        character_coverage=0.98, normalization_rule_name="nmt_nfkc", unk_id=0, bos_id=1, eos_id=2, hard_vocab_limit=False, minloglevel=2, num_threads=1)
    trained = pb.ModelProto.FromString(out.getvalue())
    pieces = [(p.piece, p.score) for p in trained.pieces[3:]]
    vocab = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + pieces + [("<mask>", 0.0)]
    t = Tokenizer(models.Unigram(vocab, unk_id=3, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(trained.normalizer_spec.precompiled_charsmap)
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")])
    t.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True, special=True, normalized=False)])
    t.post_processor = template("<s> $A </s>", t, "<s>", "</s>")
    save("unigram-xlmr", t)


for make in (wordpiece_cased, bpe_roberta, bpe_qwen, bpe_llama3, bpe_gemma, unigram_xlmr):
    make()
