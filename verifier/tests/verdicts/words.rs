//! Words: what is equal and what is not.

/// Ground truths and answers that say the same.
pub(crate) const EQUAL: &[(&str, &str)] = &[
    // Text.
    ("\\text{(B)}", "(b)"),
    ("\\text{(B)}", "\\text{(B) } 12"),
    ("\\text{(B)}", "\\text{Option B}"),
    ("\\text{(B)}", "\\textbf{(B) }12"),
    ("\\text{Evelyn}", "evelyn"),
    ("\\text{two lines}", "Two lines"),
    ("\\text{October 30}", "October 30"),
    ("\\text{odd}", "odd"),
    ("\\text{CBAD}", "CBAD"),
    ("LQSX", "LQSX"),
    ("\\text{A, B}", "B, A"),
    ("\\text{yes}", "Yes."),
    ("\\text{neither}", "\\text{Neither}"),
    ("None", "none"),
    // Units.
    ("20\\text{ cm}", "20 cm"),
    ("20\\text{ cm}", "20\\mathrm{~cm}"),
    ("20\\text{ cm}", "200\\text{ mm}"),
    ("20\\text{ cm}^2", "20\\text{ square centimeters}"),
    ("20\\text{ cm}^2", "20 \\text{ cm}^{2}"),
    ("45^\\circ", "45"),
    ("45^\\circ", "45°"),
    ("45^\\circ", "45 degrees"),
    ("45^\\circ", "\\frac{\\pi}{4}"),
    ("\\frac{\\pi}{4}", "45^\\circ"),
    ("20\\text{ mph}", "20\\text{ miles per hour}"),
    ("9.8 \\text{ m/s}^2", "9.8\\,\\mathrm{m}/\\mathrm{s}^2"),
    ("9.8 \\text{ m/s}^2", "9.8\\,\\mathrm{m\\,s^{-2}}"),
    ("9.8 \\text{ m/s}^2", "9.8"),
    ("4\\!:\\!51\\!:\\!06 \\text{ p.m.}", "4:51:06 \\text{ p.m.}"),
    ("4\\!:\\!51\\!:\\!06 \\text{ p.m.}", "4:51:06"),
    ("05\\!:\\!00", "5:00"),
];

/// Ground truths and answers that do not.
pub(crate) const DIFFERENT: &[(&str, &str)] = &[
    // Text.
    ("\\text{(B)}", "(B) or (C)"),
    ("\\text{B}", "8"),
    ("B", "b"),
    ("\\text{even}", "odd"),
    ("\\text{odd}", "ddo"),
    ("CBAD", "ABCD"),
    ("\\text{Softball, Kickball, Picnic}", "Kickball, Softball, Picnic"),
    // Units.
    ("20\\text{ cm}", "20\\text{ m}"),
    ("20\\text{ cm}", "20\\text{ cm}^2"),
    ("45^\\circ", "46"),
    ("4\\!:\\!51\\!:\\!06 \\text{ p.m.}", "4:51:07 \\text{ p.m.}"),
];
