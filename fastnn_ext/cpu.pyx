"""What the CPU and the operating system support."""

cdef extern from *:
    """
    #if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
    /* These builtins ask CPUID for the instructions and XGETBV for the registers that the system saves. */
    static int fastnn_has_avx2(void) {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    static int fastnn_has_avx512(void) {
        __builtin_cpu_init();
        return fastnn_has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    }
    #else
    static int fastnn_has_avx2(void) { return 0; }
    static int fastnn_has_avx512(void) { return 0; }
    #endif
    """
    bint fastnn_has_avx2()
    bint fastnn_has_avx512()


def supported() -> tuple[str, ...]:
    """Instruction sets that this machine can run, lowest first."""
    return ("baseline",) + ("avx2",) * fastnn_has_avx2() + ("avx512",) * fastnn_has_avx512()
