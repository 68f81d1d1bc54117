//! The result of deciding whether two expressions are equal. The deciders are tried in the order of their cost:
//! canonical forms ([`crate::normal`]), random points of finite fields ([`crate::field`]), ball arithmetic
//! ([`crate::ball`]).

/// What a decider knows about two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// They are equal: proven, or with an error probability below 1e-12.
    Equal,
    /// They are proven to differ.
    Different,
    /// This decider cannot tell; the next one may.
    Undecided,
}
