//! The training layout: one row per trace, in which every summary is a branch of the thinking it was cut from.
//!
//! A row is its prefix (prompt and thinking) followed by its branches. A branch sees the prefix up to its cut and then
//! itself; its positions go on from the cut, as if nothing had been thought after it. So the log-probabilities equal
//! those of each summary in a sequence of its own, while the prefix is computed once per trace.
//!
//! Rows are packed one behind the other without padding. Only attention knows where a row ends. On CUDA in bf16 all rows
//! attend in two launches (see `tree_sequences`). Otherwise a long row attends alone, its prefix causally and the
//! branches of each cut under a mask, and short neighbours attend together, padded to the longest of them, because their
//! operations cost more than the padding.

use tch::{Device, Kind, Tensor};

use crate::cache::LENGTH_STEP;
use crate::error::PolicyError;
use crate::tree_sequences::RowShape;

/// One trace with its summaries, as the trainer gives it to [`TreeBatch::pack`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TreeRow {
    /// Tokens of `prefix` that are the prompt; at least 1. The rest is thinking, which is trained.
    pub prompt: usize,
    /// Prompt and thinking.
    pub prefix: Vec<u32>,
    /// Summaries, in any order.
    pub branches: Vec<Branch>,
}

/// One summary of a trace.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Branch {
    /// Thinking tokens that this summary sees.
    pub cut: usize,
    /// Leading tokens of `ids` that were inserted rather than generated, and so are never trained; at least 1.
    pub inserted: usize,
    /// Inserted and generated tokens.
    pub ids: Vec<u32>,
}

impl TreeRow {
    /// Checks that the lengths of this row agree with each other and that every id is below `vocab_size`.
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

    fn shape(&self) -> RowShape {
        let of_branch = |branch: &Branch| (self.prompt + branch.cut, branch.ids.len());
        RowShape {
            prefix: self.prefix.len(),
            branches: self.branches.iter().map(of_branch).collect(),
        }
    }

    fn branch_tokens(&self) -> usize {
        self.branches.iter().map(|branch| branch.ids.len()).sum()
    }

    /// Tokens of prefix and branches: what the row costs, since nothing is padded outside attention.
    pub fn tokens(&self) -> usize {
        self.prefix.len() + self.branch_tokens()
    }
}

/// Rows up to this length attend together with their neighbours.
const LONGEST_TOGETHER: usize = 256;
/// A row that would bring a block above this many places per token, padding included, starts a new block.
const MOST_PLACES_PER_TOKEN: f64 = 1.5;
/// Elements of a block's mask, per query head of a key head: 4 Mi, 16 MiB in f32.
const MASK_ELEMENTS: usize = 1 << 22;

/// Packed rows on a device, ready for [`crate::Decoder::tree`].
#[derive(Debug)]
pub struct TreeBatch {
    /// Input ids, `[tokens]` int64.
    pub(crate) ids: Tensor,
    /// Positions of the inputs, `[tokens]` int64.
    pub(crate) positions: Tensor,
    /// For each trained token the packed index of the input that predicts it, `[n]` int64.
    pub(crate) predictors: Tensor,
    targets: Tensor,
    /// Consecutive in the packed order.
    pub(crate) blocks: Vec<Block>,
    /// Of each row.
    pub(crate) shapes: Vec<RowShape>,
}

/// Rows that attend in one go.
#[derive(Debug)]
pub(crate) enum Block {
    Long(LongRow),
    Short(ShortRows),
}

/// One long row. Prefix and branches attend separately, so that no mask is as large as the square of the prefix.
#[derive(Debug)]
pub(crate) struct LongRow {
    pub(crate) prefix: i64,
    /// In the order of the row.
    pub(crate) groups: Vec<BranchGroup>,
}

/// Consecutive branches with one cut. They attend together to what they see of the prefix and to themselves, so that no
/// scores are computed for the rest of the row.
#[derive(Debug)]
pub(crate) struct BranchGroup {
    /// Tokens of the prefix that all of them see.
    pub(crate) seen: i64,
    pub(crate) tokens: i64,
    visible: Visible,
}

