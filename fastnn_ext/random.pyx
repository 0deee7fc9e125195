"""Dropout by a counter-based generator: the mask is a function of seed, stream, step and position alone."""

from cython cimport floating
from libc.stdint cimport uint32_t, uint64_t

from fastnn_ext.share cimport first

cdef enum:
    COUNTERS = 32  # Philox counters treated together, for the rounds to be vectorised
    WORDS = 128


cdef inline void philox(
    uint64_t counter, uint32_t step, uint32_t stream, uint32_t key_0, uint32_t key_1, uint32_t *words
) noexcept nogil:
    """words (WORDS): Philox4x32-10 of (counter + i low, high, step, stream), i < COUNTERS.

    Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (SC 2011).
    """
    cdef uint32_t c0[COUNTERS]
    cdef uint32_t c1[COUNTERS]
    cdef uint32_t c2[COUNTERS]
    cdef uint32_t c3[COUNTERS]
    cdef uint64_t p0, p1
    cdef int i, round
    for i in range(COUNTERS):
        c0[i] = <uint32_t> (counter + i)
        c1[i] = <uint32_t> ((counter + i) >> 32)
        c2[i] = step
        c3[i] = stream
    for round in range(10):
        for i in range(COUNTERS):
            p0 = <uint64_t> 0xD2511F53U * c0[i]
            p1 = <uint64_t> 0xCD9E8D57U * c2[i]
            c0[i] = <uint32_t> (p1 >> 32) ^ c1[i] ^ key_0
            c1[i] = <uint32_t> p1
            c2[i] = <uint32_t> (p0 >> 32) ^ c3[i] ^ key_1
            c3[i] = <uint32_t> p0
        key_0 += 0x9E3779B9U
        key_1 += 0xBB67AE85U
    for i in range(COUNTERS):
        words[4 * i] = c0[i]
        words[4 * i + 1] = c1[i]
        words[4 * i + 2] = c2[i]
        words[4 * i + 3] = c3[i]


cdef void dropout(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (n): element e is dropped where word e % 4 of counter e // 4 is below rate 2^32."""
    cdef const floating *x = buffers[0]
    cdef floating *y = buffers[1]
    cdef uint32_t words[WORDS]
    cdef double rate = params[0]
    cdef uint64_t seed = <uint64_t> params[1]
    cdef uint32_t stream = <uint32_t> params[2]
    cdef uint32_t step = <uint32_t> params[3]
    cdef uint64_t threshold = <uint64_t> (rate * 4294967296.0)
    cdef floating scale = <floating> (1 / (1 - rate)) if rate < 1 else <floating> 0
    cdef Py_ssize_t i = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    cdef Py_ssize_t j
    while i < stop:
        philox(<uint64_t> i // 4, step, stream, <uint32_t> seed, <uint32_t> (seed >> 32), words)
        for j in range(min(<Py_ssize_t> WORDS, stop - i)):
            y[i + j] = x[i + j] * scale if words[j] >= threshold else <floating> 0
        i += WORDS


#: Addresses of each op's kernels: float32, float64.
KERNELS = {"dropout": (<size_t> &dropout[float], <size_t> &dropout[double])}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
