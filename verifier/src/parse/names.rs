//! The tokens that names stand for: LaTeX commands, plain words, single characters beyond ASCII.

use compact_str::CompactString;

use super::lines::LINE;
use super::signs;
use super::token::{Bracket, Conjunction, Kind, Relation};
use crate::expression::{Constant, Function};

/// The token of a LaTeX command without its backslash; none if it is unknown or has no meaning by itself.
pub(super) fn command(name: &str) -> Option<Kind<'static>> {
    Some(match name {
        "pi" => Kind::Constant(Constant::Pi),
        "infty" | "infin" => Kind::Constant(Constant::Infinity),
        "imath" => Kind::Constant(Constant::Imaginary),
        "jmath" => Kind::Symbol(CompactString::const_new("j")),
        "frac" | "dfrac" | "tfrac" | "cfrac" | "nicefrac" | "sfrac" | "flatfrac" => Kind::Frac,
        "sqrt" | "surd" => Kind::Sqrt,
        "binom" | "dbinom" | "tbinom" => Kind::Binom,
        "cdot" | "times" | "ast" | "cdotp" | "bullet" => Kind::Times,
        "div" | "slash" => Kind::Divide,
        "pm" => Kind::PlusMinus,
        "mp" => Kind::MinusPlus,
        "circ" | "degree" => Kind::Degree,
        "%" => Kind::Percent,
        "$" => Kind::Currency("$"),
        "euro" => Kind::Currency("€"),
        "pounds" => Kind::Currency("£"),
        "{" | "lbrace" => Kind::Open(Bracket::Brace),
        "}" | "rbrace" => Kind::Close(Bracket::Brace),
        "lparen" => Kind::Open(Bracket::Round),
        "rparen" => Kind::Close(Bracket::Round),
        "lbrack" => Kind::Open(Bracket::Square),
        "rbrack" => Kind::Close(Bracket::Square),
        "lfloor" => Kind::Open(Bracket::Floor),
        "rfloor" => Kind::Close(Bracket::Floor),
        "lceil" => Kind::Open(Bracket::Ceiling),
        "rceil" => Kind::Close(Bracket::Ceiling),
        "langle" => Kind::Open(Bracket::Angle),
        "rangle" => Kind::Close(Bracket::Angle),
        "lvert" | "lVert" => Kind::Open(Bracket::Bar),
        "rvert" | "rVert" => Kind::Close(Bracket::Bar),
        "vert" | "Vert" | "|" | "mid" => Kind::Bar,
        "\\" | "cr" | "newline" => Kind::RowBreak,
        "eq" | "coloneqq" => Kind::Relation(Relation::Equal),
        "approx" | "simeq" | "approxeq" | "doteq" | "cong" => Kind::Relation(Relation::Approximate),
        "ne" | "neq" => Kind::Relation(Relation::NotEqual),
        "lt" => Kind::Relation(Relation::Less),
        "le" | "leq" | "leqslant" | "leqq" => Kind::Relation(Relation::LessOrEqual),
        "gt" => Kind::Relation(Relation::Greater),
        "ge" | "geq" | "geqslant" | "geqq" => Kind::Relation(Relation::GreaterOrEqual),
        "cup" | "bigcup" => Kind::Cup,
        "setminus" | "smallsetminus" | "backslash" => Kind::SetMinus,
        "in" => Kind::In,
        "emptyset" | "varnothing" => Kind::EmptySet,
        "R" | "Reals" | "reals" => Kind::Reals,
        "lor" | "vee" => Kind::Conjunction(Conjunction::Or),
        "land" | "wedge" => Kind::Conjunction(Conjunction::And),
        "over" => Kind::Over,
        "choose" => Kind::Choose,
        "ldots" | "dots" | "cdots" | "dotsc" | "dotsb" | "vdots" | "ddots" => Kind::Dots,
        "prime" => Kind::Prime,
        "overline" | "bar" => Kind::Accent("bar"),
        "widehat" | "hat" => Kind::Accent("hat"),
        "widetilde" | "tilde" => Kind::Accent("tilde"),
        "dot" => Kind::Accent("dot"),
        "ddot" => Kind::Accent("ddot"),
        "underline" => Kind::Accent(""),
        "vec" | "overrightarrow" => Kind::Accent(""),
        "overleftrightarrow" => Kind::Accent(LINE),
        "angle" | "measuredangle" | "sphericalangle" => Kind::Shape("angle"),
        "triangle" | "vartriangle" | "bigtriangleup" => Kind::Shape("triangle"),
        "hbar" => Kind::Symbol(CompactString::const_new("ħ")),
        "ell" => Kind::Symbol(CompactString::const_new("ℓ")),
        "nabla" => Kind::Symbol(CompactString::const_new("∇")),
        "partial" => Kind::Symbol(CompactString::const_new("∂")),
        "colon" => Kind::Colon,
        _ => {
            if let Some(function) = function(name) {
                return Some(Kind::Function(function));
            }
            match signs::command(name) {
                Some(sign) => Kind::Other(sign),
                None => Kind::Symbol(CompactString::const_new(greek(name)?)),
            }
        }
    })
}

