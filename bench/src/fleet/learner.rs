//! The learner's process: the real services, broker, queue and job thread, with a job that takes groups as training does,
//! reports its steps, and acknowledges them, but computes nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use anytime_files::write_durably;
use anytime_learner::hub::HubSource;
use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::export_request::ExportError;
use anytime_learner::jobs::fork::ForkError;
use anytime_learner::queue::target::RedisTarget;
use anytime_learner::rollouts::group::{ProblemSource, TrainingOpening};
use anytime_learner::server::{self, LearnerConfig};
use anytime_learner::weights::published::{PublishedTensor, PublishedWeights};
use anytime_proto::settings::JobSettings;
use anytime_proto::{EndedGroups, WeightsVersion, v1};
use anytime_service::security::ServerSecurity;
use anytime_service::telemetry::TelemetryArgs;
use anytime_service::{shutdown, telemetry};
use bytes::Bytes;
use clap::Args;
use tokio::runtime::Runtime;

use super::groups::{Shape, markers};

/// How often a job that is held looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Problems of the data set that nobody reads.
const PROBLEMS: u64 = 40_000;

/// Elements of one tensor of the weights that are only sent: 8 MiB in f32.
const TENSOR_ELEMENTS: usize = 2 * 1024 * 1024;

/// How the learner of a case is started.
#[derive(Clone, Debug, Args)]
pub struct LearnerArgs {
    /// URL of Redis
    #[arg(long)]
    pub redis: String,
    /// Where jobs are kept
    #[arg(long)]
    pub runs_dir: PathBuf,
    /// Where the bound address is written
    #[arg(long)]
    pub port_file: PathBuf,
    /// While this file is there, no group is taken; with weights, nothing more is published
    #[arg(long)]
    pub hold: PathBuf,
    /// Publish weights of this size in MiB, and train nothing at all
    #[arg(long, default_value_t = 0)]
    pub weights_mib: usize,
    /// The groups that are asked for
    #[command(flatten)]
    pub shape: Shape,
    /// Logs and metrics
    #[command(flatten)]
    pub telemetry: TelemetryArgs,
}

/// Serves until the process is told to end.
///
/// # Errors
/// If an address cannot be bound, or Redis or a directory cannot be used.
pub fn run(runtime: &Runtime, args: &LearnerArgs) -> anyhow::Result<()> {
    runtime.block_on(async {
        let security = ServerSecurity::default();
        let _sending = telemetry::start("learner", &args.telemetry, &security)?;
        let token = shutdown::on_signal().context("install the signal handlers")?;
        let listener = anytime_service::server::bind(([127, 0, 0, 1], 0).into(), &security).await?;
        let config = LearnerConfig {
            redis: RedisTarget::from(&args.redis),
            cluster: "anytime".to_owned(),
            root: ".".into(),
            runs_directory: args.runs_dir.clone(),
            output_roots: Vec::new(),
            hub: HubSource::default(),
            device: "cpu".to_owned(),
            memory_share: 1.0,
            keep_jobs: None,
            keep_jobs_for: None,
            port_file: Some(args.port_file.clone()),
            security,
        };
        let validate =
            |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| JobSettings::try_new(spec).map(CheckedJob::from);
        let args = args.clone();
        let job = move |context: &JobContext| {
            if args.weights_mib > 0 {
                publish_weights(context, &args)
            } else {
                take_groups(context, &args)
            }
        };
        let export = |_: &_| Err(ExportError::Failed(anyhow::anyhow!("there is no model")));
        server::run(
            config,
            listener,
            token,
            Arc::new(validate),
            Arc::new(job),
            server::Writing {
                export: Arc::new(export),
                take_start: Arc::new(|_: &_| Err(ForkError::Failed(anyhow::anyhow!("there is no model")))),
            },
        )
        .await
    })
}

/// How every group is to be generated.
pub fn plan(shape: &Shape) -> v1::RolloutPlan {
    v1::RolloutPlan {
        budgets: shape.budget_list(),
        traces: shape.traces,
        summaries: shape.summaries,
        max_summary_tokens: shape.summary_tokens,
        sampling: Some(v1::Sampling {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
        }),
        markers: Some(markers()),
        vocabulary: shape.vocabulary,
        max_prompt_tokens: shape.prompt_tokens,
        ..v1::RolloutPlan::default()
    }
}

struct MadeUpProblems {
    prompt_tokens: u32,
}

impl ProblemSource for MadeUpProblems {
    fn problem(&self, sequence: u64) -> v1::Problem {
        let row = sequence % PROBLEMS;
        v1::Problem {
            id: format!("row-{row}"),
            prompt_ids: (0..self.prompt_tokens).map(|place| 10 + row as u32 + place).collect(),
            ground_truths: vec![row.to_string()],
        }
    }
}

