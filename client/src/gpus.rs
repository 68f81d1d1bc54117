//! How a job fits on GPUs: how many ranks its learner needs, what they divide among them, and what is left for actors.

use std::fmt;
use std::str::FromStr;

use anytime_proto::gpus::{ACTOR_SHARE, learner_bytes};
use anytime_proto::v1;
use serde::Serialize;

/// The `training.sharding` of one process alone.
const UNDIVIDED: &str = "none";

/// What the driver has of a GPU before anybody takes it, in bytes.
const TAKEN: u64 = 500_000_000;

/// The shares of a GPU that learner and actor have of one where there is no other, as `anytime local --actors 1` gives them.
const SHARES_OF_ONE: (f64, f64) = (0.6, 0.3);

/// GPUs of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GpuSet {
    /// How many there are.
    pub count: u32,
    /// Decimal gigabytes of each, as their names count.
    pub gigabytes: u32,
}

impl FromStr for GpuSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('x').and_then(|(count, gigabytes)| {
            let number = |text: &str, most: u32| text.parse().ok().filter(|number| (1..=most).contains(number));
            Some(Self {
                count: number(count, 1024)?,
                gigabytes: number(gigabytes, 4096)?,
            })
        });
        parsed.ok_or_else(|| "it must be how many GPUs, x, and the gigabytes of each, such as 4x80".to_owned())
    }
}

impl fmt::Display for GpuSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = if self.count == 1 { "" } else { "s" };
        write!(formatter, "{} GPU{s} of {} GB", self.count, self.gigabytes)
    }
}

/// One way to place a learner: what its ranks divide, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Placing {
    /// `training.sharding`.
    pub(crate) sharding: String,
    pub(crate) ranks: u32,
    /// Of each rank.
    pub(crate) bytes: u64,
    pub(crate) fits: bool,
}

/// How a job fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fit {
    pub(crate) gpus: u32,
    pub(crate) gigabytes: u32,
    /// What a rank of the learner may take of its GPU.
    pub(crate) usable_bytes: u64,
    /// The fewest ranks with which it fits, or the most there can be, for each thing that they may divide; the least divided
    /// first, which is the fastest.
    pub(crate) learner: Vec<Placing>,
    /// What an actor may take of its GPU, and takes without a cache and for the largest that it could use; none for a job
    /// without actors.
    pub(crate) actor: Option<ActorFit>,
}

/// How an actor fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ActorFit {
    pub(crate) usable_bytes: u64,
    pub(crate) bytes: u64,
    pub(crate) cache_bytes: u64,
}

impl Fit {
    /// How a job with these needs fits; None where it makes no updates.
    pub(crate) fn of(gpus: GpuSet, needs: &[v1::GpuNeed]) -> Option<Self> {
        let total = u64::from(gpus.gigabytes) * 1_000_000_000;
        let actor = needs.iter().find(|need| need.process == "actor");
        let is_shared = gpus.count == 1 && actor.is_some();
        let of_share = |share: f64| (total as f64 * share) as u64;
        let usable = if is_shared {
            let share = of_share(SHARES_OF_ONE.0);
            learner_bytes(share, share.saturating_sub(TAKEN))
        } else {
            learner_bytes(total, total.saturating_sub(TAKEN))
        };
        // An actor has a GPU of its own.
        let most = if actor.is_some() {
            (gpus.count - 1).max(1)
        } else {
            gpus.count
        };
        let place = |need: &v1::GpuNeed| {
            let bytes = |ranks: u32| need.whole_bytes + need.divided_bytes.div_ceil(u64::from(ranks));
            // One rank divides nothing.
            let mut choices = if need.sharding == UNDIVIDED { 1..=1 } else { 2..=most };
            let found = choices.find(|ranks| bytes(*ranks) <= usable);
            let ranks = found.unwrap_or(if need.sharding == UNDIVIDED { 1 } else { most });
            Placing {
                sharding: need.sharding.clone(),
                ranks,
                bytes: bytes(ranks),
                fits: found.is_some(),
            }
        };
        let learners = needs.iter().filter(|need| need.process == "learner");
        let learner: Vec<Placing> = learners
            .filter(|need| most > 1 || need.sharding == UNDIVIDED)
            .map(place)
            .collect();
        let share = if is_shared { SHARES_OF_ONE.1 } else { ACTOR_SHARE };
        (!learner.is_empty()).then(|| Self {
            gpus: gpus.count,
            gigabytes: gpus.gigabytes,
            usable_bytes: usable,
            learner,
            actor: actor.map(|need| ActorFit {
                usable_bytes: of_share(share),
                bytes: need.whole_bytes,
                cache_bytes: need.cache_bytes,
            }),
        })
    }

    /// The first way that fits.
    fn chosen(&self) -> Option<&Placing> {
        self.learner.iter().find(|placing| placing.fits)
    }

    fn set(&self) -> GpuSet {
        GpuSet {
            count: self.gpus,
            gigabytes: self.gigabytes,
        }
    }

    /// Why the job cannot run on these GPUs; None where it can.
    pub(crate) fn refusal(&self) -> Option<String> {
        let usable = size(self.usable_bytes);
        if self.chosen().is_none() {
            let least = self.learner.iter().min_by_key(|placing| placing.bytes)?;
            let (ranks, sharding, bytes) = (least.ranks, &least.sharding, size(least.bytes));
            return Some(format!(
                "{} cannot train it: with training.sharding = \"{sharding}\" each of {ranks} ranks needs {bytes}, and may take \
                 {usable}; more or larger GPUs, smaller budgets, fewer summaries, adapters (training.lora) or a smaller model do",
                self.set()
            ));
        }
        let actor = self.actor.filter(|actor| actor.bytes >= actor.usable_bytes)?;
        Some(format!(
            "{} cannot generate with it: an actor needs {} beside its cache, and may take {}",
            self.set(),
            size(actor.bytes),
            size(actor.usable_bytes)
        ))
    }