/// A function by its name, with or without a backslash.
pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "sin" => Function::Sin,
        "cos" => Function::Cos,
        "tan" | "tg" => Function::Tan,
        "cot" | "ctg" => Function::Cot,
        "sec" => Function::Sec,
        "csc" | "cosec" => Function::Csc,
        "arcsin" | "asin" => Function::Arcsin,
        "arccos" | "acos" => Function::Arccos,
        "arctan" | "atan" => Function::Arctan,
        "arccot" | "acot" => Function::Arccot,
        "sinh" => Function::Sinh,
        "cosh" => Function::Cosh,
        "tanh" => Function::Tanh,
        "arsinh" | "arcsinh" | "asinh" | "argsinh" => Function::Arsinh,
        "arcosh" | "arccosh" | "acosh" | "argcosh" => Function::Arcosh,
        "artanh" | "arctanh" | "atanh" | "argtanh" => Function::Artanh,
        "ln" => Function::Ln,
        "log" | "lg" => Function::Log,
        "abs" => Function::Abs,
        "floor" => Function::Floor,
        "ceil" | "ceiling" => Function::Ceiling,
        "gcd" => Function::Gcd,
        "lcm" => Function::Lcm,
        "max" => Function::Max,
        "min" => Function::Min,
        "Re" | "real" => Function::Re,
        "Im" => Function::Im,
        // Functions that are written with others.
        "exp" => Function::Named(CompactString::const_new("exp")),
        "cis" => Function::Named(CompactString::const_new("cis")),
        "coth" => Function::Named(CompactString::const_new("coth")),
        "sech" => Function::Named(CompactString::const_new("sech")),
        "csch" | "cosech" => Function::Named(CompactString::const_new("csch")),
        "arcoth" | "arccoth" | "acoth" => Function::Named(CompactString::const_new("arcoth")),
        "arsech" | "arcsech" | "asech" => Function::Named(CompactString::const_new("arsech")),
        "arcsch" | "arccsch" | "acsch" => Function::Named(CompactString::const_new("arcsch")),
        "arcsec" | "asec" => Function::Named(CompactString::const_new("arcsec")),
        "arccsc" | "acsc" => Function::Named(CompactString::const_new("arccsc")),
        _ => return None,
    })
}

/// A plain word, as in `sqrt(2)` or `2 pi`.
pub(super) fn word(name: &str) -> Option<Kind<'static>> {
    Some(match name {
        "sqrt" => Kind::Sqrt,
        "pi" | "Pi" | "PI" => Kind::Constant(Constant::Pi),
        "infinity" | "Infinity" | "inf" | "oo" | "infty" => Kind::Constant(Constant::Infinity),
        "or" => Kind::Conjunction(Conjunction::Or),
        "and" => Kind::Conjunction(Conjunction::And),
        "degrees" | "degree" | "deg" => Kind::Degree,
        "percent" => Kind::Percent,
        "binom" => Kind::Binom,
        "cdot" => Kind::Times,
        "USD" => Kind::Currency("$"),
        _ => {
            if let Some(function) = function(name) {
                return Some(Kind::Function(function));
            }
            if name.len() < 3 && !matches!(name, "mu" | "nu" | "xi") {
                return None;
            }
            Kind::Symbol(CompactString::const_new(greek(name)?))
        }
    })
}

