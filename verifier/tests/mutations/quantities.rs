//! Numbers with something behind or before them: percents, money, degrees, units.

use crate::numbers::grouped;
use crate::rational::Rational;
use crate::sink::Target;

/// A percentage, given by its digits: `75`, `0.5`.
pub(crate) fn percent(target: &mut Target<'_>, value: Rational) {
    let Some(number) = value.finite_decimal() else {
        return;
    };
    let hundredth = value.times(Rational::new(1, 100));
    let one = Rational::integer(1);
    let written = |value: Rational| value.finite_decimal().unwrap_or_else(|| value.latex());
    target.same_wrapped();
    target.same("\\%", format!("{number}\\%"));
    target.same("bare %", format!("{number}%"));
    target.same("blank before \\%", format!("{number} \\%"));
    target.same("thin space before \\%", format!("{number}\\,\\%"));
    target.same("tie before \\%", format!("{number}~\\%"));
    target.same("\\text{ percent}", format!("{number}\\text{{ percent}}"));
    target.same("percent as a word", format!("{number} \\text{{percent}}"));
    target.same("\\text{\\%}", format!("{number}\\text{{\\%}}"));
    target.same("\\mathrm{\\%}", format!("{number}\\mathrm{{\\%}}"));
    target.same("all in \\text", format!("\\text{{{number}\\%}}"));
    target.same("x = prefix", format!("x = {number}\\%"));
    target.same("dollar signs inside the box", format!("${number}\\%$"));
    target.same("percent sign outside the dollar signs", format!("${number}$\\%"));
    target.same("percent sign dropped", number.clone());
    target.same("as a fraction", format!("\\frac{{{number}}}{{100}}"));
    target.same("as a reduced fraction", hundredth.latex());
    target.same("as a decimal", written(hundredth));
    target.same("trailing full stop", format!("{number}\\%."));
    target.same("brackets", format!("\\left({number}\\%\\right)"));
    if value.is_integer() {
        target.same("trailing .0", format!("{number}.0\\%"));
        target.same("trailing .00", format!("{number}.00\\%"));
    } else {
        target.same("trailing zero", format!("{number}0\\%"));
        target.same("as a fraction of percents", format!("{}\\%", value.latex()));
    }
    let complement = Rational::integer(100).plus(value.negated());
    if complement != value {
        target.differs("complement", format!("{}\\%", written(complement)));
        target.differs("complement without its sign", written(complement));
    }
    let next = value.plus(one);
    target.differs("off by one", format!("{}\\%", written(next)));
    target.differs("off by one, no sign", written(next));
    target.differs(
        "off by one as a fraction",
        format!("\\frac{{{}}}{{100}}", written(next)),
    );
    target.differs("off by one as a decimal", written(next.times(Rational::new(1, 100))));
    target.differs(
        "off by one in the fifth digit",
        format!("{}\\%", written(value.plus(Rational::new(1, 10_000)))),
    );
    target.differs(
        "times ten",
        format!("{}\\%", written(value.times(Rational::integer(10)))),
    );
    target.differs("a tenth", format!("{}\\%", written(value.times(Rational::new(1, 10)))));
    target.differs("times ten as a decimal", written(value.times(Rational::new(1, 10))));
    target.differs("sign flipped", format!("-{number}\\%"));
    target.differs(
        "a hundredth of a percent",
        written(value.times(Rational::new(1, 10_000))),
    );
    target.differs("two guesses", format!("{number}\\%, {}\\%", written(next)));
    target.differs("a range", format!("{number}\\%-{}\\%", written(next)));
    target.differs("percent of something else", format!("{number}\\% x"));
    target.differs("times sqrt 2", format!("{number}\\sqrt{{2}}\\%"));
    target.differs("sign only", "\\%");
    target.differs("none", "\\text{none}");
}

