//! Every way to call a verifier: with what is right, and with everything that is wrong.

use std::time::Duration;

use anytime_proto::limits::MAX_MESSAGE_BYTES;
use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{VerifyItem, VerifyRequest};
use anytime_tests::metrics::{Sample, sum};
use anytime_tests::secrets::{Secrets, secure_channel, with_token};
use anytime_tests::stack::channel;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use tonic::Code;
use tonic::transport::Channel;

use crate::security::{Listening, start};

const REFUSED: &str = "anytime_access_refused_total";

pub(crate) fn request() -> VerifyRequest {
    VerifyRequest {
        items: vec![VerifyItem {
            response: "\\boxed{4}".to_owned(),
            ground_truths: vec!["4".to_owned()],
        }],
        ..VerifyRequest::default()
    }
}

async fn call(channel: Channel, token: Option<&str>) -> Code {
    let mut client = VerifierServiceClient::new(channel);
    let answer = client.verify(with_token(request(), token)).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

fn handled(samples: &[Sample]) -> f64 {
    sum(samples, "anytime_verifier_items_total", "")
}

fn refused(samples: &[Sample], reason: &str) -> f64 {
    sum(samples, REFUSED, &format!("reason=\"{reason}\""))
}

/// A server, and how its metrics are read.
struct Watched<'a> {
    server: &'a Listening,
    secrets: &'a Secrets,
    own: Option<&'a str>,
}

impl Watched<'_> {
    async fn samples(&self) -> Vec<Sample> {
        self.secrets.scrape(&self.server.metrics, self.own).await
    }

    /// Makes a call and checks what came of it: its status, whether a handler was reached, and which counter went up, and no
    /// other did.
    async fn expect(&self, what: &str, channel: Channel, token: Option<&str>, codes: &[Code], reason: Option<&str>) {
        let before = self.samples().await;
        let code = call(channel, token).await;
        assert!(codes.contains(&code), "{what}: {code:?}");
        let passed = f64::from(u8::from(code == Code::Ok));
        // A connection that fails in its handshake is counted beside the caller's error, and may be tried again by it.
        eventually(&format!("{what} is counted"), 20, async || {
            let after = self.samples().await;
            let counted = reason.is_none_or(|reason| refused(&after, reason) > refused(&before, reason));
            counted.then_some(())
        })
        .await;
        let after = self.samples().await;
        assert_eq!(
            handled(&after) - handled(&before),
            passed,
            "{what}: a handler was reached"
        );
        let others =
            |samples: &[Sample]| sum(samples, REFUSED, "") - reason.map_or(0.0, |reason| refused(samples, reason));
        assert_eq!(others(&after), others(&before), "{what}: counted as something else");
    }
}

