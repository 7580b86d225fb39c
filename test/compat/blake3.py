"""BLAKE3-256 for Python without packages, after the algorithm's paper: fast enough for tests."""

import struct
from array import array

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIX = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8


def compress(cv, m, counter, length, flags, ones):
    """BLAKE3's compression, for many inputs at once: every word is one big integer with a lane of 64 bits per input, of which
    the lower half is used. ones has the value 1 in each lane."""
    mask = ones * 0xFFFFFFFF
    v = list(cv) + [i * ones for i in IV[:4]] + [counter, 0, length * ones, flags * ones]
    for _ in range(7):
        for k, (a, b, c, d) in enumerate(MIX):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + m[2 * k]) & mask
            x = vd ^ va
            vd = (x >> 16 | x << 16) & mask
            vc = (vc + vd) & mask
            x = vb ^ vc
            vb = (x >> 12 | x << 20) & mask
            va = (va + vb + m[2 * k + 1]) & mask
            x = vd ^ va
            vd = (x >> 8 | x << 24) & mask
            vc = (vc + vd) & mask
            x = vb ^ vc
            v[a], v[b], v[c], v[d] = va, (x >> 7 | x << 25) & mask, vc, vd
        m = [m[i] for i in ORDER]
    return [v[i] ^ v[i + 8] for i in range(8)]


def lanes(words):
    return int.from_bytes(array("Q", words).tobytes(), "little")


def values(cv, n):
    """The chaining values of n inputs as words, eight for each input."""
    out = array("I", bytes(32 * n))
    for i, word in enumerate(cv):
        out[i::8] = array("I", array("Q", word.to_bytes(8 * n, "little")))
    return out


def blake3(data):
    data = memoryview(data)
    last = max(0, (len(data) - 1) // 1024)  # number of the last piece of 1024 bytes, which may be shorter
    cvs = array("I")
    for at in range(0, last, 256):
        n = min(256, last - at)
        words = array("I", bytes(data[at * 1024:(at + n) * 1024]))
        ones, counter = lanes([1] * n), lanes(range(at, at + n))
        cv = [i * ones for i in IV]
        for b in range(16):
            m = [lanes(words[16 * b + w::256]) for w in range(16)]
            cv = compress(cv, m, counter, 64, CHUNK_START * (b == 0) | CHUNK_END * (b == 15), ones)
        cvs += values(cv, n)
    cv, tail = list(IV), bytes(data[last * 1024:])
    for off in range(0, max(1, len(tail)), 64):
        block = tail[off:off + 64]
        ends = off + 64 >= len(tail)
        flags = CHUNK_START * (off == 0) | CHUNK_END * ends | ROOT * (ends and last == 0)
        cv = compress(cv, struct.unpack("<16I", block.ljust(64, b"\0")), last, len(block), flags, 1)
    cvs += array("I", cv)
    while len(cvs) > 8:  # parents of neighbours, level by level; who has no neighbour goes up alone
        n = len(cvs) // 16
        pairs, ones = cvs[:16 * n], lanes([1] * n)
        flags = PARENT | ROOT * (len(cvs) == 16)
        up = values(compress([i * ones for i in IV], [lanes(pairs[w::16]) for w in range(16)], 0, 64, flags, ones), n)
        cvs = up + cvs[16 * n:]
    return cvs.tobytes()
