//! The units of measurement by their names, with their prefixes.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use dashu_int::{IBig, UBig};
use dashu_ratio::RBig;

/// A unit by its names: the dimension, and the size in the dimension's base unit as a fraction.
struct Entry {
    /// Signs, in which case counts: `Pa` is a pascal.
    signs: &'static [&'static str],
    /// Words in the singular, in which it does not.
    words: &'static [&'static str],
    dimension: &'static str,
    size: (u64, u64),
    /// Whether it takes prefixes: `km`, `milligram`.
    has_prefixes: bool,
}

const fn entry(
    signs: &'static [&'static str],
    words: &'static [&'static str],
    dimension: &'static str,
    size: (u64, u64),
) -> Entry {
    Entry {
        signs,
        words,
        dimension,
        size,
        has_prefixes: false,
    }
}

const fn metric(
    signs: &'static [&'static str],
    words: &'static [&'static str],
    dimension: &'static str,
    size: (u64, u64),
) -> Entry {
    Entry {
        has_prefixes: true,
        ..entry(signs, words, dimension, size)
    }
}

/// The units; lengths in micrometres, times in seconds, masses in milligrams, areas and volumes as powers of lengths, angles
/// that are so many degrees in these. Gallons are those of the United States, of 231 cubic inches, and so are cups and spoons.
static UNITS: [Entry; 65] = [
    metric(&["m"], &["meter", "metre"], "length", (1_000_000, 1)),
    entry(&["in"], &["inch", "inche"], "length", (25_400, 1)),
    entry(&["ft"], &["foot", "feet"], "length", (304_800, 1)),
    entry(&["yd"], &["yard"], "length", (914_400, 1)),
    entry(&["mi"], &["mile"], "length", (1_609_344_000, 1)),
    metric(&["s"], &["sec", "second"], "time", (1, 1)),
    entry(&["min"], &["minute"], "time", (60, 1)),
    entry(&["h"], &["hr", "hour"], "time", (3_600, 1)),
    entry(&["d"], &["day"], "time", (86_400, 1)),
    entry(&[], &["fortnight"], "time", (1_209_600, 1)),
    entry(&[], &["week"], "time", (604_800, 1)),
    entry(&[], &["month"], "month", (1, 1)),
    entry(&[], &["year", "yr"], "month", (12, 1)),
    entry(&[], &["decade"], "month", (120, 1)),
    entry(&[], &["century", "centurie"], "month", (1_200, 1)),
    metric(&["g"], &["gram", "gramme"], "mass", (1_000, 1)),
    entry(&["gm"], &[], "mass", (1_000, 1)),
    entry(&["mcg"], &[], "mass", (1, 1_000)),
    entry(&[], &["kilo"], "mass", (1_000_000, 1)),
    entry(&["lb"], &["pound"], "weight", (16, 1)),
    entry(&["oz"], &["ounce"], "weight", (1, 1)),
    entry(&[], &["ton"], "tons", (1, 1)),
    entry(&["$"], &["dollar", "usd", "buck"], "dollar", (1, 1)),
    entry(&["¢"], &["cent"], "dollar", (1, 100)),
    entry(&["€"], &["euro", "eur"], "euro", (1, 1)),
    entry(&["£"], &[], "sterling", (1, 1)),
    entry(&["¥"], &["yen"], "yen", (1, 1)),
    entry(&[], &["rupee"], "rupee", (1, 1)),
    metric(&["l", "L"], &["liter", "litre"], "volume", (1_000_000_000_000_000, 1)),
    entry(&["cc"], &[], "volume", (1_000_000_000_000, 1)),
    entry(&["gal"], &["gallon"], "volume", (3_785_411_784_000_000, 1)),
    entry(&["qt"], &["quart"], "volume", (946_352_946_000_000, 1)),
    entry(&[], &["pint"], "volume", (473_176_473_000_000, 1)),
    entry(&[], &["cup"], "volume", (236_588_236_500_000, 1)),
    entry(&["tbsp"], &["tablespoon"], "volume", (14_786_764_781_250, 1)),
    entry(&["tsp"], &["teaspoon"], "volume", (4_928_921_593_750, 1)),
    entry(&[], &["acre"], "area", (4_046_856_422_400_000, 1)),
    entry(&["ha"], &["hectare"], "area", (10_000_000_000_000_000, 1)),
    metric(&["N"], &["newton"], "newton", (1, 1)),
    metric(&["J"], &["joule"], "joule", (1, 1)),
    metric(&["W"], &["watt"], "watt", (1, 1)),
    metric(&["V"], &["volt"], "volt", (1, 1)),
    metric(&["Hz"], &["hertz"], "hertz", (1, 1)),
    metric(&["K"], &["kelvin"], "kelvin", (1, 1)),
    metric(&["rad"], &["radian"], "radian", (1, 1)),
    entry(&["grad"], &["gradian", "gon"], "degree", (9, 10)),
    entry(&["arcmin"], &["arcminute"], "degree", (1, 60)),
    entry(&["arcsec"], &["arcsecond"], "degree", (1, 3_600)),
    entry(&["rev"], &["revolution"], "degree", (360, 1)),
    metric(&["Pa"], &["pascal"], "pascal", (1, 1)),
    metric(&["mol"], &["mole"], "mole", (1, 1)),
    metric(&["A"], &["ampere", "amp"], "ampere", (1, 1)),
    metric(&[], &["coulomb"], "coulomb", (1, 1)),
    metric(&[], &["farad"], "farad", (1, 1)),
    metric(&["H"], &["henry", "henrie"], "henry", (1, 1)),
    metric(&["Ω"], &["ohm"], "ohm", (1, 1)),
    entry(&[], &["kilohm"], "ohm", (1_000, 1)),
    entry(&[], &["megohm"], "ohm", (1_000_000, 1)),
    metric(&["T"], &["tesla"], "tesla", (1, 1)),
    metric(&["cal"], &["calorie"], "calorie", (1, 1)),
    metric(&["eV"], &["electronvolt"], "electronvolt", (1, 1)),
    metric(&["B"], &["byte"], "byte", (1, 1)),
    metric(&[], &["bit"], "bit", (1, 1)),
    entry(&[], &["celsius", "centigrade"], "celsius", (1, 1)),
    entry(&[], &["fahrenheit"], "fahrenheit", (1, 1)),
];

