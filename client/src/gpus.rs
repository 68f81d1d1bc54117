//! How a job fits on GPUs: how many ranks its learner needs, what they divide among them, and what is left for actors.

use std::fmt;
use std::str::FromStr;

use anytime_proto::gpus::{ACTOR_SHARE, learner_bytes};
use anytime_proto::settings::with_defaults;
use anytime_proto::{ShortName as _, v1};
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
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'x');
            let number = |text: &str, most: u32| {
                text.parse()
                    .ok()
                    .filter(|number| is_plain && (1..=most).contains(number))
            };
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
    /// What the job file says that they divide.
    pub(crate) sharding: String,
    /// The way of the job file, if that fits, else the first that does.
    pub(crate) chosen: Option<Placing>,
    /// Whether the job makes updates.
    #[serde(skip)]
    is_training: bool,
    /// How the job's actors fit; none for a job without them.
    pub(crate) actor: Option<ActorFit>,
    /// Whether the job file keeps activations, which rules out what takes least.
    #[serde(skip)]
    keeps_activations: bool,
}

/// How an actor fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ActorFit {
    /// What it may take of its GPU.
    pub(crate) usable_bytes: u64,
    /// What it takes without a cache.
    pub(crate) bytes: u64,
    /// For the largest cache that it could use.
    pub(crate) cache_bytes: u64,
    /// For the cache of one sequence.
    pub(crate) least_cache_bytes: u64,
}

impl Fit {
    /// How a job with these settings and needs fits; None where whoever looked at it says nothing of GPUs.
    pub(crate) fn of(gpus: GpuSet, spec: &v1::JobSpec, needs: &[v1::GpuNeed]) -> Option<Self> {
        let total = u64::from(gpus.gigabytes) * 1_000_000_000;
        let actor = needs.iter().find(|need| need.process == "actor");
        let is_shared = gpus.count == 1 && actor.is_some();
        let of_share = |share: f64| (total as f64 * share) as u64;
        let free = total.saturating_sub(TAKEN);
        let share = if is_shared { of_share(SHARES_OF_ONE.0) } else { total };
        let usable = learner_bytes(share, share.min(free));
        // An actor has a GPU of its own.
        let most = if actor.is_some() {
            (gpus.count - 1).max(1)
        } else {
            gpus.count
        };
        let place = |need: &v1::GpuNeed| {
            let bytes = |ranks: u32| need.whole_bytes + need.divided_bytes.div_ceil(u64::from(ranks));
            // One rank divides nothing.
            let (fewest, most) = if need.sharding == UNDIVIDED { (1, 1) } else { (2, most) };
            let found = (fewest..=most).find(|ranks| bytes(*ranks) <= usable);
            let ranks = found.unwrap_or(most);
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
        let training = with_defaults(spec).training.unwrap_or_default();
        let sharding = training.sharding().short_name().to_owned();
        let fitting = || learner.iter().filter(|placing| placing.fits);
        let own = fitting().find(|placing| placing.sharding == sharding);
        let chosen = own.or_else(|| fitting().next()).cloned();
        let share = if is_shared { SHARES_OF_ONE.1 } else { ACTOR_SHARE };
        (!learner.is_empty()).then(|| Self {
            gpus: gpus.count,
            gigabytes: gpus.gigabytes,
            usable_bytes: usable,
            learner,
            sharding,
            chosen,
            is_training: spec.kind() != v1::JobKind::Evaluate,
            actor: actor.map(|need| ActorFit {
                usable_bytes: of_share(share),
                bytes: need.whole_bytes,
                cache_bytes: need.cache_bytes,
                least_cache_bytes: need.least_cache_bytes,
            }),
            keeps_activations: training.activation_checkpointing == Some(false),
        })
    }

    fn set(&self) -> GpuSet {
        GpuSet {
            count: self.gpus,
            gigabytes: self.gigabytes,
        }
    }

    /// Why the job cannot run on these GPUs; None where it can.
    pub(crate) fn refusal(&self) -> Option<String> {
        if self.chosen.is_none() {
            let ways: Vec<String> = self.learner.iter().map(Placing::text).collect();
            let remedies = match (self.is_training, self.keeps_activations) {
                (false, _) => "larger GPUs or a smaller model do",
                (true, false) => {
                    "more or larger GPUs, smaller budgets, fewer summaries, adapters (training.lora) or a smaller model do"
                }
                (true, true) => {
                    "training.activation_checkpointing = true, more or larger GPUs, smaller budgets, fewer summaries, adapters \
                     (training.lora) or a smaller model do"
                }
            };
            return Some(format!(
                "{} cannot hold its learner, which may take {} of each: {}; {remedies}",
                self.set(),
                size(self.usable_bytes),
                ways.join(", ")
            ));
        }
        let too_large = |actor: &ActorFit| actor.bytes + actor.least_cache_bytes > actor.usable_bytes;
        let actor = self.actor.filter(too_large)?;
        Some(format!(
            "{} cannot hold an actor, which needs {} and {} for the cache of one sequence, and may take {}",
            self.set(),
            size(actor.bytes),
            size(actor.least_cache_bytes),
            size(actor.usable_bytes)
        ))
    }

    /// The fit in lines, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(chosen) = &self.chosen {
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
                let whose = match self.gpus.saturating_sub(chosen.ranks) {
                    0 => "the same GPU for an actor".to_owned(),
                    1 => "one GPU for an actor".to_owned(),
                    left => format!("{left} GPUs for actors"),
                };
                lines.push(format!(
                    "            {whose}: {} and {} for a cache, which could use {}",
                    size(actor.bytes),
                    size(actor.usable_bytes.saturating_sub(actor.bytes).min(actor.cache_bytes)),
                    size(actor.cache_bytes)
                ));
            }
            if chosen.sharding != self.sharding && chosen.ranks > 1 {
                lines.push(format!(
                    "note: with training.sharding = \"{}\", as the job has it, the learner does not fit; write \"{}\"",
                    self.sharding, chosen.sharding
                ));
            }
        }
        lines.extend(self.learner.iter().map(|placing| {
            let fits = if placing.fits { "fits" } else { "does not fit" };
            format!("  {}: {fits}", placing.text())
        }));
        lines
    }
}

