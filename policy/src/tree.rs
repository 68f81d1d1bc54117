//! The training layout: one row per trace, in which every summary is a branch of the thinking it was cut from.
//!
//! A row is its prefix (prompt and thinking) followed by its branches. A branch sees the prefix up to its cut and then
//! itself; its positions go on from the cut, as if nothing had been thought after it. So the log-probabilities equal
//! those of each summary in a sequence of its own, while the prefix is computed once per trace.
//!
//! Rows are packed one behind the other without padding. Only attention knows where a row ends.

use tch::{Device, Kind, Tensor};

use crate::cache::LENGTH_STEP;
use crate::error::PolicyError;

/// One trace with its summaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeRow {
    /// Tokens of `prefix` that are the prompt; at least 1. The rest is thinking, which is trained.
    pub prompt: usize,
    /// Prompt and thinking.
    pub prefix: Vec<u32>,
    /// Summaries, in any order.
    pub branches: Vec<Branch>,
}

/// One summary of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Thinking tokens that this summary sees.
    pub cut: usize,
    /// Leading tokens of `ids` that were inserted rather than generated, and so are never trained; at least 1.
    pub inserted: usize,
    /// Inserted and generated tokens.
    pub ids: Vec<u32>,
}

impl TreeRow {
    /// Whether the lengths of this row agree with each other and every id is below `vocab_size`.
    ///
    /// # Errors
    /// [`PolicyError::Row`] with the first contradiction.
    pub fn check(&self, vocab_size: u32) -> Result<(), PolicyError> {
        let refuse = |problem: String| Err(PolicyError::Row { problem });
        if self.prompt == 0 || self.prompt > self.prefix.len() {
            return refuse(format!(
                "prompt of {} tokens in a prefix of {}",
                self.prompt,
                self.prefix.len()
            ));
        }
        let thinking = self.prefix.len() - self.prompt;
        for (index, branch) in self.branches.iter().enumerate() {
            if branch.cut > thinking {
                return refuse(format!(
                    "branch {index} is cut at {} of {thinking} thinking tokens",
                    branch.cut
                ));
            }
            if branch.inserted == 0 || branch.inserted > branch.ids.len() {
                let length = branch.ids.len();
                return refuse(format!(
                    "branch {index} has {} inserted tokens of {length}",
                    branch.inserted
                ));
            }
        }
        let mut ids = self
            .prefix
            .iter()
            .chain(self.branches.iter().flat_map(|branch| &branch.ids));
        match ids.find(|&&id| id >= vocab_size) {
            Some(id) => refuse(format!("token {id} is outside the vocabulary of {vocab_size}")),
            None => Ok(()),
        }
    }

    fn branch_tokens(&self) -> usize {
        self.branches.iter().map(|branch| branch.ids.len()).sum()
    }
}

/// Rows ready for [`crate::Decoder::tree`], on a device.
#[derive(Debug)]
pub struct TreeBatch {
    /// Input ids, [tokens] int64.
    pub(crate) ids: Tensor,
    /// Positions of the inputs, [tokens] int64.
    pub(crate) positions: Tensor,
    /// For each trained token the packed index of the input that predicts it, [n] int64.
    pub(crate) predictors: Tensor,
    targets: Tensor,
    pub(crate) spans: Vec<RowSpan>,
}

/// Where one row lies in the packed batch, and what its branches see.
#[derive(Debug)]
pub(crate) struct RowSpan {
    pub(crate) prefix: i64,
    pub(crate) branches: i64,
    /// For each branch token: prefix tokens it sees, first and last key of its own branch. [3, branch tokens] int64.
    pub(crate) visible: Tensor,
}

