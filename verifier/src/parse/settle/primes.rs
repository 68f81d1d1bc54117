//! `x'_1` is `x_1'`: the primes of a letter stand behind its subscript.

use super::super::spell::argument_end;
use super::super::token::{Kind, Token};

/// Moves primes behind the subscripts that follow them.
pub(super) fn settle(tokens: &mut [Token<'_>]) {
    for index in 1..tokens.len() {
        let is_prime = |token: &Token<'_>| matches!(token.kind, Kind::Prime);
        let is_first = is_prime(&tokens[index]) && matches!(tokens[index - 1].kind, Kind::Symbol(_));
        if !is_first {
            continue;
        }
        let primes = tokens[index..].iter().take_while(|token| is_prime(token)).count();
        let subscript = index + primes;
        if tokens
            .get(subscript)
            .is_some_and(|token| matches!(token.kind, Kind::Underscore))
        {
            let end = argument_end(tokens, subscript + 1).min(tokens.len());
            tokens[index..end].rotate_left(primes);
        }
    }
}
