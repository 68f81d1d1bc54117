//! The `anytime` object of a request: budgets, votes, when the thinking ends, and branches.

use serde_json::{Map, Value};

use super::error::ApiError;
use super::fields::{Fields, whole_of};
use super::settings::Served;

/// The score below which a branch is given up while none has ended.
const PRUNE_THRESHOLD: f64 = 0.3;

/// The most budgets of one request.
const MOST_BUDGETS: usize = 64;

/// When the thinking ends before its largest budget.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct StopRule {
    /// The share of summaries that agree, above 0 and at most 1.
    pub(crate) agreement: f64,
    /// At so many budgets one after the other, on the same answer.
    pub(crate) rounds: usize,
}

/// What scores a branch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ScoredBy {
    /// How far its summaries agree, with each other and with the other branches.
    #[default]
    Agreement,
    /// The service of `--reward`.
    Reward,
}

/// When a branch is given up (SART, arXiv 2505.13326).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PruneRule {
    /// A branch is looked at every so many tokens of its thinking.
    pub(crate) every: u32,
    /// Until a branch has ended, those below this score are given up.
    pub(crate) threshold: f64,
    /// But at most so many of them.
    pub(crate) most: usize,
    pub(crate) by: ScoredBy,
}

impl PruneRule {
    /// The cuts of branches that think up to a budget: where they are looked at, and their end.
    ///
    /// # Errors
    /// Where these are too many.
    pub(crate) fn checkpoints(&self, budget: u32) -> Result<Vec<u32>, ApiError> {
        let looks = (budget - 1) / self.every;
        if looks as usize >= MOST_BUDGETS {
            let least = budget.div_ceil(MOST_BUDGETS as u32);
            let reason = format!(
                "it must be at least {least}, so that a branch of {budget} tokens is looked at at most {MOST_BUDGETS} times"
            );
            return Err(ApiError::field("anytime.prune.every", self.every, reason));
        }
        Ok((1..=looks).map(|look| look * self.every).chain([budget]).collect())
    }
}

/// What the `anytime` object says.
#[derive(Default)]
pub(crate) struct Anytime {
    pub(crate) budgets: Vec<u32>,
    pub(crate) summaries: Option<u32>,
    pub(crate) stop: Option<StopRule>,
    pub(crate) branches: Option<u32>,
    pub(crate) finish_first: Option<u32>,
    pub(crate) prune: Option<PruneRule>,
    pub(crate) continues: Option<String>,
}

pub(crate) fn read_anytime(object: &Map<String, Value>, served: &Served) -> Result<Anytime, ApiError> {
    let limits = &served.limits;
    let mut fields = Fields::new(object, "anytime.");
    let must = format!(
        "it must be a list of 1 to {MOST_BUDGETS} whole numbers that ascend, from 1 to {} (--max-thinking)",
        limits.thinking
    );
    let budgets = match fields.get("budgets") {
        None => Vec::new(),
        Some(Value::Array(values)) if (1..=MOST_BUDGETS).contains(&values.len()) => {
            let in_range = |value: &Value| {
                let whole = whole_of(value)?;
                u32::try_from(whole)
                    .ok()
                    .filter(|budget| (1..=limits.thinking).contains(budget))
            };
            let budgets: Option<Vec<u32>> = values.iter().map(in_range).collect();
            let ascending = budgets.filter(|budgets| budgets.windows(2).all(|pair| pair[0] < pair[1]));
            ascending.ok_or_else(|| fields.wrong("budgets", &must))?
        }
        Some(_) => return Err(fields.wrong("budgets", &must)),
    };
    let summaries = fields
        .whole("summaries", 1, u64::from(limits.summaries))?
        .map(|whole| whole as u32);
    let stop = match fields.object("stop")? {
        None => None,
        Some(object) => Some(read_stop(object)?),
    };
    let continues = fields.text("continue")?.map(str::to_owned);
    let branches = fields
        .whole("branches", 1, u64::from(limits.branches))?
        .map(|whole| whole as u32);
    let most = u64::from(branches.unwrap_or(1));
    let finish_first = fields.whole("finish_first", 1, most)?.map(|whole| whole as u32);
    let prune = match fields.object("prune")? {
        None => None,
        Some(_) if most == 1 => return Err(fields.wrong("prune", "it needs several anytime.branches")),
        Some(object) => Some(read_prune(object, most, served)?),
    };
    if branches.is_some_and(|branches| branches > 1) {
        let reason = "several branches have one budget, and neither a stop nor an earlier trace";
        if budgets.len() > 1 {
            return Err(fields.wrong("budgets", reason));
        }
        if stop.is_some() {
            return Err(fields.wrong("stop", reason));
        }
        if continues.is_some() {
            return Err(fields.wrong("continue", reason));
        }
    }
    fields.nothing_else()?;
    Ok(Anytime {
        budgets,
        summaries,
        stop,
        branches,
        finish_first,
        prune,
        continues,
    })
}

