//! What a process says of files that it cannot use, before anything listens.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use anytime_tests::programs::binary;
use anytime_tests::secrets::Secrets;
use anytime_tests::wait::within;
use anytime_tests::workplace::Workplace;

use crate::security::start;

/// What the verifier says, which must end with the code of bad configuration and write no port file.
fn refusal(workplace: &Workplace, arguments: &[&str]) -> String {
    let port_file = workplace.path("refused.port");
    let output = Command::new(binary("anytime-verifier"))
        .args(["serve", "--port-file"])
        .arg(&port_file)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{arguments:?}: {said}");
    assert!(!port_file.exists(), "it listened: {arguments:?}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one line says what is wrong: {said}");
    errors[0].to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_used_are_said_before_anything_listens() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        secrets.add_expired("expired");
        let file = |name: &str| secrets.path(name);
        let write = |name: &str, text: &str| {
            std::fs::write(file(name), text).unwrap();
            file(name)
        };
        let (cert, key) = (file("server.pem"), file("server.key"));
        let empty = write("empty", "\n");
        let words = write("words", "no certificate\n");
        let secret = secrets.token("read");
        let role = write("role", &format!("write token {secret}\n"));
        let short = write("short", "read token tooshort\n");
        let listen = ["--listen", "127.0.0.1:0"];
        let tls = |certificate: &str, key: &str| {
            let arguments = ["--tls-cert", certificate, "--tls-key", key].map(str::to_owned);
            [listen.map(str::to_owned).to_vec(), arguments.to_vec()].concat()
        };
        let access = |path: &str| {
            let mut arguments = listen.map(str::to_owned).to_vec();
            arguments.extend(["--access", path].map(str::to_owned));
            arguments
        };
        let missing = file("missing");
        let cases = [
            (tls(&missing, &key), "--tls-cert", "No such file"),
            (tls(&cert, &missing), "--tls-key", "No such file"),
            (tls(&empty, &key), "--tls-cert", "it is empty"),
            (tls(&words, &key), "--tls-cert", "it holds no certificate"),
            (tls(&cert, &words), "--tls-key", "it holds no private key"),
            (
                tls(&cert, &file("act.key")),
                "--tls-key",
                "it is not the key of the certificate",
            ),
            (
                tls(&file("expired.pem"), &file("expired.key")),
                "--tls-cert",
                "the certificate expired on",
            ),
            (tls("/", &key), "--tls-cert", "it is no regular file"),
            (
                [tls(&cert, &key), vec!["--tls-client-ca".to_owned(), words.clone()]].concat(),
                "--tls-client-ca",
                "it holds no",
            ),
            (access(&missing), "--access", "No such file"),
            (
                access(&role),
                "--access",
                "line 1: the role must be submit, act or read",
            ),
            (access(&short), "--access", "line 1: the token has 8 characters"),
        ];
        for (arguments, flag, reason) in cases {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let said = refusal(&workplace, &arguments);
            assert!(
                said.starts_with(&format!("error: {flag} ")) && said.contains(reason),
                "{arguments:?}: {said}"
            );
            assert!(!said.contains(&secret), "{said}");
        }
        // The parser asks for both.
        let half = Command::new(binary("anytime-verifier"))
            .args(["serve", "--listen", "127.0.0.1:0", "--tls-cert", &cert])
            .output()
            .unwrap();
        assert_eq!(half.status.code(), Some(64));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_machines_are_let_in_with_tls_and_tokens_or_with_a_word() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let file = |name: &str| secrets.path(name);
        let tls = ["--tls-cert", &file("server.pem"), "--tls-key", &file("server.key")].map(str::to_owned);
        let access = ["--access", &file("access")].map(str::to_owned);
        let everywhere = ["--listen", "0.0.0.0:0"].map(str::to_owned);
        let metrics = ["--listen", "127.0.0.1:0", "--metrics-address", "0.0.0.0:0"].map(str::to_owned);
        // One of the two is not enough.
        for (arguments, flag) in [
            (everywhere.to_vec(), "--listen"),
            ([everywhere.to_vec(), tls.to_vec()].concat(), "--listen"),
            ([everywhere.to_vec(), access.to_vec()].concat(), "--listen"),
            (metrics.to_vec(), "--metrics-address"),
            (["--listen", "[::]:0"].map(str::to_owned).to_vec(), "--listen"),
        ] {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let said = refusal(&workplace, &arguments);
            let wanted = "is reached from other machines: it needs TLS";
            assert!(
                said.starts_with(&format!("error: {flag} ")) && said.contains(wanted),
                "{said}"
            );
        }
        let warned = "is reached from other machines without TLS and tokens";
        let open: Vec<_> = ["--listen", "0.0.0.0:0", "--insecure"].map(Into::into).to_vec();
        let server = start_listening(&workplace, "open", &open).await;
        assert!(server.contains(warned), "it warns: {server}");
        let both = [everywhere.to_vec(), tls.to_vec(), access.to_vec()].concat();
        let both: Vec<_> = both.iter().map(Into::into).collect();
        let server = start_listening(&workplace, "closed", &both).await;
        assert!(!server.contains("WARN"), "nothing to warn of: {server}");

        // A key that others may read is said.
        let key = file("server.key");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let server = start(&workplace, "verifier", "read", &secrets.serving("server", false)).await;
        let log = server.process.log();
        assert!(
            log.contains("may be read by other users of this machine (mode 644)"),
            "{log}"
        );
    })
    .await;
}

