//! Every method of learner and verifier, over real connections to real processes, with messages that somebody damaged:
//! each is answered, no handler panics, and the processes go on and take no memory for it. The methods are found by
//! reflection, so that none can be forgotten.

use std::time::{Duration, Instant};

use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::{self, JobState};
use anytime_tests::process::Process;
use anytime_tests::stack::{Stack, channel};
use anytime_tests::wait::eventually;
use bytes::{Buf as _, BufMut as _};
use prost::Message as _;
use prost_reflect::MethodDescriptor;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;

use crate::inputs::damaged;
use crate::seeds;

/// The short form.
const SHORT: Duration = Duration::from_secs(5);

/// How long an answer is waited for. A stream that sends nothing more is left after [`PATIENCE`].
const DEADLINE: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_millis(5);

/// The most that a process may grow by.
const GROWTH_KIB: u64 = 400 << 10;

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining()).to_vec()))
    }
}

/// A method, where it is served, and valid messages for it.
struct Method {
    path: tonic::codegen::http::uri::PathAndQuery,
    channel: Channel,
    seeds: Vec<Vec<u8>>,
}

impl Method {
    fn new(method: &MethodDescriptor, stack: &Stack) -> Self {
        let service = method.parent_service();
        let is_of_verifier = service.name() == "VerifierService";
        let address = if is_of_verifier {
            &stack.verifier.address
        } else {
            &stack.learner.address
        };
        let path = format!("/{}/{}", service.full_name(), method.name());
        Self {
            path: path.parse().unwrap(),
            channel: channel(address),
            seeds: (0..5)
                .map(|depth| seeds::sample(&method.input(), depth).encode_to_vec())
                .collect(),
        }
    }

    /// Calls it with a message, and reads of the answer what comes at once.
    async fn call(&self, message: Vec<u8>) {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client
            .ready()
            .await
            .unwrap_or_else(|error| panic!("{}: {error}", self.path));
        let messages = tokio_stream::iter([message.clone(), message]);
        // A method that takes one message is told of the first alone.
        let first = tokio_stream::StreamExt::take(messages, 1 + usize::from(self.path.path().ends_with("Stream")));
        let call = client.streaming(tonic::Request::new(first), self.path.clone(), Raw);
        let answer = tokio::time::timeout(DEADLINE, call)
            .await
            .unwrap_or_else(|_| panic!("{} does not answer", self.path));
        if let Ok(answer) = answer {
            let mut stream = answer.into_inner();
            let _ = tokio::time::timeout(PATIENCE, stream.message()).await;
        }
    }
}

/// A push of a damaged group that shows the token of a real lease.
fn push(lease: &v1::Lease, random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut group = seeds::group();
    group.job_id.clone_from(&lease.job_id);
    group.group_id.clone_from(&lease.group_id);
    group.actor_id = "fuzz".to_owned();
    let problem = lease.problem.clone().unwrap_or_default();
    group.problem_id = problem.id;
    group.prompt_ids = problem.prompt_ids;
    let group = damaged(&[group.encode_to_vec()], &[], random);
    let mut push = Vec::new();
    push.push(0x0A);
    prost::encode_length_delimiter(group.len(), &mut push).unwrap();
    push.extend(group);
    push.push(0x1A);
    prost::encode_length_delimiter(lease.token.len(), &mut push).unwrap();
    push.extend(&lease.token);
    push
}

async fn lease(stack: &Stack) -> v1::Lease {
    let mut client = RolloutServiceClient::new(channel(&stack.learner.address));
    eventually("a lease", 60, async || {
        let request = v1::LeaseRequest {
            actor_id: "fuzz".to_owned(),
            max_groups: 1,
            wait_ms: 500,
            ..v1::LeaseRequest::default()
        };
        let response = client.lease(request).await.ok()?.into_inner();
        response.leases.into_iter().next()
    })
    .await
}

/// Kilobytes that a process holds.
fn resident(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

async fn fuzz(time: Duration, seed: u64) {
    println!("seed {seed}");
    let mut stack = Stack::start(0).await;
    let spec = stack.workplace.train("job", 50);
    stack.submit("request", spec).await;
    let lease = lease(&stack).await;
    let services = seeds::pool().services().collect::<Vec<_>>();
    let methods: Vec<Method> = services
        .iter()
        .flat_map(prost_reflect::ServiceDescriptor::methods)
        .map(|method| Method::new(&method, &stack))
        .collect();
    assert!(methods.len() >= 16, "reflection finds the methods");
    let pushes = methods
        .iter()
        .find(|method| method.path.path().ends_with("/Push"))
        .unwrap();
    let before = (resident(&stack.learner.process), resident(&stack.verifier.process));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (until, mut count) = (Instant::now() + time, 0);
    while Instant::now() < until {
        for method in &methods {
            let message = damaged(&method.seeds, &[], &mut random);
            // Nobody is to cancel the job under way, and a list of all jobs is long in the end.
            if !message.is_empty() || random.random_range(0..10) == 0 {
                method.call(message).await;
            }
        }
        pushes.call(push(&lease, &mut random)).await;
        count += methods.len() + 1;
    }
    println!("{count} calls of {} methods", methods.len());
    stack.learner.process.assert_runs();
    stack.verifier.process.assert_runs();
    for (process, before) in [(&stack.learner.process, before.0), (&stack.verifier.process, before.1)] {
        let log = process.log();
        assert!(!log.contains("panicked"), "{log}");
        let grown = resident(process).saturating_sub(before);
        println!("a process grew by {grown} KiB");
        assert!(grown < GROWTH_KIB, "a process grew by {grown} KiB");
    }
    let listed = stack.jobs().list(v1::ListJobsRequest::default()).await;
    for job in listed.expect("the learner answers").into_inner().jobs {
        // It may have been cancelled, and deleted then.
        let goes_on = job.id != "job" || matches!(job.state(), JobState::Running | JobState::Cancelled);
        assert!(goes_on, "{:?}: {}", job.state(), job.error);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_breaks_a_handler() {
    fuzz(SHORT, crate::SEED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "runs for as long as FUZZ_SECONDS says"]
async fn no_message_breaks_a_handler_for_long() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("FUZZ_SEED").unwrap_or_else(rand::random);
    fuzz(Duration::from_secs(number("FUZZ_SECONDS").unwrap_or(600)), seed).await;
}
