//! Brackets and groups, and which of them open or close: `[2, 5[` is `[2, 5)` where it is written in the French way.

use super::super::token::{Bracket, Kind};
use super::Lexer;

impl<'a> Lexer<'a> {
    pub(super) fn bracket(&mut self, kind: Kind<'a>, source: &'a str) {
        match kind {
            Kind::Open(bracket) => {
                let is_root_index = bracket == Bracket::Square && matches!(self.last(), Some(Kind::Sqrt));
                let outer = if is_root_index {
                    self.arguments
                } else {
                    self.arguments.saturating_sub(1)
                };
                self.outer_arguments.push(outer);
                self.arguments = 0;
                self.bracket_depth += 1;
            }
            _ => {
                self.arguments = self.outer_arguments.pop().unwrap_or(0);
                let is_bare = self.bare_bracket == Some(self.bracket_depth);
                self.bracket_depth = self.bracket_depth.saturating_sub(1);
                if is_bare {
                    self.bare_bracket = None;
                    return;
                }
            }
        }
        self.push(kind, source);
    }

    pub(super) fn group_open(&mut self, source: &'a str) {
        self.outer_arguments.push(self.arguments.saturating_sub(1));
        self.arguments = 0;
        self.push(Kind::GroupOpen, source);
    }

    pub(super) fn group_close(&mut self, source: &'a str) {
        self.arguments = self.outer_arguments.pop().unwrap_or(0);
        self.push(Kind::GroupClose, source);
    }

    /// `\bmod` and its like, without the brackets that may stand around it and its modulus.
    pub(super) fn modulus(&mut self, source: &'a str) {
        let mut source = source;
        if self.last() == Some(&Kind::Open(Bracket::Round)) {
            self.tokens.pop();
            self.bare_bracket = Some(self.bracket_depth);
            source = "\\pmod";
        }
        self.push(Kind::Other("\\mod"), source);
    }

    /// What `[` is before this text: the end of an interval without its last point, as in `[2, 5[`, or an opening
    /// bracket.
    pub(super) fn square_left(&self, after: &str) -> Kind<'a> {
        let ends_value = matches!(
            self.last(),
            Some(Kind::Number(..) | Kind::Symbol(_) | Kind::Constant(_) | Kind::Close(_) | Kind::GroupClose)
        );
        let is_end = self.bracket_depth > 0 && ends_value && ends_item(after) && self.is_in_interval();
        if is_end {
            Kind::Close(Bracket::Round)
        } else {
            Kind::Open(Bracket::Square)
        }
    }

    /// What `]` is before this text: the start of an interval without its first point, as in `]2, 5]`, or a closing
    /// bracket.
    pub(super) fn square_right(&self, after: &str) -> Kind<'a> {
        let begins_item = matches!(
            self.last(),
            None | Some(
                Kind::Cup
                    | Kind::SetMinus
                    | Kind::In
                    | Kind::Relation(_)
                    | Kind::Conjunction(_)
                    | Kind::Comma
                    | Kind::Semicolon
                    | Kind::Other("\\cap")
            )
        );
        let holds_two = || {
            let end = after.find(['[', ']']).unwrap_or(0);
            after[..end].contains([',', ';'])
        };
        if self.bracket_depth == 0 && begins_item && holds_two() {
            Kind::Open(Bracket::Round)
        } else {
            Kind::Close(Bracket::Square)
        }
    }

    /// Whether the innermost open bracket is a square one with two items so far.
    fn is_in_interval(&self) -> bool {
        let mut depth = 0usize;
        let mut commas = 0;
        for token in self.tokens.iter().rev() {
            match &token.kind {
                Kind::Close(_) | Kind::GroupClose | Kind::End => depth += 1,
                Kind::Open(_) if depth == 0 => return commas == 1 && matches!(token.source, "[" | "]"),
                Kind::GroupOpen | Kind::Begin(_) if depth == 0 => return false,
                Kind::Open(_) | Kind::GroupOpen | Kind::Begin(_) => depth -= 1,
                Kind::Comma | Kind::Semicolon if depth == 0 => commas += 1,
                _ => {}
            }
        }
        false
    }
}

/// Whether an item ends before this text.
fn ends_item(after: &str) -> bool {
    const FOLLOWERS: [&str; 12] = [
        "\\cup",
        "\\cap",
        "\\setminus",
        "\\backslash",
        "\\text",
        "∪",
        "∩",
        "∖",
        ",",
        ";",
        ")",
        "$",
    ];
    let after = after.trim_start();
    after.is_empty() || FOLLOWERS.iter().any(|follower| after.starts_with(follower))
}
