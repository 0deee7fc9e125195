/* The register tiles of matrix products, for float and for double. */
#ifndef FASTNN_GEMM_H
#define FASTNN_GEMM_H

#include "simd.h"

/* The tile's sums, or those of up to 3 rows of 4 vectors. */
#define FASTNN_TILE_SUMS (FASTNN_TILE_ROWS > 6 ? 2 * FASTNN_TILE_ROWS : 12)

/* Columns of A up to which a product is summed in one stretch. A panel of B is then 25 KiB in AVX2 and 32 KiB in
   AVX-512: it stays in the first-level cache, or nearly, while the rows of A pass by. A tile begins and ends once per
   stretch, which takes as long as 5 to 15 of its columns, and reads C again: in AVX2, 400 is 3% faster than 256 from
   1,024 on, and cuts 784 in two. The tile of AVX-512 has more rows, and so more to do in each column. */
#define FASTNN_DEPTH (FASTNN_VECTOR_BYTES > 32 ? 256 : 400)
#define FASTNN_PANEL_BYTES (FASTNN_DEPTH * 2 * FASTNN_VECTOR_BYTES)

/* Columns of A that a tile takes between two looks at its counter. Counting is a sixth of the instructions of a tile of
   AVX2, and where two threads share a core that costs 5%. It is less with more rows, for which gcc keeps a loop. Loads
   stay where they are written: brought forward, they would need more registers than there are. */
#if FASTNN_VECTOR_BYTES == 32
#define FASTNN_AT_ONCE 4
#define FASTNN_IN_ORDER __asm__ volatile("" ::: "memory")
#else
#define FASTNN_AT_ONCE 1
#define FASTNN_IN_ORDER
#endif

/* Columns whose sums fill a part of the first-level cache, and bytes of B that may be in it already. */
#define FASTNN_SWEEP_COLS 1024
#define FASTNN_SWEEP_NEAR 65536

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
