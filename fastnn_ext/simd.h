/* Vectors of the widest kind that the instruction set of this compilation has, as the compiler's own vector types,
   and the register tile that they allow. */
#ifndef FASTNN_SIMD_H
#define FASTNN_SIMD_H

/* Rows of the register tile, of two vectors each. 32 registers hold 14 x 2 accumulators, 2 vectors of B and one
   broadcast of A; 16 registers hold 6 x 2, 2 and one; without FMA a product needs a register too, which leaves 5 x 2. */
#if defined(__AVX512F__)
#define FASTNN_VECTOR_BYTES 64
#define FASTNN_TILE_ROWS 14
#elif defined(__AVX2__)
#define FASTNN_VECTOR_BYTES 32
#define FASTNN_TILE_ROWS 6
#else
#define FASTNN_VECTOR_BYTES 16
#define FASTNN_TILE_ROWS 5
#endif

/* Unaligned and free to alias, so that any address of a float or double may be loaded through them. */
typedef float fastnn_vf32 __attribute__((vector_size(FASTNN_VECTOR_BYTES), aligned(4), may_alias));
typedef double fastnn_vf64 __attribute__((vector_size(FASTNN_VECTOR_BYTES), aligned(8), may_alias));

/* All lanes equal to x. x - 0 is x for every x, -0 and NaN included, so that compilers emit a plain broadcast. */
static inline __attribute__((always_inline, unused)) fastnn_vf32 fastnn_splat_f32(float x) {
    return x - (fastnn_vf32){0};
}
static inline __attribute__((always_inline, unused)) fastnn_vf64 fastnn_splat_f64(double x) {
    return x - (fastnn_vf64){0};
}

#endif
