//! Tuples, intervals and their unions, and inequalities.

use crate::rational::Rational;
use crate::sink::Target;

/// The entries of a tuple, with commas between them.
fn listed(entries: &[Rational], separator: &str) -> String {
    let entries: Vec<String> = entries.iter().map(|entry| entry.latex()).collect();
    entries.join(separator)
}

/// Entries, with every one respelt in its own way.
fn respelt(entries: &[Rational]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .enumerate()
        .map(|(index, entry)| {
            if entry.is_integer() {
                format!("{}.0", entry.latex())
            } else {
                let spellings = entry.fraction_spellings();
                spellings[index % spellings.len()].1.clone()
            }
        })
        .collect();
    entries.join(", ")
}

fn changed(entries: &[Rational], index: usize, by: i128) -> Vec<Rational> {
    let mut entries = entries.to_vec();
    entries[index] = entries[index].plus(Rational::integer(by));
    entries
}

/// A point or vector with at least two entries.
pub(crate) fn tuple(target: &mut Target<'_>, entries: &[Rational]) {
    let names = ["x", "y", "z", "w", "u", "v"];
    let tight = listed(entries, ",");
    target.same_wrapped();
    target.same("no spaces", format!("({tight})"));
    target.same("spaces after commas", format!("({})", listed(entries, ", ")));
    target.same("spaces around everything", format!("( {} )", listed(entries, " , ")));
    target.same("thin spaces", format!("({})", listed(entries, ",\\,")));
    target.same("\\; spaces", format!("({})", listed(entries, ",\\; ")));
    target.same("\\left \\right", format!("\\left({}\\right)", listed(entries, ", ")));
    target.same(
        "\\left \\right and blanks",
        format!("\\left( {} \\right)", listed(entries, " , ")),
    );
    target.same("\\big brackets", format!("\\big({}\\big)", listed(entries, ", ")));
    target.same("entries respelt", format!("({})", respelt(entries)));
    target.same("trailing full stop", format!("({tight})."));
    target.same("dollar signs inside the box", format!("$({tight})$"));
    target.same(
        "\\dfrac",
        format!("({})", listed(entries, ", ").replace("\\frac", "\\dfrac")),
    );
    target.same("point name = prefix", format!("P = ({tight})"));
    target.same("\\text wrapper", format!("\\text{{The point }}({tight})"));
    target.same("entry as a sum", {
        let rest = listed(&entries[1..], ", ");
        format!("({} + 1, {rest})", entries[0].plus(Rational::integer(-1)).latex())
    });
    if entries.len() <= names.len() {
        let names = names[..entries.len()].join(", ");
        target.same("(x, y) = prefix", format!("({names}) = ({})", listed(entries, ", ")));
        target.same(
            "(x, y) = prefix, \\left \\right",
            format!("\\left({names}\\right)=\\left({tight}\\right)"),
        );
    }
    target.differs("an extra entry", format!("({}, 0)", listed(entries, ", ")));
    target.differs("an extra entry in front", format!("(0, {})", listed(entries, ", ")));
    let kept = &entries[..entries.len() - 1];
    if kept.len() > 1 {
        target.differs("last entry dropped", format!("({})", listed(kept, ", ")));
    } else {
        target.differs("last entry dropped", kept[0].latex());
    }
    for index in 0..entries.len() {
        target.differs(
            "one entry changed",
            format!("({})", listed(&changed(entries, index, 1), ", ")),
        );
        if entries[index].numerator != 0 {
            let mut flipped = entries.to_vec();
            flipped[index] = flipped[index].negated();
            target.differs("one sign flipped", format!("({})", listed(&flipped, ", ")));
        }
    }
    target.differs(
        "a hair more",
        format!("({} + 10^{{-20}}, {})", entries[0].latex(), listed(&entries[1..], ", ")),
    );
    target.differs(
        "two guesses",
        format!("({tight}), ({})", listed(&changed(entries, 0, 1), ",")),
    );
    target.differs(
        "two guesses with or",
        format!("({tight}) \\text{{ or }} ({})", listed(&changed(entries, 1, 1), ",")),
    );
    target.differs("doubled", format!("2({tight})"));
    target.differs("first entry only", entries[0].latex());
    let sum = entries.iter().fold(Rational::integer(0), |sum, entry| sum.plus(*entry));
    target.differs("sum of the entries", sum.latex());
    let mut reversed = entries.to_vec();
    reversed.reverse();
    if reversed != entries {
        target.differs("entries reversed", format!("({})", listed(&reversed, ", ")));
    }
    if entries[0] != entries[1] {
        let mut swapped = entries.to_vec();
        swapped.swap(0, 1);
        target.differs("first two entries swapped", format!("({})", listed(&swapped, ", ")));
    }
    if entries.iter().any(|entry| entry.numerator != 0) {
        let negated: Vec<Rational> = entries.iter().map(|entry| entry.negated()).collect();
        target.differs("all signs flipped", format!("({})", listed(&negated, ", ")));
    }
}

