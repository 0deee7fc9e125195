"""Sizes of blocks and tiles. Kernels read them as constants when they are compiled."""

#: Threads of a block: a power of two, and a multiple of COLUMNS.
BLOCK = 256
#: Elements of a partial sum along a row or a flat array.
CHUNK = 4096
#: Columns that a block sums side by side, and rows of a partial sum.
COLUMNS, ROWS = 32, 512
#: Matrix products: a block computes a tile of TILE x TILE elements, a thread MICRO x MICRO of them, from slices of
#: STEP products in shared memory. Threads along each side, a power of two: TILE / MICRO.
TILE, STEP, MICRO = 64, 16, 4
#: Slices whose products are added up in the arrays' own type, before compensated addition takes over: 256 products.
FOLD = 16
