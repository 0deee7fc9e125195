/* Register tiles of a matrix product for one element type; gemm.h includes this for float and for double.

   SCALAR and VECTOR are the types, NAME(x) is x with the type's suffix. The sizes of a tile are constants, so that the
   loops over them unroll and the sums live in registers. Each size is a function of its own and not inlined: within a
   larger function gcc kept strides and loop counters on the stack. It makes all of the equal tiles of a block, one
   below the other: within a loop gcc unrolls the loops over sums early enough to keep these off the stack altogether,
   which a tile of 32 x 32 x 32 gains a tenth from. */

#define ARGUMENTS long long tiles, long long a_step, long long depth, const SCALAR *a, long long a_row, \
                  long long a_col, const SCALAR *b, long long b_row, long long b_last, SCALAR *c, long long c_row, \
                  long long c_last, long long c_step, int add, const char *next, long long next_step, long long ahead
#define PASSED(a_row, a_col, b_last, c_last) \
    tiles, a_step, depth, a, a_row, a_col, b, b_row, b_last, c, c_row, c_last, c_step, add, next, next_step, ahead
#define LANES ((long long)(sizeof(VECTOR) / sizeof(SCALAR)))

/* sum (rows, vectors) += a column of A, a row of B. The last vector is b_last elements from the first one. */
FASTNN_INLINE void NAME(add_products)(int rows, int vectors, const SCALAR *a, long long a_row, const SCALAR *b,
                                      long long b_last, VECTOR *sum) {
    const int lanes = sizeof(VECTOR) / sizeof(SCALAR);
    VECTOR right[4];
    for (int j = 0; j < vectors; j++) right[j] = *(const VECTOR *)(b + (j + 1 < vectors ? j * lanes : b_last));
    for (int i = 0; i < rows; i++) {
        VECTOR left = NAME(fastnn_splat)(a[i * a_row]);
        for (int j = 0; j < vectors; j++) sum[i * vectors + j] += left * right[j];
    }
    FASTNN_IN_ORDER;
}

/* C (tiles * rows, vectors) = or += A (tiles * rows, depth) B (depth, vectors); strides in elements, a_step and c_step
   from one tile to the next. The last vectors are b_last and c_last elements from the first ones: where they overlap
   those before them in C, both are the same sums. With each tile `ahead` lines, next_step bytes apart, are fetched of what
   comes next. */
FASTNN_INLINE void NAME(sum_up)(int rows, int vectors, ARGUMENTS) {
    const int lanes = sizeof(VECTOR) / sizeof(SCALAR);
    for (; tiles > 0; tiles--, a += a_step, c += c_step) {
        VECTOR sum[FASTNN_TILE_SUMS];
        const SCALAR *x = a, *y = b;
        long long l = 0;
        for (long long i = 0; i < ahead; i++, next += next_step) __builtin_prefetch(next, 0, 2);
        for (int i = 0; i < rows; i++) {
            __builtin_prefetch(c + i * c_row);
            for (int j = 0; j < vectors; j++) sum[i * vectors + j] = (VECTOR){0};
        }
        for (; l + FASTNN_AT_ONCE <= depth; l += FASTNN_AT_ONCE)
            for (int u = 0; u < FASTNN_AT_ONCE; u++, x += a_col, y += b_row)
                NAME(add_products)(rows, vectors, x, a_row, y, b_last, sum);
        for (; l < depth; l++, x += a_col, y += b_row) NAME(add_products)(rows, vectors, x, a_row, y, b_last, sum);
        /* All loads before the first store: a load waits for earlier stores with the same last 12 bits of address. */
        if (add)
            for (int i = 0; i < rows; i++)
                for (int j = 0; j < vectors; j++)
                    sum[i * vectors + j] += *(const VECTOR *)(c + i * c_row + (j + 1 < vectors ? j * lanes : c_last));
        for (int i = 0; i < rows; i++)
            for (int j = 0; j < vectors; j++)
                *(VECTOR *)(c + i * c_row + (j + 1 < vectors ? j * lanes : c_last)) = sum[i * vectors + j];
    }
}

/* One stride of A is 1: knowing which saves registers. So does knowing where the last vector is: in float64 a tile of AVX2
   is a tenth faster. */
#define TILE_NAMED(kind, rows, vectors, b_last, c_last) \
    static __attribute__((noinline, unused)) void NAME(kind##_##rows##x##vectors)(ARGUMENTS) { \
        if (a_row == 1) \
            NAME(sum_up)(rows, vectors, PASSED(1, a_col, b_last, c_last)); \
        else \
            NAME(sum_up)(rows, vectors, PASSED(a_row, 1, b_last, c_last)); \
    }
#define LAST(rows, vectors) TILE_NAMED(last, rows, vectors, b_last, c_last)
#define TILE(rows, vectors) \
    TILE_NAMED(tile, rows, vectors, (vectors - 1) * LANES, (vectors - 1) * LANES) LAST(rows, vectors)
TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2)
LAST(1, 3) LAST(2, 3) LAST(3, 3)
TILE(1, 4) TILE(2, 4) TILE(3, 4)
#if FASTNN_TILE_ROWS > 5
TILE(6, 2)
#endif
#if FASTNN_TILE_ROWS > 6
TILE(7, 2) TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2) TILE(13, 2) TILE(14, 2)
LAST(4, 3) LAST(5, 3) LAST(6, 3) LAST(7, 3)
#endif

#define TABLE(kind) { \
    NAME(kind##_1x2), NAME(kind##_2x2), NAME(kind##_3x2), NAME(kind##_4x2), NAME(kind##_5x2), SIXTH(kind) MORE(kind) \
}
#if FASTNN_TILE_ROWS > 5
#define SIXTH(kind) NAME(kind##_6x2),
#else
#define SIXTH(kind)
#endif
#if FASTNN_TILE_ROWS > 6
#define MORE(kind) \
    NAME(kind##_7x2), NAME(kind##_8x2), NAME(kind##_9x2), NAME(kind##_10x2), NAME(kind##_11x2), NAME(kind##_12x2), \
    NAME(kind##_13x2), NAME(kind##_14x2),
#else
#define MORE(kind)
#endif

/* Tiles of 1 to FASTNN_TILE_ROWS rows and 2 vectors, or of 3, in two halves, or of up to 3 rows and 4. */
static inline __attribute__((unused)) void NAME(fastnn_tiles)(long long rows, long long vectors, ARGUMENTS) {
    static void (*const two[2][FASTNN_TILE_ROWS])(ARGUMENTS) = {TABLE(tile), TABLE(last)};
    static void (*const three[])(ARGUMENTS) = {
        NAME(last_1x3), NAME(last_2x3), NAME(last_3x3),
#if FASTNN_TILE_ROWS > 6
        NAME(last_4x3), NAME(last_5x3), NAME(last_6x3), NAME(last_7x3),
#endif
    };
    static void (*const four[2][3])(ARGUMENTS) = {
        {NAME(tile_1x4), NAME(tile_2x4), NAME(tile_3x4)}, {NAME(last_1x4), NAME(last_2x4), NAME(last_3x4)}
    };
    const int overlaps = c_last < (vectors - 1) * LANES;
    if (vectors == 3 && rows > 1) {
        const long long upper = rows / 2;
        three[upper - 1](PASSED(a_row, a_col, b_last, c_last));
        rows -= upper, a += upper * a_row, c += upper * c_row, ahead = 0;
    }
    (vectors == 2 ? two[overlaps] : vectors == 3 ? three : four[overlaps])[rows - 1](
        PASSED(a_row, a_col, b_last, c_last)
    );
}

/* Sums of a vector += a (rows) B (rows, a vector), in the order of the rows. */
FASTNN_INLINE void NAME(add_vectors)(int rows, const VECTOR *left, const SCALAR *b, long long b_row, SCALAR *sums) {
    VECTOR sum = *(const VECTOR *)sums;
    for (int i = 0; i < rows; i++) sum += left[i] * *(const VECTOR *)(b + i * b_row);
    *(VECTOR *)sums = sum;
}

/* sums (cols) += a (rows) B (rows, cols). Columns behind the last whole vector are in one that overlaps it, whose sums
   follow. With `ahead` the next rows are fetched. */
FASTNN_INLINE void NAME(add_rows)(int rows, int ahead, long long cols, const SCALAR *a, const SCALAR *b,
                                  long long b_row, SCALAR *sums) {
    const int lanes = sizeof(VECTOR) / sizeof(SCALAR), line = 64 / sizeof(SCALAR);
    VECTOR left[8];
    long long j = 0;
    for (int i = 0; i < rows; i++) left[i] = NAME(fastnn_splat)(a[i]);
    if (ahead)
        for (; j + line <= cols; j += line) {
            for (int i = 0; i < rows; i++) __builtin_prefetch(b + (rows + i) * b_row + j);
            for (int u = 0; u < line; u += lanes) NAME(add_vectors)(rows, left, b + j + u, b_row, sums + j + u);
        }
    for (; j + lanes <= cols; j += lanes) NAME(add_vectors)(rows, left, b + j, b_row, sums + j);
    if (j > 0 && j < cols) NAME(add_vectors)(rows, left, b + cols - lanes, b_row, sums + j);
    if (j == 0)
        for (; j < cols; j++)
            for (int i = 0; i < rows; i++) sums[j] = NAME(fastnn_multiply_add)(a[i], b[i * b_row + j], sums[j]);
}

/* C (cols) = or += a (depth) B (depth, cols) for up to FASTNN_SWEEP_COLS columns, so many rows of B at a time. */
FASTNN_INLINE void NAME(sweep_rows)(int rows, int ahead, long long cols, long long depth, const SCALAR *a, const SCALAR *b,
                                    long long b_row, SCALAR *c, int add) {
    const int lanes = sizeof(VECTOR) / sizeof(SCALAR);
    SCALAR sums[FASTNN_SWEEP_COLS + sizeof(VECTOR) / sizeof(SCALAR)];
    long long j = 0, whole = cols / lanes * lanes, shift = whole ? whole + lanes - cols : 0;
    for (long long i = 0; i < cols + lanes; i++) sums[i] = 0;
    for (; depth >= rows; depth -= rows, a += rows, b += rows * b_row)
        NAME(add_rows)(rows, ahead, cols, a, b, b_row, sums);
    for (; depth > 0; depth--, a++, b += b_row) NAME(add_rows)(1, 0, cols, a, b, b_row, sums);
    for (; j < whole; j++) c[j] = add ? c[j] + sums[j] : sums[j];
    for (; j < cols; j++) c[j] = add ? c[j] + sums[j + shift] : sums[j + shift];
}

/* The same, with B read as it lies in memory, whose next rows are fetched ahead of time if it is not in the first-level
   cache. Fewer rows at a time read and write the sums more often, more are more streams than a processor fetches ahead by
   itself: 784 x 256 and 256 x 128 from the third-level cache take 15.2 us with 2, 13.4 with 4, 12.6 with 8, and with the
   next rows fetched in time 12.3, 11.7 and 12.1, where just to read them takes 11.5. In the first-level cache fetching
   takes a sixth of the time, and 8 rows of 10 columns a fifth less than 4. */
static __attribute__((noinline, unused)) void NAME(fastnn_sweep)(
    long long cols, long long depth, const SCALAR *a, const SCALAR *b, long long b_row, SCALAR *c, int add
) {
    if (depth * cols * (long long)sizeof(SCALAR) > FASTNN_SWEEP_NEAR)
        NAME(sweep_rows)(4, 1, cols, depth, a, b, b_row, c, add);
    else
        NAME(sweep_rows)(8, 0, cols, depth, a, b, b_row, c, add);
}

/* The lanes of a vector added up, in an order that is always the same. */
FASTNN_INLINE SCALAR NAME(lanes_sum)(VECTOR x) {
    const int lanes = sizeof(VECTOR) / sizeof(SCALAR);
    SCALAR lane[sizeof(VECTOR) / sizeof(SCALAR)];
    __builtin_memcpy(lane, &x, sizeof x);
    for (int half = lanes / 2; half; half /= 2)
        for (int i = 0; i < half; i++) lane[i] += lane[i + half];
    return lane[0];
}

#define DOT_ARGUMENTS long long depth, const SCALAR *a, long long a_row, const SCALAR *b, long long b_col, SCALAR *c, \
                      long long c_row, int add

/* C (rows, cols) = or += A (rows, depth) B' for B (cols, depth), both contiguous along depth: each lane of a vector has
   a sum of its own. */
FASTNN_INLINE void NAME(sum_lanes)(int rows, int cols, DOT_ARGUMENTS) {
    const int lanes = sizeof(VECTOR) / sizeof(SCALAR);
    VECTOR sum[3 * 4], left[3];
    long long l = 0;
    for (int i = 0; i < rows * cols; i++) sum[i] = (VECTOR){0};
    for (; l + lanes <= depth; l += lanes) {
        for (int i = 0; i < rows; i++) left[i] = *(const VECTOR *)(a + i * a_row + l);
        for (int j = 0; j < cols; j++) {
            VECTOR right = *(const VECTOR *)(b + j * b_col + l);
            for (int i = 0; i < rows; i++) sum[i * cols + j] += left[i] * right;
        }
    }
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++) {
            SCALAR total = NAME(lanes_sum)(sum[i * cols + j]);
            for (long long rest = l; rest < depth; rest++) total += a[i * a_row + rest] * b[j * b_col + rest];
            c[i * c_row + j] = add ? c[i * c_row + j] + total : total;
        }
}

#define DOTS(rows) \
    static __attribute__((noinline, unused)) void NAME(dots_##rows)(long long cols, DOT_ARGUMENTS) { \
        for (; cols >= 4; cols -= 4, b += 4 * b_col, c += 4) \
            NAME(sum_lanes)(rows, 4, depth, a, a_row, b, b_col, c, c_row, add); \
        for (; cols > 0; cols--, b += b_col, c++) NAME(sum_lanes)(rows, 1, depth, a, a_row, b, b_col, c, c_row, add); \
    }
DOTS(1) DOTS(2) DOTS(3)

/* Dot products of up to 3 rows with any number of columns. */
static inline __attribute__((unused)) void NAME(fastnn_dots)(long long rows, long long cols, DOT_ARGUMENTS) {
    void (*const dots)(long long, DOT_ARGUMENTS) = rows == 1 ? NAME(dots_1) : rows == 2 ? NAME(dots_2) : NAME(dots_3);
    dots(cols, depth, a, a_row, b, b_col, c, c_row, add);
}

#undef ARGUMENTS
#undef PASSED
#undef LANES
#undef TILE
#undef TILE_NAMED
#undef LAST
#undef TABLE
#undef SIXTH
#undef MORE
#undef DOT_ARGUMENTS
#undef DOTS
