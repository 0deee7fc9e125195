"""Print the polynomial coefficients of `fastnn_ext/elementary.pxd`.

Each function is interpolated at Chebyshev nodes in high precision, which comes within a factor of two or so of the
minimax polynomial; the errors printed are relative to the function that the polynomial is part of, as powers of two.

Run: python tools/fit_polynomials.py
"""

from __future__ import annotations

from mpmath import atanh, chebyfit, cos, erfc, exp, log, mp, mpf, nstr, pi, sin, sqrt

mp.dps = 60

#: Where t = (x - K) / (x + K) changes sign; 4 needs the fewest terms for the ranges below.
K = 4


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2."""
    return (exp(r) - 1 - r) / r**2 if abs(r) > 1e-20 else mpf(1) / 2


def atanh_tail(z):
    """(2 atanh(s) - 2 s) / s^3 for z = s^2: log(1 + f) = 2 atanh(f / (2 + f)) for -0.3 <= f <= 1 has s <= 1/3."""
    s = sqrt(z)
    return (2 * atanh(s) - 2 * s) / s**3 if z > 1e-30 else mpf(2) / 3


def normal_tail(t):
    """(x + K) exp(x^2 / 2) Q(x), Q the upper tail of the normal distribution, for x = K (1 + t) / (1 - t) >= 0."""
    x = K * (1 + t) / (1 - t)
    return exp(x * x / 2) * erfc(x / sqrt(2)) / 2 * (x + K)


def sine(z):
    """sin(pi f / 2) / f for z = f^2, |f| <= 1/2."""
    return sin(pi / 2 * sqrt(z)) / sqrt(z) if z > 1e-30 else pi / 2


def cosine_tail(z):
    """(cos(pi f / 2) - 1) / f^2 for z = f^2, |f| <= 1/2."""
    return (cos(pi / 2 * sqrt(z)) - 1) / z if z > 1e-30 else -(pi**2) / 8


def t_of(x):
    return (mpf(x) - K) / (x + K)


#: name, function, interval, weight that turns an absolute error into a relative one, terms.
FITS = (
    ("exp_tail, float32", exp_tail, (-0.35, 0.35), 0.12, 5),
    ("exp_tail, float64", exp_tail, (-0.35, 0.35), 0.12, 10),
    ("atanh_tail, float32", atanh_tail, (0, mpf(1) / 9), mpf(1) / 27 / log(2), 5),
    ("atanh_tail, float64", atanh_tail, (0, mpf(1) / 9), mpf(1) / 27 / log(2), 10),
    # Beyond these x even x Q(x) is less than half of the smallest subnormal number.
    ("normal_tail, float32", normal_tail, (-1, t_of(14.6)), sqrt(2 * pi), 11),
    ("normal_tail, float64", normal_tail, (-1, t_of(39)), sqrt(2 * pi), 24),
    ("sine, float32", sine, (0, mpf(1) / 4), sqrt(mpf(1) / 2), 5),
    ("sine, float64", sine, (0, mpf(1) / 4), sqrt(mpf(1) / 2), 7),
    ("cosine_tail, float32", cosine_tail, (0, mpf(1) / 4), sqrt(mpf(1) / 8), 5),
    ("cosine_tail, float64", cosine_tail, (0, mpf(1) / 4), sqrt(mpf(1) / 8), 7),
)


def main() -> None:
    for name, function, (low, high), weight, terms in FITS:
        coefficients, error = chebyfit(function, [low, high], terms, error=True)
        digits = 10 if "32" in name else 18
        print(f"{name}: error 2^{nstr(log(error * weight, 2), 4)}, from the constant term up")
        for c in reversed(coefficients):
            print("   ", nstr(c, digits))


if __name__ == "__main__":
    main()
