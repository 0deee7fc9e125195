/* float32 matrix products through the AMX unit: numbers split into bfloat16 parts, and products of parts.

   A float32 number is the sum hi + mid + lo of three bfloat16 numbers, each the rest rounded to nearest even. An operand
   is packed in units of 32 lines (rows of A, columns of B): for each half of 16 lines and each part, one tile for each
   step of 32 along the inner dimension. A tile of A has a line in each row; one of B has two neighbours along the inner
   dimension in each 4 bytes of a row, as TDPBF16PS wants them. Lines and steps are filled up with zeros.
   fastnn/backends/split_products.py says the same in NumPy, bit for bit, and why the limits are what they are. */
#ifndef FASTNN_AMX_H
#define FASTNN_AMX_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "amx_tiles.h"

#define FASTNN_UNIT 32 /* lines of a unit, and elements of a step */

/* When splitting pays, by precision. A product has m n k multiply-adds, splitting treats (m + n) k numbers, so
   m n / (m + n) must be at least the cost of splitting a number over what a multiply-add gains. FMA takes 1/32 cycle for
   one; by the rates measured on operands already split (Sapphire Rapids: 213 GFLOP/s by FMA; 320, 571 and 1588 with six
   products, three and one) the gain is 0.0104, 0.0196 and 0.0271 cycles. The cost is taken to be 2 cycles whatever the
   number of parts, for want of a measurement: these thresholds await a machine with the unit. */
#ifndef FASTNN_SPLIT_PAYS
#define FASTNN_SPLIT_PAYS {192, 102, 74}
#define FASTNN_SPLIT_DEPTH 64 /* shorter sums leave half a step empty, or hardly outweigh the way through memory */
#else
#define FASTNN_SPLIT_DEPTH 0
#endif

typedef float fastnn_v16f __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t fastnn_v16u __attribute__((vector_size(64), aligned(4), may_alias));
typedef float fastnn_v8f __attribute__((vector_size(32), aligned(4), may_alias));
typedef double fastnn_v8d __attribute__((vector_size(64)));

/* What the numbers of a unit are like: bits of the smallest, but for zeros, less one, and of the largest; how many lines
   hold others than zeros, and the sum of their fillings. */
typedef struct {
    uint32_t smallest, largest;
    double lines, filling;
} fastnn_extent;

/* Which parts are multiplied, smallest products first, and for each precision (0: float32, 1: bf16x3, 2: bf16) with
   which of these products it begins and how many parts it needs. */
static const unsigned char fastnn_products[6][2] = {{2, 0}, {0, 2}, {1, 1}, {1, 0}, {0, 1}, {0, 0}};
static const int fastnn_first_product[3] = {0, 3, 5};
static const int fastnn_parts[3] = {3, 2, 1};

static inline int fastnn_split_pays(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, int precision) {
    static const double least[3] = FASTNN_SPLIT_PAYS;
    return FASTNN_AMX && k >= FASTNN_SPLIT_DEPTH && (double)m * (double)n >= least[precision] * (double)(m + n);
}

static inline ptrdiff_t fastnn_steps(ptrdiff_t k) { return (k + FASTNN_UNIT - 1) / FASTNN_UNIT; }

static inline ptrdiff_t fastnn_unit_bytes(ptrdiff_t k, int precision) {
    return 2 * fastnn_parts[precision] * fastnn_steps(k) * FASTNN_TILE_BYTES;
}

