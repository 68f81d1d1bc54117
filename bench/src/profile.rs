//! Which operators the engine's or the trainer's time goes to.
//!
//! The same work runs three times: once to warm up, once as it is, and once with every operator of libtorch and of the
//! policy measured ([`anytime_policy::operators::profile`]). An operator's *share* is its own time, without the
//! operators that it calls, over the wall time of the measured run. Own times of one thread never overlap, and on the
//! CPU engine and trainer dispatch from one thread each, so shares add up to the part of the wall time that was spent
//! in operators. The rest was spent outside of them: in Rust between operators, waiting for the engine, and in
//! measuring itself.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anytime_actor::engine::{CacheLimit, EngineLimits};
use anytime_policy::operators::profile::{OperatorFigures, profiled};
use serde_json::{Value, json};
use tch::Kind;

use crate::engine::{GroupShape, TimedEngine, Until};
use crate::model::LoadedModel;
use crate::rollout::RolloutCase;
use crate::training::{TrainingCase, Updates};

/// Where the time of one piece of work went.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Wall time of the measured run.
    pub wall: Duration,
    /// Wall time of the same work without measuring.
    pub wall_unmeasured: Duration,
    /// Largest own time first.
    pub operators: Vec<OperatorFigures>,
}

/// Profiles rollouts of whole groups, as the actor's engine generates them.
///
/// # Errors
/// As for [`TimedEngine::run`].
pub fn engine(
    model: &LoadedModel,
    case: &RolloutCase,
    cache_bytes: usize,
    repetitions: usize,
) -> anyhow::Result<Profile> {
    let limits = EngineLimits {
        slots: case.slots,
        cache: CacheLimit::Bytes(cache_bytes),
    };
    let vocabulary = model.config.vocab_size;
    let groups = case.rollouts(vocabulary);
    let longest = groups.iter().map(GroupShape::tokens).max().unwrap_or(0);
    let mut engine = TimedEngine::start(model, limits, longest)?;
    engine.run(&case.warm_up(vocabulary), Until::AllEnds)?;
    profile(|| {
        for _ in 0..repetitions {
            engine.run(&groups, Until::AllEnds)?;
        }
        Ok(())
    })
}

/// Profiles updates. `model` holds the f32 masters; `kind` is what forward and backward passes compute in.
///
/// # Errors
/// The settings are refused, or an update fails.
pub fn trainer(model: LoadedModel, case: &TrainingCase, kind: Kind, repetitions: usize) -> anyhow::Result<Profile> {
    let mut updates = Updates::try_new(model, std::slice::from_ref(case), kind, false)?;
    updates.update()?;
    profile(|| (0..repetitions).try_for_each(|_| updates.update()))
}

