"""Decompresses single Zstandard frames with Debian's libzstd, which is on every Debian system."""

import ctypes

lib = ctypes.CDLL("libzstd.so.1")
lib.ZSTD_decompress.restype = lib.ZSTD_findFrameCompressedSize.restype = ctypes.c_size_t
lib.ZSTD_decompress.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
lib.ZSTD_findFrameCompressedSize.argtypes = (ctypes.c_char_p, ctypes.c_size_t)


def decompress(stored, size):
    """The content of exactly one frame, or None if it has not exactly size bytes."""
    out = ctypes.create_string_buffer(size or 1)
    whole = lib.ZSTD_findFrameCompressedSize(stored, len(stored)) == len(stored)
    return out.raw[:size] if whole and lib.ZSTD_decompress(out, size, stored, len(stored)) == size else None
