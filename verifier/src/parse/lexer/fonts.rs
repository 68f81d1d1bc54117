//! Fonts, whose letters are words or variables, and the names of functions that are set upright.

use compact_str::CompactString;

use super::super::command::{argument, upright_constant};
use super::super::token::Kind;
use super::super::{applied, matrix, names, units};
use super::{Lexer, TooManyTokens};
use crate::expression::Function;

impl<'a> Lexer<'a> {
    /// The argument of a font: its letters are words or variables.
    pub(super) fn font(&mut self, after: &'a str, words: bool, depth: usize) -> Result<&'a str, TooManyTokens> {
        let (content, rest) = argument(after);
        self.styled(content, rest, words, depth)?;
        Ok(rest)
    }

    /// Text in a font, `rest` being what stands behind it.
    pub(super) fn styled(
        &mut self,
        content: &'a str,
        rest: &'a str,
        words: bool,
        depth: usize,
    ) -> Result<(), TooManyTokens> {
        // `x\,\mathrm{d}x`
        if words && content == "d" && rest.trim_start().starts_with(|next: char| next.is_ascii_alphabetic()) {
            self.push_argument(Kind::Symbol(CompactString::const_new("d")), content);
            return Ok(());
        }
        // `3 \text{ x } 10^8`
        if words && content.trim() == "x" && content != "x" && matches!(self.last(), Some(Kind::Number(..))) {
            self.push(Kind::Times, content);
            return Ok(());
        }
        if words && let Some(constant) = upright_constant(content) {
            self.push_argument(constant, content);
            return Ok(());
        }
        if content == "det" && matrix::stands_before(rest) {
            self.push(Kind::Other("\\det"), content);
            return Ok(());
        }
        let may_be_unit = matches!(content, "min" | "sec");
        if words
            && !may_be_unit
            && let Some(function) = names::function(content)
        {
            self.push_argument(Kind::Function(function), content);
            return Ok(());
        }
        if words && let Some(name) = applied::function_name(content, rest) {
            self.push_argument(Kind::Symbol(name), content);
            return Ok(());
        }
        if let Some(kind @ Kind::Function(Function::Named(_))) = names::command(content) {
            self.push_argument(kind, content);
            return Ok(());
        }
        let outer = std::mem::take(&mut self.arguments);
        self.spaced |= content.starts_with(' ');
        self.read(content, words, depth + 1)?;
        self.spaced |= content.ends_with(' ');
        self.arguments = outer.saturating_sub(1);
        Ok(())
    }

    /// The function that `\operatorname{…}`, `\mathop{…}` or `\det` names, whatever it is: its token and what it was read
    /// from, and the text behind it. None for other commands, for functions with a meaning, and for words and units.
    pub(super) fn operator(command: &str, source: &'a str, after: &'a str) -> Option<(Kind<'a>, &'a str, &'a str)> {
        let named = |name: &str| Kind::Symbol(CompactString::from(name));
        if command == "det" {
            return (!matrix::stands_before(after)).then(|| (named("det"), source, after));
        }
        let is_upright = command == "mathop";
        if !is_upright && command != "operatorname" {
            return None;
        }
        let (content, rest) = argument(after.strip_prefix('*').unwrap_or(after));
        let name = if is_upright {
            without_font(content)
        } else {
            content.trim()
        };
        let is_name = name.len() > 1 && name.bytes().all(|letter| letter.is_ascii_alphabetic());
        let has_meaning = names::function(name).is_some() || matches!(name, "or" | "and" | "mod");
        if !is_name || has_meaning || name == "det" && matrix::stands_before(rest) {
            return None;
        }
        let is_function = if applied::is_known(name) {
            applied::has_brackets(rest) || applied::has_operand(rest)
        } else {
            is_upright || applied::has_brackets(rest) && !units::is_unit_word(name)
        };
        is_function.then(|| (named(name), name, rest))
    }
}

/// The content of the font in `\mathop{\rm foo}` and `\mathop{\mathrm{foo}}`.
fn without_font(content: &str) -> &str {
    let content = content.trim();
    for font in ["\\mathrm", "\\text", "\\operatorname"] {
        if let Some(after) = content.strip_prefix(font)
            && let (inner, "") = argument(after)
        {
            return inner.trim();
        }
    }
    content.strip_prefix("\\rm ").unwrap_or(content).trim()
}