/// Signs that are one unit with a prefix, and may be another without: 5 C may be degrees.
const WITH_PREFIX_ONLY: [(&str, &str); 3] = [("C", "coulomb"), ("F", "farad"), ("b", "bit")];

/// Letters that stand for either of two units, with the dimension that they have until another unit tells which.
const EITHER: [(&str, &str, [&str; 2]); 2] = [
    ("C", "coulomb or celsius", ["coulomb", "celsius"]),
    ("F", "farad or fahrenheit", ["farad", "fahrenheit"]),
];

/// Letters that are units behind a number, and much else among words: `5 \text{ mg of vitamin C}`.
const LETTERS: [&str; 6] = ["A", "B", "C", "F", "H", "T"];

/// The prefixes: sign, word, and the power of ten.
const PREFIXES: [(&str, &str, i8); 20] = [
    ("k", "kilo", 3),
    // No other prefix is a capital K.
    ("K", "kilo", 3),
    ("c", "centi", -2),
    ("m", "milli", -3),
    ("M", "mega", 6),
    ("G", "giga", 9),
    ("T", "tera", 12),
    ("h", "hecto", 2),
    ("da", "deca", 1),
    ("d", "deci", -1),
    ("μ", "micro", -6),
    ("u", "micro", -6),
    ("n", "nano", -9),
    ("p", "pico", -12),
    ("f", "femto", -15),
    ("a", "atto", -18),
    ("P", "peta", 15),
    ("E", "exa", 18),
    ("Z", "zetta", 21),
    ("Y", "yotta", 24),
];

/// The prefixes that stand before a few signs only; before others they are rather something else: `am`, `PM`, `as`.
const RARE_PREFIXES: [&str; 5] = ["a", "P", "E", "Z", "Y"];

/// Whether this prefix stands before this sign.
fn may_stand_before(prefix: &str, sign: &str) -> bool {
    match prefix {
        _ if !RARE_PREFIXES.contains(&prefix) => true,
        "a" => sign == "J",
        _ => matches!(sign, "B" | "b" | "J" | "W" | "Hz" | "eV"),
    }
}

/// Dimensions that are powers of another.
pub(super) fn power_of(dimension: &'static str) -> (&'static str, i32) {
    match dimension {
        "area" => ("length", 2),
        "volume" => ("length", 3),
        other => (other, 1),
    }
}

/// A unit that was found.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) dimension: &'static str,
    /// Its size in the dimension's base unit.
    pub(super) size: RBig,
}

