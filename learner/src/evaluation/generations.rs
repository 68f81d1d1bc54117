//! Writes what an evaluation generated as `anytime_proto::generations` names it: one problem a line, decoded for
//! reading.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use anytime_files::{sync_directory, write_durably_with};
use anytime_objectives::ScoreTable;
use anytime_objectives::statistics::mean;
use anytime_policy::{Tokenizer, without_eos};
use anytime_proto::generations::{DIRECTORY, KeptNode, KeptProblem, KeptSummary, KeptTrace, ProblemHead, step_file};
use anytime_proto::{ShortName as _, v1};

use crate::data::ProblemRow;

/// Turns tokens into the texts and answers that people read.
pub struct Reading<'a> {
    /// The tokenizer of the model that generated them.
    pub tokenizer: &'a Tokenizer,
    /// How the verifier found the answers.
    pub extraction: v1::Extraction,
}

/// Writes the file of the evaluation after `step` into the job's directory and returns its path. It is written aside,
/// synced and renamed; one problem is in memory at a time. `rows` are the groups' problems, `check` is asked before
/// each.
///
/// # Errors
/// If the disk or the decoder refuses, or `check` does; nothing is left behind then.
pub fn write(
    job_directory: &Path,
    step: u64,
    reading: &Reading<'_>,
    groups: &[v1::ScoredGroup],
    rows: &[ProblemRow],
    check: &dyn Fn() -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let directory = job_directory.join(DIRECTORY);
    std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let path = directory.join(step_file(step));
    write_durably_with(&path, |file| -> anyhow::Result<()> {
        for (group, row) in groups.iter().zip(rows) {
            check()?;
            serde_json::to_writer(&mut *file, &reading.problem(group, row)?)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    })
    .with_context(|| format!("write {}", path.display()))?;
    sync_directory(job_directory)?;
    Ok(path)
}

impl Reading<'_> {
    fn problem(&self, group: &v1::ScoredGroup, row: &ProblemRow) -> anyhow::Result<KeptProblem> {
        let rewards = ScoreTable::of_group(group).mean_per_budget();
        let accuracy = (0..group.budgets.len()).map(|budget| mean(rewards.iter().map(|row| row[budget])));
        let head = ProblemHead {
            row: row.row,
            id: row.id.clone(),
            problem: row.problem.clone(),
            ground_truths: row.answers.clone(),
            budgets: group.budgets.clone(),
            summaries_per_budget: group.summaries_per_budget,
            accuracy: accuracy.collect(),
        };
        let traces: anyhow::Result<Vec<KeptTrace>> = group
            .traces
            .iter()
            .map(|trace| self.trace(&group.budgets, trace))
            .collect();
        Ok(KeptProblem { head, traces: traces? })
    }

    fn trace(&self, budgets: &[u32], trace: &v1::Trace) -> anyhow::Result<KeptTrace> {
        let thinking = trace.thinking.as_ref().context("a trace without thinking")?;
        let text = self.tokenizer.decode(&thinking.ids)?;
        let cuts: Vec<usize> = trace.nodes.iter().map(|node| node.cut as usize).collect();
        let offsets = self.offsets(&thinking.ids, &text, &cuts)?;
        let mut nodes = Vec::with_capacity(trace.nodes.len());
        for (node, offset) in trace.nodes.iter().zip(offsets) {
            let first = node.first_budget as usize;
            nodes.push(KeptNode {
                budgets: budgets[first..first + node.multiplicity as usize].to_vec(),
                cut: node.cut,
                cut_at: text[..offset].chars().count(),
                inserted: self.tokenizer.decode(&node.inserted_ids)?,
                summaries: self.summaries(node)?,
            });
        }
        Ok(KeptTrace {
            thinking: text,
            tokens: thinking.ids.len() as u32,
            finish: thinking.finish().short_name(),
            nodes,
        })
    }

    fn summaries(&self, node: &v1::Node) -> anyhow::Result<Vec<KeptSummary>> {
        let inserted = self.tokenizer.decode(&node.inserted_ids)?;
        let mut kept = Vec::with_capacity(node.summaries.len());
        for summary in &node.summaries {
            let generated = summary.generated.as_ref().context("a summary without tokens")?;
            let ids = without_eos(&generated.ids, self.tokenizer.eos_ids());
            // The verifier was given the inserted and the generated tokens as one text.
            let response = self.tokenizer.decode(&[node.inserted_ids.as_slice(), ids].concat())?;
            let text = match response.strip_prefix(&inserted) {
                Some(text) => text.to_owned(),
                None => self.tokenizer.decode(ids)?,
            };
            kept.push(KeptSummary {
                text,
                tokens: generated.ids.len() as u32,
                finish: generated.finish().short_name(),
                verdict: summary.verdict().short_name(),
                extracted: anytime_verifier::extract(&response, self.extraction).map(str::to_owned),
                formatted: summary.formatted,
                score: summary.score,
            });
        }
        Ok(kept)
    }

    /// Where the first `cuts` (ascending) tokens end in the text, in bytes. A character that is cut in two lies behind
    /// its cut.
    fn offsets(&self, ids: &[u32], text: &str, cuts: &[usize]) -> anyhow::Result<Vec<usize>> {
        let mut offsets = Vec::with_capacity(cuts.len());
        let (mut done, mut offset) = (0, 0);
        for &cut in cuts {
            let piece = self.tokenizer.decode(&ids[done..cut])?;
            offset = if text[offset..].starts_with(&piece) {
                offset + piece.len()
            } else {
                // A piece by itself may differ from its place in the text (a blank that only stands between tokens,
                // half a character); the beginning up to the cut differs at most in its last character.
                common_prefix(text, &self.tokenizer.decode(&ids[..cut])?)
            };
            done = cut;
            offsets.push(offset);
        }
        Ok(offsets)
    }
}

/// How many bytes two texts have in common at their start, up to a character's end.
fn common_prefix(text: &str, other: &str) -> usize {
    let common = text.chars().zip(other.chars()).take_while(|(one, two)| one == two);
    common.map(|(character, _)| character.len_utf8()).sum()
}