/// Rows padded to the longest of them.
#[derive(Debug)]
pub(crate) struct ShortRows {
    /// Packed tokens of all rows together.
    pub(crate) tokens: i64,
    pub(crate) rows: i64,
    /// Places per row.
    pub(crate) width: i64,
    /// For each place the block's token (token 0 where there is none), [rows * width] int64.
    pub(crate) scatter: Tensor,
    /// For each token its place, `[tokens]` int64.
    pub(crate) gather: Tensor,
    /// What the token in each place sees.
    visible: Visible,
}

/// For each query the number of prefix keys that it sees, and the first and last key of its own branch: [3, queries]
/// int64. A query without a branch has first above last. The numbers go to the device when a mask is made of them, which
/// attention over sequences never needs.
#[derive(Debug)]
struct Visible {
    limits: Tensor,
    device: Device,
}

impl Visible {
    fn on(limits: &[Vec<i64>; 3], device: Device) -> Self {
        let limits = Tensor::from_slice(&limits.concat()).view([3, -1]);
        Visible { limits, device }
    }

    /// The mask [queries, width] of 0 and -∞, to be added to the scores.
    fn mask(&self, width: i64, kind: Kind) -> Tensor {
        let limits = self.limits.to_device(self.device);
        let keys = Tensor::arange(width, (Kind::Int64, self.device)).unsqueeze(0);
        let limit = |row: i64| limits.get(row).unsqueeze(1);
        let in_prefix = keys.lt_tensor(&limit(0));
        let in_branch = keys.ge_tensor(&limit(1)).logical_and(&keys.le_tensor(&limit(2)));
        let hidden = in_prefix.logical_or(&in_branch).logical_not();
        let mask = Tensor::zeros([limits.size()[1], width], (kind, self.device));
        mask.masked_fill(&hidden, f64::NEG_INFINITY)
    }
}

impl TreeBatch {
    /// Packs rows. Trained tokens are ordered row by row: the row's thinking tokens, then the generated tokens of each
    /// branch in order. `device` is that of the decoder.
    ///
    /// # Panics
    /// If a row contradicts itself; [`TreeRow::check`] finds out beforehand.
    pub fn pack(rows: &[TreeRow], device: Device) -> Self {
        let mut packed = Packed::default();
        let mut limits = Vec::with_capacity(rows.len());
        for row in rows {
            if let Err(error) = row.check(u32::MAX) {
                panic!("{error}");
            }
            limits.push(packed.push(row));
        }
        let mut blocks = Vec::new();
        let mut start = 0;
        while start < rows.len() {
            let end = start + rows_together(&rows[start..]);
            blocks.push(match &rows[start..end] {
                [row] => Block::Long(LongRow::new(row, device)),
                _ => Block::Short(ShortRows::new(&limits[start..end], device)),
            });
            start = end;
        }
        TreeBatch {
            ids: Tensor::from_slice(&packed.ids).to_device(device),
            positions: Tensor::from_slice(&packed.positions).to_device(device),
            predictors: Tensor::from_slice(&packed.predictors).to_device(device),
            targets: Tensor::from_slice(&packed.targets).to_device(device),
            blocks,
            shapes: rows.iter().map(TreeRow::shape).collect(),
        }
    }

    /// Ids of the trained tokens, `[n]` int64, on the batch's device.
    pub fn targets(&self) -> &Tensor {
        &self.targets
    }