impl Entry {
    fn with_prefix(&self, power: i8) -> Found {
        let ten = UBig::from(10u8).pow(usize::from(power.unsigned_abs()));
        let scale = if power < 0 {
            RBig::from_parts(IBig::ONE, ten)
        } else {
            RBig::from(ten)
        };
        let size = RBig::from_parts(IBig::from(self.size.0), UBig::from(self.size.1));
        Found {
            dimension: self.dimension,
            size: size * scale,
        }
    }
}

/// The units by their names.
struct Index {
    signs: HashMap<&'static str, &'static Entry>,
    words: HashMap<&'static str, &'static Entry>,
    /// By signs in lower case, with the power of their prefix: what is meant whichever letters are capitals.
    sloppy: HashMap<String, (&'static Entry, i8)>,
    /// All signs with all prefixes, in lower case.
    lower_signs: HashSet<String>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index {
        signs: HashMap::new(),
        words: HashMap::new(),
        sloppy: HashMap::new(),
        lower_signs: HashSet::new(),
    };
    for entry in &UNITS {
        for sign in entry.signs {
            index.signs.entry(sign).or_insert(entry);
        }
        for word in entry.words {
            index.words.entry(word).or_insert(entry);
        }
    }
    (index.sloppy, index.lower_signs) = sloppy_signs(&index);
    index
});

/// Signs that are no units here, or two units in one, and differ from a unit only in case: `PA` may be petaamperes, `Nm`
/// are newton-metres, `kn` knots.
const OTHER_SIGNS: [&str; 7] = ["PA", "Nm", "Ns", "Pm", "Ps", "kn", "Pg"];

