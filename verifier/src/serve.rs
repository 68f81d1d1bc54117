//! The server: takes its listener and its shutdown, so that a test starts it on port 0 and stops it.

use std::sync::Arc;

use anytime_proto::limits::MAX_MESSAGE_BYTES;
use anytime_proto::v1::verifier_service_server::VerifierServiceServer;
use anytime_service::security::ServerSecurity;
use anytime_service::server;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tracing::{info, warn};

use crate::batch::{GradeItem, GradingPool};
use crate::cache::{VerdictCache, grade_item};
use crate::limits::ServerLimits;
use crate::meters::Meters;
use crate::rpc::Verifier;
use crate::watch;

/// Serves until the token is cancelled. From then on health says NOT_SERVING, no new request is taken, and those under way
/// finish within the drain time.
///
/// # Errors
/// If the transport fails, or if so many items hung that the process should be started again.
pub async fn run(
    listener: TcpListener,
    shutdown: CancellationToken,
    limits: ServerLimits,
    security: ServerSecurity,
) -> anyhow::Result<()> {
    let meters = Arc::new(Meters::new());
    let cache = Arc::new(VerdictCache::new(limits.cache_bytes, &meters));
    let grading_cache = cache.clone();
    let through_cache = Arc::new(move |item: &_, options: &_| grade_item(&grading_cache, item, options));
    run_with(listener, shutdown, limits, security, meters, cache, through_cache).await
}

/// [`run`] with the function that grades an item, so that a test can put in a slow one.
async fn run_with(
    listener: TcpListener,
    shutdown: CancellationToken,
    limits: ServerLimits,
    security: ServerSecurity,
    meters: Arc<Meters>,
    cache: Arc<VerdictCache>,
    grade_item: GradeItem,
) -> anyhow::Result<()> {
    let pool = GradingPool::new(&limits, grade_item, meters.clone());
    let verifier = Verifier::new(pool.clone(), cache, meters, limits, shutdown.clone());
    let service = VerifierServiceServer::new(verifier)
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    let (router, health) = server::router(&security, shutdown.clone())?;
    health.set_serving::<VerifierServiceServer<Verifier>>().await;

    let mut is_exhausted = false;
    // Until the last batch is graded, health checks are answered.
    let stop = CancellationToken::new();
    let drain = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = pool.too_many_given_up() => {
                is_exhausted = true;
                shutdown.cancel();
            }
        }
        let end = async {
            end_health(health, &pool).await;
            stop.cancel();
            // The last answers have still to be written; `serve` waits for that.
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout(limits.drain_time, end).await;
    };
    let served = tokio::select! {
        served = server::serve(router.add_service(service), listener, &security, stop.clone()) => {
            info!("drained");
            served
        }
        () = drain => {
            warn!(seconds = limits.drain_time.as_secs_f64(), "drain took too long, dropping connections");
            Ok(())
        }
    };
    // Each thread that hangs takes a core for as long as the process lives. A new process starts without them.
    anyhow::ensure!(
        !is_exhausted,
        "{} grading threads hang, so this process ends for another to take its place",
        watch::most_given_up(limits.threads.get())
    );
    served
}