/// A character beyond ASCII that stands for a token.
pub(super) fn character(next: char) -> Option<Kind<'static>> {
    Some(match next {
        '−' | '–' | '—' | '‐' | '‑' | '﹣' | '－' => Kind::Minus,
        '＋' => Kind::Plus,
        '·' | '×' | '⋅' | '∙' | '•' | '∗' | '✕' | '⨯' => Kind::Times,
        '÷' | '∕' | '⁄' => Kind::Divide,
        '±' => Kind::PlusMinus,
        '∓' => Kind::MinusPlus,
        '√' => Kind::Sqrt,
        'π' | '𝜋' => Kind::Constant(Constant::Pi),
        '∞' => Kind::Constant(Constant::Infinity),
        'ⅈ' => Kind::Constant(Constant::Imaginary),
        'ℯ' => Kind::Constant(Constant::Euler),
        '°' | 'º' | '∘' => Kind::Degree,
        '％' => Kind::Percent,
        '€' => Kind::Currency("€"),
        '£' => Kind::Currency("£"),
        '¥' => Kind::Currency("¥"),
        '¢' => Kind::Currency("¢"),
        '＝' => Kind::Relation(Relation::Equal),
        '≈' | '≃' | '≅' => Kind::Relation(Relation::Approximate),
        '≠' => Kind::Relation(Relation::NotEqual),
        '≤' | '⩽' | '≦' => Kind::Relation(Relation::LessOrEqual),
        '≥' | '⩾' | '≧' => Kind::Relation(Relation::GreaterOrEqual),
        '＜' => Kind::Relation(Relation::Less),
        '＞' => Kind::Relation(Relation::Greater),
        '∪' | '⋃' => Kind::Cup,
        '∖' => Kind::SetMinus,
        '∈' => Kind::In,
        '∅' | '⌀' => Kind::EmptySet,
        'ℝ' => Kind::Reals,
        '⌊' => Kind::Open(Bracket::Floor),
        '⌋' => Kind::Close(Bracket::Floor),
        '⌈' => Kind::Open(Bracket::Ceiling),
        '⌉' => Kind::Close(Bracket::Ceiling),
        '⟨' | '〈' => Kind::Open(Bracket::Angle),
        '⟩' | '〉' => Kind::Close(Bracket::Angle),
        '（' => Kind::Open(Bracket::Round),
        '）' => Kind::Close(Bracket::Round),
        '，' | '、' => Kind::Comma,
        '；' => Kind::Semicolon,
        '：' | '∶' => Kind::Colon,
        '‖' => Kind::Bar,
        '…' | '⋯' => Kind::Dots,
        '′' | '’' => Kind::Prime,
        '∨' => Kind::Conjunction(Conjunction::Or),
        '∧' => Kind::Conjunction(Conjunction::And),
        '∠' | '∡' | '∢' => Kind::Shape("angle"),
        '△' => Kind::Shape("triangle"),
        // The signs of micro and ohm, which have characters of their own.
        '\u{b5}' => Kind::Symbol(CompactString::const_new("μ")),
        '\u{2126}' => Kind::Symbol(CompactString::const_new("Ω")),
        // Other forms of letters, which LaTeX has for one command each.
        'ℏ' => Kind::Symbol(CompactString::const_new("ħ")),
        'ϕ' => Kind::Symbol(CompactString::const_new("φ")),
        'ϵ' => Kind::Symbol(CompactString::const_new("ε")),
        'ϑ' => Kind::Symbol(CompactString::const_new("θ")),
        _ => {
            if let Some(sign) = signs::character(next) {
                return Some(Kind::Other(sign));
            }
            let mut bytes = [0; 4];
            let letter = GREEK
                .iter()
                .find(|(_, letter)| *letter == &*next.encode_utf8(&mut bytes))?;
            Kind::Symbol(CompactString::const_new(letter.1))
        }
    })
}

/// The base of a numeral, in digits or as a word.
pub(super) fn base(name: &str) -> Option<i64> {
    Some(match name {
        "two" | "binary" => 2,
        "three" => 3,
        "four" => 4,
        "five" => 5,
        "six" => 6,
        "seven" => 7,
        "eight" | "octal" => 8,
        "nine" => 9,
        "ten" | "decimal" => 10,
        "eleven" => 11,
        "twelve" => 12,
        "sixteen" | "hex" => 16,
        digits => return digits.parse().ok(),
    })
}

/// A digit that stands high, as in `x²`.
pub(super) fn superscript(next: char) -> Option<char> {
    Some(match next {
        '⁰' => '0',
        '¹' => '1',
        '²' => '2',
        '³' => '3',
        '⁴' => '4',
        '⁵' => '5',
        '⁶' => '6',
        '⁷' => '7',
        '⁸' => '8',
        '⁹' => '9',
        '⁻' => '-',
        _ => return None,
    })
}

/// A digit that stands low, as in `x₁`.
pub(super) fn subscript(next: char) -> Option<char> {
    let digit = u32::from(next).checked_sub(u32::from('₀'))?;
    char::from_digit(digit, 10).filter(|_| digit < 10)
}

/// A fraction of one character, as numerator and denominator.
pub(super) fn vulgar_fraction(next: char) -> Option<(u8, u8)> {
    Some(match next {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        _ => return None,
    })
}

fn greek(name: &str) -> Option<&'static str> {
    GREEK
        .iter()
        .find(|(command, _)| *command == name)
        .map(|(_, letter)| *letter)
}

const GREEK: [(&str, &str); 39] = [
    ("alpha", "α"),
    ("beta", "β"),
    ("gamma", "γ"),
    ("delta", "δ"),
    ("epsilon", "ε"),
    ("varepsilon", "ε"),
    ("zeta", "ζ"),
    ("eta", "η"),
    ("theta", "θ"),
    ("vartheta", "θ"),
    ("kappa", "κ"),
    ("lambda", "λ"),
    ("mu", "μ"),
    ("nu", "ν"),
    ("xi", "ξ"),
    ("rho", "ρ"),
    ("varrho", "ρ"),
    ("sigma", "σ"),
    ("varsigma", "ς"),
    ("tau", "τ"),
    ("upsilon", "υ"),
    ("phi", "φ"),
    ("varphi", "φ"),
    ("chi", "χ"),
    ("psi", "ψ"),
    ("omega", "ω"),
    ("Gamma", "Γ"),
    ("Delta", "Δ"),
    ("Theta", "Θ"),
    ("Lambda", "Λ"),
    ("Xi", "Ξ"),
    ("Pi", "Π"),
    ("Sigma", "Σ"),
    ("Upsilon", "Υ"),
    ("Phi", "Φ"),
    ("Psi", "Ψ"),
    ("Omega", "Ω"),
    ("varpi", "ϖ"),
    ("digamma", "ϝ"),
];