fn profile(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Profile> {
    let started = Instant::now();
    work()?;
    let wall_unmeasured = started.elapsed();
    let (outcome, operators) = profiled(|| {
        let started = Instant::now();
        work().map(|()| started.elapsed())
    });
    Ok(Profile {
        wall: outcome?,
        wall_unmeasured,
        operators,
    })
}

impl Profile {
    /// The own time of all operators, which is the part of the wall time that they account for.
    pub fn accounted(&self) -> Duration {
        self.operators.iter().map(|of| of.own_time).sum()
    }

    /// One object with every operator; times in seconds.
    pub fn document(&self) -> Value {
        let operator = |of: &OperatorFigures| {
            json!({
                "name": of.name,
                "calls": of.calls,
                "own_seconds": of.own_time.as_secs_f64(),
                "share": self.share(of.own_time),
                "total_seconds": of.total_time.as_secs_f64(),
                "allocations": of.allocations,
                "bytes": of.bytes,
            })
        };
        json!({
            "wall_seconds": self.wall.as_secs_f64(),
            "wall_seconds_unmeasured": self.wall_unmeasured.as_secs_f64(),
            "accounted_share": self.share(self.accounted()),
            "operators": self.operators.iter().map(operator).collect::<Vec<Value>>(),
        })
    }

    /// The `rows` operators with the largest own time, the others in one line, and what no operator accounts for.
    pub fn table(&self, rows: usize) -> String {
        let (shown, others) = self.operators.split_at(rows.min(self.operators.len()));
        let width = shown.iter().map(|of| of.name.len()).chain([24]).max().unwrap_or(0);
        let mut text = String::new();
        let mut line = |name: &str, calls: &str, own: Duration, rest: &str| {
            let (milliseconds, percent) = (own.as_secs_f64() * 1e3, 100.0 * self.share(own));
            writeln!(
                text,
                "{name:width$} {calls:>9} {milliseconds:>10.1} {percent:>6.1} %{rest}"
            )
            .expect("a string takes everything");
        };
        for of in shown {
            let total = of.total_time.as_secs_f64();
            let rest = format!(
                " {:>10.1} {:>10.1} {:>11} {:>10.1}",
                total * 1e3,
                total * 1e6 / of.calls.max(1) as f64,
                of.allocations,
                of.bytes as f64 / (1 << 20) as f64
            );
            line(&of.name, &of.calls.to_string(), of.own_time, &rest);
        }
        if !others.is_empty() {
            let calls: u64 = others.iter().map(|of| of.calls).sum();
            let name = format!("{} further operators", others.len());
            let own_time = others.iter().map(|of| of.own_time).sum();
            line(&name, &calls.to_string(), own_time, "");
        }
        let calls: u64 = self.operators.iter().map(|of| of.calls).sum();
        line("all operators", &calls.to_string(), self.accounted(), "");
        let outside = self.wall.saturating_sub(self.accounted());
        line("outside of operators", "", outside, "");
        let head = format!(
            "{:width$} {:>9} {:>10} {:>8} {:>10} {:>10} {:>11} {:>10}",
            "operator", "calls", "own ms", "share", "total ms", "mean µs", "allocations", "MiB"
        );
        let (wall, unmeasured) = (self.wall.as_secs_f64(), self.wall_unmeasured.as_secs_f64());
        format!(
            "{head}\n{text}wall time {wall:.3} s, without measuring {unmeasured:.3} s; total, mean, allocations and MiB \
             include what an operator calls\n"
        )
    }

    fn share(&self, part: Duration) -> f64 {
        part.as_secs_f64() / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(name: &str, own: u64, total: u64) -> OperatorFigures {
        OperatorFigures {
            name: name.to_owned(),
            calls: 4,
            own_time: Duration::from_millis(own),
            total_time: Duration::from_millis(total),
            allocations: 2,
            bytes: 3 << 20,
        }
    }

    #[test]
    fn the_table_says_what_operators_account_for() {
        let profile = Profile {
            wall: Duration::from_millis(200),
            wall_unmeasured: Duration::from_millis(190),
            operators: vec![
                operator("aten::mm", 100, 100),
                operator("aten::linear", 30, 130),
                operator("aten::mul", 20, 20),
            ],
        };
        let table = profile.table(2);
        let line = |name: &str| {
            let found = table
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_else(|| panic!("{name}: {table}"));
            found
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<String>>()
                .join(" ")
        };
        assert_eq!(line("aten::mm"), "aten::mm 4 100.0 50.0 % 100.0 25000.0 2 3.0");
        assert_eq!(line("aten::linear"), "aten::linear 4 30.0 15.0 % 130.0 32500.0 2 3.0");
        assert_eq!(line("1 further"), "1 further operators 4 20.0 10.0 %");
        assert_eq!(line("all operators"), "all operators 12 150.0 75.0 %");
        assert_eq!(line("outside of"), "outside of operators 50.0 25.0 %");
        let document = profile.document();
        // Durations are nanoseconds, but their quotients are rounded.
        assert!(
            (document["accounted_share"].as_f64().unwrap_or(0.0) - 0.75).abs() < 1e-9,
            "{document}"
        );
        assert_eq!(document["operators"][1]["name"], "aten::linear");
    }
}