/// An amount of money in dollars, in cents.
pub(crate) fn money(target: &mut Target<'_>, cents: i128) {
    let value = Rational::new(cents, 100);
    let exact = format!("{}.{:02}", cents / 100, cents % 100);
    let plain = if cents % 100 == 0 {
        (cents / 100).to_string()
    } else {
        exact.clone()
    };
    target.same("identical", target.truth());
    target.same("\\$", format!("\\${plain}"));
    target.same("blank after \\$", format!("\\$ {plain}"));
    target.same("thin space after \\$", format!("\\$\\,{plain}"));
    target.same("\\text{\\$}", format!("\\text{{\\$}}{plain}"));
    target.same("\\mathrm{\\$}", format!("\\mathrm{{\\$}}{plain}"));
    target.same("all in \\text", format!("\\text{{\\${plain}}}"));
    target.same("dollar sign dropped", plain.clone());
    target.same("with cents", format!("\\${exact}"));
    target.same("dollars as text", format!("{plain}\\text{{ dollars}}"));
    target.same("dollars as a bare word", format!("{plain} \\text{{dollars}}"));
    target.same("dollars in \\mathrm", format!("{plain}~\\mathrm{{dollars}}"));
    target.same("USD", format!("{plain} \\text{{ USD}}"));
    target.same("x = prefix", format!("x = \\${plain}"));
    target.same("extra braces", format!("{{\\${plain}}}"));
    target.same("dollar signs inside the box", format!("$\\${plain}$"));
    target.same("trailing full stop", format!("\\${plain}."));
    target.same("as a fraction", value.latex());
    target.same("nested box", format!("\\boxed{{\\${plain}}}"));
    if cents >= 100_000 {
        let tail = if cents % 100 == 0 {
            String::new()
        } else {
            format!(".{:02}", cents % 100)
        };
        for (why, separator) in [
            ("thousands with a comma", ","),
            ("thousands with {,}", "{,}"),
            ("thousands with ,\\!", ",\\!"),
        ] {
            target.same(why, format!("\\${}{tail}", grouped(cents / 100, separator)));
        }
    }
    let written = |cents: i128| format!("{}.{:02}", cents / 100, cents % 100);
    target.differs("off by one", format!("\\${}", written(cents + 100)));
    target.differs("off by one, no sign", written(cents + 100));
    target.differs("off by a cent", format!("\\${}", written(cents + 1)));
    target.differs("off by a cent, no sign", written(cents + 1));
    target.differs("times ten", format!("\\${}", written(cents * 10)));
    target.differs(
        "a tenth",
        format!("\\${}", Rational::new(cents, 1000).finite_decimal().unwrap_or_default()),
    );
    target.differs("sign flipped", format!("-\\${plain}"));
    target.differs("cents instead of dollars", format!("{plain}\\text{{ cents}}"));
    target.differs("euros instead of dollars", format!("{plain}\\text{{ euros}}"));
    target.differs("pounds instead of dollars", format!("£{plain}"));
    target.differs("two guesses", format!("\\${plain}, \\${}", written(cents + 100)));
    target.differs(
        "two guesses with or",
        format!("\\${plain} \\text{{ or }} \\${}", written(cents + 100)),
    );
    target.differs("sign only", "\\$");
    if cents % 100 != 0 {
        target.differs("cents dropped", format!("\\${}", cents / 100));
    }
}

/// An angle in degrees.
pub(crate) fn degrees(target: &mut Target<'_>, value: Rational) {
    let Some(number) = value.finite_decimal() else {
        return;
    };
    let written = |value: Rational| value.finite_decimal().unwrap_or_else(|| value.latex());
    target.same_wrapped();
    target.same("^\\circ", format!("{number}^\\circ"));
    target.same("^{\\circ}", format!("{number}^{{\\circ}}"));
    target.same("blank before the degrees", format!("{number} ^\\circ"));
    target.same("braces before the degrees", format!("{{{number}}}^\\circ"));
    target.same("brackets before the degrees", format!("({number})^\\circ"));
    target.same("degree sign", format!("{number}°"));
    target.same("\\degree", format!("{number}\\degree"));
    target.same("degrees dropped", number.clone());
    target.same("\\text{ degrees}", format!("{number}\\text{{ degrees}}"));
    target.same("degrees in \\mathrm", format!("{number}\\,\\mathrm{{degrees}}"));
    target.same("\\text{°}", format!("{number}\\text{{°}}"));
    target.same("\\angle prefix", format!("\\angle ABC = {number}^\\circ"));
    target.same("\\angle prefix, one letter", format!("\\angle A = {number}^\\circ"));
    target.same("m\\angle prefix", format!("m\\angle ABC = {number}^\\circ"));
    target.same("x = prefix", format!("x = {number}^\\circ"));
    target.same("x = prefix, degrees dropped", format!("x = {number}"));
    target.same("Greek prefix", format!("\\theta = {number}^\\circ"));
    target.same("dollar signs inside the box", format!("${number}^\\circ$"));
    target.same("trailing full stop", format!("{number}^\\circ."));
    let next = written(value.plus(Rational::integer(1)));
    target.differs("off by one", format!("{next}^\\circ"));
    target.differs("off by one, no sign", next.clone());
    target.differs("sign flipped", format!("-{number}^\\circ"));
    target.differs(
        "times ten",
        format!("{}^\\circ", written(value.times(Rational::integer(10)))),
    );
    for (why, whole) in [("supplement", 180), ("complement", 90), ("explement", 360)] {
        let other = Rational::integer(whole).plus(value.negated());
        if other != value {
            target.differs(why, format!("{}^\\circ", written(other)));
        }
    }
    target.differs(
        "full turn added",
        format!("{}^\\circ", written(value.plus(Rational::integer(360)))),
    );
    target.differs("radians instead of degrees", format!("{number}\\text{{ radians}}"));
    target.differs("times pi", format!("{number}\\pi"));
    target.differs("its sine", format!("\\sin {number}^\\circ"));
    target.differs("minutes instead of degrees", format!("{number}\\text{{ minutes}}"));
    target.differs("unit only", "^\\circ");
    target.differs("two guesses", format!("{number}^\\circ, {next}^\\circ"));
    target.differs(
        "off by a thousandth",
        format!("{}^\\circ", written(value.plus(Rational::new(1, 1000)))),
    );
    if value != Rational::integer(1) {
        target.differs("power instead of degrees", format!("{number}^{{0}}"));
    }
}

