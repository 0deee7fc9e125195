/* The eight tiles of the AMX unit, 16 rows of 64 bytes each: the instructions that amx.h is written in.

   FASTNN_AMX is 1 where there is such a unit to compile for, and 0 elsewhere. With FASTNN_AMX_EMULATED defined the same
   instructions are computed in C, bit for bit as the Intel 64 and IA-32 Architectures Software Developer's Manual
   (volume 2, TDPBF16PS) defines them: that is how amx.h is tested on machines without the unit. It is never shipped. */
#ifndef FASTNN_AMX_TILES_H
#define FASTNN_AMX_TILES_H

#include <stdint.h>

#define FASTNN_TILE_BYTES 1024

/* What LDTILECFG reads: palette 1, and for each tile its rows and the bytes of a row. */
typedef struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} fastnn_tile_config;

static const fastnn_tile_config fastnn_whole_tiles __attribute__((unused)) = {
    1, 0, {0}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16},
};

#if defined(FASTNN_AMX_EMULATED)
#define FASTNN_AMX 1
#include <immintrin.h>
#include <string.h>

static __thread struct {
    int configured;
    uint32_t words[8][16][16];
} fastnn_unit;

/* Any use of a tile without a configuration of whole tiles is an error, as it is in the unit. */
static uint32_t (*fastnn_tile(int tile))[16] {
    if (!fastnn_unit.configured)
        __builtin_trap();
    return fastnn_unit.words[tile];
}

typedef float fastnn_half_row __attribute__((vector_size(32), aligned(4), may_alias));
typedef union { uint32_t bits[2][16][16]; float numbers[2][16][16]; } fastnn_wide_tile;

/* The even and the odd bfloat16 numbers of a tile as float32. */
static void fastnn_widen(uint32_t (*tile)[16], fastnn_wide_tile *wide) {
    for (int row = 0; row < 16; row++)
        for (int i = 0; i < 16; i++) {
            wide->bits[0][row][i] = tile[row][i] << 16;
            wide->bits[1][row][i] = tile[row][i] & 0xffff0000u;
        }
}

/* sums += left right: even and odd elements are added up by themselves, then both sums, then they to what was there. */
static __attribute__((noinline)) void fastnn_emulated_products(
    uint32_t (*sums)[16], const fastnn_wide_tile *left, const fastnn_wide_tile *right
) {
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n += 8) {
            fastnn_half_row even = {0}, odd = {0};
            for (int k = 0; k < 16; k++) {
                even += left->numbers[0][m][k] * *(const fastnn_half_row *)&right->numbers[0][k][n];
                odd += left->numbers[1][m][k] * *(const fastnn_half_row *)&right->numbers[1][k][n];
            }
            *(fastnn_half_row *)&sums[m][n] += even + odd;
        }
}

/* The unit adds products by fused multiply-add of float32, rounding to nearest even, and takes subnormal operands and
   results for zeros whatever MXCSR says: here it says so, around a function that nothing is moved out of. */
static void fastnn_emulated_dot(int c, int a, int b) {
    const unsigned before = _mm_getcsr();
    fastnn_wide_tile left, right;
    fastnn_widen(fastnn_tile(a), &left);
    fastnn_widen(fastnn_tile(b), &right);
    _mm_setcsr(before | _MM_FLUSH_ZERO_ON | _MM_DENORMALS_ZERO_ON);
    fastnn_emulated_products(fastnn_tile(c), &left, &right);
    _mm_setcsr(before);
}

static void fastnn_emulated_load(int tile, const char *from, int64_t stride) {
    for (int row = 0; row < 16; row++)
        memcpy(fastnn_tile(tile)[row], from + row * stride, 64);
}

static void fastnn_emulated_store(int tile, char *to, int64_t stride) {
    for (int row = 0; row < 16; row++)
        memcpy(to + row * stride, fastnn_tile(tile)[row], 64);
}

#define FASTNN_TILES_CONFIGURE() (fastnn_unit.configured = 1, memset(fastnn_unit.words, 0, sizeof fastnn_unit.words))
#define FASTNN_TILES_RELEASE() (fastnn_unit.configured = 0)
#define FASTNN_TILE_ZERO(tile) memset(fastnn_tile(tile), 0, FASTNN_TILE_BYTES)
#define FASTNN_TILE_LOAD(tile, from, stride) fastnn_emulated_load(tile, (const char *)(from), stride)
#define FASTNN_TILE_STORE(tile, to, stride) fastnn_emulated_store(tile, (char *)(to), stride)
#define FASTNN_TILE_DOT(c, a, b) fastnn_emulated_dot(c, a, b)

#elif defined(__AMX_TILE__) && defined(__AMX_BF16__)
#define FASTNN_AMX 1
#include <immintrin.h>

#define FASTNN_TILES_CONFIGURE() _tile_loadconfig(&fastnn_whole_tiles)
#define FASTNN_TILES_RELEASE() _tile_release()
#define FASTNN_TILE_ZERO(tile) _tile_zero(tile)
#define FASTNN_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define FASTNN_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define FASTNN_TILE_DOT(c, a, b) _tile_dpbf16ps(c, a, b)

#else
#define FASTNN_AMX 0
#define FASTNN_TILES_CONFIGURE() ((void)0)
#define FASTNN_TILES_RELEASE() ((void)0)
#define FASTNN_TILE_ZERO(tile) ((void)0)
#define FASTNN_TILE_LOAD(tile, from, stride) ((void)(from))
#define FASTNN_TILE_STORE(tile, to, stride) ((void)(to))
#define FASTNN_TILE_DOT(c, a, b) ((void)0)
#endif

#endif
