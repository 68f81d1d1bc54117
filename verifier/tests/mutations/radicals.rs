//! Roots, multiples of π, and complex numbers.

use crate::rational::Rational;
use crate::sink::Target;

/// `factor · √radicand`, with a positive factor and a square-free radicand above one.
pub(crate) fn square_root(target: &mut Target<'_>, factor: Rational, radicand: i128) {
    let (top, bottom) = (factor.numerator.abs(), factor.denominator);
    let sign = factor.sign();
    let under = top * top * radicand;
    let root = format!("\\sqrt{{{radicand}}}");
    let shown = |number: i128| if number == 1 { String::new() } else { number.to_string() };
    let over = |numerator: String| {
        if bottom == 1 {
            format!("{sign}{numerator}")
        } else {
            format!("{sign}\\frac{{{numerator}}}{{{bottom}}}")
        }
    };
    let plain = over(format!("{}{root}", shown(top)));
    target.same_wrapped();
    target.same("a\\sqrt b as one fraction", plain.clone());
    target.same("explicit \\cdot", over(format!("{top} \\cdot {root}")));
    target.same("explicit \\times", over(format!("{top}\\times{root}")));
    target.same("root first", over(format!("{root} \\cdot {top}")));
    target.same("star", over(format!("{top}*{root}")));
    target.same("a\\sqrt b as \\sqrt{a^2 b}", over(format!("\\sqrt{{{under}}}")));
    target.same(
        "rationalised form undone",
        over(format!("\\frac{{{}}}{{{root}}}", top * radicand)),
    );
    target.same(
        "\\dfrac over the root",
        over(format!("\\dfrac{{{}}}{{{root}}}", top * radicand)),
    );
    target.same("power of a half", over(format!("{top} \\cdot {radicand}^{{1/2}}")));
    target.same(
        "power of \\frac12",
        over(format!("{top} \\cdot {radicand}^{{\\frac{{1}}{{2}}}}")),
    );
    target.same("power of 0.5", over(format!("{top} \\cdot {radicand}^{{0.5}}")));
    target.same(
        "fourth root",
        over(format!("{}\\sqrt[4]{{{}}}", shown(top), radicand * radicand)),
    );
    target.same(
        "root of index two",
        over(format!("{}\\sqrt[2]{{{radicand}}}", shown(top))),
    );
    target.same(
        "square factor left inside",
        format!(
            "{}\\frac{{{}\\sqrt{{{}}}}}{{{}}}",
            sign,
            shown(top),
            radicand * 9,
            bottom * 3
        ),
    );
    target.same("unicode root", over(format!("{}√{{{radicand}}}", shown(top))));
    target.same("plain text root", format!("{sign}{top}*sqrt({radicand})/{bottom}"));
    target.same("x = prefix", format!("x = {plain}"));
    target.same("trailing unit", format!("{plain}\\text{{ units}}"));
    target.same("rational factor in front", format!("{}{root}", factor_in_front(factor)));
    target.same(
        "everything under the root",
        format!("{sign}\\sqrt{{\\frac{{{under}}}{{{}}}}}", bottom * bottom),
    );
    target.same(
        "a sum of two halves",
        format!(
            "{} + {}",
            over(format!("\\frac{{{top}{root}}}{{2}}")),
            over(format!("\\frac{{{top}{root}}}{{2}}"))
        ),
    );
    if radicand < 10 {
        target.same(
            "\\sqrt b without braces",
            over(format!("{}\\sqrt{radicand}", shown(top))),
        );
        target.same(
            "\\sqrt b with a blank",
            over(format!("{}\\sqrt {radicand}", shown(top))),
        );
    }
    target.differs("negated", format!("-({plain})"));
    target.differs("plus one", format!("1 + {plain}"));
    target.differs("minus one", format!("{plain} - 1"));
    target.differs("factor +1", over(format!("{}{root}", top + 1)));
    target.differs("radicand +1", over(format!("{}\\sqrt{{{}}}", shown(top), radicand + 1)));
    target.differs("radicand -1", over(format!("{}\\sqrt{{{}}}", shown(top), radicand - 1)));
    target.differs("radical sign dropped", over(format!("{top} \\cdot {radicand}")));
    target.differs("factor only", over(top.to_string()));
    target.differs("cube root", over(format!("{}\\sqrt[3]{{{radicand}}}", shown(top))));
    target.differs(
        "fourth root of the same",
        over(format!("{}\\sqrt[4]{{{radicand}}}", shown(top))),
    );
    target.differs(
        "index as a factor",
        over(format!("{}3\\sqrt{{{radicand}}}", shown(top))),
    );
    target.differs("plus instead of times", over(format!("{top} + {root}")));
    target.differs("times i", format!("{plain} i"));
    target.differs("times pi", format!("{plain}\\pi"));
    target.differs("times x", format!("{plain} x"));
    target.differs("squared", format!("\\left({plain}\\right)^2"));
    target.differs("a hair more", format!("{plain} + 10^{{-25}}"));
    target.differs(
        "square forgotten",
        format!(
            "{sign}\\sqrt{{{}}}",
            under * if bottom == 1 { 4 } else { bottom * bottom }
        ),
    );
    target.differs("plus or minus", format!("\\pm {plain}"));
    target.differs(
        "two guesses",
        format!("{plain}, {}", over(format!("{}{root}", top + 1))),
    );
    let value = top as f64 / bottom as f64 * (radicand as f64).sqrt();
    target.differs("decimal approximation", format!("{sign}{value:.2}"));
    target.differs("long decimal approximation", format!("{sign}{value:.15}"));
    target.differs(
        "near square root",
        over(format!("{}\\sqrt{{{radicand}.0000000000000000001}}", shown(top))),
    );
    if top != 1 {
        target.differs(
            "factor moved under the root",
            over(format!("\\sqrt{{{}}}", top * radicand)),
        );
        target.differs("factor squared", over(format!("{}{root}", top * top)));
        target.differs("factor dropped", over(root.clone()));
    }
    if top != radicand {
        target.differs(
            "factor and radicand swapped",
            over(format!("{radicand}\\sqrt{{{top}}}")),
        );
    }
}

