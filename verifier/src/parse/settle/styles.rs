//! Letters that one text sets in two ways: `\frac{\vec r}{r^3}` has a vector and its length in it, `\mathcal E - E` two
//! energies. Where a text has a letter in one way only, it is the same letter however it is set.

use std::collections::BTreeSet;

use compact_str::CompactString;

use super::super::token::{Kind, Token};

/// The commands that set an arrow over a letter.
const ARROWS: [&str; 3] = ["\\vec", "\\overrightarrow", "\\overleftrightarrow"];

/// How a letter is set.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    Plain,
    Vector,
    Script,
}

impl Style {
    /// What is put behind the name of a letter that is set otherwise elsewhere in the same text.
    fn mark(self) -> Option<char> {
        match self {
            Self::Plain => None,
            Self::Vector => Some('\u{20d7}'),
            Self::Script => Some('\u{2020}'),
        }
    }
}

/// Gives letters that are set in more than one way a name for each of them.
pub(super) fn settle(tokens: &mut [Token<'_>]) {
    // The cheap look first: most texts set nothing.
    let is_set = |token: &Token<'_>| {
        token.is_bold || token.is_script || matches!(token.kind, Kind::Accent(_)) && ARROWS.contains(&token.source)
    };
    if !tokens.iter().any(is_set) {
        return;
    }
    let styles: Vec<Option<Style>> = (0..tokens.len()).map(|index| style(tokens, index)).collect();
    let named = |wanted: Style| -> BTreeSet<CompactString> {
        let letters = tokens.iter().zip(&styles).filter(|(_, style)| **style == Some(wanted));
        letters.filter_map(|(token, _)| name(token).cloned()).collect()
    };
    let (plain, vectors, scripts) = (named(Style::Plain), named(Style::Vector), named(Style::Script));
    for (token, style) in tokens.iter_mut().zip(styles) {
        let Some((style, letter)) = style.zip(name(token).cloned()) else {
            continue;
        };
        let others = match style {
            Style::Plain => continue,
            Style::Vector => [&plain, &scripts],
            Style::Script => [&plain, &vectors],
        };
        if others.into_iter().any(|letters| letters.contains(&letter))
            && let Some(mark) = style.mark()
        {
            let mut marked = letter;
            marked.push(mark);
            token.kind = Kind::Symbol(marked);
        }
    }
}

fn name<'t>(token: &'t Token<'_>) -> Option<&'t CompactString> {
    match &token.kind {
        Kind::Symbol(name) => Some(name),
        _ => None,
    }
}

/// How the letter at a place is set; none if there is no letter.
fn style(tokens: &[Token<'_>], index: usize) -> Option<Style> {
    let token = tokens.get(index)?;
    name(token)?;
    if token.is_script {
        return Some(Style::Script);
    }
    let is_arrow = |index: Option<usize>| {
        index
            .and_then(|index| tokens.get(index))
            .is_some_and(|token| matches!(token.kind, Kind::Accent(_)) && ARROWS.contains(&token.source))
    };
    let in_group = index > 0
        && tokens[index - 1].kind == Kind::GroupOpen
        && tokens.get(index + 1).is_some_and(|next| next.kind == Kind::GroupClose);
    let has_arrow = is_arrow(index.checked_sub(1)) || in_group && is_arrow(index.checked_sub(2));
    Some(if token.is_bold || has_arrow {
        Style::Vector
    } else {
        Style::Plain
    })
}