/// The paper gives no constants: these defaults are this project's.
fn read_prune(object: &Map<String, Value>, branches: u64, served: &Served) -> Result<PruneRule, ApiError> {
    let mut fields = Fields::new(object, "anytime.prune.");
    let every = fields.whole("every", 1, u64::from(served.limits.thinking))?;
    let Some(every) = every else {
        let reason = "it must be the number of tokens between two looks at a branch";
        return Err(ApiError::missing("anytime.prune.every", reason));
    };
    let threshold = fields.number("threshold", 0.0, 1.0)?.unwrap_or(PRUNE_THRESHOLD);
    let most = fields.whole("most", 0, branches - 1)?.unwrap_or(branches / 2) as usize;
    let by = match fields.text("by")? {
        None | Some("agreement") => ScoredBy::Agreement,
        Some("reward") if served.reward.is_some() => ScoredBy::Reward,
        Some("reward") => return Err(fields.wrong("by", "this server has no reward service (--reward)")),
        Some(_) => return Err(fields.wrong("by", "it must be agreement or reward")),
    };
    fields.nothing_else()?;
    Ok(PruneRule {
        every: every as u32,
        threshold,
        most,
        by,
    })
}

fn read_stop(object: &Map<String, Value>) -> Result<StopRule, ApiError> {
    let mut fields = Fields::new(object, "anytime.stop.");
    let agreement = fields.number("agreement", 0.0, 1.0)?.unwrap_or(1.0);
    if agreement <= 0.0 {
        return Err(fields.wrong("agreement", "it must be above 0 and at most 1"));
    }
    let rounds = fields.whole("rounds", 1, MOST_BUDGETS as u64)?.unwrap_or(1) as usize;
    fields.nothing_else()?;
    Ok(StopRule { agreement, rounds })
}

/// The budgets of a request, and the most tokens of a summary.
pub(crate) fn budgets(
    anytime: &Anytime,
    is_anytime: bool,
    asked: Option<(String, u32)>,
    most: Option<u32>,
    served: &Served,
) -> Result<(Vec<u32>, u32), ApiError> {
    let mut budgets = match (&asked, anytime.budgets.last()) {
        (Some((name, budget)), Some(largest)) if budget != largest => {
            let reason = format!("anytime.budgets ends with another budget, {largest}; leave one of them out");
            return Err(ApiError::field(name, budget, reason));
        }
        (_, Some(_)) => anytime.budgets.clone(),
        (None, None) if anytime.branches.is_some_and(|branches| branches > 1) => {
            served.budgets.last().copied().into_iter().collect()
        }
        (Some((_, budget)), None) if is_anytime && anytime.branches.unwrap_or(1) == 1 => {
            let below = served.budgets.iter().copied().filter(|other| other < budget);
            below.chain([*budget]).collect()
        }
        (Some((_, budget)), None) => vec![*budget],
        (None, None) if is_anytime => served.budgets.clone(),
        (None, None) => served.budgets.last().copied().into_iter().collect(),
    };
    let Some(most) = most else {
        return Ok((budgets, served.limits.summary));
    };
    let summary = served.limits.summary.min(most.div_ceil(2));
    if anytime.continues.is_none() {
        let thinking = most - summary;
        if budgets.iter().any(|&budget| budget > thinking) {
            budgets.retain(|&budget| budget < thinking);
            budgets.push(thinking);
        }
    }
    Ok((budgets, summary))
}
