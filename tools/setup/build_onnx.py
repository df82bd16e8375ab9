#!/usr/bin/env python3
"""Build model.onnx from a BERT's safetensors weights, with the standard library alone.

    build_onnx.py MODEL_DIR [--fused] [--precision fp32|fp16|int8]
        reads config.json and model.safetensors there, writes model.onnx

Inputs input_ids, attention_mask, token_type_ids: int64 [batch, sequence].
Output last_hidden_state: float32 [batch, sequence, hidden]. Pooling is left to the caller.
--fused uses onnxruntime's com.microsoft operators instead of plain ai.onnx ones.
--precision fp16 keeps and computes everything in 16-bit floats, up to the output. int8 (which implies --fused) multiplies by
the weights in 8-bit integers, except where that costs quality: embeddings, attention and the values' weights stay floats.
The bytes depend on the weights and the options only, so that a digest of the file is the same everywhere.
"""
import argparse
import array
import json
import math
import os
import struct
import sys

sys.dont_write_bytecode = True
import int8  # noqa: E402

PRECISIONS = ("fp32", "fp16", "int8")
FLOAT, INT32, INT64, FLOAT16 = 1, 6, 7, 10  # onnx.proto3, TensorProto.DataType


# --- Protocol Buffers' wire format, as far as ONNX needs it: a field is (number, value).
def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def message(*fields):
    out = []
    for number, value in fields:
        if isinstance(value, int):
            out += [varint(number << 3), varint(value)]
        elif isinstance(value, float):
            out += [varint(number << 3 | 5), struct.pack("<f", value)]
        else:
            data = value.encode() if isinstance(value, str) else value
            out += [varint(number << 3 | 2), varint(len(data)), data]
    return b"".join(out)


# --- ONNX: the field numbers are those of onnx.proto3.
def attribute(name, value):
    if isinstance(value, list):
        return message((1, name), *((8, v) for v in value), (20, 7))
    return message((1, name), (2, value), (20, 1)) if isinstance(value, float) else message((1, name), (3, value), (20, 2))


def port(name, kind, dims):
    shape = message(*((1, message((1, d) if isinstance(d, int) else (2, d))) for d in dims))
    return message((1, name), (2, message((1, message((1, kind), (2, shape))))))


class Graph:
    def __init__(self, real=FLOAT):
        self.nodes, self.tensors, self.count, self.real = [], [], 0, real

    def op(self, kind, *inputs, out=None, domain="", **attributes):
        self.count += 1
        out = out or "%s_%d" % (kind, self.count)
        self.nodes.append(message(*((1, i) for i in inputs), (2, out), (3, "n%d" % self.count), (4, kind),
                                  *((5, attribute(k, v)) for k, v in sorted(attributes.items())), (7, domain)))
        return out

    def split(self, x, sizes, *outs):
        """The parts of x along its last axis."""
        self.count += 1
        self.nodes.append(message((1, x), (1, sizes), *((2, out) for out in outs), (3, "n%d" % self.count), (4, "Split"),
                                  (5, attribute("axis", -1))))
        return outs

    def fused(self, kind, *inputs, **attributes):
        return self.op(kind, *inputs, domain="com.microsoft", **attributes)

    def tensor(self, name, dims, kind, raw):
        self.tensors.append(message(*((1, d) for d in dims), (2, kind), (8, name), (9, raw)))
        return name

    def reals(self, name, dims, raw):
        """A tensor of float32 bytes, in the precision of this graph."""
        if self.real == FLOAT16:
            values = array.array("f", raw)
            raw = struct.pack("<%de" % len(values), *values)
        return self.tensor(name, dims, self.real, raw)

    def floats(self, name, *values):
        return self.reals(name, [], struct.pack("<f", *values))

    def ints(self, name, *values):
        return self.tensor(name, [len(values)], INT64, struct.pack("<%dq" % len(values), *values))

    def model(self, inputs, outputs, domains):
        graph = message(*((1, n) for n in self.nodes), (2, "bert"), *((5, t) for t in self.tensors),
                        *((11, p) for p in inputs), *((12, p) for p in outputs))
        opsets = ((8, message((1, name), (2, version))) for name, version in domains)
        return message((1, 8), (2, "chunktide"), (7, graph), *opsets)


