//! The form of a token, in a file and on the wire.

/// The fewest characters of a token: those of 16 random bytes in base64.
pub(super) const SHORTEST: usize = 22;

/// The most characters of a token.
pub(super) const LONGEST: usize = 512;

/// What stands before the token in the metadata `authorization`.
const SCHEME: &str = "Bearer";

/// Why a text is no token. It never quotes the text.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum TokenProblem {
    #[error("the token has {0} characters; it must have {SHORTEST} to {LONGEST}")]
    Length(usize),
    #[error("the token must be of letters, digits and `-._~+/=`")]
    Characters,
}

/// Checks the form of a token (RFC 6750's `b64token`).
pub(super) fn check_form(token: &str) -> Result<(), TokenProblem> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !token.bytes().all(is_allowed) {
        return Err(TokenProblem::Characters);
    }
    match token.len() {
        SHORTEST..=LONGEST => Ok(()),
        length => Err(TokenProblem::Length(length)),
    }
}

/// The value of the metadata `authorization`.
pub(super) fn header(token: &str) -> String {
    format!("{SCHEME} {token}")
}

/// The token in a value of the metadata `authorization`.
pub(super) fn of_header(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(SCHEME.len())?;
    let token = token.strip_prefix(b" ")?;
    scheme.eq_ignore_ascii_case(SCHEME.as_bytes()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_travels_behind_its_scheme() {
        assert_eq!(of_header(header("abc").as_bytes()), Some(&b"abc"[..]));
        assert_eq!(of_header(b"bearer abc"), Some(&b"abc"[..]));
        for other in [&b"Basic abc"[..], b"Bearer", b"Bearerabc", b"", b"abc"] {
            assert_eq!(of_header(other), None);
        }
    }

    #[test]
    fn short_long_and_odd_tokens_are_none() {
        assert_eq!(check_form(&"a".repeat(SHORTEST)), Ok(()));
        assert_eq!(check_form("short"), Err(TokenProblem::Length(5)));
        assert_eq!(
            check_form(&"a".repeat(LONGEST + 1)),
            Err(TokenProblem::Length(LONGEST + 1))
        );
        assert_eq!(check_form(&"ä".repeat(SHORTEST)), Err(TokenProblem::Characters));
        assert_eq!(check_form("two words of a sentence"), Err(TokenProblem::Characters));
    }
}
