//! What is wrong, by rules over what the learner said. A fault makes `anytime doctor` end with 1; a note does not. The
//! order is that of the likeliest cause: what makes other things go wrong comes before them.

mod actors;
mod finding;
mod jobs;
mod stores;

use anytime_proto::v1;

pub use finding::Finding;

/// All findings, faults before notes. `learner_argument` is what commands need behind them to reach the same learner.
pub fn of(diagnosis: &v1::Diagnosis, learner_argument: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    stores::redis_is_down(diagnosis, &mut findings);
    jobs::stand_still(diagnosis, learner_argument, &mut findings);
    actors::verifiers_are_away(diagnosis, &mut findings);
    actors::are_missing(diagnosis, &mut findings);
    actors::do_not_work(diagnosis, &mut findings);
    jobs::are_held_up(diagnosis, &mut findings);
    stores::disks_fill(diagnosis, &mut findings);
    stores::redis_is_at_risk(diagnosis, &mut findings);
    jobs::loss_is_doubtful(diagnosis, &mut findings);
    jobs::lost_groups(diagnosis, learner_argument, &mut findings);
    actors::are_others(diagnosis, &mut findings);
    findings.sort_by_key(|finding| !finding.is_fault);
    findings
}

#[cfg(test)]
mod tests;
