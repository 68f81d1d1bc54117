//! Expressions: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    ("a_{n+1}", "a_{1+n}"),
    // Expressions.
    ("(x+1)^2", "x^2+2x+1"),
    ("(x+1)(x-1)", "x^2-1"),
    ("\\frac{x^2-1}{x-1}", "x+1"),
    ("\\frac{2}{x}+4x^2", "\\frac{4x^3+2}{x}"),
    ("a_1", "a_{1}"),
    ("x_1+x_2", "x_2+x_1"),
    ("m_{\\text{p}} c^2", "m_\\mathrm{p}c^2"),
    ("2 \\sin 5x \\cos x", "\\sin 6x + \\sin 4x"),
    ("\\sin^2 x", "1-\\cos^2 x"),
    ("\\sin^2 x", "\\sin(x)^2"),
    ("\\sqrt{x^2}", "|x|"),
    ("x^n", "x^{n}"),
    ("2^{n+1}", "2\\cdot 2^n"),
    ("n(n+1)/2", "\\frac{n^2+n}{2}"),
    ("\\frac{n(n+1)}{2}", "\\binom{n+1}{2}"),
    ("x^{10}", "x^10"),
    ("\\frac{1}{2}x", "x/2"),
    ("2xy+10x", "2x(y+5)"),
    ("e^{-x}", "\\frac{1}{e^x}"),
    ("\\exp(-x)", "e^{-x}"),
    ("\\alpha+\\beta", "\\beta+\\alpha"),
    ("3\\pi r^2", "3 r^2 \\pi"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    // Expressions.
    ("a_{n+1}", "a_n+1"),
    ("\\sin^2 x", "\\sin(x^2)"),
    ("\\sqrt{x^2}", "x"),
];
