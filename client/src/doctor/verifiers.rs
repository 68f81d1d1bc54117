//! The verifiers by what the actors see of them: the learner calls none itself.

use std::collections::BTreeMap;

use anytime_proto::v1;

use super::reports::report_of;

/// One verifier, by its address.
#[derive(Clone, Debug, Default)]
pub(super) struct SeenVerifier<'a> {
    /// Where the actors look for it.
    pub(super) address: &'a str,
    /// The actors that have their verdicts.
    pub(super) judges_for: Vec<String>,
    /// The actors that wait for it.
    pub(super) away_for: Vec<String>,
    /// For how long, in seconds, the first of those has waited.
    pub(super) away_seconds: f64,
    /// The newest call that brought no verdicts.
    pub(super) last_error: Option<&'a v1::LogLine>,
    /// What it said of itself last.
    pub(super) process: Option<&'a v1::ProcessReport>,
}

/// The verifiers of the actors that are there.
pub(super) fn seen(diagnosis: &v1::Diagnosis) -> Vec<SeenVerifier<'_>> {
    let mut by_address: BTreeMap<&str, SeenVerifier<'_>> = BTreeMap::new();
    for actor in &diagnosis.actors {
        let Some(standing) = report_of(actor).and_then(|report| report.verifier.as_ref()) else {
            continue;
        };
        let seen = by_address.entry(&standing.address).or_default();
        seen.address = &standing.address;
        if standing.is_away {
            seen.away_for.push(actor.actor_id.clone());
            let since = standing.since_seconds + actor.reported_seconds_ago;
            seen.away_seconds = seen.away_seconds.max(since);
        } else {
            seen.judges_for.push(actor.actor_id.clone());
        }
        let age = |line: Option<&v1::LogLine>| line.map_or(f64::INFINITY, |line| line.seconds_ago);
        if age(standing.last_error.as_ref()) < age(seen.last_error) {
            seen.last_error = standing.last_error.as_ref();
        }
        // A process that was started again has run for less time.
        let up = |process: Option<&v1::ProcessReport>| process.map_or(f64::INFINITY, |process| process.up_seconds);
        if up(standing.process.as_ref()) < up(seen.process) {
            seen.process = standing.process.as_ref();
        }
    }
    by_address.into_values().collect()
}
