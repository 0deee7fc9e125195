"""Calls of ops that are remembered: a known call costs a look-up where Python's checks take twenty microseconds.

What Python makes of a call (sizes, a kernel, its parameters, the shapes of the results) follows from the key of the
call: its arguments, of arrays only the dtype and the shape, and the backend (and the precision) in force. A call whose
key is new runs in Python. If it came down to one kernel on the very memory of the arguments and of the results, its
plan is kept, and a later call with the same key runs that kernel at once. What no key can say is looked at every time:
whether the arrays to write can be written and lie apart from the others, whether labels are class numbers, and for a
large call whether the plan was made for as many threads as there may be now. If not, the call runs in Python, which
raises the error.
"""

from contextvars import ContextVar

cimport numpy as cnp
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.contextvars cimport get_value
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_CheckExact, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_CheckExact
from libc.stdint cimport uint64_t
from libc.stdlib cimport getenv
from libc.string cimport strlen

from fastnn_ext.arrays cimport aligned
from fastnn_ext.executor cimport Instruction, execute, kernel_t
from fastnn_ext.key cimport (
    ARRAY, ARRAYS, FALSE, FLOAT, INTEGER, NONE, TRUE, TUPLE, Array, Key, put, put_text
)
from fastnn_ext.scratch cimport borrow, give_back

cdef extern from "Python.h":
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    void *PyUnicode_1BYTE_DATA(object text)

cnp.import_array()

cdef enum:
    SIZES = 8  # of a kernel
    NUMBERS = 24  # of a kernel
    RESULTS = 4  # of a call
    RANK = 8  # of a result
    ABSENT = -1

#: Kernel calls of the op that runs in Python in this thread or task.
cdef object seen = ContextVar("fastnn_seen", default=None)


cdef inline bint _put_array(Key *key, cnp.ndarray array) noexcept:
    """Append an array's dtype and shape; False for one that kernels cannot take as it is."""
    cdef int rank = cnp.PyArray_NDIM(array)
    cdef int type_number = cnp.PyArray_TYPE(array)
    cdef Array *one = &key.array[key.arrays]
    if key.arrays == ARRAYS or not cnp.PyArray_ISCARRAY_RO(array):
        return False
    one.object = <PyObject *> array
    one.data = cnp.PyArray_BYTES(array)
    one.nbytes = cnp.PyArray_NBYTES(array)
    one.type_number = type_number
    one.writable = cnp.PyArray_ISWRITEABLE(array)
    key.arrays += 1
    return put(key, cnp.PyArray_DIMS(array), rank * sizeof(cnp.npy_intp), ARRAY | type_number << 8 | <uint64_t> rank << 32)


cdef bint _put_value(Key *key, object value):
    """Append an argument; False for one of which no key can be made."""
    cdef long long integer
    cdef double number
    cdef int overflow
    cdef Py_ssize_t i
    if cnp.PyArray_CheckExact(value):
        return _put_array(key, <cnp.ndarray> value)
    if value is None:
        return put(key, NULL, 0, NONE)
    if value is True or value is False:
        return put(key, NULL, 0, TRUE if value is True else FALSE)
    if PyUnicode_CheckExact(value):
        return PyUnicode_IS_COMPACT_ASCII(value) and put_text(
            key, PyUnicode_1BYTE_DATA(value), PyUnicode_GET_LENGTH(value)
        )
    if PyFloat_CheckExact(value):
        number = PyFloat_AS_DOUBLE(value)
        return put(key, &number, sizeof(number), FLOAT)
    if PyLong_CheckExact(value):
        integer = PyLong_AsLongLongAndOverflow(value, &overflow)
        return not overflow and put(key, &integer, sizeof(integer), INTEGER)
    if not PyTuple_CheckExact(value) or not put(key, NULL, 0, TUPLE | <uint64_t> PyTuple_GET_SIZE(value) << 8):
        return False
    for i in range(PyTuple_GET_SIZE(value)):
        if not _put_value(key, <object> PyTuple_GET_ITEM(value, i)):
            return False
    return True


