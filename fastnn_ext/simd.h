/* Vectors of the widest kind that the instruction set of this compilation has, as the compiler's own vector types,
   and the register tile that they allow. */
#ifndef FASTNN_SIMD_H
#define FASTNN_SIMD_H

#include <stddef.h>
#include <string.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define FASTNN_REGISTER_BYTES 64
#elif defined(__AVX2__)
#define FASTNN_REGISTER_BYTES 32
#else
#define FASTNN_REGISTER_BYTES 16
#endif

/* Tests set it to 64: compilers make up vectors of several registers, and so what is compiled for AVX-512 runs, slowly,
   where there is none. */
#ifndef FASTNN_VECTOR_BYTES
#define FASTNN_VECTOR_BYTES FASTNN_REGISTER_BYTES
#endif

/* Rows of the register tile, of two vectors each. 32 registers hold 14 x 2 accumulators, 2 vectors of B and one
   broadcast of A; 16 registers hold 6 x 2, 2 and one; without FMA a product needs a register too: 5 x 2. */
#if FASTNN_VECTOR_BYTES == 64
#define FASTNN_TILE_ROWS 14
#elif FASTNN_VECTOR_BYTES == 32
#define FASTNN_TILE_ROWS 6
#else
#define FASTNN_TILE_ROWS 5
#endif

#define FASTNN_INLINE static inline __attribute__((always_inline, unused))

/* Unaligned and free to alias, so that any address of a float or double may be loaded through them. */
typedef float fastnn_vf32 __attribute__((vector_size(FASTNN_VECTOR_BYTES), aligned(4), may_alias));
typedef double fastnn_vf64 __attribute__((vector_size(FASTNN_VECTOR_BYTES), aligned(8), may_alias));

/* All lanes equal to x. x - 0 is x for every x, -0 and NaN included, so that compilers emit a plain broadcast. */
FASTNN_INLINE fastnn_vf32 fastnn_splat_f32(float x) {
    return x - (fastnn_vf32){0};
}
FASTNN_INLINE fastnn_vf64 fastnn_splat_f64(double x) {
    return x - (fastnn_vf64){0};
}

/* x y + z of scalars, rounded as often as compilers round it of vectors: they may compute the products of a sum as a
   vector and then add them up one by one, and would round both. */
#if defined(__FMA__) || defined(__FP_FAST_FMAF)
#define FASTNN_MULTIPLY_ADD(builtin, x, y, z) builtin(x, y, z)
#else
#define FASTNN_MULTIPLY_ADD(builtin, x, y, z) ((x) * (y) + (z))
#endif
FASTNN_INLINE float fastnn_multiply_add_f32(float x, float y, float z) {
    return FASTNN_MULTIPLY_ADD(__builtin_fmaf, x, y, z);
}
FASTNN_INLINE double fastnn_multiply_add_f64(double x, double y, double z) {
    return FASTNN_MULTIPLY_ADD(__builtin_fma, x, y, z);
}

/* Copies whole vectors to an address aligned to a vector, around the caches where the processor can. */
FASTNN_INLINE void fastnn_stream(void *to, const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += FASTNN_REGISTER_BYTES) {
        char *y = (char *) to + i;
        const char *x = (const char *) from + i;
#if defined(__AVX512F__)
        _mm512_stream_si512((__m512i *) y, _mm512_loadu_si512(x));
#elif defined(__AVX2__)
        _mm256_stream_si256((__m256i *) y, _mm256_loadu_si256((const __m256i *) x));
#elif defined(__SSE2__)
        _mm_stream_si128((__m128i *) y, _mm_loadu_si128((const __m128i *) x));
#else
        memcpy(y, x, FASTNN_REGISTER_BYTES);
#endif
    }
}

/* Asks for the cache lines of some bytes that are read soon; any address will do. */
FASTNN_INLINE void fastnn_fetch(const void *from, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *) from + i);
}

/* Makes streamed data visible to other threads before whatever is stored next. */
FASTNN_INLINE void fastnn_stream_end(void) {
#ifdef __SSE2__
    _mm_sfence();
#endif
}

#endif