/// The signs that may be written in any case: `KGS`, `FT`, `Km`, `ghz`. Those of everyday units, and those of one letter
/// and prefix that no other sign has in another case. With them all signs in lower case.
fn sloppy_signs(index: &Index) -> (HashMap<String, (&'static Entry, i8)>, HashSet<String>) {
    let mut readings: HashMap<String, HashSet<(&str, i8)>> = HashMap::new();
    let mut read = |sign: String, reading| readings.entry(sign.to_lowercase()).or_default().insert(reading);
    for other in OTHER_SIGNS {
        read(other.to_owned(), (other, 0));
    }
    for (sign, entry) in &index.signs {
        read((*sign).to_owned(), (entry.dimension, 0));
    }
    let with_prefix_only = WITH_PREFIX_ONLY.iter().map(|(sign, _)| sign);
    for sign in index.signs.keys().chain(with_prefix_only) {
        for (prefix, _, power) in PREFIXES.iter().filter(|(prefix, ..)| may_stand_before(prefix, sign)) {
            if let Some(entry) = prefixed(index, sign, *power) {
                read(format!("{prefix}{sign}"), (entry.dimension, *power));
            }
        }
    }
    let is_only = |sign: &str| readings.get(sign).is_some_and(|readings| readings.len() == 1);
    let mut sloppy = HashMap::new();
    for entry in &UNITS {
        for sign in entry.signs {
            let lower = sign.to_lowercase();
            // A letter alone is no sign in the other case: `M` is no metre, `S` no second.
            if sign.chars().count() > 1 && (!entry.has_prefixes || is_only(&lower)) {
                sloppy.entry(lower.clone()).or_insert((entry, 0));
            }
            for (prefix, _, power) in PREFIXES.iter().filter(|_| entry.has_prefixes) {
                let name = format!("{}{lower}", prefix.to_lowercase());
                if takes_sloppy_prefix(sign, prefix) && is_only(&name) {
                    sloppy.entry(name).or_insert((entry, *power));
                }
            }
        }
    }
    (sloppy, readings.into_keys().collect())
}

/// Whether a sign with this prefix is taken for it in any case. `M` and `m`, `P` and `p` are two prefixes, so that these
/// are not guessed, and neither is what is rather an abbreviation: `NW`, `HK`, `Cs`.
fn takes_sloppy_prefix(sign: &str, prefix: &str) -> bool {
    let is_long = sign.len() > 1 && sign.is_ascii();
    match prefix {
        "k" => sign != "K" && sign != "s" && !LETTERS.contains(&sign),
        "c" => matches!(sign, "m" | "l" | "L" | "g"),
        "h" => matches!(sign, "m" | "l" | "L" | "g" | "Pa"),
        "G" => is_long || matches!(sign, "W" | "J" | "V" | "N"),
        "n" => is_long,
        _ => false,
    }
}

/// The unit of a name.
///
/// The case of a sign counts, because prefixes differ by it: `mW` is a billionth of `MW`. Only where no two units could
/// be meant it does not: `KG`, `Cm`. So `mhz` is no unit, and `PA` neither.
pub(super) fn lookup(name: &str) -> Option<Found> {
    // `4:51 \text{ pm}` is a time.
    if name.eq_ignore_ascii_case("pm") {
        return None;
    }
    if let Some(found) = of_sign(name) {
        return Some(found);
    }
    let index = &*INDEX;
    let lower = name.to_lowercase();
    let by_word = |word: &str| index.words.get(word).copied();
    let singular = lower.strip_suffix('s').filter(|stem| stem.len() > 1);
    for word in [Some(lower.as_str()), singular].into_iter().flatten() {
        if let Some(entry) = by_word(word) {
            return Some(entry.with_prefix(0));
        }
        let with_prefix = PREFIXES.iter().find_map(|(_, prefix, power)| {
            let entry = by_word(word.strip_prefix(prefix)?).filter(|entry| entry.has_prefixes)?;
            Some(entry.with_prefix(*power))
        });
        if with_prefix.is_some() {
            return with_prefix;
        }
    }
    // `cms`, `mins`. Behind a capital an `s` is rather a second: `mAs`.
    let plural = name
        .strip_suffix('s')
        .filter(|stem| stem.len() > 1 && stem.ends_with(|last: char| last.is_ascii_lowercase()));
    if let Some(found) = plural.and_then(of_sign) {
        return Some(found);
    }
    let mut sloppy = [Some(lower.as_str()), singular].into_iter().flatten();
    sloppy.find_map(|word| index.sloppy.get(word).map(|(entry, power)| entry.with_prefix(*power)))
}

/// Signs of units that are not known here, in lower case; their prefixes differ by case all the same.
const OTHER_UNITS: [&str; 9] = ["bq", "sv", "gy", "wb", "ci", "bar", "pc", "da", "bps"];

/// Whether a word is a sign but for the case of its letters: `pB` is no `PB`.
pub(super) fn is_sign_in_other_case(word: &str) -> bool {
    let lower = word.to_lowercase();
    let is_other = |sign: &&str| {
        lower
            .strip_suffix(*sign)
            .is_some_and(|prefix| matches!(prefix, "m" | "p" | "k" | "g" | "n"))
    };
    INDEX.lower_signs.contains(&lower) || OTHER_UNITS.iter().any(is_other)
}

/// The unit of a sign as it is written, with or without a prefix.
fn of_sign(name: &str) -> Option<Found> {
    let index = &*INDEX;
    if let Some(entry) = index.signs.get(name) {
        return Some(entry.with_prefix(0));
    }
    if let Some((_, dimension, _)) = EITHER.iter().find(|(letter, ..)| *letter == name) {
        let size = RBig::ONE;
        return Some(Found { dimension, size });
    }
    PREFIXES.iter().find_map(|(prefix, _, power)| {
        let sign = name
            .strip_prefix(prefix)
            .filter(|sign| may_stand_before(prefix, sign))?;
        prefixed(index, sign, *power).map(|entry| entry.with_prefix(*power))
    })
}
/// The unit with this sign, if it takes this prefix.
fn prefixed(index: &Index, sign: &str, power: i8) -> Option<&'static Entry> {
    let of_word = || {
        let (_, word) = WITH_PREFIX_ONLY.iter().find(|(known, _)| *known == sign)?;
        index.words.get(word)
    };
    let entry = *index.signs.get(sign).or_else(of_word)?;
    // `dB` is no tenth of a byte.
    let is_part_of_byte = matches!(entry.dimension, "byte" | "bit") && power < 3;
    (entry.has_prefixes && !is_part_of_byte).then_some(entry)
}