/// An end of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// None is −∞ at the left end and ∞ at the right one.
    pub(crate) value: Option<Rational>,
    /// Whether the end belongs to the interval.
    pub(crate) closed: bool,
}

/// A piece of the real line; its ends differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// The left end.
    pub(crate) low: End,
    /// The right end.
    pub(crate) high: End,
}

impl Interval {
    /// With given spellings of the ends.
    fn with_ends(self, low: &str, high: &str, comma: &str) -> String {
        let open = if self.low.closed { '[' } else { '(' };
        let close = if self.high.closed { ']' } else { ')' };
        format!("{open}{low}{comma}{high}{close}")
    }

    /// In brackets.
    pub(crate) fn latex(self) -> String {
        self.spelt(", ")
    }

    fn spelt(self, comma: &str) -> String {
        self.with_ends(&low_end(self.low), &high_end(self.high), comma)
    }

    /// As an inequality in `x`, with the signs for "less" and "not more".
    pub(crate) fn inequality(self, name: &str, less: &str, at_most: &str) -> String {
        let sign = |closed: bool| if closed { at_most } else { less };
        match (self.low.value, self.high.value) {
            (Some(low), Some(high)) => format!(
                "{} {} {name} {} {}",
                low.latex(),
                sign(self.low.closed),
                sign(self.high.closed),
                high.latex()
            ),
            (Some(low), None) => format!("{} {} {name}", low.latex(), sign(self.low.closed)),
            (None, Some(high)) => format!("{name} {} {}", sign(self.high.closed), high.latex()),
            (None, None) => format!("{name} \\in \\mathbb{{R}}"),
        }
    }

    /// The same from right to left.
    fn inequality_reversed(self, name: &str) -> String {
        let sign = |closed: bool| if closed { "\\ge" } else { ">" };
        match (self.low.value, self.high.value) {
            (Some(low), Some(high)) => format!(
                "{} {} {name} {} {}",
                high.latex(),
                sign(self.high.closed),
                sign(self.low.closed),
                low.latex()
            ),
            (Some(low), None) => format!("{name} {} {}", sign(self.low.closed), low.latex()),
            (None, Some(high)) => format!("{} {} {name}", high.latex(), sign(self.high.closed)),
            (None, None) => format!("{name} \\in \\mathbb{{R}}"),
        }
    }

    /// Every interval that is a small step away.
    fn neighbours(self) -> Vec<(&'static str, Self)> {
        let mut neighbours = Vec::new();
        let one = Rational::integer(1);
        if let Some(low) = self.low.value {
            let with_low = |value, closed| Self {
                low: End { value, closed },
                ..self
            };
            neighbours.push(("open/closed bracket toggled", with_low(Some(low), !self.low.closed)));
            neighbours.push((
                "left end changed",
                with_low(Some(low.plus(one.negated())), self.low.closed),
            ));
            neighbours.push(("left end far away", with_low(None, false)));
        }
        if let Some(high) = self.high.value {
            let with_high = |value, closed| Self {
                high: End { value, closed },
                ..self
            };
            neighbours.push(("open/closed bracket toggled", with_high(Some(high), !self.high.closed)));
            neighbours.push(("right end changed", with_high(Some(high.plus(one)), self.high.closed)));
            neighbours.push(("right end far away", with_high(None, false)));
        }
        neighbours
    }
}

fn low_end(end: End) -> String {
    end.value.map_or_else(|| "-\\infty".to_owned(), Rational::latex)
}

fn high_end(end: End) -> String {
    end.value.map_or_else(|| "\\infty".to_owned(), Rational::latex)
}

fn respelt_end(end: End, infinity: &str) -> String {
    let Some(value) = end.value else {
        return infinity.to_owned();
    };
    if value.is_integer() {
        format!("{}.0", value.latex())
    } else {
        value.latex().replace("\\frac", "\\tfrac")
    }
}

