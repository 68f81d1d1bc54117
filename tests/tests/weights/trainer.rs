//! A learner in this process whose job does what it is told, with the real trainer on a real model.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use anytime_learner::checkpoint::{Assets, Model, Published, publishable};
use anytime_learner::hub::HubSource;
use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::server::{LearnerConfig, Writing, run};
use anytime_learner::train::{Trainer, UpdatePlan, supervised_row};
use anytime_policy::{ModelConfig, Tokenizer, Weights, read_weights};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1::job_service_client::JobServiceClient;
use anytime_proto::{WeightsVersion, v1};
use anytime_service::security::ServerSecurity;
use anytime_tests::stack::channel as grpc_channel;
use tch::{Device, Kind, Tensor, no_grad};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

pub(crate) const LEARNING_RATE: f64 = 1e-6;
pub(crate) const JOB: &str = "weights";

/// Rows of one update, and tokens of a row.
pub(crate) const ROWS: usize = 4;
pub(crate) const ROW_TOKENS: usize = 64;

/// The text that is learned: ARCHITECTURE.md as it was at commit fbada3a. Any text without repetitions would serve, but
/// a text that changes would change the measured sizes of deltas with it.
const TEXT: &str = include_str!("text.md");

/// What the job can be told to do.
pub(crate) enum Order {
    /// Nothing; it is done as soon as the model is loaded.
    Load,
    /// One AdamW update on the next rows of the text.
    Update,
    /// Moves every master to a random place among the numbers that round to the same bf16, as after many updates.
    Spread,
    /// Publishes the masters as this version.
    Publish(u64),
}

type Orders = (Order, oneshot::Sender<()>);

/// A learner with one running job that takes [`Order`]s one after another; [`TestTrainer::start`] starts it.
pub(crate) struct TestTrainer {
    orders: Sender<Orders>,
    pub(crate) channel: Channel,
    shutdown: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl TestTrainer {
    pub(crate) async fn start(redis: &str, directory: &Path, model: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channel_to_it = grpc_channel(&listener.local_addr().unwrap().to_string());
        let config = LearnerConfig {
            cluster: "anytime".to_owned(),
            redis: redis.into(),
            security: ServerSecurity::default(),
            root: directory.to_owned(),
            runs_directory: directory.join("runs"),
            output_roots: Vec::new(),
            hub: HubSource::default(),
            device: "cpu".to_owned(),
            memory_share: 1.0,
            keep_jobs: None,
            keep_jobs_for: None,
            port_file: None,
        };
        let (orders, received) = channel();
        let received = Mutex::new(received);
        let shutdown = CancellationToken::new();
        let validate =
            |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| JobSettings::try_new(spec).map(CheckedJob::from);
        let run_job = move |context: &JobContext| {
            work(context, &model, &received.lock().unwrap());
            Ok(())
        };
        let serving = tokio::spawn(run(
            config,
            listener,
            shutdown.clone(),
            Arc::new(validate),
            Arc::new(run_job),
            Writing {
                export: Arc::new(|_| Err(anyhow::anyhow!("nothing is exported here").into())),
                take_start: Arc::new(|_| Err(anyhow::anyhow!("nothing is started from here").into())),
            },
        ));
        let request = v1::SubmitJobRequest {
            request_id: "weights".to_owned(),
            spec: Some(spec()),
        };
        JobServiceClient::new(channel_to_it.clone())
            .submit(request)
            .await
            .unwrap();
        Self {
            orders,
            channel: channel_to_it,
            shutdown,
            serving,
        }
    }

    /// Ends the learner as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        drop(self.orders);
        self.serving.await.unwrap().unwrap();
    }

    /// Gives an order and waits until it is done.
    pub(crate) async fn have(&self, order: Order) {
        let (done, is_done) = oneshot::channel();
        self.orders.send((order, done)).unwrap();
        is_done.await.expect("the job goes on");
    }
}

fn spec() -> v1::JobSpec {
    v1::JobSpec {
        name: Some(JOB.to_owned()),
        kind: Some(v1::JobKind::Train.into()),
        model: Some(v1::ModelSpec {
            path: Some("model".to_owned()),
            dtype: Some(v1::Dtype::Bf16.into()),
            ..v1::ModelSpec::default()
        }),
        data: Some(v1::DataSpec {
            path: vec!["data.jsonl".to_owned()],
            ..v1::DataSpec::default()
        }),
        training: Some(v1::TrainingSpec {
            steps: Some(1000),
            learning_rate: Some(LEARNING_RATE),
            ..v1::TrainingSpec::default()
        }),
        ..v1::JobSpec::default()
    }
}

/// The job's thread.
fn work(context: &JobContext, model: &Path, orders: &Receiver<Orders>) {
    let config = ModelConfig::load(model).unwrap();
    let assets = Assets::read(model).unwrap();
    let tokenizer = Tokenizer::load(model).unwrap();
    let masters = read_weights(model, &config, Kind::Float, Device::Cpu).unwrap();
    let vocabulary = tokenizer.vocabulary_size();
    let plan = UpdatePlan {
        micro_batch_tokens: 8192,
        activation_checkpointing: false,
    };
    let mut trainer = Trainer::new(context.settings(), config, vocabulary, masters, Device::Cpu, plan);
    assert_eq!(trainer.compute_kind(), Kind::BFloat16);
    let text = tokenizer.encode(TEXT).unwrap();
    let mut rows = text.chunks_exact(ROW_TOKENS).cycle();
    while let Ok((order, done)) = orders.recv() {
        match order {
            Order::Load => {}
            Order::Update => {
                let rows = rows.by_ref().take(ROWS).map(|ids| supervised_row(&ids[..1], &ids[1..]));
                trainer.supervised_step(rows.collect(), &|| Ok(())).unwrap();
            }
            Order::Spread => spread(trainer.masters()),
            Order::Publish(version) => {
                let model = Model {
                    shapes: &trainer.model_shapes(),
                    weight: &|shape| trainer.weight(shape),
                };
                let published = Published::Whole(model, trainer.compute_kind());
                context.publish(publishable(WeightsVersion(version), published, &assets).unwrap());
            }
        }
        done.send(()).unwrap();
    }
}

/// A bf16 holds eight bits of the significand, so that x = m · 2^e with m in [½, 1) stands for what lies within
/// 2^(e − 9) around it.
fn spread(masters: &Weights) {
    const BITS: f64 = 8.0;
    no_grad(|| {
        for tensor in masters.values() {
            let (_, exponents) = tensor.frexp();
            let unit = (exponents.to_kind(Kind::Float) - BITS).exp2();
            let is_number = tensor.not_equal(0.0).to_kind(Kind::Float);
            let noise: Tensor = (tensor.rand_like() - 0.5) * unit * is_number;
            let _ = tensor.shallow_clone().g_add_(&noise);
        }
    });
}
