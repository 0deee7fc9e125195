"""Scratch memory that stays from call to call."""

from libc.stdlib cimport free

cdef extern from "stdlib.h" nogil:
    int posix_memalign(void **pointer, size_t alignment, size_t size)

cdef extern from *:
    """
    static void *fastnn_spare;
    static inline void *fastnn_swap_spare(void *block) {
        return __atomic_exchange_n(&fastnn_spare, block, __ATOMIC_ACQ_REL);
    }
    """
    void *swap_spare "fastnn_swap_spare"(void *block) noexcept nogil

cdef enum:
    ALIGNMENT = 64  # bytes: a cache line, and the widest vector
    KEPT = 10_000_000  # bytes of scratch memory that stay with the process between calls


cdef char *borrow(Py_ssize_t nbytes) noexcept nogil:
    """Scratch memory for one call, NULL if there is none: the block that the last call gave back, if large enough.

    Its size stands in its first line, behind which the memory begins. Who finds no spare block, since another thread
    has it, makes one.
    """
    cdef void *block = swap_spare(NULL)
    if block != NULL and (<Py_ssize_t *> block)[0] >= nbytes:
        return <char *> block + ALIGNMENT
    free(block)
    if posix_memalign(&block, ALIGNMENT, nbytes + ALIGNMENT):
        return NULL
    (<Py_ssize_t *> block)[0] = nbytes
    return <char *> block + ALIGNMENT


cdef void give_back(char *scratch) noexcept nogil:
    """End a loan: the block becomes the spare one, in place of any there is."""
    cdef void *block = scratch - ALIGNMENT
    free(swap_spare(block) if (<Py_ssize_t *> block)[0] <= KEPT else block)
