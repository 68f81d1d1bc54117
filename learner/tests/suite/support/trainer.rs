//! A fake trainer, which takes, remembers and acknowledges groups as the real one does.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anytime_learner::jobs::context::JobContext;
use anytime_learner::rollouts::group::TrainingOpening;
use anytime_learner::weights::published::{PublishedTensor, PublishedWeights};
use anytime_proto::{EndedGroups, WeightsVersion, v1};
use bytes::Bytes;

use super::groups::{CountedProblems, plan};

#[derive(Clone)]
pub(crate) struct FakeTrainer {
    pub(crate) steps: u64,
    pub(crate) batch: u32,
    pub(crate) max_staleness: u64,
    pub(crate) queue_groups: u32,
    pub(crate) lease_seconds: u32,
    /// Steps between recovery checkpoints.
    pub(crate) checkpoint_every: u64,
    pub(crate) step_time: Duration,
    /// Before this step the trainer fails once, with this text.
    pub(crate) fail_before: Arc<Mutex<Option<(u64, String)>>>,
    /// Sequences in the order of training, over all restarts; those that a restart undid are taken back.
    pub(crate) trained: Arc<Mutex<Vec<u64>>>,
    /// Groups that the last checkpoint did not hold when a restart undid them.
    pub(crate) undone: Arc<Mutex<Vec<u64>>>,
    /// How many groups were dropped as too old.
    pub(crate) dropped: Arc<Mutex<u64>>,
}

impl Default for FakeTrainer {
    fn default() -> Self {
        Self {
            steps: 4,
            batch: 3,
            max_staleness: 1,
            queue_groups: 6,
            lease_seconds: 60,
            checkpoint_every: 1,
            step_time: Duration::ZERO,
            fail_before: Arc::default(),
            trained: Arc::default(),
            undone: Arc::default(),
            dropped: Arc::default(),
        }
    }
}

impl FakeTrainer {
    pub(crate) fn run(&self, context: &JobContext) -> anyhow::Result<()> {
        let mut consumed = read_checkpoint(context)?;
        {
            let mut trained = self.trained.lock().unwrap();
            let undone: Vec<u64> = trained.iter().copied().filter(|it| !consumed.contains(it)).collect();
            self.undone.lock().unwrap().extend(undone);
            trained.retain(|it| consumed.contains(it));
        }
        let mut step = consumed.len() as u64 / u64::from(self.batch);
        context.publish(weights(step));
        let mut ended = EndedGroups::default();
        ended.finish(consumed.iter().copied(), []);
        context.open_training(TrainingOpening {
            problems: Box::new(CountedProblems),
            plan: plan(),
            batch: self.batch,
            max_staleness: self.max_staleness,
            queue_groups: self.queue_groups,
            lease_seconds: self.lease_seconds,
            seed: 7,
            ended,
            total_groups: self.steps * u64::from(self.batch),
        })?;
        let mut unacknowledged = Vec::new();
        while step < self.steps {
            let fault = self.fail_before.lock().unwrap().take_if(|(at, _)| *at == step + 1);
            if let Some((_, text)) = fault {
                anyhow::bail!(text);
            }
            let groups = context.take_groups(self.batch as usize)?;
            *self.dropped.lock().unwrap() = context.dropped_groups();
            for queued in &groups {
                let oldest = queued.group.traces[0].thinking.as_ref().unwrap().versions[0];
                assert!(
                    step.saturating_sub(oldest) <= self.max_staleness,
                    "trained a group that is too old"
                );
                self.trained.lock().unwrap().push(queued.sequence);
                consumed.insert(queued.sequence);
                unacknowledged.push(queued.sequence);
            }
            std::thread::sleep(self.step_time);
            step += 1;
            context.publish(weights(step));
            context.report_step(v1::StepMetrics {
                step,
                weights_version: step,
                ..v1::StepMetrics::default()
            });
            if step.is_multiple_of(self.checkpoint_every) || step == self.steps {
                write_checkpoint(context, &consumed)?;
                let ended_below = (0..).take_while(|sequence| consumed.contains(sequence)).count();
                context.acknowledge(&unacknowledged, ended_below as u64)?;
                unacknowledged.clear();
            }
            context.check()?;
        }
        context.close_training();
        Ok(())
    }

    pub(crate) fn total(&self) -> u64 {
        self.steps * u64::from(self.batch)
    }
}

fn checkpoint_path(context: &JobContext) -> PathBuf {
    context.directory().join("consumed")
}

fn read_checkpoint(context: &JobContext) -> anyhow::Result<BTreeSet<u64>> {
    let path = checkpoint_path(context);
    if !path.exists() {
        return Ok(BTreeSet::new());
    }
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

fn write_checkpoint(context: &JobContext, consumed: &BTreeSet<u64>) -> anyhow::Result<()> {
    Ok(std::fs::write(checkpoint_path(context), serde_json::to_vec(consumed)?)?)
}

/// One asset and three tensors, one of them empty; the contents say the version.
pub(crate) fn weights(version: u64) -> PublishedWeights {
    weights_of(version, |length| vec![version as u8; length])
}

/// The same with contents by length.
pub(crate) fn weights_of(version: u64, contents: impl Fn(usize) -> Vec<u8>) -> PublishedWeights {
    let tensor = |name: &str, length: usize| PublishedTensor {
        name: name.to_owned(),
        dtype: "F32".to_owned(),
        shape: vec![length as u64 / 4],
        data: Bytes::from(contents(length)),
        checksum: None,
    };
    PublishedWeights {
        version: WeightsVersion(version),
        assets: vec![("config.json".to_owned(), Bytes::from_static(b"{}"))],
        // Larger than one chunk.
        tensors: vec![tensor("a", 8), tensor("empty", 0), tensor("large", 5 * 1024 * 1024)],
        traceparent: String::new(),
        asking: String::new(),
    }
}