/// Tells those who watch the health, and ends their streams once the last batch is graded, because an open stream would
/// hold up the drain.
async fn end_health(mut health: HealthReporter, pool: &GradingPool) {
    let names = [VerifierServiceServer::<Verifier>::NAME, ""];
    for name in names {
        health.set_service_status(name, ServingStatus::NotServing).await;
    }
    pool.idle().await;
    for name in names {
        health.clear_service_status(name).await;
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::time::Duration;

    use anytime_proto::limits::DRAIN_TIMEOUT;
    use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
    use anytime_proto::v1::{Verdict, VerdictKind, VerifyItem, VerifyRequest};
    use futures::{StreamExt as _, stream};
    use tokio::task::JoinHandle;
    use tonic::transport::{Channel, Endpoint};
    use tonic::{Code, Request};

    use super::*;
    use crate::grade::verdict;
    use crate::options::Options;

    /// Longer than a batch takes to arrive, even on a busy machine.
    const ITEM_TIME: Duration = Duration::from_millis(100);

    fn slow(item: &VerifyItem, _options: &Options) -> Verdict {
        assert_ne!(item.response, "broken");
        if item.response == "hangs" {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        std::thread::sleep(ITEM_TIME);
        verdict(VerdictKind::Correct, "", "")
    }

    fn request(responses: &[&str]) -> VerifyRequest {
        let item = |response: &&str| VerifyItem {
            response: (*response).to_owned(),
            ground_truths: vec!["1".to_owned()],
        };
        VerifyRequest {
            items: responses.iter().map(item).collect(),
            ..Default::default()
        }
    }

    /// A server with one thread, and a client of it.
    async fn start(
        shutdown: &CancellationToken,
        limits: ServerLimits,
    ) -> (VerifierServiceClient<Channel>, JoinHandle<anyhow::Result<()>>) {
        let (client, server, _) = start_at(shutdown, limits).await;
        (client, server)
    }

    /// The same, with its address.
    async fn start_at(
        shutdown: &CancellationToken,
        limits: ServerLimits,
    ) -> (VerifierServiceClient<Channel>, JoinHandle<anyhow::Result<()>>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let meters = Arc::new(Meters::new());
        let cache = Arc::new(VerdictCache::new(0, &meters));
        let served = run_with(
            listener,
            shutdown.clone(),
            limits,
            ServerSecurity::default(),
            meters,
            cache,
            Arc::new(slow),
        );
        let server = tokio::spawn(served);
        (
            VerifierServiceClient::connect(address.clone()).await.unwrap(),
            server,
            address,
        )
    }

    fn limits() -> ServerLimits {
        ServerLimits::with_threads(NonZeroUsize::MIN)
    }

    #[tokio::test]
    async fn the_deadline_of_the_client_leaves_time_to_answer() {
        let shutdown = CancellationToken::new();
        let (mut client, _server) = start(&shutdown, limits()).await;
        let mut late = Request::new(request(&[""; 100]));
        late.set_timeout(Duration::from_secs(2));
        let verdicts = client.verify(late).await.unwrap().into_inner().verdicts;
        assert_eq!(verdicts.len(), 100);
        assert_eq!(verdicts[0].kind(), VerdictKind::Correct);
        assert_eq!(verdicts[99].kind(), VerdictKind::OutOfTime);
    }

    #[tokio::test]
    async fn a_panic_is_a_fault_of_its_item_only() {
        let shutdown = CancellationToken::new();
        let (mut client, _server) = start(&shutdown, limits()).await;
        let verdicts = client
            .verify(request(&["", "broken", ""]))
            .await
            .unwrap()
            .into_inner()
            .verdicts;
        let kinds: Vec<VerdictKind> = verdicts.iter().map(Verdict::kind).collect();
        assert_eq!(
            kinds,
            [VerdictKind::Correct, VerdictKind::InternalError, VerdictKind::Correct]
        );
    }

    #[tokio::test]
    async fn a_request_under_way_is_answered_after_the_shutdown() {
        let shutdown = CancellationToken::new();
        let (mut client, server) = start(&shutdown, limits()).await;
        let call = tokio::spawn(async move { client.verify(request(&[""; 10])).await });
        tokio::time::sleep(ITEM_TIME * 2).await;
        shutdown.cancel();
        let verdicts = call.await.unwrap().unwrap().into_inner().verdicts;
        assert!(verdicts.iter().all(|verdict| verdict.kind() == VerdictKind::Correct));
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn until_the_drain_ends_health_says_so_to_new_connections_and_nothing_new_is_graded() {
        use tonic_health::pb::health_client::HealthClient;
        use tonic_health::pb::{HealthCheckRequest, health_check_response};
        let shutdown = CancellationToken::new();
        let (client, server, address) = start_at(&shutdown, limits()).await;
        let mut busy = client.clone();
        let call = tokio::spawn(async move { busy.verify(request(&[""; 10])).await });
        tokio::time::sleep(ITEM_TIME * 2).await;
        shutdown.cancel();
        tokio::time::sleep(ITEM_TIME).await;
        for name in ["", VerifierServiceServer::<Verifier>::NAME] {
            let check = HealthCheckRequest {
                service: name.to_owned(),
            };
            let mut health = HealthClient::new(Endpoint::from_shared(address.clone()).unwrap().connect_lazy());
            let answer = health.check(check).await.unwrap().into_inner();
            assert_eq!(answer.status(), health_check_response::ServingStatus::NotServing);
        }
        let mut late = VerifierServiceClient::connect(address).await.unwrap();
        let refused = late.verify(request(&[""])).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert_eq!(call.await.unwrap().unwrap().into_inner().verdicts.len(), 10);
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn what_a_stream_has_sent_is_answered_after_the_shutdown() {
        let shutdown = CancellationToken::new();
        let (mut client, server) = start(&shutdown, limits()).await;
        let requests = stream::iter([1, 2, 3].map(|items| request(&vec![""; items]))).chain(stream::pending());
        let mut responses = client.verify_stream(requests).await.unwrap().into_inner();
        tokio::time::sleep(ITEM_TIME / 2).await;
        shutdown.cancel();
        for items in 1..=3 {
            let verdicts = responses.message().await.unwrap().unwrap().verdicts;
            assert_eq!(verdicts.len(), items);
            assert!(verdicts.iter().all(|verdict| verdict.kind() == VerdictKind::Correct));
        }
        let status = responses.message().await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_call_too_many_is_refused_and_a_stream_waits() {
        let shutdown = CancellationToken::new();
        let limits = ServerLimits {
            waiting_batches: NonZeroUsize::MIN,
            ..limits()
        };
        let (client, _server) = start(&shutdown, limits).await;
        let call = |mut client: VerifierServiceClient<Channel>| async move { client.verify(request(&[""; 5])).await };
        // One is graded, one waits, and there is no room for a third.
        let first = tokio::spawn(call(client.clone()));
        tokio::time::sleep(ITEM_TIME).await;
        let second = tokio::spawn(call(client.clone()));
        tokio::time::sleep(ITEM_TIME).await;
        let status = call(client.clone()).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
        assert!(status.message().contains("1 batches wait"), "{status}");
        let mut streaming = client.clone();
        let requests = stream::iter([request(&[""])]);
        let mut responses = streaming.verify_stream(requests).await.unwrap().into_inner();
        assert_eq!(
            responses.message().await.unwrap().unwrap().verdicts[0].kind(),
            VerdictKind::Correct
        );
        for answered in [first, second] {
            assert_eq!(answered.await.unwrap().unwrap().into_inner().verdicts.len(), 5);
        }
    }

    #[tokio::test]
    async fn the_drain_has_a_bound() {
        let shutdown = CancellationToken::new();
        let limits = ServerLimits {
            batch_time: Duration::from_secs(60),
            drain_time: ITEM_TIME,
            ..limits()
        };
        let (mut client, server) = start(&shutdown, limits).await;
        let _call = tokio::spawn(async move { client.verify(request(&[""; 100])).await });
        tokio::time::sleep(ITEM_TIME * 2).await;
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), server)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }

    /// Gives an item up while a test waits.
    fn impatient() -> ServerLimits {
        ServerLimits {
            item_time: ITEM_TIME * 4,
            ..limits()
        }
    }

    #[tokio::test]
    async fn an_item_that_hangs_is_out_of_time_and_the_server_goes_on() {
        let shutdown = CancellationToken::new();
        let (mut client, server) = start(&shutdown, impatient()).await;
        let batch = client.verify(request(&["", "hangs", ""])).await.unwrap().into_inner();
        let kinds: Vec<VerdictKind> = batch.verdicts.iter().map(Verdict::kind).collect();
        assert_eq!(
            kinds,
            [VerdictKind::Correct, VerdictKind::OutOfTime, VerdictKind::Correct]
        );
        let next = client.verify(request(&[""])).await.unwrap().into_inner();
        assert_eq!(next.verdicts[0].kind(), VerdictKind::Correct);
        // One more is in hand when the server is told to end.
        let late = tokio::spawn(async move { client.verify(request(&["hangs"])).await });
        tokio::time::sleep(ITEM_TIME).await;
        shutdown.cancel();
        let ended = tokio::time::timeout(limits().drain_time + Duration::from_secs(2), server);
        ended.await.unwrap().unwrap().unwrap();
        assert_eq!(
            late.await.unwrap().unwrap().into_inner().verdicts[0].kind(),
            VerdictKind::OutOfTime
        );
    }

    /// Where the inner test, which is a process of its own, writes the address at which it listens.
    const PORT_FILE: &str = "ANYTIME_TEST_PORT_FILE";

    /// A whole process, because what it must not do is wait for its threads when it ends: this test's program, which
    /// runs the inner test alone.
    #[tokio::test]
    async fn a_process_whose_items_hang_drains_on_sigterm_and_ends_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let port_file = folder.path().join("port");
        let mut process = tokio::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "serve::tests::inner_process", "--nocapture"])
            .env(PORT_FILE, &port_file)
            .stdout(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let address = loop {
            assert_eq!(process.try_wait().unwrap(), None, "it serves");
            if let Ok(address) = std::fs::read_to_string(&port_file) {
                break address;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let mut client = VerifierServiceClient::connect(format!("http://{}", address.trim()))
            .await
            .unwrap();
        // One item hangs and was given up before; another is in hand when the signal comes.
        let first = client.verify(request(&["hangs", ""])).await.unwrap().into_inner();
        let kinds: Vec<VerdictKind> = first.verdicts.iter().map(Verdict::kind).collect();
        assert_eq!(kinds, [VerdictKind::OutOfTime, VerdictKind::Correct]);
        let mut in_hand = client.clone();
        let late = tokio::spawn(async move { in_hand.verify(request(&["", "hangs", ""])).await });
        while !std::fs::exists(port_file.with_extension("hangs-2")).unwrap() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let pid = nix::unistd::Pid::from_raw(process.id().unwrap().try_into().unwrap());
        let started = std::time::Instant::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let verdicts = late.await.unwrap().unwrap().into_inner().verdicts;
        let kinds: Vec<VerdictKind> = verdicts.iter().map(Verdict::kind).collect();
        assert_eq!(
            kinds,
            [VerdictKind::Correct, VerdictKind::OutOfTime, VerdictKind::Correct],
            "what was under way is answered"
        );
        let status = tokio::time::timeout(DRAIN_TIMEOUT, process.wait())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(status.code(), Some(0));
        assert!(started.elapsed() < DRAIN_TIMEOUT, "{:?}", started.elapsed());
    }

    /// What `main` does for `serve`, with items that hang.
    #[test]
    #[ignore = "run by a_process_whose_items_hang_drains_on_sigterm_and_ends_in_time, as a process of its own"]
    fn inner_process() {
        let port_file = std::path::PathBuf::from(std::env::var_os(PORT_FILE).unwrap());
        let hung = std::sync::atomic::AtomicU32::new(0);
        let marks = port_file.clone();
        let grade = move |item: &VerifyItem, options: &Options| {
            if item.response == "hangs" {
                let number = hung.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                std::fs::write(marks.with_extension(format!("hangs-{number}")), "").unwrap();
            }
            slow(item, options)
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let served = runtime.block_on(async {
            let token = anytime_service::shutdown::on_signal().unwrap();
            let open = ServerSecurity::default();
            let listener = server::bind("127.0.0.1:0".parse().unwrap(), &open).await.unwrap();
            anytime_service::port_file::write(&port_file, listener.local_addr().unwrap()).unwrap();
            let meters = Arc::new(Meters::new());
            let cache = Arc::new(VerdictCache::new(0, &meters));
            run_with(listener, token, limits(), open, meters, cache, Arc::new(grade)).await
        });
        drop(runtime);
        served.unwrap();
    }

    #[tokio::test]
    async fn a_server_with_too_many_threads_that_hang_ends() {
        let shutdown = CancellationToken::new();
        let (mut client, server) = start(&shutdown, impatient()).await;
        for _ in 0..watch::most_given_up(1) {
            // The last answer may be cut off.
            let _ = client.verify(request(&["hangs"])).await;
        }
        let ended = tokio::time::timeout(limits().drain_time + Duration::from_secs(10), server);
        let error = ended.await.unwrap().unwrap().unwrap_err();
        assert!(error.to_string().contains("4 grading threads hang"), "{error}");
        assert!(shutdown.is_cancelled());
    }
}