cdef class Plan:
    """The one kernel that a call comes down to, and where its arrays come from."""

    cdef Instruction instruction
    cdef Py_ssize_t sizes[SIZES]
    cdef double numbers[NUMBERS]
    cdef Py_ssize_t workspace
    cdef int most  # threads that might be used when the plan was made, 0 where one is enough
    cdef bint small  # not worth releasing the GIL for
    cdef Py_ssize_t buffers
    cdef int sources[ARRAYS]  # number of an argument, ARRAYS + number of a result, or ABSENT
    cdef bint written[ARRAYS]  # arguments that the kernel writes
    cdef bint any_written
    cdef bint updates  # whether all arguments must lie apart
    cdef int labels  # number of the argument that holds class numbers, or ABSENT
    cdef long long classes
    cdef bint single  # the one result is returned as it is, not in a tuple
    cdef Py_ssize_t results
    cdef int returned[RESULTS]  # number of the argument that is returned, or ABSENT for a new array
    cdef int type_numbers[RESULTS]
    cdef int ranks[RESULTS]
    cdef Py_ssize_t nbytes[RESULTS]
    cdef cnp.npy_intp shapes[RESULTS][RANK]

    cdef bint learn(self, Key *key, object result, call) except -1:
        """Fill the plan with a call that has been made; False if it is none to remember."""
        op, address, arrays, sizes, numbers, workspace, threads, most, small = call
        cdef tuple results = result if type(result) is tuple else () if result is None else (result,)
        cdef Py_ssize_t i
        cdef int source
        cdef Py_ssize_t uses[ARRAYS + RESULTS]
        if len(arrays) > ARRAYS or len(sizes) > SIZES or len(numbers) > NUMBERS or len(results) > RESULTS:
            return False
        self.instruction.kernel = <kernel_t> <size_t> address
        self.instruction.dims = self.sizes
        self.instruction.params = self.numbers
        self.instruction.phases = op.phases
        self.instruction.threads = threads
        for i in range(len(sizes)):
            self.sizes[i] = sizes[i]
        for i in range(len(numbers)):
            self.numbers[i] = numbers[i]
        self.workspace, self.most, self.small, self.buffers = workspace, most, small, len(arrays)
        self.results, self.single = len(results), type(result) is not tuple
        self.updates, self.labels = bool(op.updates), ABSENT
        for i in range(ARRAYS + RESULTS):
            uses[i] = 0
        for i in range(self.results):
            if not self._returns(key, i, results[i]):
                return False
        for i in range(self.buffers):
            source = self.sources[i] = self._source(key, results, arrays[i])
            if arrays[i] is None:
                continue
            if source == ABSENT:
                return False
            uses[source] += 1
            argument = op.arguments[i]
            if source < ARRAYS and (argument.updated or i >= len(op.inputs)):
                self.written[source] = self.any_written = True
            if argument.name == "labels":
                self.labels, self.classes = source, sizes[op.dims.index("c")]
        # An array that no kernel reads may have decided something by its values; of two at one address either may.
        for i in range(key.arrays):
            if uses[i] != 1:
                return False
        for i in range(self.results):
            if self.returned[i] == ABSENT and uses[ARRAYS + i] != 1:
                return False
        return True

    cdef bint _returns(self, Key *key, Py_ssize_t i, object result) except -1:
        """Note what the `i`-th result is; False if it is neither an argument nor an array like those made here."""
        cdef int j
        self.returned[i] = ABSENT
        for j in range(key.arrays):
            if <PyObject *> result == key.array[j].object:
                self.returned[i] = j
                return True
        if not cnp.PyArray_CheckExact(result) or not cnp.PyArray_ISCARRAY(<cnp.ndarray> result):
            return False
        cdef cnp.ndarray array = result
        self.type_numbers[i], self.ranks[i] = cnp.PyArray_TYPE(array), cnp.PyArray_NDIM(array)
        if self.ranks[i] > RANK:
            return False
        self.nbytes[i] = cnp.PyArray_NBYTES(array)
        for j in range(self.ranks[i]):
            self.shapes[i][j] = cnp.PyArray_DIM(array, j)
        return True

    cdef int _source(self, Key *key, tuple results, object value) except -2:
        """Where a kernel's array comes from: the argument or the new result that is the same memory."""
        cdef int j
        if value is None:
            return ABSENT
        cdef cnp.ndarray array = value
        cdef char *data = cnp.PyArray_BYTES(array)
        cdef Py_ssize_t nbytes = cnp.PyArray_NBYTES(array)
        cdef int type_number = cnp.PyArray_TYPE(array)
        for j in range(key.arrays):
            if key.array[j].data == data and key.array[j].nbytes == nbytes and key.array[j].type_number == type_number:
                return j
        for j in range(self.results):
            if (
                self.returned[j] == ABSENT
                and cnp.PyArray_BYTES(<cnp.ndarray> results[j]) == data
                and self.nbytes[j] == nbytes
                and self.type_numbers[j] == type_number
            ):
                return ARRAYS + j
        return ABSENT

    cdef bint fits(self, const Key *key, object threads) except -1:
        """Whether all is in order that the key does not say."""
        cdef Py_ssize_t i, j
        cdef const Array *a
        cdef const Array *b
        cdef const long long *labels
        if self.most and threads() != self.most:
            return False
        if self.labels != ABSENT:
            a = &key.array[self.labels]
            labels = <const long long *> a.data
            for i in range(a.nbytes // <Py_ssize_t> sizeof(long long)):
                if not 0 <= labels[i] < self.classes:
                    return False
        if not self.any_written:
            return True
        for i in range(key.arrays):
            a = &key.array[i]
            if self.written[i] and not a.writable:
                return False
            for j in range(i):
                b = &key.array[j]
                if (self.updates or self.written[i] or self.written[j]) and (
                    a.data < b.data + b.nbytes and b.data < a.data + a.nbytes
                ):
                    return False
        return True

    cdef object run(self, const Key *key):
        """Run the kernel on the arguments of a key that fits; returns what the op returns."""
        cdef void *buffers[ARRAYS + 1]
        cdef Instruction one = self.instruction
        cdef char *scratch = NULL
        cdef Py_ssize_t i
        cdef int source
        cdef list results = []
        for i in range(self.results):
            results.append(
                aligned(self.ranks[i], <Py_ssize_t *> self.shapes[i], self.type_numbers[i], self.nbytes[i])
                if self.returned[i] == ABSENT
                else <object> key.array[self.returned[i]].object
            )
        for i in range(self.buffers):
            source = self.sources[i]
            if source == ABSENT:
                buffers[i] = NULL
            elif source < ARRAYS:
                buffers[i] = key.array[source].data
            else:
                buffers[i] = cnp.PyArray_DATA(<cnp.ndarray> results[source - ARRAYS])
        if self.workspace:
            scratch = borrow(self.workspace)
            if scratch == NULL:
                raise MemoryError(f"cannot allocate {self.workspace} bytes of scratch memory")
        buffers[self.buffers] = scratch
        one.buffers = buffers
        if self.small:
            execute(&one, 1, 1)
        else:
            with nogil:
                execute(&one, 1, <int> one.threads)
        if scratch != NULL:
            give_back(scratch)
        if self.single:
            return results[0] if self.results else None
        return tuple(results)


def report(*call) -> None:
    """Tell the op that runs in Python, if any, which kernel it called: (op, address, arrays, sizes, numbers, bytes of
    workspace, threads used, threads that might be or 0, whether it is too little work to release the GIL for)."""
    calls = seen.get()
    if calls is not None:
        calls.append(call)


cdef class Remembered:
    """A function of arrays that remembers its calls.

    Parameters
    ----------
    function : callable
        What it returns must follow from its arguments and the selected backend.
    backend : ContextVar
        Name of the backend that `use_backend` has selected, or None.
    threads : callable
        How many threads may be used now.
    policy : callable or None
        What else is in force and decides what the function does, as a str.
    most : int
        Plans kept. One more, and all are forgotten, those in use to be made anew: simpler than knowing the oldest.
    """

    cdef object function, backend, threads, policy
    cdef Py_ssize_t most
    cdef dict plans

    def __init__(self, function, backend, threads, policy, Py_ssize_t most):
        self.function, self.backend, self.threads, self.policy, self.most = function, backend, threads, policy, most
        self.plans = {}

    cdef bint _read(self, Key *key, tuple arguments, dict options):
        """Make the key of a call now; False if there is none."""
        cdef const char *variable
        key.arrays = key.count = 0
        if not _put_value(key, arguments):
            return False
        for name, value in options.items():
            if not _put_value(key, name) or not _put_value(key, value):
                return False
        if self.policy is not None and not _put_value(key, self.policy()):
            return False
        selected = get_value(self.backend)
        if selected is not None:
            return _put_value(key, selected)
        variable = getenv("FASTNN_BACKEND")
        return variable == NULL or put_text(key, variable, strlen(variable))

    def call(self, tuple arguments, dict options):
        """The function's result."""
        cdef Key key
        cdef Plan plan
        if not self._read(&key, arguments, options):
            return self.function(*arguments, **options)
        words = PyBytes_FromStringAndSize(<char *> key.words, key.count * sizeof(uint64_t))
        plan = self.plans.get(words)
        around = get_value(seen)
        if around is not None:  # whoever calls this op from within makes more of it than one kernel
            around.append(None)
        if plan is not None and plan.fits(&key, self.threads):
            return plan.run(&key)
        calls = []
        token = seen.set(calls)
        try:
            result = self.function(*arguments, **options)
        finally:
            seen.reset(token)
        plan = Plan()
        if len(calls) == 1 and calls[0] is not None and plan.learn(&key, result, calls[0]):
            if len(self.plans) >= self.most:
                self.plans.clear()
            self.plans[words] = plan
        return result
