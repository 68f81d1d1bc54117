//! Notices an engine that is stuck inside one step, as after a fault of a driver. Its actor would renew its leases for
//! ever, and a trainer that takes groups in their order would wait for them as long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::load::Load;
use super::messages::EngineError;

/// The longest pause between two looks.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Ends once the engine has been inside one and the same step for longer than `patience`. With a patience of zero it
/// never does.
pub async fn stuck(load: &Load, patience: Duration) -> EngineError {
    if patience.is_zero() {
        std::future::pending::<()>().await;
    }
    let pause = (patience / 4).clamp(Duration::from_millis(1), LONGEST_PAUSE);
    let mut turns = load.turns.load(Ordering::Acquire);
    // Adds the pauses up instead of reading the clock: time in which the whole process was stopped must not count.
    let mut inside = Duration::ZERO;
    loop {
        tokio::time::sleep(pause).await;
        let now = load.turns.load(Ordering::Acquire);
        // The engine is at work while the number is odd.
        if now != turns || now.is_multiple_of(2) {
            turns = now;
            inside = Duration::ZERO;
            continue;
        }
        inside += pause;
        if inside > patience {
            return EngineError::Stuck(inside.as_secs());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn steps_that_end_are_no_stuck_engine_and_one_that_does_not_is() {
        let load = Arc::new(Load::default());
        let watched = Arc::clone(&load);
        let watching = tokio::spawn(async move { stuck(&watched, PATIENCE).await });
        let begun = Instant::now();
        // At work most of the time, in many steps.
        while begun.elapsed() < 3 * PATIENCE {
            load.begin_turn();
            tokio::time::sleep(Duration::from_millis(5)).await;
            load.end_turn();
        }
        // Idle for long.
        tokio::time::sleep(2 * PATIENCE).await;
        assert!(!watching.is_finished());
        load.begin_turn();
        let found = tokio::time::timeout(Duration::from_secs(20), watching).await;
        assert_eq!(found.unwrap().unwrap(), EngineError::Stuck(0));
    }

    #[tokio::test]
    async fn without_a_patience_nothing_is_stuck() {
        let load = Load::default();
        load.begin_turn();
        let watch = stuck(&load, Duration::ZERO);
        assert!(tokio::time::timeout(Duration::from_millis(50), watch).await.is_err());
    }
}
