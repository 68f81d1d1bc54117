//! `anytime advantages`: the settings of an objective as arguments.

use anytime_proto::ShortName;
use anytime_proto::v1;
use clap::Args;

const INPUT: &str = "\
Standard input is a JSON object:
  rewards  [[[score, …] per budget] per trace]; all budgets have the same number of scores
  lengths  thinking tokens of each trace, for traces that ended before the largest of --budgets (optional)
  nodes    [[0, 1, 1, 1] per trace]: budgets with the same number summarise the same thinking, because the trace had
           ended; follows from `lengths` where these are given (optional)

For example:
  echo '{\"rewards\": [[[0], [1]], [[0], [0]]]}' | anytime advantages --prior 0.3,0.7 --json";

/// The arguments of `anytime advantages`.
#[derive(Clone, Debug, Args)]
#[command(after_help = INPUT)]
pub struct AdvantagesArgs {
    /// The objective, by its name in a job file; one that remembers earlier steps is shown as at its first
    #[arg(long, value_name = "NAME", default_value = "brpo")]
    pub objective: String,
    /// The weight of each budget: base, linear, uniform, or one number per budget [default: linear; without --budgets
    /// it has to be given]
    #[arg(long, value_name = "NAME|P,P,…", value_parser = parse_prior, allow_hyphen_values = true)]
    pub prior: Option<PriorArgument>,
    /// Ascending thinking budgets in tokens
    #[arg(long, value_delimiter = ',', value_name = "N,N,…")]
    pub budgets: Vec<u32>,
    /// Discount of V1 towards earlier budgets
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub lambda: Option<f64>,
    /// The baseline: brpo, v1, v2 or none
    #[arg(long, value_name = "NAME", value_parser = short_name::<v1::VarianceReduction>)]
    pub variance_reduction: Option<v1::VarianceReduction>,
    /// How V weighs V1 against V2: index or budget
    #[arg(long, value_name = "NAME", value_parser = short_name::<v1::Mix>)]
    pub mix: Option<v1::Mix>,
    /// V2 is the mean over the other traces
    #[arg(long)]
    pub leave_one_out: bool,
    /// Which summaries are trained: brpo (all) or grpo (the last one)
    #[arg(long, value_name = "NAME", value_parser = short_name::<v1::SummaryMethod>)]
    pub summary_method: Option<v1::SummaryMethod>,
    /// What length costs: none, linear or sigmoid; needs --budgets, and `lengths` in the input
    #[arg(long, value_name = "NAME", value_parser = short_name::<v1::LengthPenalty>)]
    pub length_penalty: Option<v1::LengthPenalty>,
    /// Coefficient of the length penalty
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub length_coefficient: Option<f64>,
    /// Whether advantages are divided by the group's standard deviation
    #[arg(long, value_name = "BOOL")]
    pub divide_by_deviation: Option<bool>,
    /// Factor of the length reward
    #[arg(long, value_name = "X", allow_hyphen_values = true)]
    pub length_weight: Option<f64>,
    /// Tokens by which a correct response may be longer than the shortest correct one
    #[arg(long, value_name = "N")]
    pub length_tolerance: Option<u32>,
    /// Any other setting of the objective's own table, a TOML value; repeatable
    #[arg(long, value_name = "KEY=VALUE", allow_hyphen_values = true)]
    pub set: Vec<String>,
}

/// The value of `--prior`.
#[derive(Clone, Debug, PartialEq)]
pub struct PriorArgument {
    /// The kind of prior.
    pub prior: v1::Prior,
    /// The weight of every budget, if the prior is explicit; else empty.
    pub weights: Vec<f64>,
}

fn parse_prior(text: &str) -> Result<PriorArgument, String> {
    match v1::Prior::from_short_name(text) {
        Some(prior) if prior != v1::Prior::Explicit => {
            return Ok(PriorArgument {
                prior,
                weights: Vec::new(),
            });
        }
        _ => {}
    }
    let weights: Result<Vec<f64>, _> = text.split(',').map(|weight| weight.trim().parse()).collect();
    match weights {
        Ok(weights) => Ok(PriorArgument {
            prior: v1::Prior::Explicit,
            weights,
        }),
        Err(_) => Err("a prior is base, linear, uniform, or numbers with commas between them".to_owned()),
    }
}

fn short_name<E: ShortName>(text: &str) -> Result<E, String> {
    E::from_short_name(text).ok_or_else(|| format!("there is no such choice; there are {}", E::allowed()))
}