impl Placing {
    fn text(&self) -> String {
        let ranks = match self.ranks {
            1 => "one process".to_owned(),
            ranks => format!("{ranks} ranks"),
        };
        format!("{} {ranks} of {}", self.sharding, size(self.bytes))
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
            ..v1::GpuNeed::default()
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
                least_cache_bytes: GIB,
                ..v1::GpuNeed::default()
            });
        }
        needs
    }

    fn spec(sharding: v1::Sharding) -> v1::JobSpec {
        let mut spec = v1::JobSpec::default();
        spec.training.get_or_insert_default().sharding = Some(sharding.into());
        spec
    }

    fn fit(gpus: &str, has_actor: bool) -> Fit {
        let spec = spec(v1::Sharding::None);
        Fit::of(gpus.parse().expect("GPUs"), &spec, &needs(has_actor)).expect("it says what it needs")
    }

    fn chosen(fit: &Fit) -> (&str, u32, u64) {
        let chosen = fit.chosen.as_ref().expect("it fits");
        (chosen.sharding.as_str(), chosen.ranks, chosen.bytes / GIB)
    }

    #[test]
    fn the_least_division_with_the_fewest_ranks_is_chosen() {
        let found = fit("4x80", true);
        assert_eq!(found.refusal(), None);
        assert_eq!(chosen(&found), ("gradients", 3, 68));
        let lines = found.lines();
        let expected = [
            "gpus        4 GPUs of 80 GB: a learner of 3 ranks with training.sharding = \"gradients\", 68.0 GiB of 70.1 GiB each",
            "            one GPU for an actor: 37.0 GiB and 30.1 GiB for a cache, which could use 40.0 GiB",
            "note: with training.sharding = \"none\", as the job has it, the learner does not fit; write \"gradients\"",
            "  none one process of 142.0 GiB: does not fit",
            "  optimizer 3 ranks of 104.0 GiB: does not fit",
            "  gradients 3 ranks of 68.0 GiB: fits",
            "  full 3 ranks of 54.0 GiB: fits",
        ];
        assert_eq!(lines, expected);
        assert_eq!(chosen(&fit("2x192", true)), ("none", 1, 142));
        assert_eq!(
            fit("2x192", true).lines().len(),
            3,
            "one rank beside an actor divides nothing, and nothing is to be written"
        );
    }

    #[test]
    fn what_the_job_says_is_kept_where_it_fits() {
        let of = |sharding| {
            Fit::of(
                GpuSet {
                    count: 4,
                    gigabytes: 80,
                },
                &spec(sharding),
                &needs(true),
            )
            .expect("needs")
        };
        let full = of(v1::Sharding::Full);
        assert_eq!(chosen(&full), ("full", 3, 54));
        assert!(
            !full.lines().iter().any(|line| line.starts_with("note")),
            "{:?}",
            full.lines()
        );
        assert_eq!(chosen(&of(v1::Sharding::Optimizer)), ("gradients", 3, 68));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_every_way() {
        let refused = fit("4x24", true).refusal().expect("it is far too large");
        for part in [
            "4 GPUs of 24 GB cannot hold its learner, which may take 20.",
            "none one process of 142.0 GiB, optimizer 3 ranks of 104.0 GiB, gradients 3 ranks of 68.0 GiB, full 3 ranks of 54.0 GiB;",
        ] {
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert!(!refused.contains("activation_checkpointing"), "{refused}");
        let mut keeping = spec(v1::Sharding::None);
        keeping.training.get_or_insert_default().activation_checkpointing = Some(false);
        let gpus = GpuSet {
            count: 4,
            gigabytes: 24,
        };
        let refused = Fit::of(gpus, &keeping, &needs(true)).and_then(|fit| fit.refusal());
        assert!(
            refused
                .expect("too large")
                .contains("training.activation_checkpointing = true")
        );
        // Twelve ranks train it, and a card of 40 GB holds no actor.
        let refused = fit("13x40", true).refusal().expect("no room for an actor");
        assert!(
            refused.contains("cannot hold an actor, which needs 37.0 GiB and 1.0 GiB for the cache"),
            "{refused}"
        );
        assert_eq!(fit("13x40", false).refusal(), None, "supervised training has no actors");
        let one = fit("1x80", true);
        assert_eq!(one.learner.len(), 1, "one GPU has no ranks to divide anything");
        // As a learner that is given 0.6 of a device plans.
        assert_eq!(one.usable_bytes, 48_000_000_000 - (1 << 30) - 48_000_000_000 / 25);
        assert!(one.refusal().is_some());
    }

    #[test]
    fn gpus_are_a_number_and_gigabytes() {
        let expected = GpuSet {
            count: 8,
            gigabytes: 141,
        };
        assert_eq!("8x141".parse(), Ok(expected));
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
            "+8x80",
            " 8x80",
        ] {
            let refused = text.parse::<GpuSet>().expect_err(text);
            assert!(refused.contains("such as 4x80"), "{text}");
        }
    }

    #[test]
    fn who_says_nothing_of_gpus_has_no_fit() {
        let gpus = GpuSet {
            count: 1,
            gigabytes: 80,
        };
        assert_eq!(Fit::of(gpus, &v1::JobSpec::default(), &[]), None);
    }
}
