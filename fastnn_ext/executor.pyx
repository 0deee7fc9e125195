"""Runs kernels: an array of C structs, one loop, one team of threads.

The only parallel construct of the library is here. Every thread of the team walks over the same instructions; the
team meets at a barrier after each phase of an instruction worth sharing, and the first thread alone does the others.
"""

import os
from weakref import WeakSet

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

#: Replays whose lock may be held when the process forks, by a thread that the child lacks: there, each takes a new one.
locked = WeakSet()


def _after_fork_in_child() -> None:
    global forked
    forked = True
    for replay in locked:
        replay.renew_lock()


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
