//! The units of measurement by their names, with their prefixes.

use std::collections::HashMap;
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

/// The units; lengths in micrometres, times in seconds, masses in milligrams, volumes as cubed lengths.
static UNITS: [Entry; 47] = [
    metric(&["m"], &["meter", "metre"], "length", (1_000_000, 1)),
    entry(&["in"], &["inch", "inche"], "length", (25_400, 1)),
    entry(&["ft"], &["foot", "feet"], "length", (304_800, 1)),
    entry(&["yd"], &["yard"], "length", (914_400, 1)),
    entry(&["mi"], &["mile"], "length", (1_609_344_000, 1)),
    metric(&["s"], &["sec", "second"], "time", (1, 1)),
    entry(&["min"], &["minute"], "time", (60, 1)),
    entry(&["h"], &["hr", "hour"], "time", (3_600, 1)),
    entry(&["d"], &["day"], "time", (86_400, 1)),
    entry(&[], &["week"], "time", (604_800, 1)),
    entry(&[], &["month"], "month", (1, 1)),
    entry(&[], &["year", "yr"], "month", (12, 1)),
    metric(&["g"], &["gram", "gramme"], "mass", (1_000, 1)),
    entry(&["lb"], &["pound"], "weight", (16, 1)),
    entry(&["oz"], &["ounce"], "weight", (1, 1)),
    entry(&[], &["ton"], "tons", (1, 1)),
    entry(&["$"], &["dollar", "usd", "buck"], "dollar", (1, 1)),
    entry(&["¢"], &["cent"], "dollar", (1, 100)),
    entry(&["€"], &["euro", "eur"], "euro", (1, 1)),
    entry(&["£"], &[], "sterling", (1, 1)),
    entry(&["¥"], &["yen"], "yen", (1, 1)),
    entry(&[], &["rupee"], "rupee", (1, 1)),
    metric(&["l", "L"], &["liter", "litre"], "liters", (1_000, 1)),
    entry(&["gal"], &["gallon"], "gallons", (4, 1)),
    entry(&["qt"], &["quart"], "gallons", (1, 1)),
    entry(&[], &["acre"], "acres", (1, 1)),
    metric(&["N"], &["newton"], "newton", (1, 1)),
    metric(&["J"], &["joule"], "joule", (1, 1)),
    metric(&["W"], &["watt"], "watt", (1, 1)),
    metric(&["V"], &["volt"], "volt", (1, 1)),
    metric(&["Hz"], &["hertz"], "hertz", (1, 1)),
    metric(&["K"], &["kelvin"], "kelvin", (1, 1)),
    metric(&["rad"], &["radian"], "radian", (1, 1)),
    metric(&["Pa"], &["pascal"], "pascal", (1, 1)),
    metric(&["mol"], &["mole"], "mole", (1, 1)),
    metric(&[], &["ampere", "amp"], "ampere", (1, 1)),
    metric(&[], &["coulomb"], "coulomb", (1, 1)),
    metric(&[], &["farad"], "farad", (1, 1)),
    metric(&["Ω"], &["ohm"], "ohm", (1, 1)),
    metric(&[], &["tesla"], "tesla", (1, 1)),
    metric(&["cal"], &["calorie"], "calorie", (1, 1)),
    metric(&["eV"], &["electronvolt"], "electronvolt", (1, 1)),
    metric(&[], &["byte"], "byte", (1, 1)),
    metric(&[], &["bit"], "bit", (1, 1)),
    metric(&[], &["watt-hour"], "watt-hour", (1, 1)),
    entry(&[], &["celsius", "centigrade"], "celsius", (1, 1)),
    entry(&[], &["fahrenheit"], "fahrenheit", (1, 1)),
];

/// Signs of units that are no word by themselves, because the letter stands for other things too: 5 C may be degrees.
const WITH_PREFIX_ONLY: [(&str, &str); 7] = [
    ("A", "ampere"),
    ("C", "coulomb"),
    ("F", "farad"),
    ("T", "tesla"),
    ("Wh", "watt-hour"),
    ("B", "byte"),
    ("b", "bit"),
];

