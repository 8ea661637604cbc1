"""Symmetric group quantization of expert matrices, in NumPy, written from README.md's definition and from nothing else."""

import numpy as np


def bf16(x):
    """FP32 values rounded to BF16, nearest even."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return (((u + 0x7FFF + ((u >> 16) & 1)) >> 16) << 16).astype(np.uint32).view(np.float32)


def group_size(row_length, wanted=128):
    while row_length % wanted:
        wanted //= 2
    return wanted


def quantize(w, bits, wanted_group=128):
    """w: [rows, cols] FP32. Returns (q [rows, groups, group] int8, scale [rows, groups] FP32 holding BF16 values)."""
    w = np.asarray(w, np.float32)
    rows, cols = w.shape
    g = w.reshape(rows, -1, group_size(cols, wanted_group))
    if bits == 8:
        scale = bf16(np.abs(g).max(-1) / np.float32(127))
        low, high = -127, 127
    elif bits == 4:
        index = np.abs(g).argmax(-1)[..., None]
        scale = bf16(np.take_along_axis(g, index, -1)[..., 0] / np.float32(-8))
        low, high = -8, 7
    else:
        raise ValueError(f"bits: {bits}")
    safe = np.where(scale == 0, np.float32(1), scale)[..., None]
    q = np.clip(np.rint(g / safe), low, high).astype(np.int8)
    return np.where(scale[..., None] == 0, np.int8(0), q), scale


def dequantize(q, scale):
    return (q.astype(np.float32) * scale[..., None]).reshape(q.shape[0], -1)


def round_trip(w, bits, wanted_group=128):
    return dequantize(*quantize(w, bits, wanted_group))
