"""Runs kernels and replays programs: arrays of C structs, one loop without the GIL, one team of threads.

The only parallel construct of the library is here. Every thread of the team walks over the same instructions; the
team meets at a barrier after each phase of an instruction worth sharing, and the first thread alone does the others.
"""

import os
import threading

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cython.parallel cimport parallel
from libc.stdlib cimport free
cimport numpy as cnp

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


cdef bint _fits(object array, int type_number, Py_ssize_t size) noexcept:
    """Whether an object is a C-contiguous, aligned array of this native dtype and size."""
    return (
        cnp.PyArray_Check(array)
        and cnp.PyArray_TYPE(<cnp.ndarray> array) == type_number
        and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray> array)
        and cnp.PyArray_SIZE(array) == size
    )


def known_pairs(tuple updated, tuple others, tuple known) -> bool:
    """Whether the arrays to update are the very ones known, can be written, and each has beside it a C-contiguous array
    of the same dtype and shape elsewhere in memory: what Python takes a hundred times as long to find out."""
    cdef Py_ssize_t i, size
    cdef int axis
    cdef cnp.ndarray a, b
    cdef char *p
    cdef char *q
    if not len(updated) == len(others) == len(known):
        return False
    for i in range(len(updated)):
        if updated[i] is not known[i] or not cnp.PyArray_Check(others[i]):
            return False
        a, b = updated[i], others[i]
        if not cnp.PyArray_ISCARRAY(a) or cnp.PyArray_NDIM(a) != cnp.PyArray_NDIM(b):
            return False
        if not _fits(b, cnp.PyArray_TYPE(a), cnp.PyArray_SIZE(a)):
            return False
        for axis in range(cnp.PyArray_NDIM(a)):
            if cnp.PyArray_DIM(a, axis) != cnp.PyArray_DIM(b, axis):
                return False
        size = cnp.PyArray_NBYTES(a)
        p, q = cnp.PyArray_BYTES(a), cnp.PyArray_BYTES(b)
        if p < q + size and q < p + size:
            return False
    return True


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


cdef class Executor:
    """A program's instructions, ready to be replayed any number of times.

    Parameters
    ----------
    instructions : list of (address, buffers, dims, params, phases, threads)
        `address` of the kernel; `buffers` one int per argument and workspace, an address or 0 when absent;
        `dims` a tuple of int; `params` a float64 array, read at every replay; `threads` the most worth using.
    external : list of (type number, size, [(instruction, argument), ...])
        Arrays that come with each replay, and the places where their addresses go.
    keep : object
        What owns the memory behind the addresses.
    """

    cdef Instruction *instructions
    cdef Py_ssize_t count
    cdef void **buffer_block
    cdef Py_ssize_t *dim_block
    cdef list external
    cdef object keep
    cdef object lock

    def __cinit__(self, list instructions, list external, object keep):
        cdef Py_ssize_t i, j, buffer_count = 0, dim_count = 0
        cdef cnp.ndarray params
        cdef Instruction *one
        self.count = len(instructions)
        self.external = external
        self.lock = threading.Lock()
        for _, buffers, dims, _, _, _ in instructions:
            buffer_count += len(buffers)
            dim_count += len(dims)
        self.instructions = <Instruction *> PyMem_Calloc(max(self.count, 1), sizeof(Instruction))
        self.buffer_block = <void **> PyMem_Calloc(buffer_count + 1, sizeof(void *))
        self.dim_block = <Py_ssize_t *> PyMem_Calloc(dim_count + 1, sizeof(Py_ssize_t))
        if not self.instructions or not self.buffer_block or not self.dim_block:
            raise MemoryError("cannot allocate a program's instructions")
        buffer_count = dim_count = 0
        for i in range(self.count):
            address, buffers, dims, params, phases, threads = instructions[i]
            one = &self.instructions[i]
            one.kernel = <kernel_t> <size_t> address
            one.buffers = &self.buffer_block[buffer_count]
            one.dims = &self.dim_block[dim_count]
            one.params = <double *> cnp.PyArray_DATA(params)
            one.phases = phases
            one.threads = threads
            for j in range(len(buffers)):
                one.buffers[j] = <void *> <size_t> buffers[j]
            for j in range(len(dims)):
                one.dims[j] = dims[j]
            buffer_count += len(buffers)
            dim_count += len(dims)
        self.keep = (keep, [instruction[3] for instruction in instructions])

    def __dealloc__(self):
        PyMem_Free(self.instructions)
        PyMem_Free(self.buffer_block)
        PyMem_Free(self.dim_block)

    def fits(self, tuple arrays) -> bool:
        """Whether the arrays are what a replay needs, in dtype, size and layout."""
        cdef Py_ssize_t i
        if len(arrays) != len(self.external):
            return False
        for i in range(len(arrays)):
            type_number, size, _ = self.external[i]
            if not _fits(arrays[i], type_number, size):
                return False
        return True

    def run(self, tuple arrays, int threads) -> None:
        """Replay with these external arrays; they must fit."""
        cdef Py_ssize_t i, instruction, argument
        cdef int team = threads
        if not self.fits(arrays):
            raise ValueError("run: the arrays do not fit the program's inputs and outputs")
        with self.lock:
            for i in range(len(arrays)):
                for instruction, argument in (<tuple> self.external[i])[2]:
                    self.instructions[instruction].buffers[argument] = cnp.PyArray_DATA(<cnp.ndarray> arrays[i])
            with nogil:
                execute(self.instructions, self.count, team)
