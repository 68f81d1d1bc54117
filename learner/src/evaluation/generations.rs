//! Writes what an evaluation generated as `anytime_proto::generations` names it: one problem a line, decoded for
//! reading. Groups come in any order and are not kept: each is decoded when it comes and laid down in a spool, and the
//! file is put together from there in the order of the problems.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use anytime_files::{sync_directory, write_durably_with};
use anytime_policy::{Tokenizer, without_eos};
use anytime_proto::generations::{DIRECTORY, KeptNode, KeptProblem, KeptSummary, KeptTrace, ProblemHead, step_file};
use anytime_proto::{ShortName as _, v1};

use super::tally::Tally;
use crate::data::ProblemRow;

/// Turns tokens into the texts and answers that people read.
pub struct Reading<'a> {
    /// The tokenizer of the model that generated them.
    pub tokenizer: &'a Tokenizer,
    /// How the verifier found the answers.
    pub extraction: v1::Extraction,
}

/// The generations of one evaluation on their way into its file. One group is in memory at a time.
pub struct Generations<'a> {
    job_directory: PathBuf,
    reading: Reading<'a>,
    /// The traces of each group as JSON, in the order in which they came. It has no name: whatever ends the process or
    /// the evaluation, nothing of it is left. The disk holds it beside the file until that is complete.
    spool: File,
    end: u64,
    /// By the place of the lease, where its group has come.
    pieces: Vec<Option<Piece>>,
}

/// Where the traces of a group lie in the spool.
struct Piece {
    start: u64,
    bytes: u64,
}

/// How a problem's line ends, behind its traces.
const END_OF_LINE: &[u8] = b"]}";

impl<'a> Generations<'a> {
    /// An empty spool for an evaluation with this many leases.
    ///
    /// # Errors
    /// If the disk refuses.
    pub fn begin(job_directory: &Path, reading: Reading<'a>, leases: usize) -> anyhow::Result<Self> {
        let directory = job_directory.join(DIRECTORY);
        std::fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
        let spool = tempfile::tempfile_in(&directory)
            .with_context(|| format!("create a temporary file in {}", directory.display()))?;
        Ok(Self {
            job_directory: job_directory.to_owned(),
            reading,
            spool,
            end: 0,
            pieces: std::iter::repeat_with(|| None).take(leases).collect(),
        })
    }

    /// Writes the group of the lease at `place` to the spool.
    ///
    /// # Errors
    /// If the disk or the decoder refuses. The spool is useless then.
    pub fn add(&mut self, place: usize, group: &v1::ScoredGroup) -> anyhow::Result<()> {
        let mut json = Vec::new();
        for (number, trace) in group.traces.iter().enumerate() {
            if number > 0 {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &self.reading.trace(&group.budgets, trace)?)?;
        }
        self.spool.write_all(&json).context("write to a temporary file")?;
        let bytes = json.len() as u64;
        self.pieces[place] = Some(Piece { start: self.end, bytes });
        self.end += bytes;
        Ok(())
    }

    /// Writes the file of the evaluation after `step` into the job's directory and returns its path. It is written
    /// aside, synced and renamed. `tally` has the same groups, and `check` is asked before each problem.
    ///
    /// # Errors
    /// If the disk refuses, or `check` does; nothing is left behind then.
    pub fn finish(
        self,
        step: u64,
        tally: &Tally,
        asked: &Asked<'_>,
        check: &dyn Fn() -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let path = self.job_directory.join(DIRECTORY).join(step_file(step));
        write_durably_with(&path, |file| -> anyhow::Result<()> {
            for problem in tally.problems() {
                check()?;
                let row = &asked.rows[problem.problem];
                let line = KeptProblem {
                    head: ProblemHead {
                        row: row.row,
                        id: row.id.clone(),
                        problem: row.problem.clone(),
                        ground_truths: row.answers.clone(),
                        budgets: asked.budgets.to_vec(),
                        summaries_per_budget: asked.summaries_per_budget,
                        accuracy: problem.accuracy,
                    },
                    traces: Vec::new(),
                };
                let line = serde_json::to_vec(&line)?;
                file.write_all(&line[..line.len() - END_OF_LINE.len()])?;
                for (number, piece) in self.pieces[problem.leases].iter().flatten().enumerate() {
                    if number > 0 {
                        file.write_all(b",")?;
                    }
                    let mut spool = &self.spool;
                    spool.seek(SeekFrom::Start(piece.start))?;
                    let copied = std::io::copy(&mut spool.take(piece.bytes), file)?;
                    ensure!(copied == piece.bytes, "a temporary file was cut off");
                }
                file.write_all(END_OF_LINE)?;
                file.write_all(b"\n")?;
            }
            Ok(())
        })
        .with_context(|| format!("write {}", path.display()))?;
        sync_directory(&self.job_directory)?;
        Ok(path)
    }
}

/// The settings of an evaluation that its file records.
pub struct Asked<'a> {
    /// Its problems.
    pub rows: &'a [ProblemRow],
    /// Its budgets.
    pub budgets: &'a [u32],
    /// Its summaries at each budget.
    pub summaries_per_budget: u32,
}

impl Reading<'_> {
    /// A trace as people read it. `budgets` are those of its group.
    ///
    /// # Errors
    /// If it has no thinking, or the tokenizer refuses.
    pub fn trace(&self, budgets: &[u32], trace: &v1::Trace) -> anyhow::Result<KeptTrace> {
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
                // Part of the ids, decoded alone, may differ from its place in the text: a blank that only stands
                // between tokens, half a character. Ids from the beginning up to the cut differ at most in the last
                // character.
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
