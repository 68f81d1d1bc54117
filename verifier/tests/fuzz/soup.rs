//! Texts without sense: bytes, characters, pieces of LaTeX in any order.

use crate::support::Random;

/// Bytes, read as UTF-8 as far as they are.
pub(crate) fn bytes(random: &mut Random) -> String {
    let length = random.below(60);
    let ascii_only = random.once_in(2);
    let bytes: Vec<u8> = (0..length)
        .map(|_| (random.next() >> 40) as u8 & if ascii_only { 0x7f } else { 0xff })
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Ranges of characters that the lexer knows some of: Latin, Greek, punctuation, super- and subscripts, letterlike
/// symbols and fractions, arrows and operators, brackets, full width, mathematical letters, anything.
const RANGES: [(u32, u32); 11] = [
    (0x20, 0x7e),
    (0xa0, 0xff),
    (0x370, 0x3ff),
    (0x2000, 0x206f),
    (0x2070, 0x209f),
    (0x2100, 0x218f),
    (0x2190, 0x22ff),
    (0x2308, 0x232a),
    (0x27c0, 0x29ff),
    (0xff00, 0xff60),
    (0x1d400, 0x1d7ff),
];

/// Characters from everywhere.
pub(crate) fn characters(random: &mut Random) -> String {
    let length = random.below(40);
    (0..length)
        .filter_map(|_| {
            let (low, high) = if random.once_in(12) {
                (0, 0x10_ffff)
            } else {
                *random.pick(&RANGES)
            };
            char::from_u32(random.between(i128::from(low), i128::from(high)) as u32)
        })
        .collect()
}

/// What the stages react to.
pub(crate) const PIECES: [&str; 194] = [
    "0",
    "1",
    "2",
    "3",
    "7",
    "12",
    "100",
    "1,000",
    "12,34",
    "3.14",
    "0.5",
    ".5",
    "5.",
    "0.\\overline{3}",
    "10^",
    "1e5",
    "x",
    "y",
    "n",
    "a",
    "b",
    "e",
    "i",
    "f",
    "f(",
    "C",
    "A",
    "m",
    "k",
    "t",
    "AB",
    "xy",
    "\\alpha",
    "\\theta",
    "\\pi",
    "π",
    "α",
    "\\infty",
    "∞",
    "+",
    "-",
    "−",
    "\\pm",
    "±",
    "\\mp",
    "*",
    "\\cdot",
    "\\times",
    "×",
    "/",
    "\\div",
    "÷",
    "^",
    "_",
    "^{",
    "_{",
    "^2",
    "²",
    "_1",
    "₁",
    "!",
    "!!",
    "'",
    "|",
    "\\|",
    "\\lvert",
    "\\rvert",
    "=",
    "<",
    ">",
    "\\le",
    "\\ge",
    "\\neq",
    "\\approx",
    "≤",
    "≥",
    "≠",
    "\\in",
    "∈",
    ",",
    ";",
    ":",
    "{,}",
    ".",
    "\\,",
    "\\!",
    "\\;",
    "~",
    " ",
    "  ",
    "\n",
    "\t",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "\\{",
    "\\}",
    "\\langle",
    "\\rangle",
    "\\lfloor",
    "\\rfloor",
    "\\lceil",
    "\\rceil",
    "\\left(",
    "\\right)",
    "\\left[",
    "\\right]",
    "\\left\\{",
    "\\right\\}",
    "\\left|",
    "\\right|",
    "\\left.",
    "\\right.",
    "\\left",
    "\\right",
    "\\big(",
    "\\Bigr)",
    "\\frac",
    "\\frac{",
    "}{",
    "\\dfrac12",
    "\\tfrac",
    "\\cfrac",
    "\\sqrt",
    "\\sqrt{",
    "\\sqrt[",
    "\\sqrt[3]{",
    "√",
    "\\binom",
    "\\choose",
    "\\over",
    "\\sin",
    "\\cos",
    "\\tan^{-1}",
    "\\arctan",
    "\\log",
    "\\log_",
    "\\ln",
    "sin",
    "log",
    "sqrt(",
    "\\exp",
    "\\gcd(",
    "\\max",
    "\\text{",
    "\\text{ cm}",
    "\\mathrm{",
    "\\mathbf{v}",
    "\\operatorname{lcm}",
    "\\text{ or }",
    " or ",
    " and ",
    "\\cup",
    "\\cap",
    "\\setminus",
    "\\emptyset",
    "\\mathbb{R}",
    "\\begin{pmatrix}",
    "\\end{pmatrix}",
    "\\begin{cases}",
    "\\end{cases}",
    "&",
    "\\\\",
    "\\begin{array}{c|c}",
    "\\end{array}",
    "\\overline{",
    "\\bar",
    "\\hat{",
    "\\vec",
    "^\\circ",
    "°",
    "%",
    "\\%",
    "$",
    "\\$",
    "£",
    "cm",
    "km/h",
    "degrees",
    "^T",
    "\\boxed{",
    "\\dots",
    "\\ldots",
    "mod",
    "\\pmod{",
    "½",
    "⅔",
    "∪",
    "\\",
    "\\ ",
    "é",
];

/// Pieces of LaTeX in any order.
pub(crate) fn pieces(random: &mut Random) -> String {
    let most = if random.once_in(20) { 120 } else { 16 };
    let length = random.below(most);
    let mut text = String::new();
    for _ in 0..length {
        let piece: &str = random.pick::<&str>(&PIECES);
        text.push_str(piece);
    }
    if random.once_in(2) { balanced(&text) } else { text }
}

/// Closes what was opened, in order, and drops what closes nothing, so that more of the soup is read.
fn balanced(text: &str) -> String {
    let mut output = String::with_capacity(text.len() + 8);
    let mut open: Vec<char> = Vec::new();
    let mut is_escaped = false;
    for next in text.chars() {
        let closing = match next {
            '{' => '}',
            '(' => ')',
            '[' => ']',
            _ => ' ',
        };
        match next {
            _ if is_escaped => {}
            '{' | '(' | '[' => open.push(closing),
            '}' | ')' | ']' if open.last() == Some(&next) => {
                open.pop();
            }
            '}' | ')' | ']' => continue,
            _ => {}
        }
        is_escaped = next == '\\' && !is_escaped;
        output.push(next);
    }
    output.extend(open.iter().rev());
    output
}
