//! Groups and spaces made of others, orders of growth, rows that are the rest, choices in a sentence.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    (r"\mathbb{R}\times\mathbb{R}", r"\mathbb{R}^2"),
    (
        r"\mathbb{Z}/2\mathbb{Z}\times\mathbb{Z}/6\mathbb{Z}",
        r"\mathbb{Z}_6\times\mathbb{Z}_2",
    ),
    (
        r"\mathbb{Z}/2\mathbb{Z}\times\mathbb{Z}/6\mathbb{Z}",
        r"\mathbb{Z}_2\oplus\mathbb{Z}_6",
    ),
    (r"\mathbb{Z}/6\mathbb{Z}", r"\mathbb{Z}_6"),
    (r"\mathbb{Z}/6\mathbb{Z}", r"\mathbb{Z}/(6\mathbb{Z})"),
    (r"\mathbb{Z}/6", r"\mathbb{Z}_{6}"),
    (r"(\mathbb{Z}/2\mathbb{Z})^3", r"\mathbb{Z}_2^3"),
    (r"\mathbb{Z}_2^2", r"\mathbb{Z}_2\times\mathbb{Z}_2"),
    (r"\mathbb{Z}^2", r"\mathbb{Z}\times\mathbb{Z}"),
    (r"S^1\times S^2", r"S^2\times S^1"),
    (r"\mathbb{Z}\times\mathbb{Z}_2", r"\mathbb{Z}_2\times\mathbb{Z}"),
    (r"i(t)=5e^{-t}", r"5e^{-t}"),
    (r"O(n^2)", r"O\left(n^{2}\right)"),
    (r"O(n\log n)", r"O(n \log(n))"),
    (r"\text{stable at }x=0", r"\text{stable at }x=0"),
    (
        r"\begin{cases}x^2&x\ge0\\-x&x<0\end{cases}",
        r"\begin{cases}x^2&x\ge0\\-x&\text{otherwise}\end{cases}",
    ),
    (
        r"\begin{cases}x^2&x\ge0\\-x&\text{otherwise}\end{cases}",
        r"\begin{cases}x^2&x\ge0\\-x&x<0\end{cases}",
    ),
    (
        r"\begin{cases}1&x=0\\2&x\ne0\end{cases}",
        r"\begin{cases}1&x=0\\2&\text{otherwise}\end{cases}",
    ),
    (r"\text{(C)}", r"\text{The correct answer is (C)}"),
    (r"C", r"\text{The correct option is C}"),
    (r"\begin{pmatrix}1\\-2\\3\end{pmatrix}", r"[1,-2,3]^T"),
    (r"x\in\mathbb{R}", r"\mathbb{R}"),
    (r"x^2+y^2", r"y^2+x^2"),
    (r"S^2", r"S\cdot S"),
    (r"k\in\mathbb{Z}", r"k\in\mathbb{Z}"),
    (r"\mathbb{Z}*\mathbb{Z}", r"\mathbb{Z} \ast \mathbb{Z}"),
    (r"\mathbb{Z}_2*\mathbb{Z}_3", r"\mathbb{Z}_3*\mathbb{Z}_2"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    (r"\mathbb{R}*\mathbb{R}", r"\mathbb{R}\times\mathbb{R}"),
    (r"\mathbb{R}\times\mathbb{R}", r"\mathbb{R}^3"),
    (
        r"\mathbb{Z}/2\mathbb{Z}\times\mathbb{Z}/6\mathbb{Z}",
        r"\mathbb{Z}/3\mathbb{Z}\times\mathbb{Z}/4\mathbb{Z}",
    ),
    (
        r"\mathbb{Z}/2\mathbb{Z}\times\mathbb{Z}/6\mathbb{Z}",
        r"\mathbb{Z}/12\mathbb{Z}",
    ),
    (r"\mathbb{Z}/2\times\mathbb{Z}/2", r"\mathbb{Z}/4\times\mathbb{Z}/1"),
    (r"\mathbb{Z}/2\times\mathbb{Z}/2", r"\mathbb{Z}/4"),
    (r"\mathbb{Z}\times\mathbb{Z}/6", r"\mathbb{Z}/2\times\mathbb{Z}/3"),
    (r"\mathbb{Z}/n\mathbb{Z}", r"\mathbb{Z}^2/n"),
    (r"\mathbb{Z}/6\mathbb{Z}", r"\frac16\mathbb{Z}^2"),
    (r"S^1\times S^2", r"S^3"),
    (r"S^2\times S^2", r"S^1\times S^3"),
    (r"S^1\times S^1", r"S^2"),
    (r"\mathbb{Z}*\mathbb{Z}", r"\mathbb{Z}\times\mathbb{Z}"),
    (r"\mathbb{Z}_2*\mathbb{Z}_3", r"\mathbb{Z}_2\times\mathbb{Z}_3"),
    (r"\mathbb{Z}_6", r"\mathbb{Z}_5"),
    (r"i(t)=5e^{-t}", r"it=5e^{-t}"),
    (r"O(n^2)/n", r"O\cdot n"),
    (r"O(n\log n)", r"On\log n"),
    (r"O(n^2)", r"O(n^3)"),
    (r"\text{stable at }x=0", r"\text{unstable at }x=0"),
    (r"\text{vertical asymptote }x=2", r"\text{horizontal asymptote }x=2"),
    (r"\text{boys}=3", r"\text{girls}=3"),
    (
        r"\begin{cases}x^2&x\ge0\\-x&x<0\end{cases}",
        r"\begin{cases}x^2&x>0\\-x&\text{otherwise}\end{cases}",
    ),
    (
        r"\begin{cases}x^2&0<x<1\\-x&1<x<2\end{cases}",
        r"\begin{cases}x^2&0<x<1\\-x&\text{otherwise}\end{cases}",
    ),
    (r"\text{(C)}", r"\text{The correct answer is (D)}"),
    (r"\text{(C)}", r"\text{The answer is not (C)}"),
    (r"\begin{pmatrix}1\\-2\\3\end{pmatrix}", r"[1,2,3]^T"),
    (r"[1,2]", r"[1,2]^T"),
];
