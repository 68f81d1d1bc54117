//! Adversarial: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // Adversarial.
    ("0", "\\sin(\\pi)"),
    ("\\infty", "\\infty"),
    ("\\arcsin{1.3 \\sin{\\theta_w}}", "\\arcsin(1.3\\sin(\\theta_w))"),
    ("v_{\\text{max}}+5", "5+v_\\text{max}"),
    ("9.8 \\frac{\\text{m}}{\\text{s}^2}", "9.8\\text{ m/s}^2"),
    ("20^\\circ\\text{C}", "20^\\circ C"),
    ("\\sin{x}y", "y\\sin x"),
    ("(1,2)", "(1,2)^T"),
    (
        "x_{0} \\cos (\\omega t)+\\dot{x}_{0} \\sin (\\omega t) / \\omega",
        "\\frac{\\dot{x}_0}{\\omega}\\sin(\\omega t)+x_0\\cos(\\omega t)",
    ),
    ("8.7e8", "8.7\\times 10^8"),
    ("\\left\\lfloor\\frac{n}{2}\\right\\rfloor", "\\lfloor n/2\\rfloor"),
    ("$f(x)=x$ and $f(x)=0$", "f(x)=0, f(x)=x"),
    ("k \\equiv 1 \\pmod 4", "k\\equiv1\\pmod{4}"),
    ("2^{1009}", "2\\cdot 2^{1008}"),
    ("2^{100000}", "2^{100001}/2"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    // Adversarial.
    ("17", "17, 18"),
    ("17", "17 \\text{ or } 18"),
    ("17", "\\{17,18\\}"),
    ("17", "\\pm 17"),
    ("1", "1+e^{-1000}"),
    ("1", "1+10^{-300}"),
    ("\\sqrt2", "1.41421356237309504880168872420969807856967187537694"),
    ("5", "\\frac{5\\cdot0}{0}"),
    ("5", "5^{9^{9^9}}"),
    ("-\\infty", "\\infty"),
    ("v_{\\text{max}}+5", "5+v_\\text{min}"),
    ("2^{100000}", "2^{100000}+1"),
    ("\\frac{3^{1009}-1}{2}", "\\frac{3^{1009}+1}{2}"),
    ("n \\ge 3", "n>2"),
    ("5", "5th"),
    ("1000", "1 000 000"),
    ("5", "(5"),
    ("5", "5)"),
];