/// A union of disjoint intervals from left to right, with space between them.
pub(crate) fn union(target: &mut Target<'_>, pieces: &[Interval]) {
    let spelt = |pieces: &[Interval], comma: &str, cup: &str| {
        let pieces: Vec<String> = pieces.iter().map(|piece| piece.spelt(comma)).collect();
        pieces.join(cup)
    };
    target.same_wrapped();
    target.same("spaces after commas", spelt(pieces, ", ", " \\cup "));
    target.same("no spaces", spelt(pieces, ",", "\\cup"));
    target.same("thin spaces", spelt(pieces, ",\\,", " \\cup "));
    target.same(
        "dollar signs inside the box",
        format!("${}$", spelt(pieces, ", ", " \\cup ")),
    );
    target.same("x \\in prefix", format!("x \\in {}", spelt(pieces, ", ", " \\cup ")));
    target.same("trailing full stop", format!("{}.", spelt(pieces, ", ", " \\cup ")));
    target.same("\\left \\right", {
        let text = spelt(pieces, ", ", " \\cup ");
        text.replace('(', "\\left(")
            .replace('[', "\\left[")
            .replace(')', "\\right)")
            .replace(']', "\\right]")
    });
    for (why, minus, plus) in [
        ("end points respelt", "-\\infty", "\\infty"),
        ("plus infinity", "-\\infty", "+\\infty"),
        ("unicode infinity", "-∞", "∞"),
    ] {
        let respelt: Vec<String> = pieces
            .iter()
            .map(|piece| piece.with_ends(&respelt_end(piece.low, minus), &respelt_end(piece.high, plus), ","))
            .collect();
        target.same(why, respelt.join(" \\cup "));
    }
    let inequalities = |less: &str, at_most: &str, or: &str| {
        let parts: Vec<String> = pieces
            .iter()
            .map(|piece| piece.inequality("x", less, at_most))
            .collect();
        parts.join(or)
    };
    target.same("as an inequality", inequalities("<", "\\le", " \\text{ or } "));
    target.same(
        "as an inequality, other signs",
        inequalities("\\lt", "\\leqslant", "\\text{ or }"),
    );
    target.same("as an inequality in unicode", inequalities("<", "≤", " \\text{ or } "));
    let reversed: Vec<String> = pieces.iter().map(|piece| piece.inequality_reversed("x")).collect();
    target.same("as an inequality from right to left", reversed.join(" \\text{ or } "));
    if pieces.len() > 1 {
        let mut reversed = pieces.to_vec();
        reversed.reverse();
        target.same("union reordered", spelt(&reversed, ", ", " \\cup "));
        target.same("unicode union", spelt(pieces, ", ", " ∪ "));
        target.differs("one piece missing", spelt(&pieces[1..], ", ", " \\cup "));
        target.differs(
            "last piece missing",
            spelt(&pieces[..pieces.len() - 1], ", ", " \\cup "),
        );
        target.differs("intersection instead of union", spelt(pieces, ", ", " \\cap "));
        let hull = Interval {
            low: pieces[0].low,
            high: pieces[pieces.len() - 1].high,
        };
        target.differs("the gap filled", hull.latex());
    }
    for index in 0..pieces.len() {
        for (why, neighbour) in pieces[index].neighbours() {
            let is_far = neighbour.low.value.is_none() || neighbour.high.value.is_none();
            // A longer piece may swallow the next one, which makes it no less wrong, but a step may also meet it.
            if pieces.len() > 1 && is_far {
                continue;
            }
            let mut other = pieces.to_vec();
            other[index] = neighbour;
            target.differs(why, spelt(&other, ", ", " \\cup "));
            if pieces.len() == 1 {
                target.differs(
                    "a near interval as an inequality",
                    neighbour.inequality("x", "<", "\\le"),
                );
            }
        }
    }
    let mirrored: Vec<Interval> = pieces
        .iter()
        .rev()
        .map(|piece| Interval {
            low: negated(piece.high),
            high: negated(piece.low),
        })
        .collect();
    if mirrored != pieces {
        target.differs("all signs flipped", spelt(&mirrored, ", ", " \\cup "));
    }
    let everywhere = spelt(pieces, ", ", " \\cup ");
    if pieces[pieces.len() - 1].high.value.is_some() {
        target.differs("an extra piece", format!("{everywhere} \\cup (1000, 1001)"));
        target.differs("an extra point", format!("{everywhere} \\cup \\{{1000\\}}"));
    } else if pieces[0].low.value.is_some() {
        target.differs("an extra piece", format!("{everywhere} \\cup (-1001, -1000)"));
    }
    target.differs("everything", "(-\\infty, \\infty)");
    target.differs("nothing", "\\emptyset");
    if let (Some(low), Some(high)) = (pieces[0].low.value, pieces[0].high.value) {
        target.differs("ends only", format!("\\{{{}, {}\\}}", low.latex(), high.latex()));
        target.differs("left end only", low.latex());
        target.differs("right end only", high.latex());
    }
}

