//! Expressions: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // Expressions.
    ("(x+1)^2", "x^2+2x+1"),
    ("(x+1)(x-1)", "x^2-1"),
    ("\\frac{x^2-1}{x-1}", "x+1"),
    ("\\frac{2}{x}+4x^2", "\\frac{4x^3+2}{x}"),
    ("a_{n+1}", "a_{1+n}"),
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
    // Kinks.
    ("\\lfloor x+1\\rfloor", "\\lfloor x\\rfloor+1"),
    ("\\lceil x\\rceil", "-\\lfloor -x\\rfloor"),
    ("\\lfloor\\frac{n}{2}\\rfloor", "\\lfloor n/2\\rfloor"),
    ("|x-10|", "|10-x|"),
    ("\\sqrt{(x-5)^2}", "|x-5|"),
    ("\\max(a,b)", "\\max(b,a)"),
    ("\\max(a,b)", "\\frac{a+b+|a-b|}{2}"),
    ("\\gcd(a,b)", "\\gcd(b,a)"),
    ("\\ln(x^2)", "2\\ln|x|"),
    ("\\sqrt{x}\\sqrt{y}", "\\sqrt{xy}"),
    ("\\sqrt[3]{x^3}", "x"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    // Expressions.
    ("a_{n+1}", "a_n+1"),
    ("\\sin^2 x", "\\sin(x^2)"),
    ("\\sqrt{x^2}", "x"),
    // Kinks.
    ("|x-10|", "10-x"),
    ("\\sqrt{(x-5)^2}", "5-x"),
    ("|x-1000|", "1000-x"),
    ("|x-1000|", "x-1000"),
    ("\\max(x,100)", "100"),
    ("\\min(x,100)", "x"),
    ("\\lfloor x\\rfloor", "\\lfloor x+\\frac1{1000}\\rfloor"),
    ("\\lfloor x/100\\rfloor", "\\lfloor x/200\\rfloor"),
    ("\\gcd(a,b)", "1"),
    ("n!", "(n-1)!"),
    ("\\lfloor n\\rfloor", "n"),
    ("\\sqrt{x^2-20x+100}", "10-x"),
    ("\\arcsin(\\sin x)", "x"),
    ("\\arctan(\\tan x)", "x"),
    ("\\arccos(\\cos x)", "x"),
    ("\\sqrt{(x-50)^2}", "x-50"),
    ("\\frac{|x|}{x}", "1"),
    ("\\frac{|x-50|}{x-50}", "-1"),
    ("\\frac{\\sqrt{x^2}}{x}", "1"),
];
