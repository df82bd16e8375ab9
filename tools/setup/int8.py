"""Products in 8-bit integers, for build_onnx.py: what a token becomes depends on that token alone.

A product x·W of floats becomes (q·t)·(Q·s), where q are integers of 8 bits and t is one scale for each token, found when
the model runs; Q and s are the weights' integers of 8 bits and one scale for each column, found here. A sum of integers is
exact in any order, so neither the batch nor the padding nor the processor changes a bit of it. (The usual dynamic
quantisation has one scale for the whole batch: there a text's vector depends on its neighbours.)

Without VNNI, x86 adds two neighbouring products in 16 bits and cuts off what does not fit (VPMADDUBSW in Intel's manual).
The usual ways out are weights of 7 bits or slower instructions; here each column's scale is such that no two neighbours can
come that far, which costs half a bit on average.
"""
import array
import math
import struct

UINT8, INT8 = 2, 3  # onnx.proto3, TensorProto.DataType
GELU_SHIFT = 0.17   # no value of GELU is below -0.16998
TINY = 1e-30        # a token of zeros has no scale


def column(row):
    """The weights that lead to one output, as integers, and the size of a step.

    No integer is beyond 127, no sum of two neighbours beyond 128: 255 · 128 fits into 16 bits.
    """
    peak = max(map(abs, row))
    pair = max((abs(a + b) for a, b in zip(row[::2], row[1::2])), default=0.0)
    step = max(peak, pair) / 127 or 1.0
    return [round(w / step) for w in row], step


def balance(weights, name, norm):
    """A factor for each input of a layer: the input is divided by it, the layer's weights are multiplied.

    It moves what is large in a few channels from the tokens, which share one scale, into the weights. See SmoothQuant
    (arXiv 2211.10438), which measures the channels' sizes; here they are estimated from the normalisation before the
    layer, so that no text decides about the model.
    """
    inner = weights.shape(name + ".weight")[1]
    values = array.array("f", weights.raw(name + ".weight"))
    gain, offset = (array.array("f", weights.raw(norm + part)) for part in (".weight", ".bias"))
    factors = []
    for i in range(inner):
        size = 3 * abs(gain[i]) + abs(offset[i])
        factors.append(math.sqrt((size or 1.0) / (max(map(abs, values[i::inner])) or 1.0)))
    return factors


class Products:
    """Adds integer products to a graph."""

    def __init__(self, graph):
        self.g = graph
        self.constants = {}

    def constant(self, value):
        name = "constant_%g" % value
        if name not in self.constants:
            self.constants[name] = self.g.floats(name, value)
        return name

    def zero(self, value):
        name = "zero_%d" % value
        if name not in self.constants:
            self.constants[name] = self.g.tensor(name, [], UINT8, bytes([value]))
        return name

    def symmetric(self, x):
        """Tokens of either sign: (integers, what stands for 0, scale, steps to the scale)."""
        scale = self.g.op("ReduceMax", self.g.op("Abs", x), axes=[-1], keepdims=1)
        return self._integers(x, scale, 127, self.zero(128))

    def positive(self, x):
        """Tokens of values that are never negative: all 8 bits are theirs."""
        return self._integers(x, self.g.op("ReduceMax", x, axes=[-1], keepdims=1), 255, self.zero(0))

    def _integers(self, x, scale, steps, zero):
        scale = self.g.op("Max", scale, self.constant(TINY))
        x = self.g.op("Mul", x, self.g.op("Div", self.constant(steps), scale))
        return self.g.op("QuantizeLinear", x, self.constant(1), zero), zero, scale, steps

    def multiply(self, tokens, weights, *names, factors=None):
        """Tokens times the weights of layers, side by side. Also what each column's weights add up to."""
        integers, zero, scale, steps = tokens
        rows = []
        for name in names:
            out, inner = weights.shape(name + ".weight")
            values = array.array("f", weights.raw(name + ".weight"))
            rows += [values[o * inner:(o + 1) * inner] for o in range(out)]
        if factors:
            rows = [[w * f for w, f in zip(row, factors)] for row in rows]
        matrix, sizes, sums = bytearray(len(rows) * len(rows[0])), [], []
        for o, row in enumerate(rows):
            q, step = column(row)
            matrix[o::len(rows)] = bytes(v & 255 for v in q)
            sizes.append(step / steps)
            sums.append(sum(q) * step)
        w = self.g.tensor(names[0] + ".weight_int8", [len(rows[0]), len(rows)], INT8, bytes(matrix))
        s = self.g.tensor(names[0] + ".weight_scale", [len(rows)], 1, struct.pack("<%df" % len(sizes), *sizes))
        y = self.g.fused("MatMulIntegerToFloat", integers, w, self.constant(1), s, zero)
        return self.g.op("Mul", y, scale), sums
