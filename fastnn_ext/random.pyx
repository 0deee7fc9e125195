"""Dropout and noise by a counter-based generator: functions of seed, stream, step and position alone."""

from cython cimport floating
from libc.math cimport sqrt as sqrt_f64
from libc.math cimport sqrtf as sqrt_f32
from libc.stdint cimport int32_t, uint32_t, uint64_t

from fastnn_ext.elementary cimport log_, quarter_cosine, quarter_sine
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


cdef inline void normal_pair(uint32_t a, uint32_t b, floating *z0, floating *z1) noexcept nogil:
    """Two standard normal numbers r cos(t), r sin(t) from two words (Box and Muller 1958).

    r = sqrt(-2 log(u)), u in (0, 1] from the upper 24 bits of a, which float32 has exactly. t = pi / 2 (q + f) from
    those of b, q its nearest quarter turn.
    """
    cdef floating u = <floating> (<int32_t> (a >> 8) + 1) * <floating> 5.9604644775390625e-8  # 2^-24
    cdef int32_t v = <int32_t> (b >> 8)
    cdef int32_t q = (v + 0x200000) >> 22
    cdef floating f = <floating> (v - (q << 22)) * <floating> 2.384185791015625e-7  # 2^-22
    cdef floating c = quarter_cosine(f)
    cdef floating s = quarter_sine(f)
    cdef floating r = <floating> -2 * log_(u)
    if floating is float:
        r = sqrt_f32(r)
    else:
        r = sqrt_f64(r)
    r = -r if q & 2 else r  # half a turn
    z0[0] = r * (-s if q & 1 else c)
    z1[0] = r * (c if q & 1 else s)


cdef inline void normals(const uint32_t *words, floating *z) noexcept nogil:
    """z (WORDS): standard normal numbers, each two from the two words in their places."""
    cdef floating first_[COUNTERS]
    cdef floating second[COUNTERS]
    cdef Py_ssize_t half, i
    for half in range(2):
        words += half * WORDS // 2
        z += half * WORDS // 2
        for i in range(COUNTERS):
            normal_pair(words[2 * i], words[2 * i + 1], &first_[i], &second[i])
        for i in range(COUNTERS):
            z[2 * i] = first_[i]
            z[2 * i + 1] = second[i]


cdef inline void gaussian(
    bint factor, floating **buffers, const Py_ssize_t *dims, const double *params, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    """x (n) -> y (n): x + stddev z, or x (1 + stddev z) with a `factor`."""
    cdef const floating *x = buffers[0]
    cdef floating *y = buffers[1]
    cdef uint32_t words[WORDS]
    cdef floating z[WORDS]
    cdef floating stddev = <floating> params[0]
    cdef uint64_t seed = <uint64_t> params[1]
    cdef uint32_t stream = <uint32_t> params[2]
    cdef uint32_t step = <uint32_t> params[3]
    cdef Py_ssize_t i = first(dims[0], 64, part, parts)
    cdef Py_ssize_t stop = first(dims[0], 64, part + 1, parts)
    cdef Py_ssize_t j
    while i < stop:
        philox(<uint64_t> i // 4, step, stream, <uint32_t> seed, <uint32_t> (seed >> 32), words)
        normals(words, z)
        for j in range(min(<Py_ssize_t> WORDS, stop - i)):
            y[i + j] = x[i + j] * (<floating> 1 + stddev * z[j]) if factor else x[i + j] + stddev * z[j]
        i += WORDS


cdef void gaussian_noise(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    gaussian(False, buffers, dims, params, part, parts)


cdef void gaussian_dropout(
    floating **buffers, const Py_ssize_t *dims, const double *params,
    Py_ssize_t phase, Py_ssize_t part, Py_ssize_t parts
) noexcept nogil:
    gaussian(True, buffers, dims, params, part, parts)


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
KERNELS = {
    "dropout": (<size_t> &dropout[float], <size_t> &dropout[double]),
    "gaussian_noise": (<size_t> &gaussian_noise[float], <size_t> &gaussian_noise[double]),
    "gaussian_dropout": (<size_t> &gaussian_dropout[float], <size_t> &gaussian_dropout[double]),
}
#: Bytes of scratch memory of the ops that need some.
WORKSPACE = {}
