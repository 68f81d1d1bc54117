//! Rows of a [`crate::TreeBatch`] as sequences that attend without masks.
//!
//! Every prefix and every branch attends causally to itself, all in one launch. What the branches see of their prefixes
//! is another launch: the branches of one cut are queries of one sequence, whose keys are the tokens before the cut.

use tch::{Device, Tensor};

use crate::operators::sequences::{OverPrefixes, TreeSequences};

/// The lengths of a row's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowShape {
    /// Tokens of prompt and thinking.
    pub(crate) prefix: usize,
    /// For each branch, how many tokens of the prefix it sees and how many it has.
    pub(crate) branches: Vec<(usize, usize)>,
}

/// Numbers of a batch in host memory.
#[derive(Default)]
struct Numbers {
    own_from: Vec<i32>,
    own_most: usize,
    branch_tokens: Vec<i64>,
    prefix_tokens: Vec<i64>,
    queries_from: Vec<i32>,
    keys_from: Vec<i32>,
    most_queries: usize,
    most_keys: usize,
}

impl Numbers {
    fn of(rows: &[RowShape]) -> Self {
        let mut numbers = Self {
            own_from: vec![0],
            queries_from: vec![0],
            keys_from: vec![0],
            ..Self::default()
        };
        let mut start = 0;
        for row in rows {
            start = numbers.add(row, start);
        }
        numbers
    }

    /// Adds a row that begins at the packed token `start`; returns where it ends.
    fn add(&mut self, row: &RowShape, start: usize) -> usize {
        let mut end = start + row.prefix;
        self.own_most = self.own_most.max(row.prefix);
        self.own_from.push(number(end));
        let mut branches = Vec::with_capacity(row.branches.len());
        for &(seen, tokens) in &row.branches {
            branches.push((seen, end..end + tokens));
            end += tokens;
            self.own_most = self.own_most.max(tokens);
            self.own_from.push(number(end));
        }
        branches.sort_by_key(|(seen, _)| *seen);
        for of_cut in branches.chunk_by(|one, next| one.0 == next.0) {
            let seen = of_cut[0].0;
            let before = self.branch_tokens.len();
            for (_, tokens) in of_cut {
                self.branch_tokens.extend(tokens.clone().map(|token| token as i64));
            }
            self.prefix_tokens
                .extend((start..start + seen).map(|token| token as i64));
            self.queries_from.push(number(self.branch_tokens.len()));
            self.keys_from.push(number(self.prefix_tokens.len()));
            self.most_queries = self.most_queries.max(self.branch_tokens.len() - before);
            self.most_keys = self.most_keys.max(seen);
        }
        end
    }
}

/// The number as the kernel takes it.
///
/// # Panics
/// If a batch has 2³¹ tokens, more than any memory holds.
fn number(number: usize) -> i32 {
    i32::try_from(number).expect("a batch has fewer than 2^31 tokens")
}

/// The sequences of packed rows, on a device.
pub(crate) fn tree_sequences(rows: &[RowShape], device: Device) -> TreeSequences {
    let numbers = Numbers::of(rows);
    let narrow = |numbers: &[i32]| Tensor::from_slice(numbers).to_device(device);
    let wide = |numbers: &[i64]| Tensor::from_slice(numbers).to_device(device);
    let over = (!numbers.branch_tokens.is_empty()).then(|| OverPrefixes {
        branch_tokens: wide(&numbers.branch_tokens),
        prefix_tokens: wide(&numbers.prefix_tokens),
        queries_from: narrow(&numbers.queries_from),
        keys_from: narrow(&numbers.keys_from),
        most_queries: numbers.most_queries as i64,
        most_keys: numbers.most_keys as i64,
    });
    TreeSequences {
        own_from: narrow(&numbers.own_from),
        own_most: numbers.own_most as i64,
        over,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_of_one_cut_are_one_sequence_whatever_their_order() {
        let rows = [
            RowShape {
                prefix: 5,
                branches: vec![(4, 2), (2, 1), (4, 3)],
            },
            RowShape {
                prefix: 3,
                branches: vec![(1, 2)],
            },
        ];
        let numbers = Numbers::of(&rows);
        assert_eq!(numbers.own_from, [0, 5, 7, 8, 11, 14, 16]);
        assert_eq!(numbers.own_most, 5);
        assert_eq!(numbers.branch_tokens, [7, 5, 6, 8, 9, 10, 14, 15]);
        assert_eq!(numbers.prefix_tokens, [0, 1, 0, 1, 2, 3, 11]);
        assert_eq!(numbers.queries_from, [0, 1, 6, 8]);
        assert_eq!(numbers.keys_from, [0, 2, 6, 7]);
        assert_eq!((numbers.most_queries, numbers.most_keys), (5, 4));
    }

    #[test]
    fn rows_without_branches_have_no_second_part() {
        let rows = [RowShape {
            prefix: 2,
            branches: Vec::new(),
        }];
        assert!(tree_sequences(&rows, Device::Cpu).over.is_none());
    }
}