/// What training does, without the training: the order of calls is that of `anytime_learner::run`.
fn take_groups(context: &JobContext, args: &LearnerArgs) -> anyhow::Result<()> {
    let settings = context.settings().clone();
    let training = &settings.training;
    context.take_right()?;
    context.publish(small_weights(0));
    let mut ended = EndedGroups::default();
    context.open_training(TrainingOpening {
        problems: Box::new(MadeUpProblems {
            prompt_tokens: args.shape.prompt_tokens,
        }),
        plan: plan(&args.shape),
        batch: training.batch,
        max_staleness: training.max_staleness,
        queue_groups: training.queue_groups,
        lease_seconds: settings.rollout.lease_seconds,
        seed: 18,
        ended: ended.clone(),
        total_groups: training.steps * u64::from(training.batch),
    })?;
    let mut unacknowledged = Vec::new();
    for step in 1..=training.steps {
        wait_while_held(context, &args.hold)?;
        let groups = context.take_groups(training.batch as usize)?;
        let (left_out, replayed) = context.take_left_out();
        ended.replay(replayed.iter().copied());
        ended.finish(
            groups.iter().map(|queued| queued.sequence),
            left_out.iter().map(|group| group.sequence),
        );
        unacknowledged.extend(groups.iter().map(|queued| queued.sequence));
        context.publish(small_weights(step));
        let trained = |sequence: &u64| v1::TrainedGroup {
            sequence: *sequence,
            thinking_tokens: args.shape.thinking_tokens,
            ..v1::TrainedGroup::default()
        };
        let sequences: Vec<u64> = groups.iter().map(|queued| queued.sequence).collect();
        context.report_step(v1::StepMetrics {
            step,
            weights_version: step,
            queue_depth: context.queue_depth(),
            account: Some(v1::StepAccount {
                trained: sequences.iter().map(trained).collect(),
                left_out,
                replayed,
                weights_checksum: context.manifest_checksum(),
            }),
            ..v1::StepMetrics::default()
        });
        if step.is_multiple_of(settings.checkpoint.recovery_every) || step == training.steps {
            context.check_right()?;
            context.sync_events()?;
            write_durably(&context.directory().join("ended.json"), serde_json::to_vec(&ended)?)?;
            context.acknowledge(&unacknowledged, ended.consumed_below)?;
            unacknowledged.clear();
        }
        context.wait_until_recorded()?;
    }
    context.close_training();
    Ok(())
}

fn wait_while_held(context: &JobContext, hold: &Path) -> anyhow::Result<()> {
    while hold.exists() {
        context.check()?;
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Publishes two versions, the second one as soon as the job is not held any more, and then waits for its end.
fn publish_weights(context: &JobContext, args: &LearnerArgs) -> anyhow::Result<()> {
    let tensors = args.weights_mib * 1024 * 1024 / (4 * TENSOR_ELEMENTS);
    if tensors == 0 {
        bail!("--weights-mib is {}; one tensor has 8", args.weights_mib);
    }
    let mut values: Vec<Vec<f32>> = (0..tensors).map(random_tensor).collect();
    context.publish(weights(0, &values));
    wait_while_held(context, &args.hold)?;
    for tensor in &mut values {
        change(tensor);
    }
    context.publish(weights(1, &values));
    drop(values);
    loop {
        context.check()?;
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Weights as initialisation draws them: small, and of all kinds of bits.
fn random_tensor(number: usize) -> Vec<f32> {
    let mut state = number as u64 + 1;
    let mut next = || {
        state = state
            .wrapping_mul(0x5851_F42D_4C95_7F2D)
            .wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 40) as f32 / (1_u64 << 24) as f32
    };
    (0..TENSOR_ELEMENTS).map(|_| (next() - 0.5) * 0.04).collect()
}

/// What a step of AdamW at a learning rate of 1e-6 does: every element moves by about as much.
fn change(tensor: &mut [f32]) {
    for (place, value) in tensor.iter_mut().enumerate() {
        *value += if place.is_multiple_of(2) { 1e-6 } else { -1e-6 };
    }
}

fn weights(version: u64, values: &[Vec<f32>]) -> PublishedWeights {
    // Little-endian, as safetensors and the learner's weights are.
    let bytes = |tensor: &Vec<f32>| -> Bytes { tensor.iter().flat_map(|value| value.to_le_bytes()).collect() };
    let tensor = |(number, values): (usize, &Vec<f32>)| PublishedTensor {
        name: format!("layers.{number}.weight"),
        dtype: "F32".to_owned(),
        shape: vec![TENSOR_ELEMENTS as u64],
        data: bytes(values),
        checksum: None,
    };
    published(version, values.iter().enumerate().map(tensor).collect())
}

fn small_weights(version: u64) -> PublishedWeights {
    let tensor = PublishedTensor {
        name: "weight".to_owned(),
        dtype: "F32".to_owned(),
        shape: vec![2],
        data: Bytes::copy_from_slice(&version.to_le_bytes()),
        checksum: None,
    };
    published(version, vec![tensor])
}

fn published(version: u64, tensors: Vec<PublishedTensor>) -> PublishedWeights {
    PublishedWeights {
        version: WeightsVersion(version),
        assets: vec![("config.json".to_owned(), Bytes::from_static(b"{}"))],
        tensors,
        traceparent: String::new(),
        asking: String::new(),
    }
}
