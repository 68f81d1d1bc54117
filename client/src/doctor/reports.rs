//! What actors said of themselves, as far as it says how things stand.

use anytime_proto::v1;

/// The newest report of an actor that is there, unless it is too old to say how things stand.
pub(super) fn report_of(actor: &v1::ActorStanding) -> Option<&v1::ActorReport> {
    /// An actor reports at least every 20 s.
    const OLDEST: f64 = 60.0;
    let is_there = actor.presence() == v1::Presence::There;
    let is_new = actor.reported_seconds_ago <= OLDEST;
    actor.report.as_ref().filter(|_| is_there && is_new)
}
