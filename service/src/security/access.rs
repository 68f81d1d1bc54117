//! The file of access: which token or certificate has which role.
//!
//! ```text
//! # role   what is shown   it
//! submit   token           q7mY…
//! act      certificate     actor
//! read     token           Zt0B…
//! ```
//!
//! A token or certificate on several lines has the roles of all of them.

use subtle::ConstantTimeEq as _;

use super::refusals::Reason;
use super::roles::{Role, Who, who_may_call};
use super::token;

/// What is wrong with a line of the file. It never quotes the line, which may hold a token.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessProblem {
    #[error("it is not UTF-8")]
    NotText,
    #[error("line {0}: it must be a role, `token` or `certificate`, and the token or the certificate's common name")]
    Words(usize),
    #[error("line {0}: the role must be submit, act or read")]
    Role(usize),
    #[error("line {line}: {problem}")]
    Token { line: usize, problem: token::TokenProblem },
    #[error("it lets nobody in: no line has a role")]
    Nobody,
}

/// Who has which roles.
pub(super) struct Access {
    tokens: Vec<(Vec<u8>, Role)>,
    names: Vec<(String, Role)>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Access")
            .field("tokens", &self.tokens.len())
            .field("names", &self.names)
            .finish()
    }
}

/// What a caller shows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown<'a> {
    /// The value of the metadata `authorization`.
    pub(super) authorization: Option<&'a [u8]>,
    /// The common name of the certificate that the connection was made with.
    pub(super) name: Option<&'a str>,
}

impl Access {
    /// Reads the file's bytes.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, AccessProblem> {
        let text = std::str::from_utf8(bytes).map_err(|_| AccessProblem::NotText)?;
        let mut access = Self {
            tokens: Vec::new(),
            names: Vec::new(),
        };
        for (index, line) in text.lines().enumerate() {
            let (line, number) = (line.trim(), index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (role, rest) = two_words(line).ok_or(AccessProblem::Words(number))?;
            let (kind, value) = two_words(rest).ok_or(AccessProblem::Words(number))?;
            let role = Role::from_name(role).ok_or(AccessProblem::Role(number))?;
            match kind {
                "token" => {
                    let checked = token::check_form(value);
                    checked.map_err(|problem| AccessProblem::Token { line: number, problem })?;
                    access.tokens.push((value.as_bytes().to_vec(), role));
                }
                "certificate" => access.names.push((value.to_owned(), role)),
                _ => return Err(AccessProblem::Words(number)),
            }
        }
        if access.tokens.is_empty() && access.names.is_empty() {
            return Err(AccessProblem::Nobody);
        }
        Ok(access)
    }

    /// Whether the caller may call a method.
    pub(super) fn may_call(&self, path: &str, shown: Shown<'_>) -> Result<(), Reason> {
        match who_may_call(path) {
            Some(Who::Everybody) => Ok(()),
            Some(Who::Roles(allowed)) => self.may(allowed, shown),
            // Only those with a role are told which methods there are.
            None => self.may(&Role::ALL, shown).and(Err(Reason::UnknownMethod)),
        }
    }

    /// Whether the caller has one of these roles. A token that is shown decides; without one the certificate does.
    pub(super) fn may(&self, allowed: &[Role], shown: Shown<'_>) -> Result<(), Reason> {
        let mut has_any = false;
        let mut has_allowed = false;
        let mut book = |is_same: bool, role: Role| {
            has_any |= is_same;
            has_allowed |= is_same && allowed.contains(&role);
        };
        match (shown.authorization, shown.name) {
            (Some(value), _) => {
                let shown = token::of_header(value).ok_or(Reason::WrongToken)?;
                // All tokens are compared, each in constant time, so that the time tells nothing about any of them.
                for (token, role) in &self.tokens {
                    book(token.ct_eq(shown).into(), *role);
                }
                if !has_any {
                    return Err(Reason::WrongToken);
                }
            }
            (None, Some(shown)) => {
                for (name, role) in &self.names {
                    book(name == shown, *role);
                }
                if !has_any {
                    return Err(Reason::UnknownName);
                }
            }
            (None, None) => return Err(Reason::NoToken),
        }
        if has_allowed { Ok(()) } else { Err(Reason::WrongRole) }
    }
}

