//! Settles what the tokens of a text mean where that takes a look at the whole of it.

mod angles;
mod areas;
mod basis;
mod brackets;
mod choose;
mod congruence;
mod dots;
mod inclusions;
mod parameters;
mod primes;
mod quads;
mod styles;

use super::kinds::Kinds;
use super::lexer::Lexed;
use super::{applied, cases, figures, groups, lines, operation};

pub(crate) use parameters::NAME_OF_INTEGER;

/// Settles the tokens, in the order in which one decision takes another for granted.
pub(super) fn all(lexed: &mut Lexed<'_>) {
    let tokens = &mut lexed.tokens;
    let mut kinds = Kinds::of(tokens);
    if kinds.has(Kinds::AMPERSAND) && !kinds.has(Kinds::BEGIN) {
        cases::drop_alignment(tokens);
    }
    if kinds.has(Kinds::OPEN.or(Kinds::SHAPE)) {
        brackets::drop_braces(tokens);
    }
    if kinds.has(Kinds::DOTS) {
        dots::settle(tokens);
    }
    quads::separate(tokens, &lexed.gaps);
    if kinds.has(Kinds::PRIME) {
        primes::settle(tokens);
    }
    if kinds.has(Kinds::ACCENT) {
        basis::settle(tokens);
        lines::settle(tokens);
    }
    if kinds.has(Kinds::ACCENT.or(Kinds::STYLED)) {
        styles::settle(tokens);
    }
    if kinds.has(Kinds::IN.or(Kinds::WORD)) {
        parameters::settle(tokens);
    }
    if kinds.has(Kinds::SYMBOL) {
        choose::settle(tokens);
    }
    if kinds.has(Kinds::SYMBOL.or(Kinds::REALS)) {
        groups::settle(tokens);
    }
    if kinds.has(Kinds::OPERATOR.or(Kinds::CONJUNCTION)) {
        operation::settle(tokens);
    }
    if kinds.has(Kinds::OTHER) {
        congruence::reduce(tokens);
        inclusions::settle(tokens);
    }
    if kinds.has(Kinds::OPEN) {
        areas::settle(tokens);
        applied::mark(tokens);
    }
    if kinds.has(Kinds::RELATION.or(Kinds::OTHER)) {
        figures::settle(tokens);
        kinds = Kinds::of(tokens);
    }
    if kinds.has(Kinds::SHAPE) {
        angles::settle(tokens);
    }
}
