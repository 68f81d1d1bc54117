//! `anytime doctor`: what is wrong, by what the learner knows of itself and of everything around it.

use anytime_service::exit::ExitError;

use crate::arguments::DoctorArgs;
use crate::doctor::{self, Examination, look};
use crate::learner::{Learner, is_unreachable};
use crate::output::{print_json, print_line};

/// The exit code where something is wrong.
const SICK: u8 = 1;

pub(super) async fn run(arguments: &DoctorArgs, json: bool) -> anyhow::Result<()> {
    let mut learner = Learner::try_new(&arguments.learner)?;
    let diagnosis = match learner.diagnose(arguments.job.as_deref()).await {
        Ok(diagnosis) => diagnosis,
        Err(error) if is_unreachable(&error) => {
            let found = look(&arguments.learner, &format!("{error:#}")).await?;
            if json {
                print_json(&found.to_json())?;
            } else {
                print_line(&found.in_words())?;
            }
            return Err(ExitError::unavailable(found.verdict).into());
        }
        Err(error) => return Err(error),
    };
    let examination = Examination::of(diagnosis, &arguments.learner);
    if json {
        print_json(&doctor::to_json(&examination))?;
    } else {
        print_line(&doctor::in_words(&examination))?;
    }
    if examination.is_healthy() {
        return Ok(());
    }
    let faults = examination.findings.iter().filter(|finding| finding.is_fault).count();
    Err(ExitError {
        code: SICK,
        message: format!("{faults} found to be wrong, first of all: {}", examination.verdict),
    }
    .into())
}