/* The number rounded to bfloat16, to nearest even. */
static inline fastnn_v16u fastnn_leading(fastnn_v16f x) {
    fastnn_v16u bits = (fastnn_v16u)x;
    return (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u;
}

/* Sixteen consecutive numbers, those beyond `count` zero. */
static inline fastnn_v16f fastnn_some(const float *x, ptrdiff_t count) {
    float copy[16] = {0};
    if (count >= 16)
        return *(const fastnn_v16f *)x;
    if (count > 0)
        memcpy(copy, x, (size_t)count * sizeof(float));
    return *(const fastnn_v16f *)copy;
}

typedef struct {
    fastnn_v16u smallest, largest;
    fastnn_v8d sum[16][2], square[16][2]; /* by line, or one of them with a line in each lane */
} fastnn_sizes;

static inline void fastnn_measure(fastnn_sizes *sizes, int row, fastnn_v16f x) {
    fastnn_v16u bits = (fastnn_v16u)x & 0x7fffffffu, less = bits - 1; /* of zero, the largest there is */
    fastnn_v16f size = (fastnn_v16f)bits;
    fastnn_v16u lower = (fastnn_v16u)(less < sizes->smallest), higher = (fastnn_v16u)(bits > sizes->largest);
    sizes->smallest = (less & lower) | (sizes->smallest & ~lower);
    sizes->largest = (bits & higher) | (sizes->largest & ~higher);
    for (int half = 0; half < 2; half++) {
        fastnn_v8d wide = __builtin_convertvector(((const fastnn_v8f *)&size)[half], fastnn_v8d);
        sizes->sum[row][half] += wide;
        sizes->square[row][half] += wide * wide;
    }
}

/* A tile's 16 x 16 words transposed: for each bit of their numbers, row i and row i + bit exchange the columns that differ
   in that bit. That takes 64 instructions and 32 accesses, where words one by one take 512 accesses. */
#define FASTNN_LANES(of, bit) \
    of(bit, 0), of(bit, 1), of(bit, 2), of(bit, 3), of(bit, 4), of(bit, 5), of(bit, 6), of(bit, 7), of(bit, 8), \
    of(bit, 9), of(bit, 10), of(bit, 11), of(bit, 12), of(bit, 13), of(bit, 14), of(bit, 15)
#define FASTNN_UPPER(bit, j) ((j) & (bit) ? 16 + (j) - (bit) : (j))
#define FASTNN_LOWER(bit, j) ((j) & (bit) ? 16 + (j) : (j) + (bit))
#define FASTNN_EXCHANGE(row, bit) \
    for (int i = 0; i < 16; i++) \
        if (!(i & (bit))) { \
            const fastnn_v16u upper = row[i], lower = row[i + (bit)]; \
            row[i] = __builtin_shufflevector(upper, lower, FASTNN_LANES(FASTNN_UPPER, bit)); \
            row[i + (bit)] = __builtin_shufflevector(upper, lower, FASTNN_LANES(FASTNN_LOWER, bit)); \
        }
static inline void fastnn_transpose_tile(fastnn_v16u *tile) {
    fastnn_v16u row[16];
    for (int i = 0; i < 16; i++) row[i] = tile[i];
    FASTNN_EXCHANGE(row, 8)
    FASTNN_EXCHANGE(row, 4)
    FASTNN_EXCHANGE(row, 2)
    FASTNN_EXCHANGE(row, 1)
    for (int i = 0; i < 16; i++) tile[i] = row[i];
}

/* Pack up to 32 lines of k numbers; `pairs` chooses the layout of B. Strides are in elements, and one of them is 1. */
static void fastnn_split_unit(
    const float *x, ptrdiff_t line_stride, ptrdiff_t k_stride, ptrdiff_t lines, ptrdiff_t k, int precision, int pairs,
    char *to, fastnn_extent *extent
) {
    const int parts = fastnn_parts[precision], along = k_stride == 1;
    const ptrdiff_t steps = fastnn_steps(k);
    *extent = (fastnn_extent){UINT32_MAX, 0, 0.0, 0.0};
    for (int half = 0; half < 2; half++) {
        const float *first = x + half * 16 * line_stride;
        const ptrdiff_t count = lines - half * 16;
        fastnn_sizes sizes = {.smallest = {0}, .largest = {0}};
        sizes.smallest = ~sizes.smallest;
        for (ptrdiff_t step = 0; step < steps; step++) {
            char *tile = to + (half * parts * steps + step) * FASTNN_TILE_BYTES;
            for (int row = 0; row < 16; row++) {
                /* Two numbers for each of 16 pairs along a line, or of 16 lines. */
                fastnn_v16f even = {0}, odd = {0};
                if (along && row < count) {
                    const float *line = first + row * line_stride + step * FASTNN_UNIT;
                    const ptrdiff_t rest = k - step * FASTNN_UNIT;
                    fastnn_v16f low = fastnn_some(line, rest), high = {0};
                    if (rest > 16)
                        high = fastnn_some(line + 16, rest - 16);
                    even = __builtin_shufflevector(
                        low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
                    odd = __builtin_shufflevector(
                        low, high, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
                } else if (!along) {
                    const ptrdiff_t place = step * FASTNN_UNIT + 2 * row;
                    if (place < k && count > 0)
                        even = fastnn_some(first + place * k_stride, count);
                    if (place + 1 < k && count > 0)
                        odd = fastnn_some(first + (place + 1) * k_stride, count);
                }
                fastnn_measure(&sizes, along ? row : 0, even);
                fastnn_measure(&sizes, along ? row : 0, odd);
                for (int part = 0; part < parts; part++) {
                    const fastnn_v16u low = fastnn_leading(even), high = fastnn_leading(odd);
                    ((fastnn_v16u *)(tile + part * steps * FASTNN_TILE_BYTES))[row] = (low >> 16) | high;
                    even -= (fastnn_v16f)low;
                    odd -= (fastnn_v16f)high;
                }
            }
            for (int part = 0; along == pairs && part < parts; part++)
                fastnn_transpose_tile((fastnn_v16u *)(tile + part * steps * FASTNN_TILE_BYTES));
        }
        for (int line = 0; line < 16; line++) {
            double sum = 0, square = 0;
            if (along)
                for (int lane = 0; lane < 16; lane++) {
                    sum += sizes.sum[line][lane / 8][lane % 8];
                    square += sizes.square[line][lane / 8][lane % 8];
                }
            else {
                sum = sizes.sum[0][line / 8][line % 8];
                square = sizes.square[0][line / 8][line % 8];
            }
            if (sum != 0) {
                extent->lines += 1;
                extent->filling += sum * sum / square / (double)k;
            }
            if (sizes.smallest[line] < extent->smallest)
                extent->smallest = sizes.smallest[line];
            if (sizes.largest[line] > extent->largest)
                extent->largest = sizes.largest[line];
        }
    }
}

/* Whether the product may be computed from parts, by the extents of both operands' units. */
static int fastnn_split_fits(
    const fastnn_extent *extents, ptrdiff_t a_units, ptrdiff_t b_units, ptrdiff_t k, int precision
) {
    double smallest[2], largest[2], filling[2];
    for (int operand = 0; operand < 2; operand++) {
        fastnn_extent all = {UINT32_MAX, 0, 0.0, 0.0};
        for (ptrdiff_t i = operand ? a_units : 0; i < (operand ? a_units + b_units : a_units); i++) {
            all.smallest = extents[i].smallest < all.smallest ? extents[i].smallest : all.smallest;
            all.largest = extents[i].largest > all.largest ? extents[i].largest : all.largest;
            all.lines += extents[i].lines;
            all.filling += extents[i].filling;
        }
        union { uint32_t bits; float number; } low = {all.smallest + 1}, high = {all.largest};
        smallest[operand] = all.smallest == UINT32_MAX ? INFINITY : low.number;
        largest[operand] = all.largest < 0x7f800000u ? high.number : INFINITY;
        filling[operand] = all.lines > 0 ? all.filling / all.lines : 1.0;
    }
    if (precision == 0 && !(filling[0] * filling[1] * (double)k >= 3.0))
        return 0;
    return smallest[0] >= 0x1p-103 && smallest[1] >= 0x1p-103 && smallest[0] * smallest[1] >= 0x1p-100
        && largest[0] < 0x1p127 && largest[1] < 0x1p127 && largest[0] * largest[1] * (double)k < 0x1p126;
}

/* sums (32,32) = a unit of A times a unit of B over `count` steps, smallest products first. Tiles must be configured. */
static void fastnn_split_multiply(
    const char *a, const char *b, ptrdiff_t steps, ptrdiff_t step0, ptrdiff_t count, int precision, float *sums
) {
    const ptrdiff_t part_bytes = steps * FASTNN_TILE_BYTES, half_bytes = fastnn_parts[precision] * part_bytes;
    FASTNN_TILE_ZERO(0);
    FASTNN_TILE_ZERO(1);
    FASTNN_TILE_ZERO(2);
    FASTNN_TILE_ZERO(3);
    for (int product = fastnn_first_product[precision]; product < 6; product++) {
        const char *left = a + fastnn_products[product][0] * part_bytes + step0 * FASTNN_TILE_BYTES;
        const char *right = b + fastnn_products[product][1] * part_bytes + step0 * FASTNN_TILE_BYTES;
        for (ptrdiff_t step = 0; step < count; step++) {
            FASTNN_TILE_LOAD(4, left, 64);
            FASTNN_TILE_LOAD(5, left + half_bytes, 64);
            FASTNN_TILE_LOAD(6, right, 64);
            FASTNN_TILE_LOAD(7, right + half_bytes, 64);
            FASTNN_TILE_DOT(0, 4, 6);
            FASTNN_TILE_DOT(1, 4, 7);
            FASTNN_TILE_DOT(2, 5, 6);
            FASTNN_TILE_DOT(3, 5, 7);
            left += FASTNN_TILE_BYTES;
            right += FASTNN_TILE_BYTES;
        }
    }
    FASTNN_TILE_STORE(0, sums, FASTNN_UNIT * 4);
    FASTNN_TILE_STORE(1, sums + 16, FASTNN_UNIT * 4);
    FASTNN_TILE_STORE(2, sums + 16 * FASTNN_UNIT, FASTNN_UNIT * 4);
    FASTNN_TILE_STORE(3, sums + 16 * FASTNN_UNIT + 16, FASTNN_UNIT * 4);
}

/* c (rows, cols) = or += the upper left corner of sums (32,32). */
static void fastnn_split_store(
    const float *sums, float *c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t cols, int add
) {
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < cols; j++)
            c[i * c_row + j] = add ? c[i * c_row + j] + sums[i * FASTNN_UNIT + j] : sums[i * FASTNN_UNIT + j];
}

static inline void fastnn_tiles_configure(void) { FASTNN_TILES_CONFIGURE(); }
static inline void fastnn_tiles_release(void) { FASTNN_TILES_RELEASE(); }

#endif