/// The prefixes: sign, word, and the power of ten.
const PREFIXES: [(&str, &str, i8); 14] = [
    ("k", "kilo", 3),
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
];

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
    /// By signs in lower case, of units that take prefixes and of all units whose sign has more than one letter. Of two
    /// units the first counts.
    sloppy_with_prefix: HashMap<String, &'static Entry>,
    sloppy: HashMap<String, &'static Entry>,
}

static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index {
        signs: HashMap::new(),
        words: HashMap::new(),
        sloppy_with_prefix: HashMap::new(),
        sloppy: HashMap::new(),
    };
    for entry in &UNITS {
        for sign in entry.signs {
            index.signs.entry(sign).or_insert(entry);
            if entry.has_prefixes {
                index.sloppy_with_prefix.entry(sign.to_lowercase()).or_insert(entry);
            }
            if sign.chars().count() > 1 {
                index.sloppy.entry(sign.to_lowercase()).or_insert(entry);
            }
        }
        for word in entry.words {
            index.words.entry(word).or_insert(entry);
        }
    }
    index
});

/// The unit of a name.
///
/// The case of a sign counts, because prefixes differ by it: `mW` is a billionth of `MW`. Only where no two units could
/// be meant it does not: `KG`, `Cm`. So `mhz` is no unit.
pub(super) fn lookup(name: &str) -> Option<Found> {
    // `4:51 \text{ pm}` is a time.
    if name.eq_ignore_ascii_case("pm") {
        return None;
    }
    let index = &*INDEX;
    if let Some(entry) = index.signs.get(name) {
        return Some(entry.with_prefix(0));
    }
    let with_prefix = PREFIXES.iter().find_map(|(prefix, _, power)| {
        let sign = name.strip_prefix(prefix)?;
        prefixed(sign).map(|entry| entry.with_prefix(*power))
    });
    if with_prefix.is_some() {
        return with_prefix;
    }
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
    // Sloppy signs: `Km`, `KGS`, `FT`. A letter alone is no sign in the other case: `M` is no metre, `S` no second.
    if lower.chars().count() == 1 {
        return None;
    }
    for word in [Some(lower.as_str()), singular].into_iter().flatten() {
        if let Some(entry) = index.sloppy.get(word) {
            return Some(entry.with_prefix(0));
        }
        // `M` and `m`, `P` and `p` are two prefixes, so that these are not guessed.
        let sloppy = ["k", "c", "g", "n", "h"].into_iter().find_map(|prefix| {
            let (.., power) = PREFIXES.iter().find(|(sign, ..)| sign.eq_ignore_ascii_case(prefix))?;
            let entry = index.sloppy_with_prefix.get(word.strip_prefix(prefix)?)?;
            Some(entry.with_prefix(*power))
        });
        if sloppy.is_some() {
            return sloppy;
        }
    }
    None
}

/// The unit with this sign, if it takes prefixes.
fn prefixed(sign: &str) -> Option<&'static Entry> {
    let index = &*INDEX;
    let of_word = || {
        let (_, word) = WITH_PREFIX_ONLY.iter().find(|(known, _)| *known == sign)?;
        index.words.get(word)
    };
    let found = index.signs.get(sign).filter(|entry| entry.has_prefixes);
    found.or_else(|| of_word().filter(|entry| entry.has_prefixes)).copied()
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
            || index.sloppy.contains_key(word)
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
        ] {
            assert_eq!(lookup(one), lookup(other), "{one} {other}");
            assert!(lookup(one).is_some(), "{one}");
        }
        for none in ["M", "S", "mhz", "MG", "mw", "apples", "A", "kin", "x", "kx", "pair", ""] {
            assert_eq!(lookup(none), None, "{none}");
        }
    }
}
