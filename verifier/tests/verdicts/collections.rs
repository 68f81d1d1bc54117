//! Collections: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // Tuples, sets.
    ("(1,4)", "1,4"),
    ("(1,4)", "x=1, y=4"),
    ("(1,4)", "(1;4)"),
    ("(1,4)", "\\langle 1,4\\rangle"),
    ("(1,4)", "\\begin{pmatrix}1\\\\4\\end{pmatrix}"),
    ("\\begin{pmatrix}1\\\\4\\end{pmatrix}", "(1,4)"),
    ("5,15", "15, 5"),
    ("5,15", "15 \\text{ and } 5"),
    ("5,15", "x \\in \\{5,15\\}"),
    ("5,15", "x=5 \\text{ or } x=15"),
    ("\\{4,5,7\\}", "4, 7, 5"),
    ("\\{1\\pm\\sqrt{5},-2\\}", "-2, 1+\\sqrt5, 1-\\sqrt5"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"),
    ("\\pm 3", "3,-3"),
    ("3,-3", "x=\\pm 3"),
    ("\\frac{1\\pm\\sqrt5}{2}", "\\frac{1+\\sqrt5}{2}, \\frac{1-\\sqrt5}{2}"),
    ("6, 8\\text{, and }10", "6,8,10"),
    ("(6,235^\\circ)", "(6,235)"),
    ("10^\\circ, 50^\\circ, 54^\\circ", "10,50,54"),
    ("\\emptyset", "\\varnothing"),
    ("\\emptyset", "\\text{no solution}"),
    ("\\emptyset", "\\{\\}"),
    ("5", "\\{5\\}"),
    ("$(1,2)$, $(3,4)$", "(3,4),(1,2)"),
    ("\\{(1,2),(3,4)\\}", "(3,4),(1,2)"),
    ("2,160", "2, 160"),
    ("2160", "2,160"),
    // Matrices.
    (
        "\\begin{pmatrix} 1/2 & 0 \\\\ 0 & 1 \\end{pmatrix}",
        "\\frac12\\begin{pmatrix} 1 & 0 \\\\ 0 & 2 \\end{pmatrix}",
    ),
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\begin{pmatrix}1&2\\end{pmatrix}^T",
    ),
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\left[\\begin{smallmatrix}1\\\\2\\end{smallmatrix}\\right]",
    ),
    (
        "\\begin{pmatrix} 0 & 1 \\end{pmatrix}",
        "\\begin{pmatrix} 0 & 1 \\\\ \\end{pmatrix}",
    ),
    (
        "\\begin{pmatrix} 1 & -1 \\\\ 1 & \\phantom -1 \\end{pmatrix}",
        "\\begin{bmatrix}1&-1\\\\1&1\\end{bmatrix}",
    ),
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\begin{matrix}1\\\\2\\end{matrix}",
    ),
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\vec{v}=\\begin{pmatrix}1\\\\2\\end{pmatrix}",
    ),
    // Ratio.
    ("3:1", "3 : 1"),
    ("3:1", "6:2"),
    ("3:5", "\\frac35"),
    ("1 : 2", "1/2"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    // Tuples, sets.
    ("(1,4)", "[1,4]"),
    ("5,15", "5"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}"),
    // Matrices.
    (
        "\\begin{pmatrix}1\\\\2\\end{pmatrix}",
        "\\begin{pmatrix}1&2\\end{pmatrix}",
    ),
    // Ratio.
    ("3:1", "1:3"),
];
