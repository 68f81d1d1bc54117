//! What the job thread does with a job right now, and since when.

use std::sync::Mutex;
use std::time::Instant;

use anytime_proto::v1::Activity;

use crate::lock::lock;

/// What is done with one job. The job's thread writes it, requests read it.
pub(super) struct CurrentActivity(Mutex<(Activity, Instant)>);

impl Default for CurrentActivity {
    fn default() -> Self {
        Self(Mutex::new((Activity::Rests, Instant::now())))
    }
}

impl CurrentActivity {
    /// From now on this is done. Returns what was done before.
    pub(super) fn begin(&self, activity: Activity) -> Activity {
        let mut current = lock(&self.0);
        let before = current.0;
        if before != activity {
            *current = (activity, Instant::now());
        }
        before
    }

    /// The preparation is over, if it was not yet.
    pub(super) fn has_prepared(&self) {
        let mut current = lock(&self.0);
        if current.0 == Activity::Prepares {
            *current = (Activity::Computes, Instant::now());
        }
    }

    /// What is done, and for how many seconds.
    pub(super) fn now(&self) -> (Activity, f64) {
        let (activity, since) = *lock(&self.0);
        (activity, since.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activity_lasts_from_its_beginning_however_often_it_is_said() {
        let current = CurrentActivity::default();
        assert_eq!(current.begin(Activity::Prepares), Activity::Rests);
        let begun = lock(&current.0).1;
        assert_eq!(current.begin(Activity::Prepares), Activity::Prepares);
        assert_eq!(lock(&current.0).1, begun);
        current.has_prepared();
        assert_eq!(current.now().0, Activity::Computes);
        current.begin(Activity::Evaluates);
        current.has_prepared();
        assert_eq!(current.now().0, Activity::Evaluates);
    }
}
