//! Settles what the tokens of a text mean where that takes a look at the whole of it.

mod angles;
mod choose;
mod congruence;
mod parameters;
mod primes;
mod quads;
mod styles;

use super::lexer::Lexed;
use super::token::Kind;
use super::{applied, cases, figures, lines, operation};

pub(crate) use parameters::NAME_OF_INTEGER;

/// Settles the tokens, in the order in which one decision takes another for granted.
pub(super) fn all(lexed: &mut Lexed<'_>) {
    let tokens = &mut lexed.tokens;
    if !tokens.iter().any(|token| matches!(token.kind, Kind::Begin(_))) {
        cases::drop_alignment(tokens);
    }
    quads::separate(tokens, &lexed.gaps);
    primes::settle(tokens);
    lines::settle(tokens);
    styles::settle(tokens);
    parameters::settle(tokens);
    choose::settle(tokens);
    operation::settle(tokens);
    congruence::reduce(tokens);
    applied::mark(tokens);
    figures::settle(tokens);
    angles::settle(tokens);
}
