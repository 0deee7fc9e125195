"""Runs kernels and replays programs: arrays of C structs, one loop without the GIL, one team of threads.

The only parallel construct of the library is here. Every thread of the team walks over the same instructions; the
team meets at a barrier after each phase of an instruction worth sharing, and the first thread alone does the others.
"""

import os
import threading
from math import prod

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cython.parallel cimport parallel
from libc.stdlib cimport free
cimport numpy as cnp

from fastnn_ext.arrays cimport fits

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **pointer, size_t alignment, size_t size)

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    static inline int fastnn_part(void) { return omp_get_thread_num(); }
    static inline int fastnn_parts(void) { return omp_get_num_threads(); }
    static inline int fastnn_max_threads(void) { return omp_get_max_threads(); }
    static inline void fastnn_barrier(void) {
        #pragma omp barrier
    }
    #define FASTNN_OPENMP _OPENMP
    #else
    static inline int fastnn_part(void) { return 0; }
    static inline int fastnn_parts(void) { return 1; }
    static inline int fastnn_max_threads(void) { return 1; }
    static inline void fastnn_barrier(void) {}
    #define FASTNN_OPENMP 0
    #endif
    """
    int fastnn_part() nogil
    int fastnn_parts() nogil
    int fastnn_max_threads() nogil
    void fastnn_barrier() nogil
    const int FASTNN_OPENMP

cnp.import_array()

# A child made by fork has none of its parent's OpenMP threads, and libgomp cannot make new ones there.
cdef bint forked = False


def _after_fork_in_child() -> None:
    global forked
    forked = True


os.register_at_fork(after_in_child=_after_fork_in_child)


def openmp_version() -> int:
    """Date (yyyymm) of the OpenMP standard that the module was built with; 0 without OpenMP."""
    return FASTNN_OPENMP


def max_threads() -> int:
    """Most threads that a team may have now: OpenMP's limit (OMP_NUM_THREADS, threadpoolctl); 1 in a forked child."""
    return 1 if forked else fastnn_max_threads()


