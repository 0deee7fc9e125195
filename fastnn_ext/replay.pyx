"""Programs replayed: the executor's instructions with the arrays and numbers that change from replay to replay."""

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_Calloc, PyMem_Free

from fastnn_ext.arrays cimport fits
from fastnn_ext.executor cimport Instruction, execute, kernel_t
from fastnn_ext.executor import locked

cnp.import_array()


cdef class Slot:
    """A number that programs read anew at every replay.

    Parameters
    ----------
    name : str
    value : float
        May be set.
    """

    cdef readonly str name
    cdef public double value

    def __init__(self, str name, double value):
        self.name, self.value = name, value

    def __reduce__(self):
        return Slot, (self.name, self.value)

    def __repr__(self):
        return f"Slot({self.name}={self.value:g})"


cdef struct External:
    # An array that comes with each replay, and the `count` places from number `first` on where its address goes.
    int type_number, ndim
    Py_ssize_t *shape
    Py_ssize_t size, first, count


cdef bint apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two C-contiguous arrays share no memory."""
    cdef char *p = cnp.PyArray_BYTES(a)
    cdef char *q = cnp.PyArray_BYTES(b)
    return p >= q + cnp.PyArray_NBYTES(b) or q >= p + cnp.PyArray_NBYTES(a)


cdef bint has_shape(cnp.ndarray array, Py_ssize_t ndim, const Py_ssize_t *shape) noexcept:
    cdef int axis
    if cnp.PyArray_NDIM(array) != ndim:
        return False
    for axis in range(cnp.PyArray_NDIM(array)):
        if cnp.PyArray_DIM(array, axis) != shape[axis]:
            return False
    return True


cdef class Lock:
    # A mutex that can be left behind, locked, for another.
    cdef cython.pymutex mutex


cdef class CompiledReplay:
    """A program as an array of C structs.

    Parameters
    ----------
    instructions : list of (address, buffers, dims, params, phases, threads)
        `buffers` are addresses, 0 for an external or absent one; `params` is a float64 array; `threads` the most worth
        using.
    external : list of (type number, shape, [(instruction, argument), ...])
        Arrays that come with each replay, and the places where their addresses go.
    inputs : int
        So many of these, the first ones, are inputs, the others outputs.
    slots : list of (instruction, parameter, Slot)
        Parameters that are read anew.
    most : callable
        How many threads may be used now.
    small : bool
        Whether the program is not worth letting another thread of Python's in.
    keep : object
        What owns the memory behind the addresses.
    """

    cdef Instruction *instructions
    cdef Py_ssize_t count, worth
    cdef void **buffer_block
    cdef Py_ssize_t *dim_block
    cdef External *external
    cdef Py_ssize_t external_count, inputs
    cdef Py_ssize_t *shape_block
    cdef void ***places
    cdef double **slot_places
    cdef list slots
    cdef bint small
    cdef object most, keep
    cdef Lock lock
    cdef object __weakref__

    def __cinit__(
        self, list instructions, list external, Py_ssize_t inputs, list slots, object most, bint small, object keep
    ):
        cdef Py_ssize_t i, j, buffer_count = 0, dim_count = 0, shape_count = 0, place_count = 0
        cdef cnp.ndarray params
        cdef Instruction *one
        cdef External *outer
        self.count, self.worth, self.external_count = len(instructions), 1, len(external)
        self.inputs, self.most, self.small = inputs, most, small
        self.slots = [slot for _, _, slot in slots]
        for _, buffers, dims, _, _, _ in instructions:
            buffer_count += len(buffers)
            dim_count += len(dims)
        for _, shape, places in external:
            shape_count += len(shape)
            place_count += len(places)
        self.instructions = <Instruction *> PyMem_Calloc(max(self.count, 1), sizeof(Instruction))
        self.buffer_block = <void **> PyMem_Calloc(buffer_count + 1, sizeof(void *))
        self.dim_block = <Py_ssize_t *> PyMem_Calloc(dim_count + 1, sizeof(Py_ssize_t))
        self.external = <External *> PyMem_Calloc(self.external_count + 1, sizeof(External))
        self.shape_block = <Py_ssize_t *> PyMem_Calloc(shape_count + 1, sizeof(Py_ssize_t))
        self.places = <void ***> PyMem_Calloc(place_count + 1, sizeof(void **))
        self.slot_places = <double **> PyMem_Calloc(len(slots) + 1, sizeof(double *))
        if not (
            self.instructions and self.buffer_block and self.dim_block and self.external and self.shape_block
            and self.places and self.slot_places
        ):
            raise MemoryError("cannot allocate a program's instructions")
        buffer_count = dim_count = shape_count = place_count = 0
        for i in range(self.count):
            address, buffers, dims, params, phases, threads = instructions[i]
            one = &self.instructions[i]
            one.kernel = <kernel_t> <size_t> address
            one.buffers = &self.buffer_block[buffer_count]
            one.dims = &self.dim_block[dim_count]
            one.params = <double *> cnp.PyArray_DATA(params)
            one.phases = phases
            one.threads = threads
            self.worth = max(self.worth, one.threads)
            for j in range(len(buffers)):
                one.buffers[j] = <void *> <size_t> buffers[j]
            for j in range(len(dims)):
                one.dims[j] = dims[j]
            buffer_count += len(buffers)
            dim_count += len(dims)
        for i in range(self.external_count):
            type_number, shape, places = external[i]
            outer = &self.external[i]
            outer.type_number, outer.ndim, outer.size = type_number, len(shape), 1
            outer.shape = &self.shape_block[shape_count]
            outer.first, outer.count = place_count, len(places)
            for j in range(outer.ndim):
                outer.shape[j] = shape[j]
                outer.size *= outer.shape[j]
            for instruction, argument in places:
                self.places[place_count] = &self.instructions[<Py_ssize_t> instruction].buffers[<Py_ssize_t> argument]
                place_count += 1
            shape_count += outer.ndim
        for i in range(len(slots)):
            instruction, parameter, _ = slots[i]
            self.slot_places[i] = &self.instructions[<Py_ssize_t> instruction].params[<Py_ssize_t> parameter]
        self.keep = (keep, [instruction[3] for instruction in instructions])
        self.renew_lock()
        locked.add(self)

    def __dealloc__(self):
        PyMem_Free(self.instructions)
        PyMem_Free(self.buffer_block)
        PyMem_Free(self.dim_block)
        PyMem_Free(self.external)
        PyMem_Free(self.shape_block)
        PyMem_Free(self.places)
        PyMem_Free(self.slot_places)

    def renew_lock(self) -> None:
        """Take a lock that nobody holds."""
        self.lock = Lock()

    cdef void point(self, Py_ssize_t number, object array) noexcept:
        """Let the instructions use this array for an external one."""
        cdef const External *external = &self.external[number]
        cdef Py_ssize_t i
        for i in range(external.first, external.first + external.count):
            self.places[i][0] = cnp.PyArray_DATA(<cnp.ndarray> array)

    cdef void go(self, int team) noexcept:
        """Run the instructions with the arrays pointed at; the lock is held."""
        cdef Py_ssize_t i
        for i in range(len(self.slots)):
            self.slot_places[i][0] = (<Slot> self.slots[i]).value
        if self.small:
            execute(self.instructions, self.count, 1)
        else:
            with nogil:
                execute(self.instructions, self.count, team)

    cdef object new(self, Py_ssize_t number, int skipped):
        """An array for an external one, without its first `skipped` dimensions."""
        cdef const External *one = &self.external[number]
        return cnp.PyArray_EMPTY(one.ndim - skipped, <cnp.npy_intp *> one.shape + skipped, one.type_number, 0)

    cdef int replay(self, tuple arrays) except -1:
        cdef Py_ssize_t i
        cdef int team = 1 if self.worth == 1 else self.most()
        cdef bint all_fit = len(arrays) == self.external_count
        for i in range(self.external_count if all_fit else 0):
            all_fit = all_fit and fits(arrays[i], self.external[i].type_number, self.external[i].size)
        if not all_fit:
            raise ValueError("run: the arrays do not fit the program's inputs and outputs")
        with self.lock.mutex:
            for i in range(self.external_count):
                self.point(i, arrays[i])
            self.go(team)
        return 0

    def run(self, tuple arrays) -> None:
        """Replay with these inputs and outputs; they must fit in dtype, size and layout."""
        self.replay(arrays)

    def results(self, tuple inputs) -> tuple:
        """Replay with these inputs, which must fit, None for an absent one; returns the outputs, new arrays."""
        cdef list given = [array for array in inputs if array is not None]
        cdef tuple outputs = tuple([self.new(i, 0) for i in range(self.inputs, self.external_count)])
        self.replay(tuple(given) + outputs)
        return outputs

    cdef object infer(self, object x, object out):
        """Replay a program of one input and one output, for a batch or, where it holds one row, for that row.

        Returns the output, a new array where `out` is None; None where the arrays are not just what is needed.
        """
        cdef External *rows = &self.external[0]
        cdef External *results = &self.external[1]
        cdef cnp.ndarray given, result
        cdef int single, team
        if self.external_count != 2 or not cnp.PyArray_CheckExact(x) or not fits(x, rows.type_number, rows.size):
            return None
        given = x
        single = rows.ndim - cnp.PyArray_NDIM(given)
        if not (single == 0 or (single == 1 and rows.shape[0] == 1)) or results.ndim < single:
            return None
        if not has_shape(given, rows.ndim - single, rows.shape + single):
            return None
        if out is None:
            result = self.new(1, single)
        else:
            if not cnp.PyArray_CheckExact(out) or not fits(out, results.type_number, results.size):
                return None
            result = out
            if not cnp.PyArray_ISWRITEABLE(result) or not apart(given, result):
                return None
            if not has_shape(result, results.ndim - single, results.shape + single):
                return None
        team = 1 if self.worth == 1 else self.most()
        with self.lock.mutex:
            self.point(0, given)
            self.point(1, result)
            self.go(team)
        return result


cdef class Inference:
    """A function that replays a program of one input and one output on arrays that are just what it needs.

    All others go to the subclass's `_checked`, and so do all arrays if the replay is another backend's.
    """

    cdef CompiledReplay replay

    def __init__(self, replay):
        self.replay = replay if isinstance(replay, CompiledReplay) else None

    def __call__(self, x, out=None):
        y = None if self.replay is None else self.replay.infer(x, out)
        return self._checked(x, out) if y is None else y
