/* The register tiles of matrix products, for float and for double. */
#ifndef FASTNN_GEMM_H
#define FASTNN_GEMM_H

#include "simd.h"

/* The tile's sums, or those of up to 3 rows of 4 vectors. */
#define FASTNN_TILE_SUMS (FASTNN_TILE_ROWS > 6 ? 2 * FASTNN_TILE_ROWS : 12)

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