class Weights:
    """Tensors by name; values little-endian float32."""

    def __init__(self, tensors):
        self.tensors = tensors

    def raw(self, name):
        return self.tensors[name][1]

    def shape(self, name):
        return self.tensors[name][0]

    def transposed(self, name):
        """A linear layer's [out, in] as the [in, out] that MatMul wants, row by row."""
        out, inner = self.shape(name)
        values = array.array("f", self.raw(name))
        return [values[i::inner].tobytes() for i in range(inner)], out, inner


def safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        body = f.read()
    tensors = {}
    for name, t in header.items():
        if name == "__metadata__" or t["dtype"] != "F32":
            continue
        start, end = t["data_offsets"]
        tensors[name[5:] if name.startswith("bert.") else name] = (t["shape"], body[start:end])
    return Weights(tensors)


def bert(config, weights, fused, precision="fp32"):
    """The bytes of model.onnx. int8 needs the fused operators."""
    g, hidden, heads = Graph(FLOAT16 if precision == "fp16" else FLOAT), config["hidden_size"], config["num_attention_heads"]
    integer = int8.Products(g) if precision == "int8" else None
    if config.get("hidden_act", "gelu") != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise SystemExit("build_onnx.py: only BERT with gelu and absolute positions is known, see config.json")
    eps = float(config["layer_norm_eps"])

    def load(name):
        return g.reals(name, weights.shape(name), weights.raw(name))

    def matmul(x, *names):  # several weights side by side are one product
        parts = [weights.transposed(n + ".weight") for n in names]
        rows = b"".join(part[i] for i in range(parts[0][2]) for part, _, _ in parts)
        dims = [parts[0][2], sum(out for _, out, _ in parts)]
        w = g.reals(names[0] + ".weight_t", dims, rows)
        return g.op("MatMul", x, w) if x else w

    def linear(x, name):
        return g.op("Add", matmul(x, name), load(name + ".bias"))

    corrected = set()  # biases that are in the graph already, with an integer product's offset in them

    def outward(x, name):
        """The way back from the wide layer: its input is GELU's output."""
        if not integer:
            return matmul(x, name)
        tokens = integer.positive(g.op("Add", x, integer.constant(int8.GELU_SHIFT)))
        y, sums = integer.multiply(tokens, weights, name)
        bias = [b - int8.GELU_SHIFT * s for b, s in zip(array.array("f", weights.raw(name + ".bias")), sums)]
        corrected.add(g.reals(name + ".bias", [len(bias)], struct.pack("<%df" % len(bias), *bias)))
        return y

    def product(x, name, after=None):
        """x times a layer's weights; after names the normalisation that x comes from."""
        if not integer:
            return matmul(x, name)
        factors = int8.balance(weights, name, after) if after else None
        if factors:
            inverse = struct.pack("<%df" % len(factors), *(1 / f for f in factors))
            x = g.op("Mul", x, g.reals(name + ".balance", [len(factors)], inverse))
        return integer.multiply(integer.symmetric(x), weights, name, factors=factors)[0]

    def attend(x, qkv):
        bias = g.reals(at + "qkv.bias", [3 * hidden], b"".join(weights.raw(n + ".bias") for n in qkv))
        if not integer:
            return g.fused("Attention", x, matmul(None, *qkv), bias, mask, num_heads=heads)
        # The values stay floats: of all products these can bear integers least, and they are a twelfth of the work.
        both, _ = integer.multiply(integer.symmetric(x), weights, *qkv[:2])
        if not layer:
            g.ints("halves", hidden, hidden)
        q, k = g.split(both, "halves", at + "query", at + "key")
        return g.fused("MultiHeadAttention", q, k, matmul(x, qkv[2]), bias, mask, num_heads=heads)

    def norm(x, name, skip, bias=None, out=None):
        gamma, beta = load(name + ".weight"), load(name + ".bias")
        if fused:
            bias = bias if bias in corrected else load(bias)
            return g.fused("SkipLayerNormalization", x, skip, gamma, beta, bias, epsilon=eps, out=out)
        if bias:
            x = g.op("Add", x, load(bias))
        return g.op("LayerNormalization", g.op("Add", x, skip), gamma, beta, axis=-1, epsilon=eps, out=out)

    tables = [load("embeddings.%s_embeddings.weight" % t) for t in ("word", "position", "token_type")]
    if fused:
        ids, types, mask = (g.op("Cast", x, to=INT32) for x in ("input_ids", "token_type_ids", "attention_mask"))
        x = "embedded"
        g.nodes.append(message(
            *((1, i) for i in (ids, types, tables[0], tables[1], tables[2], load("embeddings.LayerNorm.weight"),
                               load("embeddings.LayerNorm.bias"))), (2, x), (2, "no_mask_index"), (3, "embed"),
            (4, "EmbedLayerNormalization"), (5, attribute("epsilon", eps)), (7, "com.microsoft")))
    else:
        length = g.op("Slice", g.op("Shape", "input_ids"), g.ints("one", 1), g.ints("two", 2))
        positions = g.op("Slice", tables[1], g.ints("zero", 0), length, "zero")
        words = g.op("Add", g.op("Gather", tables[0], "input_ids"), g.op("Gather", tables[2], "token_type_ids"))
        x = norm(words, "embeddings.LayerNorm", positions)
        seen = g.op("Unsqueeze", g.op("Cast", "attention_mask", to=g.real), g.ints("axes", 1, 2))
        mask = g.op("Mul", g.op("Sub", g.floats("unit", 1.0), seen), g.floats("far", -10000.0))
        split, merge = g.ints("split", 0, 0, heads, hidden // heads), g.ints("merge", 0, 0, hidden)
        scale, root2, half = g.floats("scale", math.sqrt(hidden // heads)), g.floats("root2", math.sqrt(2)), g.floats("half", 0.5)

    for layer in range(config["num_hidden_layers"]):
        at, last = "encoder.layer.%d." % layer, layer == config["num_hidden_layers"] - 1
        qkv = [at + "attention.self." + n for n in ("query", "key", "value")]
        if fused:
            y = attend(x, qkv)
        else:
            q, k, v = (g.op("Reshape", linear(x, n), split) for n in qkv)
            q, k, v = (g.op("Transpose", t, perm=p) for t, p in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])))
            scores = g.op("Add", g.op("Div", g.op("MatMul", q, k), scale), mask)
            y = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
            y = g.op("Reshape", g.op("Transpose", y, perm=[0, 2, 1, 3]), merge)
        x = norm(product(y, at + "attention.output.dense"), at + "attention.output.LayerNorm", x, at + "attention.output.dense.bias")
        if fused:
            y = g.fused("BiasGelu", product(x, at + "intermediate.dense", at + "attention.output.LayerNorm"), load(at + "intermediate.dense.bias"))
        else:
            y = linear(x, at + "intermediate.dense")
            y = g.op("Mul", g.op("Mul", y, g.op("Add", g.op("Erf", g.op("Div", y, root2)), "unit")), half)
        x = norm(outward(y, at + "output.dense"), at + "output.LayerNorm", x, at + "output.dense.bias",
                 out="last_hidden_state" if last and g.real == FLOAT else None)
    if g.real != FLOAT:
        g.op("Cast", x, to=FLOAT, out="last_hidden_state")
    dims, domains = ["batch", "sequence"], [("", 17)] + [("com.microsoft", 1)] * fused
    return g.model([port(n, INT64, dims) for n in ("input_ids", "attention_mask", "token_type_ids")],
                   [port("last_hidden_state", FLOAT, dims + [hidden])], domains)


def build(folder, fused=False, precision="fp32"):
    """The bytes of model.onnx for the BERT in folder."""
    if sys.byteorder != "little":
        raise SystemExit("build_onnx.py: safetensors are little-endian, and so must this machine be")
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    return bert(config, safetensors(os.path.join(folder, "model.safetensors")), fused, precision)


def save(data, folder):
    out = os.path.join(folder, "model.onnx")
    with open(out + ".part", "wb") as f:
        f.write(data)
    os.replace(out + ".part", out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="MODEL_DIR")
    parser.add_argument("--fused", action="store_true", help="use onnxruntime's own operators")
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32", help="of weights and computation")
    options = parser.parse_args()
    save(build(options.folder, options.fused or options.precision == "int8", options.precision), options.folder)


if __name__ == "__main__":
    main()