    /// How many tokens are trained: n.
    pub fn trained_tokens(&self) -> usize {
        self.targets.numel()
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
    /// Adds a row; returns what each of its tokens sees, in the form of [`Visible`].
    fn push(&mut self, row: &TreeRow) -> [Vec<i64>; 3] {
        let [mut prefix_seen, mut first_key, mut last_key] = [(); 3].map(|()| Vec::with_capacity(row.tokens()));
        for (position, &id) in row.prefix.iter().enumerate() {
            if position >= row.prompt {
                self.train_next(id);
            }
            self.feed(id, position);
            prefix_seen.push(position as i64 + 1);
            first_key.push(0);
            last_key.push(-1);
        }
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
        [prefix_seen, first_key, last_key]
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

impl Block {
    /// Packed tokens.
    pub(crate) fn tokens(&self) -> i64 {
        match self {
            Block::Long(row) => row.prefix + row.groups.iter().map(|group| group.tokens).sum::<i64>(),
            Block::Short(rows) => rows.tokens,
        }
    }

    /// What attention adds to the scores, one mask for each group of a long row's branches, one for short rows;
    /// `shared` query heads share a key head.
    pub(crate) fn masks(&self, kind: Kind, shared: i64) -> Vec<Tensor> {
        match self {
            Block::Long(row) => row.groups.iter().map(|group| group.mask(kind)).collect(),
            Block::Short(rows) => vec![rows.mask(kind, shared)],
        }
    }
}

/// How many of the first rows form one block, at least one.
fn rows_together(rows: &[TreeRow]) -> usize {
    let (mut count, mut width, mut tokens) = (0, 0, 0);
    for row in rows {
        let length = row.tokens();
        let (wider, more) = (width.max(length), tokens + length);
        let is_padded_too_much = ((count + 1) * wider) as f64 > MOST_PLACES_PER_TOKEN * more as f64;
        let is_mask_too_large = (count + 1) * wider * wider > MASK_ELEMENTS;
        if count > 0 && (length > LONGEST_TOGETHER || is_padded_too_much || is_mask_too_large) {
            break;
        }
        (count, width, tokens) = (count + 1, wider, more);
        if length > LONGEST_TOGETHER {
            break;
        }
    }
    count
}

impl LongRow {
    fn new(row: &TreeRow, device: Device) -> Self {
        let same_cut = row.branches.chunk_by(|one, next| one.cut == next.cut);
        LongRow {
            prefix: row.prefix.len() as i64,
            groups: same_cut
                .map(|branches| BranchGroup::new(row.prompt + branches[0].cut, branches, device))
                .collect(),
        }
    }
}

impl BranchGroup {
    fn new(seen: usize, branches: &[Branch], device: Device) -> Self {
        let mut limits = [const { Vec::new() }; 3];
        let mut start = seen;
        for branch in branches {
            for offset in 0..branch.ids.len() {
                for (all, limit) in limits.iter_mut().zip([seen, start, start + offset]) {
                    all.push(limit as i64);
                }
            }
            start += branch.ids.len();
        }
        BranchGroup {
            seen: seen as i64,
            tokens: (start - seen) as i64,
            visible: Visible::on(&limits, device),
        }
    }

    /// The mask of the group's tokens over what they see of the prefix and the group, [tokens, seen + tokens].
    fn mask(&self, kind: Kind) -> Tensor {
        let length = self.seen + self.tokens;
        // Rows of memory start at multiples of the step, or CUDA's kernels would copy the mask in every layer.
        let width = (length as usize).next_multiple_of(LENGTH_STEP) as i64;
        self.visible.mask(width, kind).narrow(1, 0, length)
    }
}

impl ShortRows {
    fn new(limits: &[[Vec<i64>; 3]], device: Device) -> Self {
        let longest = limits.iter().map(|row| row[0].len()).max().unwrap_or(0);
        let width = longest.next_multiple_of(LENGTH_STEP);
        let places = limits.len() * width;
        // A padding query sees key 0 alone, so that its softmax is finite; nobody reads it.
        let mut visible = [vec![1; places], vec![0; places], vec![-1; places]];
        let mut scatter = vec![0_i64; places];
        let mut gather = Vec::new();
        for (index, row) in limits.iter().enumerate() {
            for offset in 0..row[0].len() {
                let place = index * width + offset;
                for (all, of_row) in visible.iter_mut().zip(row) {
                    all[place] = of_row[offset];
                }
                scatter[place] = gather.len() as i64;
                gather.push(place as i64);
            }
        }
        ShortRows {
            tokens: gather.len() as i64,
            rows: limits.len() as i64,
            width: width as i64,
            scatter: Tensor::from_slice(&scatter).to_device(device),
            gather: Tensor::from_slice(&gather).to_device(device),
            visible: Visible::on(&visible, device),
        }
    }

    /// [rows, 1, shared * width, width] for the `shared` query heads of a key head.
    pub(crate) fn mask(&self, kind: Kind, shared: i64) -> Tensor {
        let mask = self
            .visible
            .mask(self.width, kind)
            .view([self.rows, 1, 1, self.width, self.width]);
        mask.expand([self.rows, 1, shared, self.width, self.width], false)
            .reshape([self.rows, 1, shared * self.width, self.width])
    }
}