fn factor_in_front(factor: Rational) -> String {
    if factor.is_integer() {
        format!("{} \\cdot ", factor.latex())
    } else {
        factor.latex()
    }
}

/// `factor · π`, with a factor that is not zero.
pub(crate) fn multiple_of_pi(target: &mut Target<'_>, factor: Rational) {
    let (sign, top, bottom) = (factor.sign(), factor.numerator.abs(), factor.denominator);
    let shown = if top == 1 { String::new() } else { top.to_string() };
    let over = |numerator: String| {
        if bottom == 1 {
            format!("{sign}{numerator}")
        } else {
            format!("{sign}\\frac{{{numerator}}}{{{bottom}}}")
        }
    };
    let plain = over(format!("{shown}\\pi"));
    target.same_wrapped();
    target.same("no blank", plain.clone());
    target.same("a blank", over(format!("{shown} \\pi")));
    target.same("explicit \\cdot", over(format!("{top} \\cdot \\pi")));
    target.same("explicit \\times", over(format!("{top} \\times \\pi")));
    target.same("unicode pi", over(format!("{shown}π")));
    target.same("pi first", over(format!("\\pi \\cdot {top}")));
    target.same("star", over(format!("{top}*\\pi")));
    target.same("plain text pi", format!("{sign}{top}*pi/{bottom}"));
    target.same("pi in braces", over(format!("{shown}{{\\pi}}")));
    target.same("slash", format!("{sign}{shown}\\pi/{bottom}"));
    target.same("factor in front", format!("{} \\pi", factor_in_front(factor)));
    target.same(
        "not reduced",
        format!("{sign}\\frac{{{}\\pi}}{{{}}}", 6 * top, 6 * bottom),
    );
    target.same("trailing .0", format!("{sign}\\frac{{{top}.0\\pi}}{{{bottom}}}"));
    target.same("x = prefix", format!("x = {plain}"));
    target.same("a unit added", format!("{plain}\\text{{ units}}"));
    target.same("a sum", format!("{plain} + \\pi - \\pi"));
    if let Some(decimal) = factor.finite_decimal() {
        target.same("decimal factor", format!("{decimal}\\pi"));
    }
    let value = top as f64 / bottom as f64 * std::f64::consts::PI;
    target.differs("pi dropped", over(top.to_string()));
    target.differs("decimal approximation", format!("{sign}{value:.1}"));
    target.differs("longer decimal approximation", format!("{sign}{value:.5}"));
    target.differs("all digits of a float", format!("{sign}{value:.15}"));
    target.differs("3.14 for pi", over(format!("{top} \\cdot 3.14")));
    target.differs("22/7 for pi", over(format!("{top} \\cdot \\frac{{22}}{{7}}")));
    target.differs(
        "30 digits for pi",
        over(format!("{top} \\cdot 3.141592653589793238462643383280")),
    );
    target.differs("negated", format!("-({plain})"));
    target.differs("plus one", format!("1 + {plain}"));
    target.differs("a number +1", over(format!("{}\\pi", top + 1)));
    target.differs(
        "denominator +1",
        format!("{sign}\\frac{{{shown}\\pi}}{{{}}}", bottom + 1),
    );
    target.differs("pi squared", over(format!("{shown}\\pi^2")));
    target.differs("plus instead of times", over(format!("{top} + \\pi")));
    target.differs("pi below", over(format!("\\frac{{{top}}}{{\\pi}}")));
    target.differs("times i", over(format!("{shown}\\pi i")));
    target.differs("times x", over(format!("{shown}\\pi x")));
    target.differs("e for pi", over(format!("{shown}e")));
    target.differs("times sqrt 2", over(format!("{shown}\\sqrt{{2}}\\pi")));
    target.differs("two guesses", format!("{plain}, {}", over(format!("{}\\pi", top + 1))));
    target.differs("near to pi", over(format!("{top} \\cdot (\\pi + 10^{{-30}})")));
}

