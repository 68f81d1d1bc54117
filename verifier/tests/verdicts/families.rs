//! Families of values that a letter counts.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    (
        r"x=\frac\pi4+k\pi,k\in\mathbb{Z}",
        r"x=\frac{5\pi}4+n\pi,n\in\mathbb{Z}",
    ),
    (r"x=\frac\pi4+k\pi,k\in\mathbb{Z}", r"x=\frac{\pi}4+n\pi,n\in\mathbb{Z}"),
    (r"x=\frac\pi4+k\pi,k\in\mathbb{Z}", r"x=\frac{\pi}4-n\pi,n\in\mathbb{Z}"),
    (
        r"x=\frac\pi4+k\pi,k\in\mathbb{Z}",
        r"x=-\frac{3\pi}4+n\pi,n\in\mathbb{Z}",
    ),
    (
        r"x=\frac{(2k+1)\pi}{2},k\in\mathbb{Z}",
        r"x=\frac\pi2+k\pi,k\in\mathbb{Z}",
    ),
    (
        r"x=\frac{(2k+1)\pi}{2},k\in\mathbb{Z}",
        r"x=\frac{(2k-1)\pi}2,k\in\mathbb{Z}",
    ),
    (
        r"x=\pm\frac{\pi}{3}+2k\pi,k\in\mathbb{Z}",
        r"x=\frac{\pi}{3}+2k\pi,x=\frac{5\pi}{3}+2k\pi,k\in\mathbb{Z}",
    ),
    (
        r"x=\frac{\pi}{4}+k\pi,k\in\mathbb{Z}",
        r"x=\frac{\pi}{4}+2k\pi,x=\frac{5\pi}{4}+2k\pi,k\in\mathbb{Z}",
    ),
    (
        r"\frac{\pi}{4}+k\pi,k\in\mathbb{Z}",
        r"45^\circ+180^\circ n, n\in\mathbb{Z}",
    ),
    (
        r"\frac{\pi}{4}+k\pi,k\in\mathbb{Z}",
        r"225^\circ+180^\circ n, n\in\mathbb{Z}",
    ),
    (
        r"x=\arcsin\frac13+2k\pi,k\in\mathbb{Z}",
        r"x=\arcsin\frac13+2\pi+2k\pi,k\in\mathbb{Z}",
    ),
    (
        r"x=\frac{k\pi}{2},k\in\mathbb{Z}",
        r"x=k\pi,x=\frac{\pi}{2}+k\pi,k\in\mathbb{Z}",
    ),
    (
        r"x=\frac{k\pi}{3},k\in\mathbb{Z}",
        r"x=k\pi,x=\pm\frac{\pi}{3}+k\pi,k\in\mathbb{Z}",
    ),
    (r"x=0.2k\pi,k\in\mathbb{Z}", r"x=\frac{k\pi}{5},k\in\mathbb{Z}"),
    (
        r"\theta=30^\circ+360^\circ k,k\in\mathbb{Z}",
        r"\theta=390^\circ+360^\circ k,k\in\mathbb{Z}",
    ),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    (
        r"x=\frac\pi4+k\pi,k\in\mathbb{Z}",
        r"x=\frac{\pi}4+2n\pi,n\in\mathbb{Z}",
    ),
    (r"2k+1,k\in\mathbb{Z}", r"2k-1,k\in\mathbb{Z}"),
    (
        r"x=\frac{\pi}{4}+k\pi,k\in\mathbb{Z}",
        r"x=\frac{\pi}{4}+2k\pi,x=\frac{3\pi}{4}+2k\pi,k\in\mathbb{Z}",
    ),
    (r"x=k,y=k,k\in\mathbb{Z}", r"x=k,y=k+1,k\in\mathbb{Z}"),
    (r"x=2k,k\in\mathbb{Z}", r"x=k,k\in\mathbb{Z}"),
    (r"x=2k,k\in\mathbb{N}", r"x=2k+2,k\in\mathbb{N}"),
    (r"a_k=2k,k\in\mathbb{Z}", r"a_k=2k+2,k\in\mathbb{Z}"),
    (r"(k,k),k\in\mathbb{Z}", r"(k,k+1),k\in\mathbb{Z}"),
    (
        r"\frac{\pi}{4}+k\pi,k\in\mathbb{Z}",
        r"135^\circ+180^\circ n, n\in\mathbb{Z}",
    ),
    (
        r"x=\arcsin\frac13+2k\pi,k\in\mathbb{Z}",
        r"x=\arcsin\frac13+\pi+2k\pi,k\in\mathbb{Z}",
    ),
    (r"x=\frac{k\pi}{2},k\in\mathbb{Z}", r"x=k\pi,k\in\mathbb{Z}"),
    (r"x=\frac{\pi}{1000}k,k\in\mathbb{Z}", r"x=k\pi,k\in\mathbb{Z}"),
    (r"2k+1,k\in\mathbb{Z}", r"2k-1,k\in\mathbb{Z}"),
];
