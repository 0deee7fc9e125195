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
#include <math.h>
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

/* float64 as float32, to nearest even, subnormals as zeros. */
static float fastnn_flushed(double x) {
    return fabs(x) < 0x1p-126 - 0x1p-151 ? (float)copysign(0.0, x) : (float)x;
}

static double fastnn_bf16(uint32_t word, int odd) {
    union { uint32_t bits; float number; } x = {odd ? word & 0xffff0000u : word << 16};
    return fabsf(x.number) < 0x1p-126f ? copysign(0.0, x.number) : x.number;
}

/* Products of bfloat16 numbers are exact in float64, and rounding their sum with a float32 number twice is rounding it
   once: where float64 is not exact, one is so much smaller than the other that it decides no rounding. */
static void fastnn_emulated_dot(int c, int a, int b) {
    uint32_t (*sums)[16] = fastnn_tile(c), (*left)[16] = fastnn_tile(a), (*right)[16] = fastnn_tile(b);
    for (int m = 0; m < 16; m++) {
        float part[2][16] = {{0}}, row[16];
        for (int k = 0; k < 16; k++)
            for (int odd = 0; odd < 2; odd++)
                for (int n = 0; n < 16; n++)
                    part[odd][n] = fastnn_flushed(
                        fastnn_bf16(left[m][k], odd) * fastnn_bf16(right[k][n], odd) + part[odd][n]);
        memcpy(row, sums[m], sizeof row);
        for (int n = 0; n < 16; n++)
            row[n] = fastnn_flushed((double)row[n] + fastnn_flushed((double)part[0][n] + part[1][n]));
        memcpy(sums[m], row, sizeof row);
    }
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