/// A unit of measurement: as it is written in full, other ways to write it, and units it must not be taken for.
pub(crate) struct Unit {
    /// In full, plural.
    pub(crate) plural: &'static str,
    /// The same unit, as it stands behind the number.
    pub(crate) same: &'static [&'static str],
    /// Other units.
    pub(crate) other: &'static [&'static str],
}

/// Units of all sorts; the last ones are counted things.
pub(crate) const UNITS: [Unit; 22] = [
    unit(
        "miles",
        &["\\text{ mile}", "\\text{ mi}"],
        &["\\text{ kilometers}", "\\text{ feet}"],
    ),
    unit("days", &["\\text{ day}"], &["\\text{ hours}", "\\text{ weeks}"]),
    unit(
        "hours",
        &["\\text{ hour}", "\\text{ h}"],
        &["\\text{ minutes}", "\\text{ days}"],
    ),
    unit(
        "minutes",
        &["\\text{ minute}", "\\text{ min}"],
        &["\\text{ seconds}", "\\text{ hours}"],
    ),
    unit("seconds", &["\\text{ second}", "\\text{ s}"], &["\\text{ minutes}"]),
    unit("years", &["\\text{ year}"], &["\\text{ months}"]),
    unit(
        "inches",
        &["\\text{ inch}", "\\text{ in}"],
        &["\\text{ feet}", "\\text{ cm}"],
    ),
    unit(
        "feet",
        &["\\text{ foot}", "\\text{ ft}"],
        &["\\text{ yards}", "\\text{ meters}", "\\text{ square feet}"],
    ),
    unit(
        "centimeters",
        &["\\text{ cm}", "\\mathrm{cm}", "\\text{ centimeter}"],
        &["\\text{ m}", "\\text{ mm}"],
    ),
    unit(
        "meters",
        &["\\text{ m}", "\\mathrm{m}", "\\text{ meter}"],
        &["\\text{ km}", "\\text{ cm}", "\\text{ m}^2"],
    ),
    unit(
        "kilometers",
        &["\\text{ km}", "\\mathrm{~km}"],
        &["\\text{ miles}", "\\text{ m}"],
    ),
    unit(
        "square centimeters",
        &["\\text{ cm}^2", "\\text{ cm}^{2}", "\\mathrm{cm}^2"],
        &["\\text{ cm}", "\\text{ cm}^3"],
    ),
    unit(
        "square feet",
        &["\\text{ sq ft}", "\\text{ ft}^2"],
        &["\\text{ feet}", "\\text{ square inches}"],
    ),
    unit(
        "cubic inches",
        &["\\text{ in}^3", "\\text{ inches}^3"],
        &["\\text{ in}^2", "\\text{ inches}"],
    ),
    unit(
        "square units",
        &["\\text{ sq. units}", "\\text{ sq units}", "\\text{ units}^2"],
        &["\\text{ cubic units}"],
    ),
    unit(
        "pounds",
        &["\\text{ pound}", "\\text{ lb}"],
        &["\\text{ ounces}", "\\text{ kilograms}"],
    ),
    unit("grams", &["\\text{ g}", "\\mathrm{g}"], &["\\text{ kg}", "\\text{ mg}"]),
    unit("cents", &["\\text{ cent}"], &["\\text{ dollars}"]),
    unit("gallons", &["\\text{ gallon}"], &["\\text{ liters}"]),
    unit("dogs", &["\\text{ dog}"], &["\\text{ cats}"]),
    unit("ways", &["\\text{ way}", "\\text{ different ways}"], &[]),
    unit("students", &["\\text{ student}"], &["\\text{ teachers}"]),
];