    /// The fit in lines, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(chosen) = self.chosen() {
            let what = match chosen.ranks {
                1 => "a learner of one process".to_owned(),
                ranks => format!(
                    "a learner of {ranks} ranks with training.sharding = \"{}\"",
                    chosen.sharding
                ),
            };
            lines.push(format!(
                "gpus        {}: {what}, {} of {} each",
                self.set(),
                size(chosen.bytes),
                size(self.usable_bytes)
            ));
            if let Some(actor) = self.actor {
                let left = self.gpus.saturating_sub(chosen.ranks);
                let whose = match left {
                    0 => "the same GPU, and one actor".to_owned(),
                    1 => "one GPU for an actor".to_owned(),
                    left => format!("{left} GPUs for actors"),
                };
                lines.push(format!(
                    "            {whose}: {} and a cache of {}, of at most {} that it could use",
                    size(actor.bytes),
                    size(actor.usable_bytes.saturating_sub(actor.bytes).min(actor.cache_bytes)),
                    size(actor.cache_bytes)
                ));
            }
        }
        lines.extend(self.learner.iter().map(|placing| {
            let fits = if placing.fits { "fits" } else { "does not fit" };
            let ranks = match placing.ranks {
                1 => "one process".to_owned(),
                ranks => format!("{ranks} ranks"),
            };
            format!(
                "  {:<10}{ranks}, {} each: {fits}",
                placing.sharding,
                size(placing.bytes)
            )
        }));
        lines
    }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes >= 1024.0 {
        return format!("{:.1} GiB", mebibytes / 1024.0);
    }
    format!("{mebibytes:.1} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn need(sharding: &str, whole: u64, divided: u64) -> v1::GpuNeed {
        v1::GpuNeed {
            process: "learner".to_owned(),
            sharding: sharding.to_owned(),
            whole_bytes: whole * GIB,
            divided_bytes: divided * GIB,
            cache_bytes: 0,
        }
    }

    /// About DeepSeek-R1-Distill-Qwen-7B.
    fn needs(has_actor: bool) -> Vec<v1::GpuNeed> {
        let mut needs = vec![
            need("none", 142, 0),
            need("optimizer", 85, 57),
            need("gradients", 30, 114),
            need("full", 16, 114),
        ];
        if has_actor {
            needs.push(v1::GpuNeed {
                process: "actor".to_owned(),
                whole_bytes: 37 * GIB,
                cache_bytes: 40 * GIB,
                ..v1::GpuNeed::default()
            });
        }
        needs
    }

    fn fit(gpus: &str, has_actor: bool) -> Fit {
        Fit::of(gpus.parse().expect("GPUs"), &needs(has_actor)).expect("it makes updates")
    }

    #[test]
    fn the_least_division_with_the_fewest_ranks_is_chosen() {
        let found = fit("4x80", true);
        assert_eq!(found.refusal(), None);
        let chosen = found.chosen().expect("it fits");
        assert_eq!(
            (chosen.sharding.as_str(), chosen.ranks, chosen.bytes),
            ("gradients", 3, 68 * GIB)
        );
        let lines = found.lines();
        let first = "gpus        4 GPUs of 80 GB: a learner of 3 ranks with training.sharding = \"gradients\", 68.0 GiB of 70.1 GiB each";
        assert_eq!(lines[0], first);
        let second =
            "            one GPU for an actor: 37.0 GiB and a cache of 30.1 GiB, of at most 40.0 GiB that it could use";
        assert_eq!(lines[1], second);
        assert_eq!(lines.len(), 2 + 4, "{lines:#?}");
        assert!(
            lines[2].contains("none      one process, 142.0 GiB each: does not fit"),
            "{}",
            lines[2]
        );
        let large = fit("2x192", true);
        assert_eq!(
            large.chosen().map(|chosen| (chosen.sharding.as_str(), chosen.ranks)),
            Some(("none", 1))
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_needs_least() {
        let refused = fit("4x24", true).refusal().expect("it is far too large");
        for part in [
            "4 GPUs of 24 GB cannot train it",
            "\"full\" each of 3 ranks needs 54.0 GiB",
            "may take 20.",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        // Twelve ranks train it, and a card of 40 GB holds no actor.
        let refused = fit("13x40", true).refusal().expect("no room for an actor");
        assert!(
            refused.contains("cannot generate with it: an actor needs 37.0 GiB"),
            "{refused}"
        );
        assert_eq!(fit("13x40", false).refusal(), None, "supervised training has no actors");
        let one = fit("1x80", true);
        assert_eq!(one.learner.len(), 1, "one GPU has no ranks to divide anything");
        assert!(one.usable_bytes < 48 * GIB, "learner and actor share it");
        assert!(one.refusal().is_some());
    }

    #[test]
    fn gpus_are_a_number_and_gigabytes() {
        assert_eq!(
            "8x141".parse(),
            Ok(GpuSet {
                count: 8,
                gigabytes: 141
            })
        );
        for text in [
            "",
            "8",
            "x80",
            "8x",
            "0x80",
            "8x0",
            "-1x80",
            "8x80GB",
            "8X80",
            "99999999999x80",
            "1.5x80",
            "8x80x2",
        ] {
            let refused = text.parse::<GpuSet>().expect_err(text);
            assert!(refused.contains("such as 4x80"), "{text}");
        }
    }

    #[test]
    fn a_job_without_updates_has_no_fit() {
        assert_eq!(
            Fit::of(
                GpuSet {
                    count: 1,
                    gigabytes: 80
                },
                &[]
            ),
            None
        );
    }
}