/// Starts a verifier whose arguments say where it listens, and returns its log once it does.
async fn start_listening(workplace: &Workplace, log: &str, arguments: &[std::ffi::OsString]) -> String {
    let mut command = Command::new(binary("anytime-verifier"));
    command.arg("serve").args(arguments);
    let process = anytime_tests::process::Process::start(log, command, workplace.mark(), &workplace.path("logs"));
    anytime_tests::wait::eventually("it listens", 30, async || {
        let log = process.log();
        log.contains("\"listening\"").then_some(log)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_says_what_is_wrong_and_sends_no_token_in_the_clear() {
    within(60, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        // A set is not overwritten, and nobody else may read it.
        let again = workplace.anytime(&["certs", "secrets"], 30).await.expect(64);
        assert!(again.stderr.contains("is not empty"), "{}", again.stderr);
        for (name, mode) in [
            ("", 0o700),
            ("ca.key", 0o600),
            ("server.key", 0o600),
            ("access", 0o600),
            ("act.token", 0o600),
            ("ca.pem", 0o644),
        ] {
            let metadata = std::fs::metadata(secrets.path(name)).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o777, mode, "{name}");
        }

        let token = secrets.path("submit.token");
        let away = ["list", "--learner", "http://192.0.2.1:7100", "--token-file", &token];
        let said = workplace.anytime(&away, 30).await.expect(64).stderr;
        assert!(said.contains("would travel unencrypted to another machine"), "{said}");
        let nothing = ["list", "--token-file", "nothing"];
        let said = workplace.anytime(&nothing, 30).await.expect(64).stderr;
        assert!(said.starts_with("error: --token-file nothing: No such file"), "{said}");
    })
    .await;
}

/// Who collects the log reads one JSON object per line, and the line that says why a process ended is the one that counts.
#[test]
fn why_a_process_ends_is_an_event_of_its_log_too() {
    let output = Command::new(binary("anytime-verifier"))
        .args(["serve", "--listen", "127.0.0.1:0", "--port-file", "nowhere/port"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(64), "{said}");
    let error = said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap();
    let events = said
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let ends: Vec<_> = events.filter(|event| event["message"] == "the process ends").collect();
    assert_eq!(ends.len(), 1, "{said}");
    assert_eq!(ends[0]["level"], "ERROR", "{said}");
    assert_eq!(ends[0]["exit_code"], 64, "{said}");
    assert_eq!(ends[0]["reason"], error, "{said}");
}
