//! Relations: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // Equations.
    ("y = 2x+3", "2x - y + 3 = 0"),
    ("y=2x+3", "y-3=2x"),
    ("y=2x+3", "2x+3"),
    ("x + y + z = 0", "2x+2y+2z=0"),
    ("x + y + z = 0", "-x-y-z=0"),
    ("\\frac{x^2}{4}+\\frac{y^2}{9}=1", "9x^2+4y^2=36"),
    ("\\tan \\theta = 2\\theta", "2\\theta=\\tan\\theta"),
    ("f(x)=x^2", "x^2"),
    ("f(x)=x^2", "f(t)=t^2"),
    ("x=5", "5"),
    ("5", "x=5"),
    ("5", "5=x"),
    ("25", "m+n=25"),
    ("25", "m+n=20+5=25"),
    ("0.56 = 56\\%", "0.56"),
    ("0.56 = 56\\%", "56\\%"),
    ("AB=12+12\\sqrt{3}", "12+12\\sqrt3"),
    ("AB=9, CD=4", "AB = 9, CD = 4"),
    ("K=8", "8"),
    // Inequalities.
    ("0<t<10", "t \\in (0,10)"),
    ("0<t<10", "(0,10)"),
    ("x \\in [-2,7]", "[-2,7]"),
    ("x \\in [-2,7]", "-2 \\le x \\le 7"),
    ("[-2,7]", "-2 \\le x \\le 7"),
    ("x\\le 3", "x \\in (-\\infty,3]"),
    ("(-\\infty,3]", "x \\leq 3"),
    ("x>3", "2x>6"),
    ("x>3", "-x<-3"),
    ("s^2 \\le 8r^2", "8r^2 \\ge s^2"),
    ("x<1 \\text{ or } x>3", "(-\\infty,1)\\cup(3,\\infty)"),
    ("(-\\infty,1)\\cup(3,\\infty)", "x<1 \\text{ or } x>3"),
    ("(-\\infty, 3) \\cup (3, \\infty)", "x \\neq 3"),
    ("(-\\infty, 3) \\cup (3, \\infty)", "\\mathbb{R} \\setminus \\{3\\}"),
    ("(-\\infty,\\infty)", "\\mathbb{R}"),
    ("[-1,0) \\cup (0,1]", "(0,1] \\cup [-1,0)"),
    ("(0,1)\\cup[1,2)", "(0,2)"),
    ("(5,\\infty)", "(5,+\\infty)"),
    ("(5,\\infty)", "(5,∞)"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    // Equations.
    ("y=2x+3", "y=2x+4"),
    ("x^2+y^2=4", "x^2+y^2=5"),
    ("x=5", "y=5"),
    ("25", "24 = 25"),
    ("25", "x=24=25"),
    // Inequalities.
    ("0<t<10", "[0,10)"),
    ("x>3", "x<3"),
    ("(0,1)\\cup(1,2)", "(0,2)"),
];
