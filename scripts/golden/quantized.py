#!/usr/bin/env python3
"""Golden values for quantized blocks: random bytes of every type and the values that they encode.

    python3 scripts/golden/quantized.py > test/golden/quantized.json

Each type is written from its layout (ggml-common.h; OCP Microscaling Formats 1.0 for MXFP4) as one formula per element, in exact
fractions. The decoders in native/ops/unpack-inl.h decode block by block, and share no code with this script.
"""
import json
import random
import struct
import sys
from fractions import Fraction

# The values of IQ4_NL and IQ4_XS: kvalues_iq4nl of ggml-common.h.
NONLINEAR = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
E2M1 = [Fraction(n, 2) for n in (0, 1, 2, 3, 4, 6, 8, 12)]


def half(b, at):
    return Fraction(struct.unpack("<e", bytes(b[at:at + 2]))[0])


def bits(b, first, count):
    """Returns `count` bits, from bit `first` on, of the little-endian integer with bytes b."""
    return (int.from_bytes(bytes(b), "little") >> first) & ((1 << count) - 1)


def nibble(b, i):
    """Returns element i of 32. Byte i has element i in its low four bits and element i + 16 in its high four bits."""
    return bits(b[i % 16:i % 16 + 1], 4 * (i // 16), 4)


def six_bits(b, g):
    """Returns scale and minimum g of the eight that are packed into 12 bytes. For g < 4, each is the low six bits of a byte. Otherwise the low
    four bits are in bytes 8 to 11, and the high two bits are the top bits of the first eight bytes."""
    if g < 4:
        return b[g] & 63, b[g + 4] & 63
    return (b[g + 4] & 15) + 16 * (b[g - 4] >> 6), (b[g + 4] >> 4) + 16 * (b[g] >> 6)


def q8_0(b, i):
    return half(b, 0) * struct.unpack("b", bytes(b[2 + i:3 + i]))[0]


def q4_0(b, i):
    return half(b, 0) * (nibble(b[2:], i) - 8)


def q4_1(b, i):
    return half(b, 0) * nibble(b[4:], i) + half(b, 2)


def q5_0(b, i):
    return half(b, 0) * (nibble(b[6:], i) + 16 * bits(b[2:6], i, 1) - 16)


def q5_1(b, i):
    return half(b, 0) * (nibble(b[8:], i) + 16 * bits(b[4:8], i, 1)) + half(b, 2)


def q2_k(b, i):
    group = b[i // 16]
    q = bits(b[16 + 32 * (i // 128) + i % 32:][:1], 2 * (i % 128 // 32), 2)
    return half(b, 80) * (group & 15) * q - half(b, 82) * (group >> 4)


def q3_k(b, i):
    g = i // 16
    scale = bits(b[96 + g % 8:][:1], 4 * (g // 8), 4) + 16 * bits(b[104 + g % 4:][:1], 2 * (g // 4), 2) - 32
    q = bits(b[32 + 32 * (i // 128) + i % 32:][:1], 2 * (i % 128 // 32), 2)
    return half(b, 108) * scale * (q - (0 if bits(b[i % 32:][:1], i // 32, 1) else 4))


def q4_k(b, i):
    scale, minimum = six_bits(b[4:16], i // 32)
    q = bits(b[16 + 32 * (i // 64) + i % 32:][:1], 4 * (i % 64 // 32), 4)
    return half(b, 0) * scale * q - half(b, 2) * minimum


def q5_k(b, i):
    scale, minimum = six_bits(b[4:16], i // 32)
    q = bits(b[48 + 32 * (i // 64) + i % 32:][:1], 4 * (i % 64 // 32), 4) + 16 * bits(b[16 + i % 32:][:1], i // 32, 1)
    return half(b, 0) * scale * q - half(b, 2) * minimum


def q6_k(b, i):
    low = bits(b[64 * (i // 128) + i % 64:][:1], 4 * (i % 128 // 64), 4)
    high = bits(b[128 + 32 * (i // 128) + i % 32:][:1], 2 * (i % 128 // 32), 2)
    scale = struct.unpack("b", bytes(b[192 + i // 16:][:1]))[0]
    return half(b, 208) * scale * (low + 16 * high - 32)


def iq4_nl(b, i):
    return half(b, 0) * NONLINEAR[nibble(b[2:], i)]


def iq4_xs(b, i):
    g = i // 32
    scale = bits(b[4:8], 4 * g, 4) + 16 * bits(b[2:4], 2 * g, 2) - 32
    return half(b, 0) * scale * NONLINEAR[nibble(b[8 + 16 * g:], i % 32)]


def mxfp4(b, i):
    code = nibble(b[1:], i)
    return (-1 if code & 8 else 1) * E2M1[code & 7] * Fraction(2) ** (b[0] - 127)


# For each type: elements and bytes of a block, and the offsets of its half-precision numbers.
TYPES = {
    q8_0: (32, 34, [0]), q4_0: (32, 18, [0]), q4_1: (32, 20, [0, 2]), q5_0: (32, 22, [0]), q5_1: (32, 24, [0, 2]),
    q2_k: (256, 84, [80, 82]), q3_k: (256, 110, [108]), q4_k: (256, 144, [0, 2]), q5_k: (256, 176, [0, 2]),
    q6_k: (256, 210, [208]), iq4_nl: (32, 18, [0]), iq4_xs: (256, 136, [0]), mxfp4: (32, 17, []),
}


def main():
    draw = random.Random(7)
    out = {}
    for element, (count, size, halves) in TYPES.items():
        blocks, values = b"", []
        for n in range(1 if count > 32 else 3):
            block = bytearray(draw.randrange(256) for _ in range(size))
            for at in halves:
                # The third block has subnormal numbers.
                block[at:at + 2] = struct.pack("<e", 3e-6 if n == 2 else draw.uniform(-1, 1) / 64)
            if element is mxfp4:
                block[0] = [1, 120, 127][n]
            blocks += block
            values += [float(element(block, i)) for i in range(count)]
        out[element.__name__] = {"bytes": blocks.hex(), "values": values}
    rows = [f"{json.dumps(name)}:{json.dumps(row, separators=(',', ':'))}" for name, row in out.items()]
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")


if __name__ == "__main__":
    main()
