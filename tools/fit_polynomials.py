"""Print the polynomial coefficients of `fastnn_ext/elementary.pxd`.

Each function is interpolated at Chebyshev nodes in high precision, which comes within a factor of two or so of the
minimax polynomial; the errors printed are relative to the function that the polynomial is part of, as powers of two.
The tail of the normal distribution is a quotient of two polynomials, interpolated likewise.

Run: python tools/fit_polynomials.py
"""

from __future__ import annotations

from mpmath import (
    atanh,
    chebyfit,
    cos,
    erfc,
    exp,
    linspace,
    log,
    lu_solve,
    matrix,
    mp,
    mpf,
    nstr,
    pi,
    polyval,
    sin,
    sqrt,
)

mp.dps = 60

#: Where t = (x - K) / (x + K), in which the nodes for the tail are spread evenly, changes sign.
K = 3


def exp_tail(r):
    """(exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2."""
    return (exp(r) - 1 - r) / r**2 if abs(r) > 1e-20 else mpf(1) / 2


def atanh_tail(z):
    """(2 atanh(s) - 2 s) / s^3 for z = s^2: log(1 + f) = 2 atanh(f / (2 + f)) for -0.3 <= f <= 1 has s <= 1/3."""
    s = sqrt(z)
    return (2 * atanh(s) - 2 * s) / s**3 if z > 1e-30 else mpf(2) / 3


def normal_tail(x):
    """exp(x^2 / 2) times the upper tail of the normal distribution."""
    return exp(x * x / 2) * erfc(x / sqrt(2)) / 2


def sine(z):
    """sin(pi f / 2) / f for z = f^2, |f| <= 1/2."""
    return sin(pi / 2 * sqrt(z)) / sqrt(z) if z > 1e-30 else pi / 2


def cosine_tail(z):
    """(cos(pi f / 2) - 1) / f^2 for z = f^2, |f| <= 1/2."""
    return (cos(pi / 2 * sqrt(z)) - 1) / z if z > 1e-30 else -(pi**2) / 8


def quotient(function, high, terms):
    """Coefficients from the constant term up of p of `terms` terms and q of one more and q(0) = 1; error of p / q.

    p - f q = 0 at Chebyshev nodes of t between x = 0 and `high`.
    """
    middle, half = ((high - K) / (high + K) - 1) / 2, ((high - K) / (high + K) + 1) / 2
    count = 2 * terms
    t = [middle + half * cos(pi * (2 * i + 1) / (2 * count)) for i in range(count)]
    nodes = [K * (1 + u) / (1 - u) for u in t]
    rows = [[x**j for j in range(terms)] + [-function(x) * x**j for j in range(1, terms + 1)] for x in nodes]
    solved = list(lu_solve(matrix(rows), matrix([function(x) for x in nodes])))
    p, q = solved[:terms], [mpf(1), *solved[terms:]]
    error = max(abs(polyval(p[::-1], x) / polyval(q[::-1], x) / function(x) - 1) for x in linspace(0, high, 1000))
    return p, q, error


#: name, function, interval, weight that turns an absolute error into a relative one, terms.
FITS = (
    ("exp_tail, float32", exp_tail, (-0.35, 0.35), 0.12, 5),
    ("exp_tail, float64", exp_tail, (-0.35, 0.35), 0.12, 10),
    ("atanh_tail, float32", atanh_tail, (0, mpf(1) / 9), mpf(1) / 27 / log(2), 5),
    ("atanh_tail, float64", atanh_tail, (0, mpf(1) / 9), mpf(1) / 27 / log(2), 10),
    ("sine, float32", sine, (0, mpf(1) / 4), sqrt(mpf(1) / 2), 5),
    ("sine, float64", sine, (0, mpf(1) / 4), sqrt(mpf(1) / 2), 7),
    ("cosine_tail, float32", cosine_tail, (0, mpf(1) / 4), sqrt(mpf(1) / 8), 5),
    ("cosine_tail, float64", cosine_tail, (0, mpf(1) / 4), sqrt(mpf(1) / 8), 7),
)


#: name, largest x, terms of the numerator. Beyond these x even x times the tail rounds to 0.
TAILS = (
    ("normal_tail, float32", mpf("14.6"), 5),
    ("normal_tail, float64", mpf(39), 11),
)


def show(name: str, error, *polynomials) -> None:
    print(f"{name}: error 2^{nstr(log(error, 2), 4)}, from the constant term up")
    for coefficients in polynomials:
        print("   ", ", ".join(nstr(c, 10 if "32" in name else 18) for c in coefficients))


def main() -> None:
    for name, function, (low, high), weight, terms in FITS:
        coefficients, error = chebyfit(function, [low, high], terms, error=True)
        show(name, error * weight, coefficients[::-1])
    for name, high, terms in TAILS:
        p, q, error = quotient(normal_tail, high, terms)
        show(name, error, p, q)


if __name__ == "__main__":
    main()
