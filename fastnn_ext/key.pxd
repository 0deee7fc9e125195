"""What is known of a call by its arguments, as words in memory; see remembered.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport uint64_t
from libc.string cimport memcpy

cdef enum:
    WORDS = 128  # of a key
    ARRAYS = 11  # of a call

cdef enum Tag:
    NONE, FALSE, TRUE, INTEGER, FLOAT, TEXT, TUPLE, ARRAY


cdef struct Array:
    PyObject *object
    char *data
    Py_ssize_t nbytes
    int type_number
    bint writable


cdef struct Key:
    Py_ssize_t arrays
    Py_ssize_t count
    Array array[ARRAYS]
    uint64_t words[WORDS]


cdef inline bint put(Key *key, const void *value, Py_ssize_t nbytes, uint64_t head) noexcept:
    """Append a head, which says how many bytes follow, and these, filled up to words; False if there is no room."""
    cdef Py_ssize_t words = (nbytes + 7) // 8
    if key.count + 1 + words > WORDS:
        return False
    key.words[key.count] = head
    if words:
        key.words[key.count + words] = 0
        memcpy(&key.words[key.count + 1], value, nbytes)
    key.count += 1 + words
    return True


cdef inline bint put_text(Key *key, const void *text, Py_ssize_t size) noexcept:
    return put(key, text, size, TEXT | <uint64_t> size << 8)
