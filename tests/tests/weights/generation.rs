//! The actor's real engine, which generates without an end and follows the announced weights.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use anytime_actor::engine::{self, CacheLimit, Command, EngineHandle, EngineLimits, Event, GroupRequest};
use anytime_actor::identity::Identity;
use anytime_actor::plan::Plan;
use anytime_actor::weights;
use anytime_proto::v1::CachePolicy;
use anytime_proto::{ActorId, JobId, WeightsVersion, v1};
use anytime_service::channel::PeerChannel;
use tch::Device;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Number of sequences that are generated at the same time.
pub(crate) const ROWS: u32 = 8;
/// Tokens of every prompt, and of every thinking.
pub(crate) const PROMPT_TOKENS: u32 = 32;
pub(crate) const THINKING_TOKENS: u32 = 384;

/// Groups that run or wait: the next one starts when one ends.
const GROUPS: u64 = 2;

/// An engine that always has groups to generate, and follows the learner's weights, until it is dropped.
pub(crate) struct Generation {
    groups: Arc<Groups>,
    _stop: DropGuard,
}

/// Gives the engine one group after another.
struct Groups {
    engine: EngineHandle,
    job_id: JobId,
    /// The model's vocabulary.
    vocabulary: u32,
    policy: AtomicI32,
    next: AtomicU64,
}

impl Groups {
    fn add(&self) {
        let policy = CachePolicy::try_from(self.policy.load(Ordering::Acquire)).unwrap();
        let number = self.next.fetch_add(1, Ordering::AcqRel);
        let plan = plan(policy, self.vocabulary);
        let order = order(number, &self.job_id, plan);
        self.engine.send(Command::AddGroup(order));
    }
}

impl Generation {
    /// Generates as soon as there are weights; `vocabulary` is that of the model.
    pub(crate) fn start(channel: PeerChannel, job_id: JobId, vocabulary: u32) -> Self {
        let (sender, mut events) = tokio::sync::mpsc::unbounded_channel();
        let limits = EngineLimits {
            slots: ROWS as usize,
            cache: CacheLimit::Bytes(1 << 30),
        };
        let (engine, _) = engine::spawn(limits, sender).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(weights::follow(
            channel,
            weights::Follower::actor(Identity::new(ActorId("actor".to_owned()))),
            tokio::sync::watch::channel(None).0,
            weights::Loader::start(Device::Cpu).unwrap(),
            engine.clone(),
            stop.clone(),
        ));
        let groups = Arc::new(Groups {
            engine,
            job_id,
            vocabulary,
            policy: AtomicI32::new(CachePolicy::Keep.into()),
            next: AtomicU64::new(0),
        });
        let ordered = Arc::clone(&groups);
        tokio::spawn(async move {
            let mut installed = ordered.engine.installed();
            installed.wait_for(Option::is_some).await.unwrap();
            for _ in 0..GROUPS {
                ordered.add();
            }
            while let Some(event) = events.recv().await {
                match event {
                    Event::GroupFinished { .. } => ordered.add(),
                    Event::GroupFailed { detail, .. } => panic!("{detail}"),
                    Event::TraceFinished { .. } | Event::NodeFinished { .. } | Event::Served(_) => {}
                }
            }
        });
        Self {
            groups,
            _stop: stop.drop_guard(),
        }
    }

    /// Waits until the engine generates with this version.
    pub(crate) async fn installed(&self, version: u64) {
        let mut installed = self.groups.engine.installed();
        let is_there = |held: &Option<engine::Installed>| {
            held.as_ref()
                .is_some_and(|held| held.id.version == WeightsVersion(version) && held.id.job_id == self.groups.job_id)
        };
        installed.wait_for(is_there).await.unwrap();
    }

    /// Starts over with groups of this cache policy.
    pub(crate) fn begin_again_with(&self, policy: CachePolicy) {
        let groups = &self.groups;
        groups.policy.store(policy.into(), Ordering::Release);
        let next = groups.next.load(Ordering::Acquire);
        for number in next - GROUPS..next {
            groups.engine.send(Command::CancelGroup(number));
            groups.add();
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.groups.engine.send(Command::Shutdown);
    }
}

/// Thinks until the budget ends: the end marker is never drawn, and nothing is an end of sequence.
fn plan(policy: CachePolicy, vocabulary: u32) -> Arc<Plan> {
    let plan = v1::RolloutPlan {
        no_thinking_traces: 0,
        budgets: vec![THINKING_TOKENS],
        traces: ROWS,
        summaries: 1,
        max_summary_tokens: 1,
        sampling: Some(v1::Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
        }),
        markers: Some(v1::MarkerIds {
            end: vec![vocabulary - 1],
            cut: Vec::new(),
            summary: vec![0],
            end_text: String::new(),
        }),
        eos_ids: Vec::new(),
        vocabulary: vocabulary - 1,
        cache_policy: policy.into(),
        extraction: v1::Extraction::Anytime.into(),
        conventions: None,
        max_prompt_tokens: PROMPT_TOKENS,
        deterministic: false,
    };
    Arc::new(Plan::try_new(&plan).unwrap())
}

fn order(number: u64, job_id: &JobId, plan: Arc<Plan>) -> GroupRequest {
    GroupRequest {
        number,
        job_id: job_id.clone(),
        min_version: WeightsVersion(0),
        manifest_checksum: None,
        seed: number,
        prompt_ids: (0..PROMPT_TOKENS).map(|place| 1000 + 37 * place).collect(),
        plan,
    }
}
