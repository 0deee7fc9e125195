/* Transposition of a few rows, with which products copy operands that are contiguous the other way. */
#ifndef FASTNN_TRANSPOSE_H
#define FASTNN_TRANSPOSE_H

#include "simd.h"

/* Four floats and two doubles: what the transposition of 4 x 4 elements works with in every instruction set. */
typedef float fastnn_quad __attribute__((vector_size(16), aligned(4), may_alias));
typedef double fastnn_pair __attribute__((vector_size(16), aligned(8), may_alias));
typedef int fastnn_quad_places __attribute__((vector_size(16)));
typedef long long fastnn_pair_places __attribute__((vector_size(16)));

/* Elements of a and b by their places in both; gcc has clang's builtin from version 12 on. */
#ifdef __clang__
#define FASTNN_SHUFFLE(kind, a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define FASTNN_SHUFFLE(kind, a, b, ...) __builtin_shuffle(a, b, (fastnn_##kind##_places){__VA_ARGS__})
#endif

#ifdef __AVX2__
/* A vector of two halves, wherever they are. */
FASTNN_INLINE __m256 fastnn_halves_f32(const float *low, const float *high) {
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(low)), _mm_loadu_ps(high), 1);
}
FASTNN_INLINE __m256d fastnn_halves_f64(const double *low, const double *high) {
    return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(low)), _mm_loadu_pd(high), 1);
}
#endif

/* y[j][i] = x[i][j] of 4 x 4 elements, rows x_row and y_row elements apart. Written with the elements' numbers instead
   of shuffles, the loads become 16 scalar ones. */
FASTNN_INLINE void fastnn_transpose4_f32(const float *x, long long x_row, float *y, long long y_row) {
    fastnn_quad a = *(const fastnn_quad *)x, b = *(const fastnn_quad *)(x + x_row);
    fastnn_quad c = *(const fastnn_quad *)(x + 2 * x_row), d = *(const fastnn_quad *)(x + 3 * x_row);
    fastnn_quad ab0 = FASTNN_SHUFFLE(quad, a, b, 0, 4, 1, 5), ab2 = FASTNN_SHUFFLE(quad, a, b, 2, 6, 3, 7);
    fastnn_quad cd0 = FASTNN_SHUFFLE(quad, c, d, 0, 4, 1, 5), cd2 = FASTNN_SHUFFLE(quad, c, d, 2, 6, 3, 7);
    *(fastnn_quad *)y = FASTNN_SHUFFLE(quad, ab0, cd0, 0, 1, 4, 5);
    *(fastnn_quad *)(y + y_row) = FASTNN_SHUFFLE(quad, ab0, cd0, 2, 3, 6, 7);
    *(fastnn_quad *)(y + 2 * y_row) = FASTNN_SHUFFLE(quad, ab2, cd2, 0, 1, 4, 5);
    *(fastnn_quad *)(y + 3 * y_row) = FASTNN_SHUFFLE(quad, ab2, cd2, 2, 3, 6, 7);
}
FASTNN_INLINE void fastnn_transpose4_f64(const double *x, long long x_row, double *y, long long y_row) {
    for (int j = 0; j < 4; j += 2) {
#ifdef __AVX2__
        __m256d ac = fastnn_halves_f64(x + j, x + 2 * x_row + j);
        __m256d bd = fastnn_halves_f64(x + x_row + j, x + 3 * x_row + j);
        _mm256_storeu_pd(y + j * y_row, _mm256_unpacklo_pd(ac, bd));
        _mm256_storeu_pd(y + (j + 1) * y_row, _mm256_unpackhi_pd(ac, bd));
#else
        for (int i = 0; i < 4; i += 2) {
            fastnn_pair a = *(const fastnn_pair *)(x + i * x_row + j);
            fastnn_pair b = *(const fastnn_pair *)(x + (i + 1) * x_row + j);
            *(fastnn_pair *)(y + j * y_row + i) = FASTNN_SHUFFLE(pair, a, b, 0, 2);
            *(fastnn_pair *)(y + (j + 1) * y_row + i) = FASTNN_SHUFFLE(pair, a, b, 1, 3);
        }
#endif
    }
}

/* y[j][i] = x[i][j] of 8 x 4 elements: in AVX2 the transposition of four rows in either half of a vector. */
FASTNN_INLINE void fastnn_transpose8_f32(const float *x, long long x_row, float *y, long long y_row) {
#ifdef __AVX2__
    __m256 a = fastnn_halves_f32(x, x + 4 * x_row), b = fastnn_halves_f32(x + x_row, x + 5 * x_row);
    __m256 c = fastnn_halves_f32(x + 2 * x_row, x + 6 * x_row), d = fastnn_halves_f32(x + 3 * x_row, x + 7 * x_row);
    __m256 ab0 = _mm256_unpacklo_ps(a, b), ab2 = _mm256_unpackhi_ps(a, b);
    __m256 cd0 = _mm256_unpacklo_ps(c, d), cd2 = _mm256_unpackhi_ps(c, d);
    _mm256_storeu_ps(y, _mm256_shuffle_ps(ab0, cd0, 0x44));
    _mm256_storeu_ps(y + y_row, _mm256_shuffle_ps(ab0, cd0, 0xee));
    _mm256_storeu_ps(y + 2 * y_row, _mm256_shuffle_ps(ab2, cd2, 0x44));
    _mm256_storeu_ps(y + 3 * y_row, _mm256_shuffle_ps(ab2, cd2, 0xee));
#else
    fastnn_transpose4_f32(x, x_row, y, y_row);
    fastnn_transpose4_f32(x + 4 * x_row, x_row, y + 4, y_row);
#endif
}
FASTNN_INLINE void fastnn_transpose8_f64(const double *x, long long x_row, double *y, long long y_row) {
    fastnn_transpose4_f64(x, x_row, y, y_row);
    fastnn_transpose4_f64(x + 4 * x_row, x_row, y + 4, y_row);
}

#endif
