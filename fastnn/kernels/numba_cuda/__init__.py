"""CUDA kernels, one file for each family of ops. Importing a family imports Numba.

A family file holds kernels (``@cuda.jit``) and launchers. A launcher knows the grid and the sequence of launches of
an op; the dict ``KERNELS`` of each file maps the op's name to it:

    launcher(launch, arrays, workspace, dims, params)

- ``launch(kernel, blocks, threads, *arguments)`` queues one launch, now or in a recorded program;
- ``arrays`` are the op's, on the device, of size 0 when absent;
- ``workspace`` is a 1-D float64 array of at least as many bytes as ``WORKSPACE[op](dims, params, itemsize)`` says;
- ``dims`` and ``params`` are as for the reference backend.

Kernels take arrays, then numbers that the launcher has made of the parameters, in the type they are used in. Numbers
that may change from step to step come in tuples, of which kernels read single elements only: in a program an array on
the device takes the tuple's place. Blocks
are one-dimensional; every sum is taken in an order that depends on the sizes only, without atomics.
"""
