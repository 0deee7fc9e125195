"""A matrix product by register tiles: blocks of A times panels of B, bias and activation. Part of matmul.pyx."""

cdef struct Epilogue:
    # y = activation(c + bias), and what went into the activation to `pre`; either pointer may be NULL.
    const void *bias
    bint single  # one bias for all of a vector C
    void *pre
    int activation
    double alpha


cdef struct Block:
    # Rows and columns of A, which become TILE_ROWS or fewer neighbours for each column when packed.
    Py_ssize_t row0, rows, tiles, depth0, depth
    const void *a
    bint packed


cdef struct Panel:
    # Columns of B, and lines of memory that hold the next ones. The last vector begins `last` columns behind the first, so
    # that it ends with the columns. If these are less than a vector, `skip` of those before or nothing come with them.
    const void *b
    Py_ssize_t b_row, b_last, vectors, col0, cols, last, skip
    const char *next
    Py_ssize_t next_step, next_lines


cdef inline Py_ssize_t panels_of(const Product *p, Py_ssize_t vectors, Py_ssize_t lanes) noexcept nogil:
    """Panels of so many vectors. Where these are two, columns of a third belong to the last panel."""
    return max(min(p.n, 1), (p.n + (lanes if vectors == 2 else vectors * lanes) - 1) // (vectors * lanes))


cdef inline void take_columns(
    const Product *p, Py_ssize_t number, Py_ssize_t vectors, Py_ssize_t lanes, Panel *panel
) noexcept nogil:
    """Note which columns a panel has."""
    panel.col0 = number * vectors * lanes
    panel.cols = vectors * lanes if number + 1 < panels_of(p, vectors, lanes) else p.n - panel.col0
    panel.vectors = max(2, (panel.cols + lanes - 1) // lanes)
    panel.last = lanes if panel.cols < lanes else panel.cols - lanes
    panel.skip = panel.col0 - max(0, p.n - 2 * lanes) if panel.cols < lanes else 0


cdef void pack_block(const Product *p, Block *block, floating *out) noexcept nogil:
    cdef Py_ssize_t at_once = PACK_DEPTH if p.a_row == 1 else block.depth
    cdef Py_ssize_t start = 0, number, row, rows
    cdef const floating *a = <const floating *> block.a
    block.a = out
    block.packed = True
    while start < block.depth:
        for number in range(block.tiles):
            row = cut(block.rows, block.tiles, number)
            rows = cut(block.rows, block.tiles, number + 1) - row
            pack(
                a + row * p.a_row + start * p.a_col, p.a_row, p.a_col, rows, min(at_once, block.depth - start),
                out + row * block.depth + start * rows, rows, TILE_ROWS
            )
        start += at_once


cdef void pack_panels(
    const Product *p, Py_ssize_t depth0, Py_ssize_t depth, Py_ssize_t panel0, Py_ssize_t panel1, floating *out
) noexcept nogil:
    """Panels of two vectors, of which the last one may have three."""
    cdef Py_ssize_t lanes = lanes_of(out), width = 2 * lanes
    cdef Py_ssize_t at_once = PACK_DEPTH if p.b_col == 1 and panel1 - panel0 > 1 else depth
    cdef Py_ssize_t start = 0, number, count, rows, row
    cdef const floating *b = <const floating *> p.b + depth0 * p.b_row
    cdef const floating *x
    cdef floating *y
    cdef Panel panel
    if p.n < lanes:
        memset(out, 0, depth * width * sizeof(floating))
    while start < depth:
        rows = min(at_once, depth - start)
        for number in range(panel0, panel1):
            take_columns(p, number, 2, lanes, &panel)
            row = panel.vectors * lanes
            x = b + start * p.b_row + panel.col0 * p.b_col
            y = out + (number - panel0) * depth * width + start * row
            count = panel.cols if panel.cols == width or panel.cols < lanes else row - lanes
            pack(x, p.b_col, p.b_row, count, rows, y, row, 2 * lanes_of(out))
            if panel.cols >= lanes and count < row:
                pack(x + panel.last * p.b_col, p.b_col, p.b_row, lanes, rows, y + count, row, lanes_of(out))
        start += at_once


cdef void block_times_panel(const Product *p, const Block *block, const Panel *panel, floating *tag) noexcept nogil:
    cdef Py_ssize_t lanes = lanes_of(tag), width = 2 * lanes
    cdef Py_ssize_t ahead = (panel.next_lines + block.tiles - 1) // block.tiles
    cdef const char *next = panel.next
    cdef Py_ssize_t higher = block.rows % block.tiles  # tiles have one row more, and come first
    cdef Py_ssize_t a_row = 1 if block.packed else p.a_row, a_col = p.a_col, a_step
    cdef Py_ssize_t lower, rows, count, number, i, j
    cdef bint add = p.accumulate or block.depth0 > 0
    cdef const floating *a = <const floating *> block.a
    cdef const floating *b = <const floating *> panel.b
    cdef floating *c = <floating *> p.c + block.row0 * p.n + panel.col0
    cdef floating edge[14 * 32]
    for lower in range(2):
        rows = block.rows // block.tiles + 1 - lower
        count = block.tiles - higher if lower else higher
        if count == 0:
            continue
        if block.packed:
            a_col = rows
        a_step = rows * (block.depth if block.packed else a_row)
        if panel.cols >= lanes:
            tiles(
                rows, panel.vectors, count, a_step, block.depth, a, a_row, a_col, b, panel.b_row, panel.b_last, c, p.n,
                panel.last, add, next, panel.next_step, ahead
            )
            next += count * ahead * panel.next_step
            c += count * rows * p.n
        else:
            # The vectors of the panel reach past the columns that are wanted: write to a buffer, copy what belongs.
            for number in range(count):
                tiles(
                    rows, panel.vectors, 1, 0, block.depth, a + number * a_step, a_row, a_col, b, panel.b_row,
                    panel.b_last, edge, width, lanes, False, next, 0, 0
                )
                for i in range(rows):
                    for j in range(panel.cols):
                        c[j] = edge[i * width + panel.skip + j] + (c[j] if add else 0)
                    c += p.n
        a += count * a_step


cdef void finish(
    const Product *p, const Epilogue *e, Py_ssize_t row0, Py_ssize_t rows, Py_ssize_t col0, Py_ssize_t cols,
    floating *tag,
) noexcept nogil:
    """Bias and activation of a block of C while it is in the cache."""
    cdef Py_ssize_t i, j
    cdef floating *c
    cdef const floating *bias = <const floating *> e.bias
    for i in range(row0, row0 + rows):
        c = <floating *> p.c + i * p.n + col0
        if bias and e.single:
            for j in range(cols):
                c[j] += bias[0]
        elif bias:
            for j in range(cols):
                c[j] += bias[col0 + j]
        if e.pre:
            memcpy(<floating *> e.pre + i * p.n + col0, c, cols * sizeof(floating))
        if e.activation:
            activate(e.activation, <floating> e.alpha, c, c, cols)


cdef inline Py_ssize_t vectors_of(const Product *p, const floating *tag) noexcept nogil:
    """Vectors across a panel."""
    cdef Py_ssize_t vectors = 2 if p.b_col != 1 or p.m > SKINNY_ROWS else 4
    return 2 if vectors * VECTOR_BYTES > p.n * <Py_ssize_t> sizeof(floating) else vectors


cdef inline bint packs_b(const Product *p, const floating *tag) noexcept nogil:
    """Whether panels of B are copied."""
    cdef Py_ssize_t bytes_apart = p.b_row * <Py_ssize_t> sizeof(floating)
    return p.b_col != 1 or p.n < lanes_of(tag) or p.m > (PACK_ROWS if bytes_apart % ALIAS_BYTES else PACK_ALIASED_ROWS)


cdef inline Py_ssize_t blocks_of(Py_ssize_t row_tiles, Py_ssize_t depth, Py_ssize_t itemsize) noexcept nogil:
    """Blocks that so many tiles of A's rows make."""
    cdef Py_ssize_t tile_bytes = itemsize * max(depth, BLOCK_DEPTH) * TILE_ROWS, most = BLOCK_BYTES // tile_bytes
    return min(row_tiles, 1) if row_tiles * tile_bytes <= WHOLE_BYTES else (row_tiles + most - 1) // most


cdef inline Py_ssize_t space_bytes(Py_ssize_t m, Py_ssize_t n, Py_ssize_t itemsize) noexcept nogil:
    """Workspace of a thread: a block of A, and behind it a panel of B, or a slice if there can be several blocks."""
    cdef Py_ssize_t all_panels = (n * itemsize // (2 * VECTOR_BYTES) + 1) * PANEL_BYTES
    cdef Py_ssize_t widest = PANEL_BYTES // 2 * 3
    return WHOLE_BYTES + (min(SLICE_BYTES, all_panels) if blocks_of(tiles_of(m), DEPTH, itemsize) > 1 else widest)


cdef void multiply_block(
    const Product *p, const Epilogue *e, const Block *block, Py_ssize_t vectors, Py_ssize_t panel0, Py_ssize_t panel1,
    floating *panel_space, bint packed,
) noexcept nogil:
    """A block of A times panels of B, which are in `panel_space` already, or one after the other put there if at all."""
    cdef Py_ssize_t lanes = lanes_of(panel_space), width = vectors * lanes
    cdef Py_ssize_t number, col, done = panel0
    cdef bint last = block.depth0 + block.depth == p.k
    cdef const floating *b
    cdef Panel panel
    for number in range(panel0, panel1):
        take_columns(p, number, vectors, lanes, &panel)
        if packed:
            b = panel_space + (number - panel0) * width * block.depth
        else:
            b = <const floating *> p.b + block.depth0 * p.b_row + (panel.col0 - panel.skip) * p.b_col
        panel.b = b
        panel.b_row = p.b_row
        panel.b_last = panel.last
        if panel_space != NULL:
            panel.b_row = panel.vectors * lanes
            panel.b_last = panel.b_row - lanes
        panel.next = <const char *> (b + width * (block.depth if packed else 1))
        panel.next_step = 64 if packed else p.b_row * <Py_ssize_t> sizeof(floating)
        panel.next_lines = 0
        if number + 1 < panel1 and (packed or p.b_col == 1):
            panel.next_lines = block.depth * vectors * VECTOR_BYTES // 64 if packed else block.depth
        if panel_space != NULL and not packed:
            pack_panels(p, block.depth0, block.depth, number, number + 1, panel_space)
            panel.b = panel_space
        block_times_panel(p, block, &panel, panel_space)
        if e != NULL and last and (number + 1 - done == FINISHED_PANELS or number + 1 == panel1):
            col = done * width
            finish(p, e, block.row0, block.rows, col, panel.col0 + panel.cols - col, panel_space)
            done = number + 1


cdef void multiply_blocks(
    const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part's rows of C (or its columns, where there are more panels of columns than tiles of rows)."""
    cdef Py_ssize_t vectors = vectors_of(p, tag)
    cdef Py_ssize_t panels = panels_of(p, vectors, lanes_of(tag))
    cdef Py_ssize_t row0 = 0, row1 = p.m, panel0 = 0, panel1 = panels, slice_panels
    cdef Py_ssize_t stretch, stretches = stretches_of(p.k), row_tiles, blocks, number, tile, stop
    cdef bint pack_a = panels > PACK_PANELS, sliced = False
    cdef floating *block_space = <floating *> (<char *> p.workspace + part * space_bytes(p.m, p.n, sizeof(floating)))
    cdef floating *panel_space = NULL
    cdef Block block
    if tiles_of(p.m) >= panels:
        row0 = p.m * part // parts
        row1 = p.m * (part + 1) // parts
    else:
        panel0 = panels * part // parts
        panel1 = panels * (part + 1) // parts
    row_tiles = tiles_of(row1 - row0)
    blocks = blocks_of(row_tiles, cut(p.k, stretches, 1), sizeof(floating))
    slice_panels = panel1 - panel0
    if packs_b(p, tag):
        panel_space = <floating *> (<char *> block_space + WHOLE_BYTES)
        sliced = blocks > 1
        if sliced:
            slice_panels = min(slice_panels, SLICE_BYTES // (DEPTH * vectors * VECTOR_BYTES) - 1)
    while panel0 < panel1:
        stop = min(panel0 + slice_panels, panel1)
        for stretch in range(stretches):
            block.depth0 = cut(p.k, stretches, stretch)
            block.depth = cut(p.k, stretches, stretch + 1) - block.depth0
            if sliced:
                pack_panels(p, block.depth0, block.depth, panel0, stop, panel_space)
            for number in range(blocks):
                tile = row_tiles * number // blocks
                block.tiles = row_tiles * (number + 1) // blocks - tile
                block.row0 = row0 + cut(row1 - row0, row_tiles, tile)
                block.rows = row0 + cut(row1 - row0, row_tiles, tile + block.tiles) - block.row0
                block.a = <const floating *> p.a + block.row0 * p.a_row + block.depth0 * p.a_col
                block.packed = False
                if pack_a:
                    pack_block(p, &block, block_space)
                multiply_block(p, e, &block, vectors, panel0, stop, panel_space, sliced)
        panel0 = stop


cdef void multiply_rows(
    const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part's columns of C, of a few rows of A and a B that is contiguous along k: a dot product each.

    The sum along k is split among the lanes of vectors, each of which adds up DEPTH products at most in a stretch.
    """
    cdef Py_ssize_t col0 = first(p.n, 4, part, parts)
    cdef Py_ssize_t cols = first(p.n, 4, part + 1, parts) - col0
    cdef Py_ssize_t stretch = DEPTH * VECTOR_BYTES // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t number, depth0
    for number in range(max(1, (p.k + stretch - 1) // stretch)):
        depth0 = number * stretch
        dots(
            p.m, cols, min(stretch, p.k - depth0), <const floating *> p.a + depth0, p.a_row,
            <const floating *> p.b + col0 * p.b_col + depth0, p.b_col, <floating *> p.c + col0, p.n,
            p.accumulate or depth0 > 0,
        )
    if e != NULL:
        finish(p, e, 0, p.m, col0, cols, tag)


cdef void multiply_row(
    const Product *p, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part's columns of a single row C, by a B that is contiguous along its rows."""
    cdef Py_ssize_t grain = 64 // <Py_ssize_t> sizeof(floating)
    cdef Py_ssize_t start = first(p.n, grain, part, parts), stop = first(p.n, grain, part + 1, parts)
    cdef Py_ssize_t stretch, stretches = stretches_of(p.k), col = start, cols, depth0
    while col < stop:
        cols = min(SWEEP_COLS, stop - col)
        for stretch in range(stretches):
            depth0 = cut(p.k, stretches, stretch)
            sweep(
                cols, cut(p.k, stretches, stretch + 1) - depth0, <const floating *> p.a + depth0,
                <const floating *> p.b + depth0 * p.b_row + col, p.b_row, <floating *> p.c + col,
                p.accumulate or depth0 > 0,
            )
        col += cols
    if e != NULL:
        finish(p, e, 0, 1, start, stop - start, tag)


cdef void multiply(
    const Product *given, const Epilogue *e, Py_ssize_t part, Py_ssize_t parts, floating *tag
) noexcept nogil:
    """This part of C. Which way is taken depends on sizes and strides alone."""
    cdef Product p = given[0]
    if p.n == 1:
        # C' = B' A': a vector is its own transpose, and a single row is a case of its own.
        p.m, p.n = 1, given.m
        p.a, p.b = given.b, given.a
        p.b_row, p.b_col = given.a_col, given.a_row
    if p.m == 1:
        p.a_row = p.a_col = 1
    if 0 < p.m <= SKINNY_ROWS and p.b_col != 1 and p.a_col == 1:
        multiply_rows(&p, e, part, parts, tag)
    elif p.m == 1:
        multiply_row(&p, e, part, parts, tag)
    else:
        multiply_blocks(&p, e, part, parts, tag)
