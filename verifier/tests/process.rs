//! The verifier as a process: exit codes, the port file and SIGTERM.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{VerdictKind, VerifyItem, VerifyRequest};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

fn verifier() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_anytime-verifier"));
    command
        .env_remove("ANYTIME_LISTEN")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Ends the process if a test fails before the process has ended.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for_file(path: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("{} was not written", path.display());
}

#[tokio::test]
async fn tells_its_port_and_drains_on_sigterm() {
    let folder = tempfile::tempdir().unwrap();
    let port_file = folder.path().join("verifier.port");
    let child = verifier()
        .args(["serve", "--listen", "127.0.0.1:0", "--port-file"])
        .arg(&port_file)
        .spawn()
        .unwrap();
    let mut process = Process(child);
    let address = wait_for_file(&port_file);
    let mut client = VerifierServiceClient::connect(format!("http://{}", address.trim()))
        .await
        .unwrap();
    let item = VerifyItem {
        response: "**Final Answer**\n\\boxed{7}".to_owned(),
        ground_truths: vec!["7.0".to_owned()],
    };
    let response = client
        .verify(VerifyRequest {
            items: vec![item],
            ..Default::default()
        })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(response.verdicts[0].kind(), VerdictKind::Correct);

    let started = Instant::now();
    kill(Pid::from_raw(process.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let status = tokio::task::spawn_blocking(move || process.0.wait().unwrap())
        .await
        .unwrap();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        1,
        "only the port file is left behind"
    );
}

#[test]
fn bad_configuration_ends_it_at_once() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_address = taken.local_addr().unwrap().to_string();
    let cases: [&[&str]; 6] = [
        &[],
        &["serve", "--listen", "nowhere"],
        &["serve", "--threads", "0"],
        &["serve", "--listen", &taken_address],
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--port-file",
            "/no/such/folder/port",
        ],
        &["serve", "--listen", "127.0.0.1:0", "--metrics-address", &taken_address],
    ];
    for arguments in cases {
        let status = verifier().args(arguments).status().unwrap();
        assert_eq!(status.code(), Some(64), "{arguments:?}");
    }
    assert!(verifier().arg("--help").status().unwrap().success());
}

/// An address that was free a moment ago.
fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn fetch_metrics(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn counts_verdicts() {
    let folder = tempfile::tempdir().unwrap();
    let port_file = folder.path().join("verifier.port");
    let metrics_address = free_address();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--metrics-address",
        &metrics_address.to_string(),
    ];
    let _process = Process(
        verifier()
            .args(arguments)
            .arg("--port-file")
            .arg(&port_file)
            .spawn()
            .unwrap(),
    );
    let address = wait_for_file(&port_file);
    let mut client = VerifierServiceClient::connect(format!("http://{}", address.trim()))
        .await
        .unwrap();
    let responses = ["**Final Answer**\n\\boxed{7}", "**Final Answer**\n\\boxed{8}", "none"];
    let item = |response: &str| VerifyItem {
        response: response.to_owned(),
        ground_truths: vec!["7".to_owned()],
    };
    let items = responses.iter().map(|response| item(response)).collect();
    let request = VerifyRequest {
        items,
        ..Default::default()
    };
    let again = futures::stream::iter([request.clone()]);
    client.verify(request).await.unwrap();
    let mut responses = client.verify_stream(again).await.unwrap().into_inner();
    assert_eq!(responses.message().await.unwrap().unwrap().verdicts.len(), 3);
    assert!(responses.message().await.unwrap().is_none());

    // The stream is over for the client a moment before it is for the server.
    let closed = "anytime_verifier_streams{process=\"verifier\"} 0";
    let metrics = tokio::task::spawn_blocking(move || {
        let tries = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(20));
            fetch_metrics(metrics_address)
        });
        tries.take(200).find(|metrics| metrics.contains(closed))
    });
    let metrics = metrics.await.unwrap().expect("the stream was closed");
    let expected = ["kind=\"correct\"", "kind=\"wrong\"", "kind=\"no_answer\""];
    for label in expected {
        let counted = |line: &&str| line.starts_with("anytime_verifier_verdicts_total{") && line.contains(label);
        let line = metrics
            .lines()
            .find(counted)
            .unwrap_or_else(|| panic!("{label} in {metrics}"));
        assert!(line.ends_with(" 2"), "{line}");
    }
    let value = |series: &str| -> f64 {
        let mut lines = metrics.lines().filter(|line| line.starts_with(series));
        let line = lines.next().unwrap_or_else(|| panic!("{series} in {metrics}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(value("anytime_verifier_batch_seconds_count{"), 2.0);
    assert_eq!(value("anytime_verifier_items_total{"), 6.0);
    let pairs = "anytime_verifier_pair_seconds_count{";
    let counts = metrics.lines().filter(|line| line.starts_with(pairs));
    let counts: f64 = counts
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum();
    assert_eq!(counts, 6.0, "{metrics}");
    // The third response has no answer that could be looked up.
    assert_eq!(value("anytime_verifier_cache_misses_total{"), 2.0);
    assert_eq!(value("anytime_verifier_cache_hits_total{"), 2.0);
    assert!(value("anytime_verifier_cache_bytes{") > 0.0);
    assert_eq!(value("anytime_verifier_refused_batches_total{"), 0.0);
    assert_eq!(value("anytime_verifier_waiting_batches{"), 0.0);
}
