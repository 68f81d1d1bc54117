//! Series and infinite products whose values are known: the terms for k = 0, 1, 2, …, up to a factor in a series.

/// One of them.
#[derive(Debug)]
pub(super) struct Known {
    /// Whether the terms are added, and not multiplied.
    pub(super) is_sum: bool,
    /// The term, of k.
    pub(super) term: &'static str,
    /// The value.
    pub(super) value: &'static str,
}

const fn sum(term: &'static str, value: &'static str) -> Known {
    Known {
        is_sum: true,
        term,
        value,
    }
}

const fn product(term: &'static str, value: &'static str) -> Known {
    Known {
        is_sum: false,
        term,
        value,
    }
}

/// The table. The values of ζ at even numbers are Euler's, the others are in any table of series.
pub(super) const KNOWN: [Known; 17] = [
    sum("\\frac{1}{(k+1)^2}", "\\frac{\\pi^2}{6}"),
    sum("\\frac{1}{(k+1)^4}", "\\frac{\\pi^4}{90}"),
    sum("\\frac{1}{(k+1)^6}", "\\frac{\\pi^6}{945}"),
    sum("\\frac{1}{(k+1)^8}", "\\frac{\\pi^8}{9450}"),
    sum("\\frac{1}{(2k+1)^2}", "\\frac{\\pi^2}{8}"),
    sum("\\frac{1}{(2k+1)^4}", "\\frac{\\pi^4}{96}"),
    sum("\\frac{(-1)^k}{(k+1)^2}", "\\frac{\\pi^2}{12}"),
    sum("\\frac{(-1)^k}{k+1}", "\\ln 2"),
    sum("\\frac{(-1)^k}{2k+1}", "\\frac{\\pi}{4}"),
    sum("\\frac{(-1)^k}{(2k+1)^3}", "\\frac{\\pi^3}{32}"),
    sum("\\frac{1}{(k+1)(k+2)}", "1"),
    sum("\\frac{1}{(k+1)(k+2)(k+3)}", "\\frac{1}{4}"),
    sum("\\frac{1}{(k+1)(k+3)}", "\\frac{3}{4}"),
    sum("\\frac{1}{(2k+1)(2k+3)}", "\\frac{1}{2}"),
    sum("\\frac{k+1}{(k+2)!}", "1"),
    product("\\frac{4(k+1)^2}{4(k+1)^2-1}", "\\frac{\\pi}{2}"),
    product("1-\\frac{1}{(k+2)^2}", "\\frac{1}{2}"),
];