const fn unit(plural: &'static str, same: &'static [&'static str], other: &'static [&'static str]) -> Unit {
    Unit { plural, same, other }
}

/// A number, written in LaTeX, with a unit in words.
pub(crate) fn with_unit(target: &mut Target<'_>, value: Rational, unit: &str) {
    let number = value.latex();
    let next = value.plus(Rational::integer(1)).latex();
    target.same_wrapped();
    target.same("\\text{ unit}", format!("{number}\\text{{ {unit}}}"));
    target.same("blank before \\text", format!("{number} \\text{{ {unit}}}"));
    target.same("no blank in \\text", format!("{number} \\text{{{unit}}}"));
    target.same(
        "\\mathrm{unit}",
        format!("{number}\\,\\mathrm{{{}}}", unit.replace(' ', "\\ ")),
    );
    target.same("tie before unit", format!("{number}~\\text{{{unit}}}"));
    target.same("backslash blank before unit", format!("{number}\\ \\text{{{unit}}}"));
    target.same("\\quad before unit", format!("{number} \\quad \\text{{{unit}}}"));
    target.same("\\mbox", format!("{number}\\mbox{{ {unit}}}"));
    target.same("\\textrm", format!("{number}\\textrm{{ {unit}}}"));
    target.same("bare word", format!("{number} {unit}"));
    target.same("unit dropped", number.clone());
    target.same("x = prefix, unit dropped", format!("x = {number}"));
    target.same("x = prefix", format!("x = {number} \\text{{ {unit}}}"));
    target.same("trailing full stop in \\text", format!("{number}\\text{{ {unit}.}}"));
    target.same("trailing full stop", format!("{number}\\text{{ {unit}}}."));
    if value.is_integer() {
        target.same("trailing .0", format!("{number}.0\\text{{ {unit}}}"));
        target.same("all in \\text", format!("\\text{{{number} {unit}}}"));
    } else {
        target.same(
            "a/b",
            format!("{}/{}\\text{{ {unit}}}", value.numerator, value.denominator),
        );
    }
    target.differs("off by one, same unit", format!("{next}\\text{{ {unit}}}"));
    target.differs("off by one, unit dropped", next.clone());
    target.differs("sign flipped", format!("{}\\text{{ {unit}}}", value.negated().latex()));
    target.differs("sign flipped, unit dropped", value.negated().latex());
    target.differs(
        "times ten",
        format!("{}\\text{{ {unit}}}", value.times(Rational::integer(10)).latex()),
    );
    target.differs(
        "plus a hundredth",
        format!("{}\\text{{ {unit}}}", value.plus(Rational::new(1, 100)).latex()),
    );
    target.differs("unit only", format!("\\text{{{unit}}}"));
    target.differs(
        "two guesses",
        format!("{number}\\text{{ {unit}}}, {next}\\text{{ {unit}}}"),
    );
    target.differs(
        "two guesses with or",
        format!("{number}\\text{{ or }}{next}\\text{{ {unit}}}"),
    );
    target.differs("times sqrt 2", format!("{number}\\sqrt{{2}}\\text{{ {unit}}}"));
    target.differs("not so many", format!("\\text{{not }}{number}\\text{{ {unit}}}"));
}

/// Other spellings of a known unit, and other units.
pub(crate) fn unit_spellings(target: &mut Target<'_>, number: &str, unit: &Unit) {
    for spelling in unit.same {
        target.same("unit spelt otherwise", format!("{number}{spelling}"));
    }
    for other in unit.other {
        target.differs("another unit", format!("{number}{other}"));
    }
}