/// `whole + factor · √radicand`, none of them zero; the radicand is square-free.
pub(crate) fn sum_with_root(target: &mut Target<'_>, whole: i128, factor: i128, radicand: i128) {
    let (sign, size) = if factor < 0 { ("-", -factor) } else { ("+", factor) };
    let root = if size == 1 {
        format!("\\sqrt{{{radicand}}}")
    } else {
        format!("{size}\\sqrt{{{radicand}}}")
    };
    let leading = if factor < 0 { "-" } else { "" };
    let tail = |whole: i128| {
        if whole < 0 {
            format!("- {}", -whole)
        } else {
            format!("+ {whole}")
        }
    };
    let norm = whole * whole - factor * factor * radicand;
    let square = (whole * whole + factor * factor * radicand, 2 * whole * factor);
    target.same_wrapped();
    target.same("spaces around the sign", format!("{whole} {sign} {root}"));
    target.same("no spaces", format!("{whole}{sign}{root}"));
    target.same("terms reversed", format!("{leading}{root} {}", tail(whole)));
    target.same("brackets", format!("\\left({whole} {sign} {root}\\right)"));
    target.same(
        "factor under the root",
        format!("{whole} {sign} \\sqrt{{{}}}", size * size * radicand),
    );
    target.same("over one", format!("\\frac{{{whole} {sign} {root}}}{{1}}"));
    target.same(
        "over two",
        format!("\\frac{{{} {sign} {}\\sqrt{{{radicand}}}}}{{2}}", 2 * whole, 2 * size),
    );
    target.same(
        "inverse of the conjugate",
        format!(
            "\\frac{{{norm}}}{{{whole} {} {root}}}",
            if factor < 0 { "+" } else { "-" }
        ),
    );
    target.same(
        "its square over itself",
        format!(
            "\\frac{{{} {}\\sqrt{{{radicand}}}}}{{{whole} {sign} {root}}}",
            square.0,
            with_sign(square.1)
        ),
    );
    target.same(
        "negated twice",
        format!(
            "-\\left({} {} {root}\\right)",
            -whole,
            if factor < 0 { "+" } else { "-" }
        ),
    );
    target.same("x = prefix", format!("x = {whole} {sign} {root}"));
    target.differs(
        "conjugate",
        format!("{whole} {} {root}", if factor < 0 { "+" } else { "-" }),
    );
    target.differs("negated", format!("-({whole} {sign} {root})"));
    target.differs("plus one", format!("{} {sign} {root}", whole + 1));
    target.differs("factor +1", format!("{whole} {sign} {}\\sqrt{{{radicand}}}", size + 1));
    target.differs(
        "radicand +1",
        format!("{whole} {sign} {size}\\sqrt{{{}}}", radicand + 1),
    );
    target.differs("radical sign dropped", format!("{whole} {sign} {}", size * radicand));
    target.differs("cube root", format!("{whole} {sign} {size}\\sqrt[3]{{{radicand}}}"));
    target.differs("whole part dropped", format!("{leading}{root}"));
    target.differs("root dropped", whole.to_string());
    target.differs("both conjugates", format!("{whole} \\pm {root}"));
    target.differs(
        "times instead of plus",
        format!("{whole} \\cdot {leading}{root}").replace("\\cdot -", "\\cdot (-1) \\cdot "),
    );
    target.differs(
        "all under the root",
        format!("\\sqrt{{{} {} }}", whole.abs(), tail(size * radicand)),
    );
    let value = whole as f64 + factor as f64 * (radicand as f64).sqrt();
    target.differs("decimal approximation", format!("{value:.3}"));
    target.differs("long decimal approximation", format!("{value:.14}"));
    target.differs("times i", format!("{whole} {sign} {root} i"));
    target.differs("halved", format!("\\frac{{{whole} {sign} {root}}}{{2}}"));
}