/// The two units that are multiplied or divided in one sign: `Nm`, `kWh`, `mph`.
pub(super) fn joined(name: &str) -> Option<[(&str, i32); 2]> {
    match name {
        "mph" => return Some([("mi", 1), ("h", -1)]),
        "rpm" => return Some([("rev", 1), ("min", -1)]),
        "kph" | "kmh" | "kmph" => return Some([("km", 1), ("h", -1)]),
        _ if name.eq_ignore_ascii_case("kwh") => return Some([("kW", 1), ("h", 1)]),
        _ => {}
    }
    let (first, second) = name.split_at_checked(name.len().checked_sub(1)?)?;
    // Quickly past most words.
    if !matches!(second, "m" | "h" | "s") || !first.contains(|letter: char| letter.is_ascii_uppercase()) {
        return None;
    }
    let is_product = matches!(
        (of_sign(first)?.dimension, second),
        ("newton", "m") | ("watt" | "ampere", "h") | ("newton" | "joule" | "pascal", "s")
    );
    is_product.then_some([(first, 1), (second, 1)])
}

/// Whether a dimension is that of money.
pub(super) fn is_currency(dimension: &str) -> bool {
    matches!(dimension, "dollar" | "euro" | "sterling" | "yen" | "rupee")
}

/// Whether two dimensions are one: those of a letter and of a unit that it may stand for, 5 C and 5 °C, are.
pub fn is_same_dimension(one: &str, other: &str) -> bool {
    let may_be = |letter: &str, unit: &str| {
        let found = EITHER.iter().find(|(_, dimension, _)| *dimension == letter);
        found.is_some_and(|(.., units)| units.contains(&unit))
    };
    one == other || may_be(one, other) || may_be(other, one)
}

/// Whether a word is a letter that is a unit behind a number only.
pub(super) fn is_letter(word: &str) -> bool {
    LETTERS.contains(&word)
}

/// Whether a plain word after a number is one of the units that can hardly be a product of variables.
pub(super) fn is_unit_word(word: &str) -> bool {
    if matches!(word, "mph" | "kph" | "units" | "unit" | "sq") {
        return true;
    }
    let lower = word.to_lowercase();
    let singular = lower.strip_suffix('s').filter(|stem| stem.len() > 1).unwrap_or(&lower);
    let is_common = |word: &str| {
        let index = &*INDEX;
        // `2 mg` is a weight as often as a mass. A word here has two letters at least.
        matches!(word, "cm" | "mm" | "km" | "nm" | "ms" | "kg" | "ml")
            || index.words.contains_key(word)
            // `3 gm` may be 3·g·m.
            || word != "gm" && index.sloppy.get(word).is_some_and(|(_, power)| *power == 0)
    };
    word.len() > 1 && lookup(word).is_some() && (is_common(&lower) || is_common(singular) || lower.len() > 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_differ_by_case() {
        let size = |name: &str| lookup(name).map(|found| found.size);
        for (small, large, power) in [
            ("mg", "Mg", 9),
            ("mHz", "MHz", 9),
            ("mW", "MW", 9),
            ("mPa", "MPa", 9),
            ("J", "kJ", 3),
        ] {
            let (small, large) = (size(small).unwrap(), size(large).unwrap());
            assert_eq!(small * RBig::from(UBig::from(10u8).pow(power)), large);
        }
        for (one, other) in [
            ("kg", "KG"),
            ("kg", "kilograms"),
            ("cm", "Cm"),
            ("mL", "milliliters"),
            ("GHz", "gigahertz"),
            ("μA", "microamperes"),
            ("h", "Hours"),
            ("lbs", "pounds"),
            ("KGS", "kg"),
            ("gms", "g"),
            ("FT", "ft"),
            ("ghz", "GHz"),
            ("kpa", "kPa"),
            ("A", "amperes"),
            ("KB", "kilobytes"),
            ("ha", "hectares"),
        ] {
            assert_eq!(lookup(one), lookup(other), "{one} {other}");
            assert!(lookup(one).is_some(), "{one}");
        }
        for none in [
            "M", "S", "mhz", "MG", "mw", "PA", "NM", "Nm", "Ns", "MM", "kn", "dB", "NW", "a", "apples", "kin", "x",
            "kx", "pair", "",
        ] {
            assert_eq!(lookup(none), None, "{none}");
        }
        assert_ne!(lookup("mA"), lookup("A"));
    }

    #[test]
    fn one_sign_may_be_two_units() {
        for (name, first, second) in [
            ("Nm", "N", "m"),
            ("kNm", "kN", "m"),
            ("kWh", "kW", "h"),
            ("mAh", "mA", "h"),
        ] {
            assert_eq!(joined(name), Some([(first, 1), (second, 1)]), "{name}");
        }
        for none in ["nm", "m", "", "mm", "ms", "As", "é", "kmm"] {
            assert_eq!(joined(none), None, "{none}");
        }
    }
}
