//! Writes an expression in one of many ways.

use crate::support::Random;
use crate::tree::{Function, Tree};

/// How tightly the parts of a text hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// A sum, or anything with a sign in front.
    Sum,
    /// A product or a quotient in one line.
    Product,
    /// A power, a call: a factor, but no base of a power.
    Factor,
    /// A letter, a numeral, a group.
    Atom,
}

pub(crate) fn print(tree: &Tree, random: &mut Random) -> String {
    let mut printer = Printer { random };
    printer.print(tree).0
}

struct Printer<'r> {
    random: &'r mut Random,
}

impl Printer<'_> {
    fn pick(&mut self, choices: &[&'static str]) -> &'static str {
        let choice: &&str = self.random.pick(choices);
        choice
    }

    /// The text, in brackets unless it holds together well enough.
    fn at(&mut self, tree: &Tree, least: Level) -> String {
        let (text, level) = self.print(tree);
        if level >= least && !self.random.once_in(20) {
            return text;
        }
        self.brackets(&text)
    }

    fn brackets(&mut self, text: &str) -> String {
        match self.random.below(10) {
            0..6 => format!("({text})"),
            6 | 7 => format!("\\left({text}\\right)"),
            8 => format!("\\left[ {text} \\right]"),
            _ => format!("\\bigl( {text} \\bigr)"),
        }
    }

    fn print(&mut self, tree: &Tree) -> (String, Level) {
        match tree {
            Tree::Number(number) if *number < 0 => (number.to_string(), Level::Sum),
            Tree::Number(number) => (number.to_string(), Level::Atom),
            Tree::Variable(name) => ((*name).to_owned(), Level::Atom),
            Tree::Pi => (self.pick(&["\\pi", "\\pi", "\\pi ", "π"]).to_owned(), Level::Atom),
            Tree::Euler => ("e".to_owned(), Level::Atom),
            Tree::Imaginary => ("i".to_owned(), Level::Atom),
            Tree::Sum(terms) => (self.sum(terms), Level::Sum),
            Tree::Product(factors) => match sign_and_rest(tree) {
                Some(rest) => (format!("-{}", self.at(&rest, Level::Product)), Level::Sum),
                None => (self.product(factors), Level::Product),
            },
            Tree::Quotient(above, below) => self.quotient(above, below),
            Tree::Power(base, exponent) => (self.power(base, exponent), Level::Factor),
            Tree::Root(degree, radicand) => self.root(*degree, radicand),
            Tree::Call(function, argument) => self.call(*function, argument),
        }
    }

    fn sum(&mut self, terms: &[Tree]) -> String {
        let space = self.pick(&["", " ", " "]);
        let mut text = String::new();
        for term in terms {
            let (sign, rest) = match sign_and_rest(term) {
                Some(rest) => (self.pick(&["-", "-", "-", "−"]), rest),
                None => ("+", term.clone()),
            };
            if text.is_empty() {
                text.push_str(if sign == "+" { "" } else { sign });
            } else {
                text.push_str(space);
                text.push_str(sign);
                text.push_str(space);
            }
            text.push_str(&self.at(&rest, Level::Product));
        }
        text
    }

    fn product(&mut self, factors: &[Tree]) -> String {
        let mut text = String::new();
        for factor in factors {
            let next = self.at(factor, Level::Factor);
            if !text.is_empty() {
                // What starts with a digit, or with a fraction that would make a mixed number, needs a sign; `1e` would
                // go on.
                let needs_sign = next.starts_with(|first: char| first.is_ascii_digit())
                    || text.ends_with(|last: char| last.is_ascii_digit())
                        && (next.starts_with('\\') || next.starts_with('{') || next.starts_with('e'));
                // `k(3)` is a value of a function.
                let is_atom = matches!(factor, Tree::Number(_) | Tree::Variable(_) | Tree::Pi);
                let needs_sign = needs_sign || is_atom && (next.contains('(') || next.contains('['));
                let times = if needs_sign || self.random.once_in(3) {
                    self.pick(&[" \\cdot ", "\\cdot ", " \\times ", "*", " * ", "·"])
                } else {
                    self.pick(&["", "", " ", "\\,"])
                };
                text.push_str(times);
                // `\pix` is no command, `xi` a Greek letter, `in` an inch, `ysqrt` nothing.
                let starts_word =
                    next.starts_with("sqrt") || next.starts_with('i') || next.len() > 2 && !next.contains('\\');
                if times.is_empty()
                    && next.starts_with(|first: char| first.is_ascii_alphabetic())
                    && text.ends_with(|last: char| last.is_ascii_alphabetic())
                    && (starts_word || text.ends_with('i') || ends_in_command(&text))
                {
                    text.push(' ');
                }
            }
            text.push_str(&next);
        }
        text
    }

    fn quotient(&mut self, above: &Tree, below: &Tree) -> (String, Level) {
        if self.random.once_in(5) {
            let divide = self.pick(&["/", "/", " / ", " \\div ", "÷"]);
            let above = self.at(above, Level::Factor);
            return (
                format!("{above}{divide}{}", self.at(below, Level::Factor)),
                Level::Product,
            );
        }
        let (above, below) = (self.print(above).0, self.print(below).0);
        let is_digit = |text: &str| text.len() == 1 && text.as_bytes()[0].is_ascii_digit();
        let text = match self.random.below(10) {
            0 if is_digit(&above) && is_digit(&below) => format!("\\frac{above}{below}"),
            1 => format!("\\dfrac{{{above}}}{{{below}}}"),
            2 => format!("\\tfrac{{{above}}}{{{below}}}"),
            3 => format!("{{{above} \\over {below}}}"),
            _ => format!("\\frac{{{above}}}{{{below}}}"),
        };
        (text, Level::Factor)
    }

    fn exponent(&mut self, exponent: &Tree) -> String {
        match exponent {
            Tree::Number(2) if self.random.once_in(8) => "²".to_owned(),
            Tree::Number(3) if self.random.once_in(8) => "³".to_owned(),
            Tree::Number(number @ 0..=9) if !self.random.once_in(3) => format!("^{number}"),
            other => format!("^{{{}}}", self.print(other).0),
        }
    }

    fn power(&mut self, base: &Tree, exponent: &Tree) -> String {
        if let (Tree::Call(function, argument), Tree::Number(2..=9)) = (base, exponent)
            && *function != Function::Ln
            && self.random.once_in(2)
        {
            let exponent = self.exponent(exponent);
            let argument = self.print(argument).0;
            return format!("{}{exponent}{}", name(*function), self.brackets(&argument));
        }
        if *base == Tree::Euler && self.random.once_in(5) {
            let exponent = self.print(exponent).0;
            return format!("\\exp({exponent})");
        }
        let base = self.at(base, Level::Atom);
        format!("{base}{}", self.exponent(exponent))
    }

    fn root(&mut self, degree: i64, radicand: &Tree) -> (String, Level) {
        let inside = self.print(radicand).0;
        match self.random.below(12) {
            0 => {
                let base = self.at(radicand, Level::Atom);
                (format!("{base}^{{1/{degree}}}"), Level::Factor)
            }
            1 => {
                let base = self.at(radicand, Level::Atom);
                (format!("{base}^{{\\frac{{1}}{{{degree}}}}}"), Level::Factor)
            }
            2 if degree == 2 => (format!("sqrt({inside})"), Level::Factor),
            3 if degree == 2 => (format!("√({inside})"), Level::Factor),
            _ if degree == 2 => (format!("\\sqrt{{{inside}}}"), Level::Factor),
            _ => (format!("\\sqrt[{degree}]{{{inside}}}"), Level::Factor),
        }
    }

    fn call(&mut self, function: Function, argument: &Tree) -> (String, Level) {
        let name = name(function);
        let inside = self.print(argument).0;
        if matches!(argument, Tree::Variable(_) | Tree::Number(0..)) && self.random.once_in(3) {
            return (format!("{name} {inside}"), Level::Product);
        }
        match self.random.below(8) {
            0 => (format!("{}({inside})", &name[1..]), Level::Factor),
            1 => (format!("{name}{{({inside})}}"), Level::Factor),
            2 => (format!("{name}{{{inside}}}"), Level::Product),
            _ => (format!("{name}{}", self.brackets(&inside)), Level::Factor),
        }
    }
}

fn name(function: Function) -> &'static str {
    match function {
        Function::Sin => "\\sin",
        Function::Cos => "\\cos",
        Function::Tan => "\\tan",
        Function::Ln => "\\ln",
    }
}

fn ends_in_command(text: &str) -> bool {
    let letters = text.bytes().rev().take_while(u8::is_ascii_alphabetic).count();
    letters > 0 && text[..text.len() - letters].ends_with('\\')
}

/// The rest of what starts with a minus sign.
fn sign_and_rest(tree: &Tree) -> Option<Tree> {
    match tree {
        Tree::Number(number) if *number < 0 => Some(Tree::Number(-number)),
        Tree::Product(factors) => match factors.as_slice() {
            [Tree::Number(-1), rest] => Some(rest.clone()),
            [Tree::Number(-1), rest @ ..] if !rest.is_empty() => Some(Tree::Product(rest.to_vec())),
            [Tree::Number(number), rest @ ..] if *number < 0 => {
                let mut positive = vec![Tree::Number(-number)];
                positive.extend_from_slice(rest);
                Some(Tree::Product(positive))
            }
            _ => None,
        },
        _ => None,
    }
}
