//! Two processes behind a balancer that knows nothing of gRPC do one client's work, and one of them may go.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in its helpers as well")]

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{VerdictKind, VerifyItem, VerifyRequest};
use futures::{StreamExt as _, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::Code;

/// Ends the process if a test fails before the process has ended.
struct Replica {
    process: Child,
    address: SocketAddr,
}

impl Replica {
    fn start(folder: &Path, name: &str) -> Self {
        let port_file = folder.join(name);
        let process = Command::new(env!("CARGO_BIN_EXE_anytime-verifier"))
            .args(["serve", "--listen", "127.0.0.1:0", "--threads", "1", "--port-file"])
            .arg(&port_file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From here on a failure ends the process.
        let mut replica = Self {
            process,
            address: ([127, 0, 0, 1], 0).into(),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while replica.address.port() == 0 {
            assert!(Instant::now() < deadline, "{} was not written", port_file.display());
            std::thread::sleep(Duration::from_millis(20));
            if let Ok(text) = std::fs::read_to_string(&port_file) {
                replica.address = text.trim().parse().unwrap();
            }
        }
        replica
    }

    fn terminate(&self) {
        kill(Pid::from_raw(self.process.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Hands each connection to the next server that takes it. Returns its address and the connections each server got.
async fn balance(servers: [SocketAddr; 2]) -> (SocketAddr, Arc<[AtomicUsize; 2]>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let counts = taken.clone();
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            for _ in 0..servers.len() {
                let chosen = turn % servers.len();
                turn += 1;
                if let Ok(mut server) = TcpStream::connect(servers[chosen]).await {
                    counts[chosen].fetch_add(1, Ordering::SeqCst);
                    client.set_nodelay(true).unwrap();
                    server.set_nodelay(true).unwrap();
                    tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
                    break;
                }
            }
        }
    });
    (address, taken)
}

/// A batch that is recognised by its answers: every third one is right.
fn batch(number: usize) -> VerifyRequest {
    let items = (0..50).map(|index| VerifyItem {
        response: format!("**Final Answer**\n\\boxed{{{}}}", number * 50 + index),
        ground_truths: vec![(number * 50 + index - index % 3).to_string()],
    });
    VerifyRequest {
        items: items.collect(),
        ..Default::default()
    }
}

fn assert_answers(kinds: &[(VerdictKind, String)], number: usize) {
    assert_eq!(kinds.len(), 50);
    for (index, (kind, extracted)) in kinds.iter().enumerate() {
        assert_eq!(*extracted, (number * 50 + index).to_string());
        let expected = if index % 3 == 0 {
            VerdictKind::Correct
        } else {
            VerdictKind::Wrong
        };
        assert_eq!(*kind, expected);
    }
}

const BATCHES: usize = 300;
const CONNECTIONS: usize = 4;

/// Sends every fourth batch, one after the other, and makes a new connection after each refusal. Returns the number of
/// refusals.
async fn send_single_batches(address: SocketAddr, first: usize, done: Arc<AtomicUsize>) -> usize {
    let mut refusals = 0;
    let mut client = None;
    for number in (first..BATCHES).step_by(CONNECTIONS) {
        loop {
            let mut connected = match client.take() {
                Some(connected) => connected,
                None => match VerifierServiceClient::connect(format!("http://{address}")).await {
                    Ok(connected) => connected,
                    Err(_) => {
                        refusals += 1;
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        continue;
                    }
                },
            };
            match connected.verify(batch(number)).await {
                Ok(response) => {
                    let verdicts = response.into_inner().verdicts;
                    let kinds: Vec<_> = verdicts.into_iter().map(|v| (v.kind(), v.extracted)).collect();
                    assert_answers(&kinds, number);
                    client = Some(connected);
                    break;
                }
                Err(status) => {
                    assert!(is_retried(status.code()), "{status}");
                    refusals += 1;
                }
            }
        }
        done.fetch_add(1, Ordering::SeqCst);
        // So much work that it is not over before the signal.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    refusals
}

/// Whether an error is one of those that report a connection which ended during a call.
fn is_retried(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_serve_one_client_and_one_may_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut replicas = ["first", "second"].map(|name| Replica::start(folder.path(), name));
    let (address, taken) = balance([replicas[0].address, replicas[1].address]).await;
    let done = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for first in 0..CONNECTIONS {
        senders.spawn(send_single_batches(address, first, done.clone()));
    }
    while done.load(Ordering::SeqCst) < BATCHES / 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for count in taken.iter() {
        assert_eq!(count.load(Ordering::SeqCst), CONNECTIONS / 2, "both do their part");
    }
    replicas[0].terminate();
    let refusals: usize = senders.join_all().await.into_iter().sum();
    assert_eq!(done.load(Ordering::SeqCst), BATCHES);
    assert!(replicas[0].process.wait().unwrap().success());
    assert!(replicas[1].process.try_wait().unwrap().is_none());
    assert!(taken[1].load(Ordering::SeqCst) > CONNECTIONS / 2, "{refusals} refusals");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_goes_on_at_the_other_one() {
    let folder = tempfile::tempdir().unwrap();
    let replicas = ["first", "second"].map(|name| Replica::start(folder.path(), name));
    let (address, _) = balance([replicas[0].address, replicas[1].address]).await;
    let mut next = 0;
    let mut streams = 0;
    while next < BATCHES {
        streams += 1;
        let mut client = VerifierServiceClient::connect(format!("http://{address}"))
            .await
            .unwrap();
        // Slow enough that most is still to be sent when the signal comes.
        let requests = stream::iter(next..BATCHES).then(|number| async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            batch(number)
        });
        let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
        loop {
            match responses.message().await {
                Ok(Some(response)) => {
                    let kinds: Vec<_> = response.verdicts.into_iter().map(|v| (v.kind(), v.extracted)).collect();
                    assert_answers(&kinds, next);
                    next += 1;
                }
                Ok(None) => break,
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status}");
                    break;
                }
            }
            if next == BATCHES / 4 && streams == 1 {
                replicas[0].terminate();
            }
        }
    }
    assert_eq!((next, streams), (BATCHES, 2));
}
