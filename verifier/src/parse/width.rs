//! Full-width letters and digits, which Chinese and Japanese texts mix with the usual ones: they are the same.

use std::borrow::Cow;

/// The text with usual letters, digits, points and slashes. Full-width commas and brackets are left to the lexer, because
/// a full-width comma never separates thousands.
pub(super) fn narrow(text: &str) -> Cow<'_, str> {
    // All of them begin with this byte, so that most texts are passed quickly.
    if !text.as_bytes().contains(&0xef) || !text.contains(|next| narrowed(next).is_some()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|next| narrowed(next).unwrap_or(next)).collect())
}

fn narrowed(wide: char) -> Option<char> {
    match wide {
        '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' | '．' | '／' | '＾' | '［' | '］' | '！' | '｜' | '＊' => {
            char::from_u32(u32::from(wide) - 0xfee0)
        }
        _ => None,
    }
}
