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

    #if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
    #include <cpuid.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    /* CPUID: leaf 7 has AMX-BF16 (bit 22) and AMX-TILE (24) in EDX, leaf 1 OSXSAVE (27) in ECX. XCR0: the system saves
       the tiles' configuration (17) and their data (18). The first use of tiles traps unless the process has asked Linux
       for permission: Documentation/arch/x86/xstate.rst. It is refused where a signal stack is too small for tiles. */
    static int fastnn_request_amx(void) {
        enum { ARCH_REQ_XCOMP_PERM = 0x1023, XTILEDATA = 18 };
        unsigned a, b, c, d, low, high;
        const unsigned features = 1u << 22 | 1u << 24, states = 1u << 17 | 1u << 18;
        if (!fastnn_has_avx512() || !__get_cpuid(1, &a, &b, &c, &d) || !(c & 1u << 27))
            return 0;
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & features) != features)
            return 0;
        __asm__ volatile ("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return (low & states) == states && syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XTILEDATA) == 0;
    }
    #else
    static int fastnn_request_amx(void) { return 0; }
    #endif
    """
    bint fastnn_has_avx2()
    bint fastnn_has_avx512()
    bint fastnn_request_amx()


def request_amx() -> bool:
    """Ask for permission to use the AMX unit in this process, and the children it forks; whether there is one, and
    bfloat16 products in it, and permission. Without it, nothing is asked for and nothing changes."""
    return fastnn_request_amx()


def supported() -> tuple[str, ...]:
    """Instruction sets that this machine can run, lowest first."""
    return ("baseline",) + ("avx2",) * fastnn_has_avx2() + ("avx512",) * fastnn_has_avx512()