impl TreeBatch {
    /// Packs rows. Trained tokens stand row by row: the row's thinking tokens, then the generated tokens of each
    /// branch in order. `device` is that of the decoder.
    ///
    /// # Panics
    /// If a row contradicts itself; [`TreeRow::check`] finds out beforehand.
    pub fn pack(rows: &[TreeRow], device: Device) -> Self {
        let mut packed = Packed::default();
        let mut spans = Vec::with_capacity(rows.len());
        for row in rows {
            if let Err(error) = row.check(u32::MAX) {
                panic!("{error}");
            }
            let visible = packed.push(row);
            spans.push(RowSpan {
                prefix: row.prefix.len() as i64,
                branches: row.branch_tokens() as i64,
                visible: Tensor::from_slice(&visible).view([3, -1]).to_device(device),
            });
        }
        TreeBatch {
            ids: Tensor::from_slice(&packed.ids).to_device(device),
            positions: Tensor::from_slice(&packed.positions).to_device(device),
            predictors: Tensor::from_slice(&packed.predictors).to_device(device),
            targets: Tensor::from_slice(&packed.targets).to_device(device),
            spans,
        }
    }

    /// Ids of the trained tokens, [n] int64, on the batch's device.
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// How many tokens are trained: n.
    pub fn trained_tokens(&self) -> usize {
        self.targets.numel()
    }

    /// Tokens that a batch of these rows computes. Nothing is padded, so it is the sum over the rows.
    pub fn padded_tokens(rows: &[TreeRow]) -> usize {
        rows.iter().map(|row| row.prefix.len() + row.branch_tokens()).sum()
    }
}

/// The batch's vectors while they grow.
#[derive(Default)]
struct Packed {
    ids: Vec<i64>,
    positions: Vec<i64>,
    predictors: Vec<i64>,
    targets: Vec<i64>,
}

impl Packed {
    /// Adds a row; returns its [`RowSpan::visible`], row-major.
    fn push(&mut self, row: &TreeRow) -> Vec<i64> {
        for (position, &id) in row.prefix.iter().enumerate() {
            if position >= row.prompt {
                self.train_next(id);
            }
            self.feed(id, position);
        }
        let branch_tokens = row.branch_tokens();
        let mut prefix_seen = Vec::with_capacity(3 * branch_tokens);
        let mut first_key = Vec::with_capacity(branch_tokens);
        let mut last_key = Vec::with_capacity(branch_tokens);
        let mut branch_start = row.prefix.len();
        for branch in &row.branches {
            let seen = row.prompt + branch.cut;
            for (offset, &id) in branch.ids.iter().enumerate() {
                if offset >= branch.inserted {
                    self.train_next(id);
                }
                self.feed(id, seen + offset);
                prefix_seen.push(seen as i64);
                first_key.push(branch_start as i64);
                last_key.push((branch_start + offset) as i64);
            }
            branch_start += branch.ids.len();
        }
        prefix_seen.extend(first_key);
        prefix_seen.extend(last_key);
        prefix_seen
    }

    fn feed(&mut self, id: u32, position: usize) {
        self.ids.push(i64::from(id));
        self.positions.push(position as i64);
    }

    /// Trains `id`, which the last token fed predicts.
    fn train_next(&mut self, id: u32) {
        self.predictors.push(self.ids.len() as i64 - 1);
        self.targets.push(i64::from(id));
    }
}

impl RowSpan {
    /// The mask of this row's branch tokens over all keys of the row, to be added to the scores:
    /// [branch tokens, prefix + branch tokens] of 0 and -∞.
    pub(crate) fn mask(&self, kind: Kind) -> Tensor {
        let length = self.prefix + self.branches;
        // Rows of memory start at multiples of the step, or CUDA's kernels would copy the mask in every layer.
        let width = (length as usize).next_multiple_of(LENGTH_STEP) as i64;
        let keys = Tensor::arange(width, (Kind::Int64, self.visible.device())).unsqueeze(0);
        let limit = |row: i64| self.visible.get(row).unsqueeze(1);
        let in_prefix = keys.lt_tensor(&limit(0));
        let in_branch = keys.ge_tensor(&limit(1)).logical_and(&keys.le_tensor(&limit(2)));
        let hidden = in_prefix.logical_or(&in_branch).logical_not();
        let mask = Tensor::zeros([self.branches, width], (kind, self.visible.device()));
        mask.masked_fill(&hidden, f64::NEG_INFINITY).narrow(1, 0, length)
    }
}
