"""How fast this instruction set multiplies and adds in registers: the floor that `fastnn bench` measures against."""

from cython cimport floating


cdef extern from "simd.h":
    """
    /* Independent chains: more than the 4 cycles of latency times the 2 units of today's cores, fewer than 16 registers.
       A product and a sum each; the chains' values stay between 0 and 1. */
    #define FASTNN_CHAINS 12
    #define FASTNN_PEAK(suffix, scalar)                                                         \\
        static double fastnn_peak_##suffix(long long rounds) {                                  \\
            fastnn_v##suffix chain[FASTNN_CHAINS], by = fastnn_splat_##suffix((scalar) 0.999);  \\
            fastnn_v##suffix plus = fastnn_splat_##suffix((scalar) 0.0005);                     \\
            for (int j = 0; j < FASTNN_CHAINS; j++) chain[j] = plus * (scalar) j;               \\
            for (long long i = 0; i < rounds; i++)                                              \\
                for (int j = 0; j < FASTNN_CHAINS; j++) chain[j] = chain[j] * by + plus;        \\
            for (int j = 1; j < FASTNN_CHAINS; j++) chain[0] += chain[j];                       \\
            return (double) chain[0][0];                                                        \\
        }
    FASTNN_PEAK(f32, float)
    FASTNN_PEAK(f64, double)
    """
    enum:
        FASTNN_VECTOR_BYTES
        FASTNN_CHAINS
    double fastnn_peak_f32(long long rounds) nogil
    double fastnn_peak_f64(long long rounds) nogil


def multiply_add(wide: bool, rounds: int) -> float:
    """Do `rounds` rounds of fused products and sums without the GIL, on float64 if `wide`; returns their FLOPs."""
    cdef long long n = rounds
    cdef bint double_precision = wide
    cdef double result
    with nogil:
        result = fastnn_peak_f64(n) if double_precision else fastnn_peak_f32(n)
    if not 0 < result < FASTNN_CHAINS:  # reading the result keeps the loop from being dropped
        raise ArithmeticError(f"chains ended at {result}")
    return 2.0 * n * FASTNN_CHAINS * FASTNN_VECTOR_BYTES / (8 if double_precision else 4)