fn with_sign(number: i128) -> String {
    if number < 0 {
        format!("- {}", -number)
    } else {
        format!("+ {number}")
    }
}

/// `real + imaginary · i`, neither of them zero.
pub(crate) fn complex(target: &mut Target<'_>, real: Rational, imaginary: Rational) {
    let negative = imaginary.numerator < 0;
    let size = if negative { imaginary.negated() } else { imaginary };
    let factor = if size == Rational::integer(1) {
        String::new()
    } else {
        size.latex()
    };
    let (sign, other_sign, leading) = if negative { ("-", "+", "-") } else { ("+", "-", "") };
    let real_text = real.latex();
    let tail = if real.numerator < 0 {
        format!("- {}", real.negated().latex())
    } else {
        format!("+ {real_text}")
    };
    let plain = format!("{real_text} {sign} {factor}i");
    target.same_wrapped();
    target.same("spaces around the sign", plain.clone());
    target.same("no spaces", format!("{real_text}{sign}{factor}i"));
    target.same("a blank before i", format!("{real_text} {sign} {factor} i"));
    target.same("terms reversed", format!("{leading}{factor} i {tail}"));
    target.same(
        "i first",
        format!(
            "{real_text} {sign} i{}",
            if factor.is_empty() {
                String::new()
            } else {
                format!(" \\cdot {}", size.latex())
            }
        ),
    );
    target.same(
        "explicit \\cdot",
        format!("{real_text} {sign} {} \\cdot i", size.latex()),
    );
    target.same(
        "explicit \\times",
        format!("{real_text} {sign} {}\\times i", size.latex()),
    );
    target.same("star", format!("{real_text} {sign} {}*i", size.latex()));
    target.same("upright i", format!("{real_text} {sign} {factor}\\mathrm{{i}}"));
    target.same("brackets", format!("\\left({plain}\\right)"));
    target.same("z = prefix", format!("z = {plain}"));
    target.same(
        "square root of -1",
        format!("{real_text} {sign} {} \\cdot \\sqrt{{-1}}", size.latex()),
    );
    target.same(
        "i taken out",
        format!("i\\left({} - {real_text} \\cdot i\\right)", imaginary.latex()).replace("- -", "+ "),
    );
    target.same(
        "conjugate of the conjugate",
        format!("\\overline{{{real_text} {other_sign} {factor}i}}"),
    );
    target.same(
        "negated twice",
        format!("-({} {other_sign} {factor}i)", real.negated().latex()),
    );
    target.same("real part plus zero", format!("{plain} + 0"));
    target.same("over two", {
        let twice = |value: Rational| value.times(Rational::integer(2)).latex();
        format!("\\frac{{{} {sign} {} i}}{{2}}", twice(real), twice(size))
    });
    let one = Rational::integer(1);
    target.differs("conjugate", format!("{real_text} {other_sign} {factor}i"));
    target.differs("negated", format!("-({plain})"));
    target.differs("real part +1", format!("{} {sign} {factor}i", real.plus(one).latex()));
    target.differs(
        "real part -1",
        format!("{} {sign} {factor}i", real.plus(one.negated()).latex()),
    );
    target.differs(
        "imaginary part +1",
        format!("{real_text} {sign} {}i", size.plus(one).latex()),
    );
    target.differs(
        "imaginary part doubled",
        format!("{real_text} {sign} {}i", size.plus(size).latex()),
    );
    target.differs("times i", format!("({plain})i"));
    target.differs("i dropped", format!("{real_text} {sign} {}", size.latex()));
    target.differs("real part only", real_text.clone());
    target.differs("imaginary part only", format!("{leading}{factor}i"));
    target.differs(
        "a pair instead of a number",
        format!("({real_text}, {})", imaginary.latex()),
    );
    target.differs("both conjugates", format!("{real_text} \\pm {factor}i"));
    target.differs("two guesses", format!("{plain}, {real_text} {other_sign} {factor}i"));
    target.differs("i squared", format!("{real_text} {sign} {} i^2", size.latex()));
    target.differs("x for i", format!("{real_text} {sign} {factor}x"));
    target.differs("absolute value", format!("|{plain}|"));
    target.differs("a hair more", format!("{plain} + 10^{{-20}} i"));
    if real != imaginary {
        target.differs("parts swapped", format!("{} + ({real_text}) i", imaginary.latex()));
    }
}
