//! Weights that follow a job: the newest version answers, and what is under way goes on with it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use anytime_proto::v1::WeightsAnnouncement;
use anytime_proto::{ActorId, JobId};
use anytime_service::channel::lazy_channel;
use anytime_service::exit::ExitError;
use anytime_service::security::CallSecurity;
use tch::Device;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::settings::{Hints, Origin, Served};
use crate::config::{ServeArgs, default_actor_id};
use crate::engine::{Command, EngineHandle, Installed};
use crate::identity::Identity;
use crate::weights::{self, Follower, WeightsError};

/// How often it is said that there are no weights yet.
const REMINDER: Duration = Duration::from_secs(30);

/// The task that brings the engine new weights.
pub(crate) struct Following {
    failure: oneshot::Receiver<WeightsError>,
    latest: watch::Receiver<Option<WeightsAnnouncement>>,
    job_id: JobId,
    learner: String,
}

impl Following {
    /// Begins to follow a job.
    ///
    /// # Errors
    /// Where the learner's address is none, or nothing can be called as the arguments say.
    pub(crate) fn begin(
        args: &ServeArgs,
        job: &str,
        device: Device,
        engine: EngineHandle,
        end: CancellationToken,
    ) -> anyhow::Result<Self> {
        let security = CallSecurity::load(&args.identity, &args.calling)?;
        let channel = lazy_channel("learner", &args.learner, &security)?;
        let loader = weights::Loader::start(device).context("weights loader thread")?;
        let job_id = JobId(job.to_owned());
        let follower = Follower {
            identity: Identity::new(ActorId(format!("serve-{}", default_actor_id()))),
            job_id: Some(job_id.clone()),
            serves: true,
        };
        let (announced, latest) = watch::channel(None);
        let (failed, failure) = oneshot::channel();
        tokio::spawn(async move {
            let outcome = weights::follow(channel, follower, announced, loader, engine.clone(), end).await;
            if let Err(problem) = outcome {
                error!(error = %problem, "the server ends");
                // Nobody waits for it where the server is ending.
                let _ = failed.send(problem);
                engine.send(Command::Shutdown);
            }
        });
        Ok(Self {
            failure,
            latest,
            job_id,
            learner: args.learner.clone(),
        })
    }

    /// Waits for the first weights, and says with what they are asked.
    ///
    /// # Errors
    /// [`ExitError`] where the arguments do not go with the model; that it could not be followed.
    pub(crate) async fn served(
        &mut self,
        args: &ServeArgs,
        mut installed: watch::Receiver<Option<Installed>>,
    ) -> anyhow::Result<Served> {
        let (job_id, learner) = (&self.job_id, &self.learner);
        let mut reminder = tokio::time::interval(REMINDER);
        let first = loop {
            if let Some(first) = installed.borrow_and_update().clone() {
                break first;
            }
            tokio::select! {
                changed = installed.changed() => changed.context("the engine has ended")?,
                failure = &mut self.failure => return Err(failure.context("the weights are followed no more")?.into()),
                _ = reminder.tick() => {
                    info!(%job_id, learner, "waits for the weights of the job, which come once it runs");
                }
            }
        };
        let asking = self.latest.borrow().clone().map(|announced| announced.asking);
        // A learner of an earlier version does not say.
        let asking = asking.filter(|asking| !asking.is_empty());
        let hints = asking.map(|asking| serde_json::from_str::<Hints>(&asking)).transpose();
        let hints = hints
            .map_err(|problem| ExitError::configuration(format!("--follow {job_id}: how it is asked: {problem}")))?
            .unwrap_or_default();
        let origin = Origin {
            name: job_id.to_string(),
            job_id: job_id.clone(),
            follows: true,
            // The weights may change under a request.
            is_reproducible: false,
        };
        Ok(Served::try_new(
            args,
            origin,
            &hints,
            &first.config,
            Arc::clone(&first.tokenizer),
        )?)
    }

    /// Why the weights could not be followed any more.
    pub(crate) fn failure(mut self) -> Option<WeightsError> {
        self.failure.try_recv().ok()
    }
}
