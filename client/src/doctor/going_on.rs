//! How a job goes on: the commands, as they are typed.

use anytime_proto::v1::{self, JobState};

/// The default of `--learner`, which need not be written.
const DEFAULT: &str = "http://127.0.0.1:7100";

/// What a command needs behind it to reach the learner at this address. Nothing where it is the default, or what the
/// environment says.
pub(super) fn learner_argument(address: &str) -> String {
    let is_known = match std::env::var("ANYTIME_LEARNER") {
        Ok(of_environment) => of_environment == address,
        Err(_) => address == DEFAULT,
    };
    if is_known {
        String::new()
    } else {
        format!(" --learner {address}")
    }
}

/// The commands for a job as it stands, the first one first.
pub(super) fn commands(job: &v1::JobStanding, learner_argument: &str) -> Vec<String> {
    let id = &job.job_id;
    let mut commands = Vec::new();
    let mut add = |command: String| commands.push(format!("anytime {command}{learner_argument}"));
    match job.state() {
        JobState::Paused | JobState::Failed => {
            add(format!("resume {id}"));
            if !job.checkpoints.is_empty() {
                add(format!("export {id}"));
            }
        }
        JobState::Running | JobState::Queued => add(format!("watch {id}")),
        JobState::Succeeded => add(format!("report {id} --out reports/{id}")),
        JobState::Cancelled | JobState::Unspecified => add(format!("get {id}")),
    }
    if job.dead_letters.unwrap_or_default() > 0 {
        add(format!("dead-letters {id}"));
        if job.state() == JobState::Running {
            add(format!("dead-letters {id} --replay-all"));
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_goes_on_by_the_command_of_its_state() {
        let job = |state: JobState, letters: u64| v1::JobStanding {
            job_id: "a".to_owned(),
            state: state.into(),
            dead_letters: Some(letters),
            checkpoints: vec![v1::CheckpointStanding::default()],
            ..v1::JobStanding::default()
        };
        let of = |state, letters| commands(&job(state, letters), " --learner http://l:1");
        assert_eq!(
            of(JobState::Paused, 0),
            [
                "anytime resume a --learner http://l:1",
                "anytime export a --learner http://l:1"
            ]
        );
        let running = of(JobState::Running, 2);
        assert_eq!(running.len(), 3, "{running:?}");
        assert_eq!(running[2], "anytime dead-letters a --replay-all --learner http://l:1");
        assert!(of(JobState::Succeeded, 0)[0].starts_with("anytime report a --out"));
    }
}