const BROKEN: &[Code] = &[Code::Unavailable, Code::Unknown, Code::Internal, Code::Cancelled];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_decide_over_tls() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        let server = start(&workplace, "verifier", "tls", &secrets.serving("server", false)).await;
        let watched = Watched {
            server: &server,
            secrets: &secrets,
            own: None,
        };
        let to = || secure_channel(&server.address, secrets.tls(None));
        let (act, read) = (secrets.token("act"), secrets.token("read"));
        let wrong = foreign.token("act");
        let unauthenticated = &[Code::Unauthenticated];
        watched
            .expect("the right token", to(), Some(&act), &[Code::Ok], None)
            .await;
        watched
            .expect("no token", to(), None, unauthenticated, Some("no_token"))
            .await;
        watched
            .expect(
                "a wrong token",
                to(),
                Some(&wrong),
                unauthenticated,
                Some("wrong_token"),
            )
            .await;
        let cut = Some(&act[1..]);
        watched
            .expect("a part of it", to(), cut, unauthenticated, Some("wrong_token"))
            .await;
        watched
            .expect(
                "another role",
                to(),
                Some(&read),
                &[Code::PermissionDenied],
                Some("wrong_role"),
            )
            .await;
        let plain = channel(&server.address);
        watched
            .expect("plain text", plain, Some(&act), BROKEN, Some("plain_text"))
            .await;
        let distrusting = secure_channel(&server.address, foreign.tls(None));
        watched
            .expect(
                "a caller of another CA",
                distrusting,
                Some(&act),
                BROKEN,
                Some("handshake"),
            )
            .await;

        // Too large: refused before it is decoded, and without a token before it is read.
        let mut large = request();
        large.items[0].response = "x".repeat(MAX_MESSAGE_BYTES);
        for (token, code) in [(Some(act.as_str()), Code::OutOfRange), (None, Code::Unauthenticated)] {
            let before = handled(&watched.samples().await);
            let mut client = VerifierServiceClient::new(to());
            let status = client.verify(with_token(large.clone(), token)).await.unwrap_err();
            // The server may end the stream while the caller still sends.
            assert!(status.code() == code || BROKEN.contains(&status.code()), "{status:?}");
            assert_eq!(handled(&watched.samples().await), before);
        }
        // The log names refused callers by their address, and no token is in it.
        let log = server.process.log();
        assert!(
            log.contains("a caller was turned away") && log.contains("127.0.0.1:"),
            "{log}"
        );
        for token in [&act, &read, &wrong] {
            assert!(!log.contains(token.as_str()), "a token is in the log");
        }
        // The metrics are closed as well, but for whether the process lives.
        for (token, expected) in [(None, 401), (Some(wrong.as_str()), 401), (Some(act.as_str()), 403)] {
            let (status, text) = secrets.get(&server.metrics, "/metrics", None, token).await.unwrap();
            assert_eq!(status, expected, "{text}");
            assert!(!text.contains("anytime_verifier"), "{text}");
        }
        assert_eq!(
            secrets.get(&server.metrics, "/health", None, None).await.unwrap().0,
            200
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_decide_where_they_are_asked_for() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        secrets.add_expired("expired");
        let server = start(&workplace, "verifier", "mutual", &secrets.serving("server", true)).await;
        let watched = Watched {
            server: &server,
            secrets: &secrets,
            own: Some("read"),
        };
        let with = |set: &Secrets, name: &str| secure_channel(&server.address, secrets.tls(Some((set, name))));
        watched
            .expect("the name of a role", with(&secrets, "act"), None, &[Code::Ok], None)
            .await;
        let denied = &[Code::PermissionDenied];
        watched
            .expect(
                "another role's",
                with(&secrets, "read"),
                None,
                denied,
                Some("wrong_role"),
            )
            .await;
        let unknown = with(&secrets, "server");
        watched
            .expect(
                "a name without a role",
                unknown,
                None,
                &[Code::Unauthenticated],
                Some("unknown_name"),
            )
            .await;
        let act = secrets.token("act");
        let both = with(&secrets, "read");
        watched
            .expect("a token decides over it", both, Some(&act), &[Code::Ok], None)
            .await;
        let none = secure_channel(&server.address, secrets.tls(None));
        watched
            .expect("no certificate", none, Some(&act), BROKEN, Some("no_certificate"))
            .await;
        let expired = with(&secrets, "expired");
        watched
            .expect(
                "an expired one",
                expired,
                Some(&act),
                BROKEN,
                Some("expired_certificate"),
            )
            .await;
        let other = with(&foreign, "act");
        watched
            .expect(
                "one of another CA",
                other,
                Some(&act),
                BROKEN,
                Some("foreign_certificate"),
            )
            .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_file_of_access_counts_while_the_server_runs() {
    within(60, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let other = Secrets::make(&workplace, "other").await;
        let server = start(&workplace, "verifier", "changed", &secrets.serving("server", false)).await;
        let to = || secure_channel(&server.address, secrets.tls(None));
        let (old, new) = (secrets.token("act"), other.token("act"));
        assert_eq!(call(to(), Some(&old)).await, Code::Ok);
        assert_eq!(call(to(), Some(&new)).await, Code::Unauthenticated);
        // A connection that is open is not asked again, but each of its calls is.
        let open = to();
        assert_eq!(call(open.clone(), Some(&old)).await, Code::Ok);

        let changed = secrets.text("access").replace(&old, &new);
        std::fs::write(secrets.path("access"), &changed).unwrap();
        eventually("the new token counts", 10, async || {
            (call(to(), Some(&new)).await == Code::Ok).then_some(())
        })
        .await;
        assert_eq!(call(to(), Some(&old)).await, Code::Unauthenticated);
        assert_eq!(call(open, Some(&old)).await, Code::Unauthenticated);

        // A file that cannot be read leaves everything as it was, and the log says so without what the file holds.
        std::fs::write(secrets.path("access"), format!("write token {old}\n")).unwrap();
        eventually("the log says so", 10, async || {
            server.process.log().contains("cannot be used").then_some(())
        })
        .await;
        assert_eq!(call(to(), Some(&new)).await, Code::Ok);
        assert_eq!(call(to(), Some(&old)).await, Code::Unauthenticated);
        assert!(!server.process.log().contains(&old));
        // And it comes right again.
        std::fs::write(secrets.path("access"), changed.replace(&new, &old)).unwrap();
        eventually("the old token counts again", 10, async || {
            (call(to(), Some(&old)).await == Code::Ok).then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loopback_is_open_and_turns_tls_away() {
    within(60, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let server = start(&workplace, "verifier", "plain", &[]).await;
        let count = async || {
            let samples = anytime_tests::metrics::scrape(&server.metrics).await.unwrap();
            (handled(&samples), refused(&samples, "unexpected_tls"))
        };
        assert_eq!(call(channel(&server.address), None).await, Code::Ok);
        assert_eq!(count().await, (1.0, 0.0));
        let tls = secure_channel(&server.address, secrets.tls(None));
        let code = call(tls, Some(&secrets.token("act"))).await;
        assert!(BROKEN.contains(&code), "{code:?}");
        let (handled, turned_away) = count().await;
        assert!(handled == 1.0 && turned_away >= 1.0, "{handled} {turned_away}");
        assert!(secrets.get(&server.metrics, "/metrics", None, None).await.is_none());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_never_ends_is_cut_off() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    within(60, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let server = start(&workplace, "verifier", "slow", &secrets.serving("server", false)).await;
        let mut stream = tokio::net::TcpStream::connect(&server.address).await.unwrap();
        // The head of a record of the handshake, and nothing behind it.
        stream.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "the server waits for the rest of a handshake");
        let samples = secrets.scrape(&server.metrics, None).await;
        assert_eq!(refused(&samples, "handshake"), 1.0);
        // The place is free again; the one connection is that of this scrape.
        assert_eq!(sum(&samples, "anytime_connections", "server=\"grpc\""), 0.0);
    })
    .await;
}
