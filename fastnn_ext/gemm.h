/* The register tiles of matrix products, for float and for double. */
#ifndef FASTNN_GEMM_H
#define FASTNN_GEMM_H

#include "simd.h"

/* The tile's sums, or those of up to 3 rows of 4 vectors. */
#define FASTNN_TILE_SUMS (FASTNN_TILE_ROWS > 6 ? 2 * FASTNN_TILE_ROWS : 12)

/* Columns of A that a tile takes between two looks at its counter. Counting is a sixth of the instructions of a tile of
   AVX2, and where two threads share a core that costs 5%. It is less with more rows, for which gcc keeps a loop. Loads
   stay where they are written: brought forward, they would need more registers than there are. */
#if defined(__AVX2__) && !defined(__AVX512F__)
#define FASTNN_AT_ONCE 4
#define FASTNN_IN_ORDER __asm__ volatile("" ::: "memory")
#else
#define FASTNN_AT_ONCE 1
#define FASTNN_IN_ORDER
#endif

/* Columns whose sums fill a part of the first-level cache. */
#define FASTNN_SWEEP_COLS 1024

#define SCALAR float
#define VECTOR fastnn_vf32
#define NAME(x) x##_f32
#include "tile.h"
#undef SCALAR
#undef VECTOR
#undef NAME
#define SCALAR double
#define VECTOR fastnn_vf64
#define NAME(x) x##_f64
#include "tile.h"
#undef SCALAR
#undef VECTOR
#undef NAME

#endif
