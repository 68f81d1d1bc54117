//! A learner in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anytime_learner::hub::HubSource;
use anytime_learner::jobs::checked::CheckedJob;
use anytime_learner::jobs::context::JobContext;
use anytime_learner::jobs::export_request::ExportJob;
use anytime_learner::jobs::retention::Retention;
use anytime_learner::rollouts::lease_token::LeaseTokens;
use anytime_learner::rpc::jobs::Validate;
use anytime_learner::server::{LearnerConfig, Writing, run};
use anytime_proto::settings::JobSettings;
use anytime_proto::v1;
use anytime_proto::v1::job_service_client::JobServiceClient;
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_service::security::ServerSecurity;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::actor::weights_client;
use super::eventually;

pub(crate) struct TestLearner {
    pub(crate) address: SocketAddr,
    runs_directory: std::path::PathBuf,
    shutdown: CancellationToken,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl TestLearner {
    pub(crate) async fn start(
        redis: &str,
        runs_directory: &Path,
        run_job: impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0", redis, runs_directory, run_job).await
    }

    /// At a given address, as a learner that is restarted.
    pub(crate) async fn start_at(
        address: &str,
        redis: &str,
        runs_directory: &Path,
        run_job: impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let validate =
            |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| JobSettings::try_new(spec).map(CheckedJob::from);
        Self::start_checking(address, redis, runs_directory, Arc::new(validate), run_job).await
    }

    /// Starts it with another check of submissions.
    pub(crate) async fn start_checking(
        address: &str,
        redis: &str,
        runs_directory: &Path,
        validate: Validate,
        run_job: impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let hub = HubSource::default();
        Self::start_with(address, redis, runs_directory, (validate, hub), None, run_job).await
    }

    /// Starts it with a number of old jobs to keep, or a time.
    pub(crate) async fn start_keeping(
        redis: &str,
        runs_directory: &Path,
        retention: Retention,
        run_job: impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let validate =
            |spec: &v1::JobSpec, _: &[v1::HubInput], _: &Path| JobSettings::try_new(spec).map(CheckedJob::from);
        let checks = (Arc::new(validate) as Validate, HubSource::default());
        Self::start_as("127.0.0.1:0", redis, runs_directory, checks, None, retention, run_job).await
    }

    /// Starts it with another check of submissions and another hub, and other exports where they are given.
    pub(crate) async fn start_with(
        address: &str,
        redis: &str,
        runs_directory: &Path,
        checks: (Validate, HubSource),
        export: Option<ExportJob>,
        run_job: impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let retention = Retention::default();
        Self::start_as(address, redis, runs_directory, checks, export, retention, run_job).await
    }

    async fn start_as(
        address: &str,
        redis: &str,
        runs_directory: &Path,
        (validate, hub): (Validate, HubSource),
        export: Option<ExportJob>,
        retention: Retention,
        run_job: impl Fn(&JobContext) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let config = LearnerConfig {
            cluster: "anytime".to_owned(),
            redis: redis.into(),
            security: ServerSecurity::default(),
            root: ".".into(),
            runs_directory: runs_directory.to_owned(),
            output_roots: Vec::new(),
            hub,
            device: "cpu".to_owned(),
            memory_share: 1.0,
            keep_jobs: retention.jobs,
            keep_jobs_for: retention.age,
            port_file: None,
        };
        let places = config.places();
        let export =
            export.unwrap_or_else(|| Arc::new(move |request| anytime_learner::run::export_recovery(request, &places)));
        let serving = tokio::spawn(run(
            config,
            listener,
            shutdown.clone(),
            validate,
            Arc::new(run_job),
            Writing {
                export,
                take_start: Arc::new(anytime_learner::run::take_start),
            },
        ));
        Self {
            address,
            runs_directory: runs_directory.to_owned(),
            shutdown,
            serving,
        }
    }

    /// Waits until it ends by itself, and gives the error with which it does.
    pub(crate) async fn ended(self) -> anyhow::Error {
        let outcome = tokio::time::timeout(std::time::Duration::from_secs(30), self.serving).await;
        outcome.expect("it ends by itself").unwrap().unwrap_err()
    }

    /// The token that a lease of this group would have for this actor.
    pub(crate) fn token(&self, job_id: &str, group_id: &str, actor_id: &str) -> Vec<u8> {
        let tokens = LeaseTokens::of_directory(&self.runs_directory).unwrap();
        tokens.token(job_id, group_id, actor_id)
    }

    /// Tells it to end, as SIGTERM does, and waits for nothing.
    pub(crate) fn tell_to_end(&self) {
        self.shutdown.cancel();
    }

    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }

    pub(crate) fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect_lazy()
    }

    pub(crate) fn jobs(&self) -> JobServiceClient<Channel> {
        JobServiceClient::new(self.channel())
    }

    pub(crate) fn rollouts(&self) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.channel())
    }

    pub(crate) fn weights(&self) -> WeightsServiceClient<Channel> {
        weights_client(self.channel())
    }

    pub(crate) async fn submit(&self, request_id: &str, spec: v1::JobSpec) -> Result<v1::Job, tonic::Status> {
        let request = v1::SubmitJobRequest {
            request_id: request_id.to_owned(),
            spec: Some(spec),
        };
        Ok(self.jobs().submit(request).await?.into_inner())
    }

    pub(crate) async fn get(&self, job_id: &str) -> v1::Job {
        let request = v1::GetJobRequest {
            job_id: job_id.to_owned(),
        };
        self.jobs().get(request).await.unwrap().into_inner()
    }

    pub(crate) async fn cancel(&self, job_id: &str) -> v1::Job {
        let request = v1::CancelJobRequest {
            job_id: job_id.to_owned(),
        };
        self.jobs().cancel(request).await.unwrap().into_inner()
    }

    pub(crate) async fn resume(&self, job_id: &str, spec: Option<v1::JobSpec>) -> Result<v1::Job, tonic::Status> {
        let request = v1::ResumeJobRequest {
            job_id: job_id.to_owned(),
            spec,
        };
        Ok(self.jobs().resume(request).await?.into_inner())
    }

    pub(crate) async fn wait_for_state(&self, job_id: &str, state: v1::JobState) -> v1::Job {
        eventually(&format!("{job_id} is {state:?}"), async || {
            self.get(job_id).await.state() == state
        })
        .await;
        self.get(job_id).await
    }
}

/// A train job of this name.
pub(crate) fn spec(name: &str) -> v1::JobSpec {
    v1::JobSpec {
        name: Some(name.to_owned()),
        kind: Some(v1::JobKind::Train.into()),
        model: Some(v1::ModelSpec {
            path: Some("model".to_owned()),
            ..v1::ModelSpec::default()
        }),
        data: Some(v1::DataSpec {
            path: vec!["data.jsonl".to_owned()],
            ..v1::DataSpec::default()
        }),
        training: Some(v1::TrainingSpec {
            steps: Some(10),
            ..v1::TrainingSpec::default()
        }),
        ..v1::JobSpec::default()
    }
}
