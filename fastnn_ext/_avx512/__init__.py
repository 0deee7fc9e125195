"""Kernels for x86-64 CPUs with AVX-512 F, BW, DQ and VL."""