cdef void _serial(const Instruction *instructions, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i, phase
    cdef const Instruction *one
    for i in range(count):
        one = &instructions[i]
        for phase in range(one.phases):
            one.kernel(one.buffers, one.dims, one.params, phase, 0, 1)


cdef void _team(const Instruction *instructions, Py_ssize_t count, Py_ssize_t part, Py_ssize_t team) noexcept nogil:
    """One thread's walk. `alone` says that the first thread has done work which the others have not waited for."""
    cdef Py_ssize_t i, phase, parts
    cdef const Instruction *one
    cdef bint alone = False
    for i in range(count):
        one = &instructions[i]
        parts = min(one.threads, team)
        if parts <= 1:
            if part == 0:
                _serial(one, 1)
            alone = True
            continue
        if alone:
            fastnn_barrier()
            alone = False
        for phase in range(one.phases):
            if part < parts:
                one.kernel(one.buffers, one.dims, one.params, phase, part, parts)
            fastnn_barrier()


cdef void execute(const Instruction *instructions, Py_ssize_t count, int threads) noexcept nogil:
    """Run instructions in order with up to `threads` threads."""
    cdef Py_ssize_t i
    cdef Py_ssize_t worth = 1
    for i in range(count):
        worth = max(worth, instructions[i].threads)
    threads = <int> min(<Py_ssize_t> threads, worth)
    if threads <= 1 or forked:
        _serial(instructions, count)
        return
    with parallel(num_threads=threads):
        _team(instructions, count, fastnn_part(), fastnn_parts())


def call(
    size_t address, tuple arrays, tuple dims, tuple params, Py_ssize_t phases, Py_ssize_t workspace, int threads
) -> None:
    """Run one kernel on checked arrays (None for an absent one), with `workspace` bytes of scratch memory."""
    cdef void *buffers[12]
    cdef Py_ssize_t sizes[8]
    cdef double numbers[24]
    cdef void *scratch = NULL
    cdef Instruction one
    cdef Py_ssize_t i
    if len(arrays) > 11 or len(dims) > 8 or len(params) > 24:
        raise ValueError("call: too many arguments for one kernel")
    for i in range(len(arrays)):
        buffers[i] = NULL if arrays[i] is None else cnp.PyArray_DATA(<cnp.ndarray?> arrays[i])
    for i in range(len(dims)):
        sizes[i] = dims[i]
    for i in range(len(params)):
        numbers[i] = params[i]
    if workspace and posix_memalign(&scratch, 64, workspace):
        raise MemoryError(f"cannot allocate {workspace} bytes of scratch memory")
    buffers[len(arrays)] = scratch
    one.kernel = <kernel_t> address
    one.buffers = buffers
    one.dims = sizes
    one.params = numbers
    one.phases = phases
    one.threads = threads
    with nogil:
        execute(&one, 1, threads)
    free(scratch)


cdef struct External:
    # An array that comes with each replay, and the `count` places from number `first` on where its address goes.
    int type_number
    Py_ssize_t size, first, count


cdef class Executor:
    """A program's instructions, ready to be replayed any number of times.

    Parameters
    ----------
    instructions : list of (address, buffers, dims, params, phases, threads)
        `address` of the kernel; `buffers` one int per argument and workspace, an address or 0 when absent;
        `dims` a tuple of int; `params` a float64 array, read at every replay; `threads` the most worth using.
    external : list of (type number, shape, [(instruction, argument), ...])
        Arrays that come with each replay, and the places where their addresses go.
    keep : object
        What owns the memory behind the addresses.

    Attributes
    ----------
    threads : int
        The most that any instruction is worth.
    """

    cdef readonly Py_ssize_t threads
    cdef Instruction *instructions
    cdef Py_ssize_t count
    cdef void **buffer_block
    cdef Py_ssize_t *dim_block
    cdef External *external
    cdef Py_ssize_t external_count
    cdef void ***places
    cdef tuple shapes
    cdef object keep
    cdef object lock

    def __cinit__(self, list instructions, list external, object keep):
        cdef Py_ssize_t i, j, buffer_count = 0, dim_count = 0, place_count = 0
        cdef cnp.ndarray params
        cdef Instruction *one
        self.count = len(instructions)
        self.external_count = len(external)
        self.shapes = tuple([shape for _, shape, _ in external])
        self.lock = threading.Lock()
        self.threads = 1
        for _, buffers, dims, _, _, _ in instructions:
            buffer_count += len(buffers)
            dim_count += len(dims)
        for _, _, places in external:
            place_count += len(places)
        self.instructions = <Instruction *> PyMem_Calloc(max(self.count, 1), sizeof(Instruction))
        self.buffer_block = <void **> PyMem_Calloc(buffer_count + 1, sizeof(void *))
        self.dim_block = <Py_ssize_t *> PyMem_Calloc(dim_count + 1, sizeof(Py_ssize_t))
        self.external = <External *> PyMem_Calloc(self.external_count + 1, sizeof(External))
        self.places = <void ***> PyMem_Calloc(place_count + 1, sizeof(void **))
        if not (self.instructions and self.buffer_block and self.dim_block and self.external and self.places):
            raise MemoryError("cannot allocate a program's instructions")
        buffer_count = dim_count = place_count = 0
        for i in range(self.count):
            address, buffers, dims, params, phases, threads = instructions[i]
            one = &self.instructions[i]
            one.kernel = <kernel_t> <size_t> address
            one.buffers = &self.buffer_block[buffer_count]
            one.dims = &self.dim_block[dim_count]
            one.params = <double *> cnp.PyArray_DATA(params)
            one.phases = phases
            one.threads = threads
            self.threads = max(self.threads, one.threads)
            for j in range(len(buffers)):
                one.buffers[j] = <void *> <size_t> buffers[j]
            for j in range(len(dims)):
                one.dims[j] = dims[j]
            buffer_count += len(buffers)
            dim_count += len(dims)
        for i in range(self.external_count):
            type_number, shape, places = external[i]
            self.external[i].type_number = type_number
            self.external[i].size = prod(shape)
            self.external[i].first = place_count
            self.external[i].count = len(places)
            for instruction, argument in places:
                self.places[place_count] = &self.instructions[<Py_ssize_t> instruction].buffers[<Py_ssize_t> argument]
                place_count += 1
        self.keep = (keep, [instruction[3] for instruction in instructions])

    def __dealloc__(self):
        PyMem_Free(self.instructions)
        PyMem_Free(self.buffer_block)
        PyMem_Free(self.dim_block)
        PyMem_Free(self.external)
        PyMem_Free(self.places)

    cdef void point(self, Py_ssize_t number, object array) noexcept:
        """Let the instructions use this array for an external one."""
        cdef const External *external = &self.external[number]
        cdef Py_ssize_t i
        for i in range(external.first, external.first + external.count):
            self.places[i][0] = cnp.PyArray_DATA(<cnp.ndarray> array)

    def fits(self, tuple arrays) -> bool:
        """Whether the arrays are what a replay needs, in dtype, size and layout."""
        cdef Py_ssize_t i
        if len(arrays) != self.external_count:
            return False
        for i in range(self.external_count):
            if not fits(arrays[i], self.external[i].type_number, self.external[i].size):
                return False
        return True

    def run(self, tuple arrays, int threads) -> None:
        """Replay with these external arrays; they must fit."""
        cdef Py_ssize_t i
        cdef int team = threads
        if not self.fits(arrays):
            raise ValueError("run: the arrays do not fit the program's inputs and outputs")
        with self.lock:
            for i in range(self.external_count):
                self.point(i, arrays[i])
            with nogil:
                execute(self.instructions, self.count, team)

    def infer(self, object x, object out, int threads) -> object:
        """Replay a program of one input and one output, for a batch or, where it holds one row, for that row.

        Returns the output, a new array where `out` is None; None where the arrays are not just what is needed.
        """
        cdef cnp.npy_intp dims[64]
        cdef cnp.ndarray result
        cdef tuple rows, results
        cdef Py_ssize_t single
        cdef int axis, ndim
        cdef char *p
        cdef char *q
        cdef int team = threads
        if self.external_count != 2 or not (
            cnp.PyArray_CheckExact(x) and fits(x, self.external[0].type_number, self.external[0].size)
        ):
            return None
        rows, results = self.shapes
        single = len(rows) - cnp.PyArray_NDIM(<cnp.ndarray> x)
        ndim = <int> (len(results) - single)
        if not (single == 0 or (single == 1 and rows[0] == 1)) or not 0 <= ndim <= 64:
            return None
        for axis in range(cnp.PyArray_NDIM(<cnp.ndarray> x)):
            if cnp.PyArray_DIM(<cnp.ndarray> x, axis) != <Py_ssize_t> rows[axis + single]:
                return None
        for axis in range(ndim):
            dims[axis] = results[axis + single]
        if out is None:
            result = cnp.PyArray_EMPTY(ndim, dims, self.external[1].type_number, 0)
        else:
            if not cnp.PyArray_CheckExact(out):
                return None
            result = out
            if not fits(result, self.external[1].type_number, self.external[1].size):
                return None
            if not cnp.PyArray_ISWRITEABLE(result) or cnp.PyArray_NDIM(result) != ndim:
                return None
            for axis in range(ndim):
                if cnp.PyArray_DIM(result, axis) != dims[axis]:
                    return None
            p, q = cnp.PyArray_BYTES(<cnp.ndarray> x), cnp.PyArray_BYTES(result)
            if p < q + cnp.PyArray_NBYTES(result) and q < p + cnp.PyArray_NBYTES(<cnp.ndarray> x):
                return None
        with self.lock:
            self.point(0, x)
            self.point(1, result)
            with nogil:
                execute(self.instructions, self.count, team)
        return result