/// The first word, and what stands behind it.
fn two_words(text: &str) -> Option<(&str, &str)> {
    let (first, rest) = text.split_once(char::is_whitespace)?;
    let rest = rest.trim_start();
    (!rest.is_empty()).then_some((first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBMIT: &str = "submit-submit-submit-submit";
    const ACT: &str = "act-act-act-act-act-act-act";

    fn access() -> Access {
        let file = format!(
            "# a comment\n\nsubmit token {SUBMIT}\n  act\ttoken   {ACT}  \nact certificate the actor\nread certificate eye\n"
        );
        Access::parse(file.as_bytes()).expect("a good file")
    }

    fn with_token(token: &str) -> Vec<u8> {
        token::header(token).into_bytes()
    }

    fn calls(path: &str, token: Option<&str>, name: Option<&str>) -> Result<(), Reason> {
        let header = token.map(with_token);
        let shown = Shown {
            authorization: header.as_deref(),
            name,
        };
        access().may_call(path, shown)
    }

    #[test]
    fn a_token_or_a_name_has_its_role_and_no_other() {
        let (submit, lease, list) = (
            "/anytime.v1.JobService/Submit",
            "/anytime.v1.RolloutService/Lease",
            "/anytime.v1.JobService/List",
        );
        assert_eq!(calls(submit, Some(SUBMIT), None), Ok(()));
        assert_eq!(calls(list, Some(SUBMIT), None), Ok(()));
        assert_eq!(calls(lease, Some(SUBMIT), None), Err(Reason::WrongRole));
        assert_eq!(calls(lease, Some(ACT), None), Ok(()));
        assert_eq!(calls(lease, None, Some("the actor")), Ok(()));
        assert_eq!(calls(list, None, Some("eye")), Ok(()));
        assert_eq!(calls(submit, None, Some("eye")), Err(Reason::WrongRole));
        assert_eq!(calls(submit, None, Some("somebody")), Err(Reason::UnknownName));
        assert_eq!(calls(submit, None, None), Err(Reason::NoToken));
        // A token that is nearly right is wrong.
        for wrong in ["", &SUBMIT[1..], &format!("{SUBMIT}x"), &SUBMIT.to_uppercase()] {
            assert_eq!(calls(submit, Some(wrong), None), Err(Reason::WrongToken), "{wrong}");
        }
        // A wrong token is not made good by a certificate.
        assert_eq!(calls(lease, Some("no"), Some("the actor")), Err(Reason::WrongToken));
    }

    #[test]
    fn what_nobody_serves_is_said_only_to_those_with_a_role() {
        assert_eq!(calls("/a.B/C", None, None), Err(Reason::NoToken));
        assert_eq!(calls("/a.B/C", Some(ACT), None), Err(Reason::UnknownMethod));
        assert_eq!(calls("/grpc.health.v1.Health/Check", None, None), Ok(()));
    }

    #[test]
    fn a_bad_file_is_refused_by_line_and_without_what_it_holds() {
        for (file, said) in [
            ("submit token", "line 1: it must be a role"),
            ("\nwrite token secretsecretsecretsecret", "line 2: the role must be"),
            ("read password secretsecretsecretsecret", "line 1: it must be a role"),
            ("read token secret", "line 1: the token has 6 characters"),
            (
                "read token secretsecret secretsecret",
                "line 1: the token must be of letters",
            ),
            ("# nothing\n", "it lets nobody in"),
        ] {
            let refused = Access::parse(file.as_bytes()).expect_err(file).to_string();
            assert!(refused.starts_with(said), "{refused}");
            assert!(!refused.contains("secret"), "{refused}");
        }
        assert!(!format!("{:?}", access()).contains(SUBMIT));
    }
}