fn negated(end: End) -> End {
    End {
        value: end.value.map(Rational::negated),
        ..end
    }
}

/// The inequality that says that a variable lies in an interval which is not the whole line.
pub(crate) fn inequality(target: &mut Target<'_>, name: &str, interval: Interval) {
    target.same_wrapped();
    target.same("\\le / \\ge spelling", interval.inequality(name, "<", "\\le"));
    target.same("\\leq / \\geq spelling", interval.inequality(name, "<", "\\leq"));
    target.same("\\leqslant spelling", interval.inequality(name, "<", "\\leqslant"));
    target.same("\\lt spelling", interval.inequality(name, "\\lt", "\\le"));
    target.same("unicode spelling", interval.inequality(name, "<", "≤"));
    target.same("two characters", interval.inequality(name, "<", "<="));
    target.same("written from right to left", interval.inequality_reversed(name));
    target.same(
        "dollar signs inside the box",
        format!("${}$", interval.inequality(name, "<", "\\le")),
    );
    target.same("interval", interval.latex());
    target.same("interval with \\in", format!("{name} \\in {}", interval.latex()));
    target.same(
        "trailing full stop",
        format!("{}.", interval.inequality(name, "<", "\\le")),
    );
    target.same(
        "no spaces",
        interval
            .inequality_reversed(name)
            .replace(' ', "")
            .replace("\\ge", "\\ge "),
    );
    target.same("number as a fraction", {
        let text = interval.inequality(name, "<", "\\le");
        text.replace("\\frac", "\\dfrac")
    });
    if let (Some(low), Some(high)) = (interval.low.value, interval.high.value) {
        let sign = |closed: bool| if closed { "\\ge" } else { ">" };
        let first = format!("{name} {} {}", sign(interval.low.closed), low.latex());
        let second = format!("{} {} {name}", high.latex(), sign(interval.high.closed));
        target.same("two inequalities", format!("{first} \\text{{ and }} {second}"));
        target.differs("either of two inequalities", format!("{first} \\text{{ or }} {second}"));
        target.differs("one of two inequalities", first);
        target.differs("the other of two inequalities", second);
    }
    for (why, neighbour) in interval.neighbours() {
        let why = match why {
            "open/closed bracket toggled" => "strict/non-strict toggled",
            _ => "a bound changed",
        };
        if neighbour.low.value.is_none() && neighbour.high.value.is_none() {
            continue;
        }
        target.differs(why, neighbour.inequality(name, "<", "\\le"));
        target.differs(why, neighbour.inequality_reversed(name));
        target.differs("a near interval", neighbour.latex());
    }
    let mirrored = Interval {
        low: negated(interval.high),
        high: negated(interval.low),
    };
    if mirrored != interval {
        target.differs("all signs flipped", mirrored.inequality(name, "<", "\\le"));
    }
    let other = if name == "q" { "r" } else { "q" };
    target.differs("variable renamed", interval.inequality(other, "<", "\\le"));
    target.differs(
        "shifted variable",
        interval.inequality(&format!("{name} + 1"), "<", "\\le"),
    );
    if [interval.low.value, interval.high.value]
        .iter()
        .flatten()
        .any(|bound| bound.numerator != 0)
    {
        target.differs(
            "doubled variable",
            interval.inequality(&format!("2{name}"), "<", "\\le"),
        );
    }
    for bound in [interval.low.value, interval.high.value].into_iter().flatten() {
        target.differs("equation instead", format!("{name} = {}", bound.latex()));
        target.differs("not equal", format!("{name} \\ne {}", bound.latex()));
        target.differs("number only", bound.latex());
    }
    if let (None, Some(bound)) | (Some(bound), None) = (interval.low.value, interval.high.value) {
        let flipped = if interval.low.value.is_some() { "\\le" } else { "\\ge" };
        target.differs("direction reversed", format!("{name} {flipped} {}", bound.latex()));
        let strictly = if interval.low.value.is_some() { "<" } else { ">" };
        target.differs(
            "direction reversed, strict",
            format!("{name} {strictly} {}", bound.latex()),
        );
    }
}
