//! Functions that agree where they are not defined alike, or everywhere but at one place.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // Variables are positive by custom.
    (r"\sqrt{xy}", r"\sqrt{x}\sqrt{y}"),
    (r"\sqrt{x}\sqrt{y}", r"\sqrt{xy}"),
    (r"x", r"(\sqrt{x})^2"),
    (r"-x", r"(\sqrt{-x})^2"),
    (r"1-x", r"(\sqrt{1-x})^2"),
    (r"x-3", r"\sqrt{x-3}\cdot\sqrt{x-3}"),
    (r"\frac{\sqrt{1-x}}{1-x}", r"\frac{1}{\sqrt{1-x}}"),
    (r"\sqrt{x^2-y^2}", r"\sqrt{x-y}\sqrt{x+y}"),
    (r"\ln\frac{x}{y}", r"\ln x-\ln y"),
    (r"\ln(xy)", r"\ln x+\ln y"),
    (r"\ln(1-x^2)", r"\ln(1-x)+\ln(1+x)"),
    (r"2\ln(x-1)", r"\ln((x-1)^2)"),
    (r"-6x", r"\sqrt{-4}\sqrt{-9}x"),
    (r"\sqrt{-x}", r"\sqrt{-x}"),
    (r"\frac{1}{\sqrt{-x}}", r"\frac{\sqrt{-x}}{-x}"),
    (r"(1+i\sqrt3)^n+(1-i\sqrt3)^n", r"2^{n+1}\cos\frac{n\pi}{3}"),
    // Beyond 1 neither side is real, and other branches are of no account.
    (r"\sqrt{\frac{1-x}{1+x}}", r"\frac{\sqrt{1-x}}{\sqrt{1+x}}"),
    (r"\sqrt{\frac{1-x}{1+x}}", r"\frac{\sqrt{1-x^2}}{1+x}"),
    (r"\frac{\sqrt{1-x^2}}{1+x}", r"\sqrt{\frac{1-x}{1+x}}"),
    (r"\sqrt{\frac{2-x}{x}}", r"\frac{\sqrt{2-x}}{\sqrt x}"),
    (r"\sqrt{\frac{x}{1000-x}}", r"\frac{\sqrt{1000x-x^2}}{1000-x}"),
    (r"\sqrt{\frac{9-x^2}{x}}", r"\frac{\sqrt{9-x^2}}{\sqrt x}"),
    (r"\arcsin x", r"\arctan\frac{x}{\sqrt{1-x^2}}"),
    // Powers of zero, kinks beside unknown functions.
    (r"0^n+1", r"1+0^n"),
    (r"f(x)+1", r"1+f(x)"),
    (r"f(x)+|x-2|", r"|2-x|+f(x)"),
    (r"f(x)+\max(x,3)", r"\max(3,x)+f(x)"),
    (r"2f(x)", r"f(x)+f(x)+|x|-|-x|"),
    (r"u(t-2)-u(t-4)", r"-u(t-4)+u(t-2)"),
    (r"u(t)-u(t-1)", r"u(t) - u(t - 1)"),
    (r"u(x-2)", r"ux-2u"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    (r"\sqrt{x^2}", r"(\sqrt{-x})^2"),
    (r"\sqrt{xy}", r"\sqrt{-x}\sqrt{-y}"),
    (r"\sqrt{-x}\sqrt{-y}", r"\sqrt{xy}"),
    (r"\sqrt{x^2y}", r"\sqrt{-x}\sqrt{-xy}"),
    (r"3+\sqrt{xy}", r"3+\sqrt{-x}\sqrt{-y}"),
    (
        r"\frac{\sqrt x}{\sqrt y}",
        r"\frac{\sqrt{-y}}{\sqrt{-x}}\cdot\frac{x}{y}",
    ),
    (r"\ln\frac xy", r"\ln(-x)-\ln(-y)"),
    (r"\ln(xy)", r"\ln(-x)+\ln(-y)"),
    (r"\log_2(ab)", r"\log_2(-a)+\log_2(-b)"),
    (r"\sqrt{\frac{1-x}{1+x}}", r"\frac{\sqrt{1-x^2}}{1-x}"),
    (r"\sqrt{\frac{1-x}{1+x}}", r"\frac{-\sqrt{1-x^2}}{1+x}"),
    (r"\sqrt{(x-1)(x-2)}", r"\sqrt{1-x}\sqrt{2-x}"),
    (r"\sqrt{-x^3}", r"x\sqrt{-x}"),
    (r"\sqrt[4]{x^2}", r"\sqrt{x}"),
    // A place at which all random points look past.
    (r"n^2", r"n^2+5\cdot0^{(n-3)^2}"),
    (r"n^2", r"n^2+0^{|n-3|}"),
    (r"n^2", r"n^2+(1-1)^{n-3}"),
    (r"n^2", r"n^2+(x-x)^{(n-3)^2}"),
    (r"0", r"0^{n}"),
    (r"1", r"1-0^{x^2}"),
    (r"f(x)+1", r"f(x)+1+\max(0,10^{-5}-|x-2|)"),
    (r"P(A)+x", r"P(A)+x+\max(0,10^{-5}-|x-2|)"),
    (r"f(x)", r"f(x)+g(x)\max(0,10^{-5}-|x-2|)"),
    (
        r"f(x)g(x)",
        r"f(x)g(x)+\left|x-2\right|-\sqrt{(x-2)^2}+\max(0,10^{-7}-|x-5|)",
    ),
    (r"u(t-2)-u(t-4)", r"2u"),
    (r"u(t-2)-u(t-4)", r"u(t-4)-u(t-2)"),
    (r"u[n-1]-u[n-3]", r"2u"),
    (r"H(t-1)-H(t-3)", r"2H"),
    (r"e^{-t}u(t-1)", r"e^{-t}(t-1)u"),
];
