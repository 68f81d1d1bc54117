//! Which job runs, as a metric whose labels name it.

use anytime_proto::{ShortName as _, v1};
use anytime_service::metric_names::LEARNER_JOB_INFO;
use metrics::{Gauge, gauge};

/// A label has at most this many characters; ids and names that are checked have no more than 80.
const LONGEST_LABEL: usize = 80;

/// Shows a job as running until it is dropped.
pub(super) struct JobInfo(Gauge);

impl JobInfo {
    pub(super) fn show(job: &v1::Job) -> Self {
        let spec = job.spec.clone().unwrap_or_default();
        let labels = [
            ("job_id", label(&job.id)),
            ("name", label(spec.name())),
            ("kind", spec.kind().short_name()),
        ];
        let info = gauge!(LEARNER_JOB_INFO, &labels);
        info.set(1.0);
        Self(info)
    }
}

impl Drop for JobInfo {
    fn drop(&mut self) {
        // The exporter cannot take a series away.
        self.0.set(0.0);
    }
}

fn label(text: &str) -> String {
    text.chars().take(LONGEST_LABEL).collect()
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;

    #[test]
    fn a_job_is_named_while_it_runs() {
        let job = v1::Job {
            id: "x".repeat(100),
            spec: Some(v1::JobSpec {
                name: Some("sums".to_owned()),
                kind: Some(v1::JobKind::Sft.into()),
                ..v1::JobSpec::default()
            }),
            ..v1::Job::default()
        };
        let recorder = PrometheusBuilder::new().build_recorder();
        let line = |value: u8| {
            let id = "x".repeat(LONGEST_LABEL);
            format!("anytime_learner_job_info{{job_id=\"{id}\",name=\"sums\",kind=\"sft\"}} {value}")
        };
        metrics::with_local_recorder(&recorder, || {
            let shown = JobInfo::show(&job);
            assert!(
                recorder.handle().render().contains(&line(1)),
                "{}",
                recorder.handle().render()
            );
            drop(shown);
            assert!(
                recorder.handle().render().contains(&line(0)),
                "{}",
                recorder.handle().render()
            );
        });
    }
}
