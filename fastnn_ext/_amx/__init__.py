"""Matrix products for x86-64 CPUs with AMX-TILE and AMX-BF16 besides AVX-512."""
