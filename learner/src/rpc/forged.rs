//! Pushes that do not show the token of a lease: refused, counted, and said in the log with who it was, which is the only
//! trace that such a caller leaves.

use std::sync::Mutex;

use anytime_service::clock;
use anytime_service::seldom::Seldom;
use tonic::Status;
use tracing::warn;

use super::status;
use crate::lock::lock;
use crate::queue::dead_letters::cut;
use crate::rollouts::lease_token::LeaseTokens;
use crate::rollouts::outcomes;

/// What a push says that it is of.
pub(super) struct Named<'a> {
    pub(super) job_id: &'a str,
    pub(super) group_id: &'a str,
    pub(super) actor_id: &'a str,
}

/// Makes the tokens of leases, and checks those that are shown.
pub(super) struct TokenGate {
    pub(super) tokens: LeaseTokens,
    said: Mutex<Seldom>,
}

impl TokenGate {
    pub(super) fn new(tokens: LeaseTokens) -> Self {
        Self {
            tokens,
            said: Mutex::default(),
        }
    }

    /// Whether `shown` is the token of this lease. `caller` says from where the push comes.
    ///
    /// # Errors
    /// `PERMISSION_DENIED` where it is not.
    pub(super) fn check(&self, shown: &[u8], named: &Named<'_>, caller: &str) -> Result<(), Status> {
        if self.tokens.is_of(shown, named.job_id, named.group_id, named.actor_id) {
            return Ok(());
        }
        outcomes::count("forged", 1);
        let may_say = lock(&self.said).may_say(clock::now());
        if let Some(others) = may_say {
            // Whoever forges a push chooses these texts, and how often it comes.
            let [job_id, group_id, actor_id] = [named.job_id, named.group_id, named.actor_id].map(|text| {
                let mut text = text.to_owned();
                cut(&mut text);
                text
            });
            warn!(
                caller,
                actor_id, job_id, group_id, others, "refused a push that does not show the token of a lease"
            );
        }
        Err(status::wrong_lease_token())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_forged_push_is_said_with_who_it_was_and_a_flood_of_them_is_one_short_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let gate = TokenGate::new(LeaseTokens::of_directory(directory.path()).expect("a key"));
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let endless = format!("group\n{}", "x".repeat(1 << 20));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..100 {
                let named = Named {
                    job_id: "demo",
                    group_id: &endless,
                    actor_id: "mallory",
                };
                let refused = gate.check(b"guessed", &named, "192.0.2.7:4000").expect_err("forged");
                assert_eq!(refused.code(), tonic::Code::PermissionDenied);
            }
            let named = Named {
                job_id: "demo",
                group_id: "demo-0",
                actor_id: "a",
            };
            let token = gate.tokens.token("demo", "demo-0", "a");
            assert!(gate.check(&token, &named, "192.0.2.7:4000").is_ok());
        });
        let text = String::from_utf8(lock(&written.0).clone()).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.len() < 2000, "{} bytes", text.len());
        for part in ["192.0.2.7:4000", "mallory", "demo", "others=0", "group\\n"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
