//! The arguments of `anytime list`: which jobs are asked for.

use std::collections::BTreeMap;

use anytime_proto::{ShortName as _, v1};

use super::LearnerArgs;

/// The arguments of `anytime list`.
#[derive(Clone, Debug, clap::Args)]
pub struct ListArgs {
    /// Only jobs in this state: queued, running, succeeded, failed, cancelled or paused; repeatable, or with commas between
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    pub state: Vec<v1::JobState>,
    /// Only jobs with this label; repeatable: a job must have all
    #[arg(long, value_name = "NAME=TEXT", value_parser = label)]
    pub label: Vec<(String, String)>,
    /// Only jobs that were submitted under this name, in which `*` stands for any characters
    #[arg(long, value_name = "PATTERN")]
    pub name: Option<String>,
    /// At most this many jobs [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub learner: LearnerArgs,
}

impl ListArgs {
    /// What the learner is asked for; the pages are the caller's.
    pub fn request(&self) -> v1::ListJobsRequest {
        v1::ListJobsRequest {
            states: self.state.iter().map(|state| i32::from(*state)).collect(),
            labels: self.label.iter().cloned().collect::<BTreeMap<_, _>>(),
            name: self.name.clone().unwrap_or_default(),
            ..v1::ListJobsRequest::default()
        }
    }
}

fn state(text: &str) -> Result<v1::JobState, String> {
    v1::JobState::from_short_name(text)
        .filter(|state| *state != v1::JobState::Unspecified)
        .ok_or_else(|| "it must be queued, running, succeeded, failed, cancelled or paused".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, text) = text.split_once('=').ok_or_else(|| "it must be NAME=TEXT".to_owned())?;
    Ok((name.to_owned(), text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_and_labels_are_read_as_they_are_shown() {
        assert_eq!(state("queued"), Ok(v1::JobState::Queued));
        assert!(state("unspecified").is_err() && state("asleep").is_err());
        assert_eq!(label("team=a=b"), Ok(("team".to_owned(), "a=b".to_owned())));
        assert!(label("team").is_err());
    }
}
