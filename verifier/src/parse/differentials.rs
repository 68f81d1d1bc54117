//! Signs that are one thing with what follows and no factor: `dx` of an integral or a form, `\\Delta x`, `\\nabla f`.

use compact_str::CompactString;

use super::grammar::{Parsed, Parser};
use super::token::Kind;
use crate::expression::{Expression, Function};

impl Parser<'_, '_> {
    /// The name of what begins with a letter that was just passed and is one thing with what follows: `dx`, `\Delta x`,
    /// `\nabla f`. None if the letter stands by itself.
    pub(super) fn differential(&mut self, letter: &str) -> Option<Parsed> {
        match letter {
            "d" | "Δ" => {
                let Some(Kind::Symbol(of)) = self.peek() else {
                    return None;
                };
                let is_variable = matches!(of.as_str(), "x" | "y" | "z" | "t" | "u" | "v" | "s" | "r" | "θ" | "φ");
                // `\Delta ABC` is a triangle.
                let is_triangle = matches!(self.peek_at(1), Some(Kind::Symbol(next)) if next.starts_with(char::is_uppercase))
                    && of.starts_with(char::is_uppercase);
                // `T\,dS` is no product with d; `p\,dq` is none where d is set apart.
                let is_apart = self.position > 0 && self.tokens[self.position - 1].spaced;
                let is_quantity = of.starts_with(|first: char| first.is_uppercase() || !first.is_ascii())
                    || is_apart && matches!(of.as_str(), "p" | "q" | "f" | "g" | "h" | "w" | "m");
                let is_one = if letter == "d" {
                    is_variable || is_quantity
                } else {
                    !is_triangle
                };
                if !is_one || of == "d" {
                    return None;
                }
                let mut name = CompactString::from(letter);
                name.push_str(of);
                self.position += 1;
                Some(self.symbol(&name))
            }
            "∇" if !matches!(self.peek(), Some(Kind::Times)) => Some(self.gradient()),
            _ => None,
        }
    }

    /// `\nabla f`, `\nabla^2 f`: what follows is no factor.
    fn gradient(&mut self) -> Parsed {
        let mut name = CompactString::const_new("∇");
        if self.peek() == Some(&Kind::Caret) {
            let start = self.position;
            self.position += 1;
            self.exponent()?;
            super::spell::spell_argument(&self.tokens[start..self.position], &mut name);
        }
        let has_operand = self
            .peek()
            .is_some_and(|next| super::grammar::starts_factor(next, self.open_bars));
        if !has_operand {
            return Ok(Expression::Symbol(name));
        }
        let operand = self.factor()?;
        Ok(Expression::Call(Function::Named(name), vec![operand]))
    }
}
