//! Identities and near misses.

use crate::build::*;
use anytime_verifier::expression::{Expression, Function};

/// Left, right, and whether they are equal.
pub(crate) fn cases() -> Vec<(&'static str, Expression, Expression, Option<bool>)> {
    use Function::*;
    let ten = |exponent: i64| power(n(10), n(exponent));
    let cube = |of: Expression| root(3, of);
    vec![
        (
            "nested radical",
            sqrt(sum([n(3), product([n(2), sqrt(n(2))])])),
            sum([n(1), sqrt(n(2))]),
            Some(true),
        ),
        (
            "cos 36",
            call(Cos, over(pi(), n(5))),
            over(sum([n(1), sqrt(n(5))]), n(4)),
            Some(true),
        ),
        (
            "cos 20 cos 40 cos 80",
            product([call(Cos, degrees(20)), call(Cos, degrees(40)), call(Cos, degrees(80))]),
            q(1, 8),
            Some(true),
        ),
        (
            "cubic roots",
            sum([cube(sum([n(2), sqrt(n(5))])), cube(sum([n(2), sqrt(n(5)).negated()]))]),
            n(1),
            Some(true),
        ),
        (
            "ramanujan",
            exp(product([pi(), sqrt(n(163))])),
            big("262537412640768744"),
            Some(false),
        ),
        ("large root", sqrt(sum([ten(100), n(1)])), ten(50), Some(false)),
        (
            "beyond floats",
            big("9007199254740993"),
            big("9007199254740992"),
            Some(false),
        ),
        ("arctan 1", call(Arctan, n(1)), over(pi(), n(4)), Some(true)),
        (
            "machin",
            call(Arctan, n(1)),
            sum([
                product([n(4), call(Arctan, q(1, 5))]),
                call(Arctan, q(1, 239)).negated(),
            ]),
            Some(true),
        ),
        ("ln 8", call(Ln, n(8)), product([n(3), call(Ln, n(2))]), Some(true)),
        ("ln 9", call(Ln, n(9)), product([n(3), call(Ln, n(2))]), Some(false)),
        ("tiny", sum([n(1), ten(-30)]), n(1), Some(false)),
        ("tiny root", sqrt(sum([n(1), ten(-300)])), n(1), Some(false)),
        ("tiny logarithm", call(Ln, sum([n(1), ten(-400)])), n(0), Some(false)),
        ("tiny sine", call(Sin, ten(-400)), ten(-400), Some(false)),
        ("very tiny sine", call(Sin, ten(-1200)), ten(-1200), None),
        ("lost", sum([n(1), exp(n(-1000))]), n(1), Some(false)),
        ("lost for good", sum([n(1), exp(n(-10_000))]), n(1), None),
        ("tanh 1000", call(Tanh, n(1000)), n(1), Some(false)),
        ("tanh 10000", call(Tanh, n(10_000)), n(1), None),
        ("arctan of much", call(Arctan, ten(400)), over(pi(), n(2)), Some(false)),
        ("euler", exp(product([i(), pi()])), n(-1), Some(true)),
        (
            "third root of unity",
            exp(product([n(2), pi(), i(), q(1, 3)])),
            sum([q(-1, 2), over(product([i(), sqrt(n(3))]), n(2))]),
            Some(true),
        ),
        ("i to the i", power(i(), i()), exp(over(pi(), n(-2))), Some(true)),
        (
            "tan 15",
            call(Tan, degrees(15)),
            sum([n(2), sqrt(n(3)).negated()]),
            Some(true),
        ),
        (
            "small magnitudes",
            product([ten(-80), pi()]),
            product([ten(-80), n(3)]),
            Some(false),
        ),
        ("log 8", Expression::Call(Log, vec![n(8), n(2)]), n(3), Some(true)),
        (
            "log 8 to 4",
            Expression::Call(Log, vec![n(8), n(4)]),
            q(3, 2),
            Some(true),
        ),
        ("real cube root", root(3, n(-8)), n(-2), Some(true)),
        (
            "modulus",
            call(Abs, sum([n(3), product([n(4), i()])])),
            n(5),
            Some(true),
        ),
        (
            "gauss",
            product([sum([n(1), i()]), sum([n(1), i().negated()])]),
            n(2),
            Some(true),
        ),
        (
            "cos 1 degree",
            call(Cos, degrees(1)),
            sum([
                product([n(4), power(call(Cos, over(degrees(1), n(3))), n(3))]),
                product([n(-3), call(Cos, over(degrees(1), n(3)))]),
            ]),
            Some(true),
        ),
        (
            "root sums",
            sum([sqrt(n(2)), sqrt(n(3)), sqrt(n(6))]),
            sqrt(sum([
                n(11),
                product([n(2), sqrt(n(6))]),
                product([n(4), sqrt(n(3))]),
                product([n(6), sqrt(n(2))]),
            ])),
            Some(true),
        ),
        (
            "half factorial",
            call(Factorial, n(20)),
            big("2432902008176640000"),
            Some(true),
        ),
        ("floor", call(Floor, product([n(10), sqrt(n(2))])), n(14), Some(true)),
        (
            "floor of nearly",
            call(Floor, sum([n(1), exp(n(-100)).negated()])),
            n(0),
            Some(true),
        ),
        (
            "pythagoras",
            sum([power(call(Sin, x("x")), n(2)), power(call(Cos, x("x")), n(2))]),
            n(1),
            Some(true),
        ),
        ("root of square", sqrt(power(x("x"), n(2))), x("x"), Some(false)),
        (
            "root of square is modulus",
            sqrt(power(x("x"), n(2))),
            call(Abs, x("x")),
            Some(true),
        ),
        (
            "root of product",
            product([sqrt(x("a")), sqrt(x("b"))]),
            sqrt(product([x("a"), x("b")])),
            Some(true),
        ),
        (
            "log of square",
            call(Ln, power(x("x"), n(2))),
            product([n(2), call(Ln, x("x"))]),
            Some(true),
        ),
        ("tiny shift", sum([x("x"), ten(-30)]), x("x"), Some(false)),
        ("tinier shift", sum([x("x"), ten(-300)]), x("x"), Some(false)),
        (
            "tiny factor",
            product([x("x"), sum([n(1), ten(-60)])]),
            x("x"),
            Some(false),
        ),
        ("cube root of x cubed", root(3, power(x("x"), n(3))), x("x"), Some(true)),
        (
            "unknown",
            named("f", sum([x("x"), n(1)])),
            named("f", sum([n(1), x("x")])),
            Some(true),
        ),
        (
            "unknown elsewhere",
            named("f", x("x")),
            named("f", sum([x("x"), ten(-50)])),
            Some(false),
        ),
        ("unknown names", named("f", x("x")), named("g", x("x")), Some(false)),
        (
            "minus one to the n",
            product([n(-1), power(n(-1), x("n"))]),
            power(n(-1), sum([x("n"), n(1)])),
            Some(true),
        ),
        ("arcsin", call(Sin, call(Arcsin, x("x"))), x("x"), Some(true)),
        (
            "arc sum",
            sum([call(Arcsin, x("x")), call(Arccos, x("x"))]),
            over(pi(), n(2)),
            Some(true),
        ),
        (
            "conjugate",
            product([x("z"), call(Conjugate, x("z"))]),
            power(call(Abs, x("z")), n(2)),
            Some(true),
        ),
        ("conjugate is not itself", call(Conjugate, x("z")), x("z"), Some(false)),
        ("identically zero", sum([x("x"), x("x").negated()]), n(0), Some(true)),
        (
            "binomial formula",
            power(sum([x("x"), n(1)]), n(3)),
            sum([
                power(x("x"), n(3)),
                product([n(3), power(x("x"), n(2))]),
                product([n(3), x("x")]),
                n(1),
            ]),
            Some(true),
        ),
        (
            "logistic",
            over(n(1), sum([n(1), exp(x("x").negated())])),
            over(exp(x("x")), sum([n(1), exp(x("x"))])),
            Some(true),
        ),
        (
            "double angle",
            call(Sin, product([n(2), x("t")])),
            product([n(2), call(Sin, x("t")), call(Cos, x("t"))]),
            Some(true),
        ),
    ]
}
