//! The invariants of a scored group, written once: checked where a group arrives, and asserted where one is made.

use thiserror::Error;

use crate::v1;

/// What is wrong with a scored group.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("scored group: {place}: {problem}")]
pub struct InvalidGroup {
    /// Such as `traces[2].nodes[1]`.
    pub place: String,
    /// What does not hold there.
    pub problem: String,
}

fn fail<T>(place: String, problem: impl Into<String>) -> Result<T, InvalidGroup> {
    Err(InvalidGroup { place, problem: problem.into() })
}

/// Checks that budgets ascend, lists are of one length, nodes lie at their cuts, multiplicities add up to the number of
/// budgets and every node has multiplicity × A summaries (paper 1.2).
///
/// # Errors
/// The first place where that does not hold.
pub fn check_group(group: &v1::ScoredGroup) -> Result<(), InvalidGroup> {
    let budgets = &group.budgets;
    if budgets.is_empty() || !budgets.windows(2).all(|pair| pair[0] < pair[1]) {
        return fail("budgets".to_owned(), format!("{budgets:?} do not ascend"));
    }
    if group.traces.is_empty() {
        return fail("traces".to_owned(), "there are none");
    }
    if group.summaries_per_budget == 0 {
        return fail("summaries_per_budget".to_owned(), "is 0");
    }
    for (index, trace) in group.traces.iter().enumerate() {
        check_trace(group, trace, &format!("traces[{index}]"))?;
    }
    Ok(())
}

fn check_trace(group: &v1::ScoredGroup, trace: &v1::Trace, place: &str) -> Result<(), InvalidGroup> {
    let thinking = check_generated(trace.thinking.as_ref(), format!("{place}.thinking"))?;
    let length = thinking.ids.len() as u32;
    let mut next_budget = 0_u32;
    for (index, node) in trace.nodes.iter().enumerate() {
        let place = format!("{place}.nodes[{index}]");
        if node.first_budget != next_budget || node.multiplicity == 0 {
            return fail(place, format!("stands for budgets from {} instead of {next_budget}", node.first_budget));
        }
        next_budget += node.multiplicity;
        let Some(budget) = group.budgets.get(node.first_budget as usize) else {
            return fail(place, "stands for a budget that does not exist");
        };
        let is_end = next_budget as usize == group.budgets.len();
        let expected_cut = if is_end { length.min(*budget) } else { *budget };
        if node.cut != expected_cut || node.cut > length {
            return fail(place, format!("is cut at {} instead of {expected_cut} (thinking: {length})", node.cut));
        }
        if node.multiplicity > 1 && length > *budget {
            return fail(place, "stands for several budgets although the thinking went on");
        }
        let expected = node.multiplicity * group.summaries_per_budget;
        if node.summaries.len() as u32 != expected {
            return fail(place, format!("has {} summaries instead of {expected}", node.summaries.len()));
        }
        if node.inserted_ids.is_empty() {
            return fail(place, "has nothing inserted before its summaries");
        }
        for (number, summary) in node.summaries.iter().enumerate() {
            check_generated(summary.generated.as_ref(), format!("{place}.summaries[{number}]"))?;
        }
    }
    if next_budget as usize != group.budgets.len() {
        return fail(place.to_owned(), format!("its nodes stand for {next_budget} budgets"));
    }
    Ok(())
}

fn check_generated(generated: Option<&v1::Generated>, place: String) -> Result<&v1::Generated, InvalidGroup> {
    let Some(generated) = generated else {
        return fail(place, "is missing");
    };
    let length = generated.ids.len();
    if length == 0 {
        return fail(place, "holds no token");
    }
    if generated.log_probs.len() != length || generated.versions.len() != length {
        return fail(place, "ids, log_probs and versions differ in length");
    }
    if let Some(value) = generated.log_probs.iter().find(|value| !value.is_finite() || **value > 1e-3) {
        return fail(place, format!("has the log-probability {value}"));
    }
    Ok(generated)
}
