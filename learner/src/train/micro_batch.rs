//! Rows sorted by length and cut into micro-batches of a bounded number of padded tokens.

use super::rows::TrainingRow;

/// Groups rows so that each batch, padded to its longest prefix and its longest branches, has at most `max_tokens`
/// tokens. A row longer than that stands alone. Within a batch the order of rows is of no consequence to the sum of
/// their losses.
pub fn micro_batches(mut rows: Vec<TrainingRow>, max_tokens: usize) -> Vec<Vec<TrainingRow>> {
    rows.sort_by_key(|row| std::cmp::Reverse(lengths(row)));
    let mut batches: Vec<Vec<TrainingRow>> = Vec::new();
    let mut batch: Vec<TrainingRow> = Vec::new();
    let mut longest = (0, 0);
    for row in rows {
        let (prefix, branches) = lengths(&row);
        let padded = (longest.0.max(prefix), longest.1.max(branches));
        if !batch.is_empty() && (batch.len() + 1) * (padded.0 + padded.1) > max_tokens {
            batches.push(std::mem::take(&mut batch));
            longest = (prefix, branches);
        } else {
            longest = padded;
        }
        batch.push(row);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

/// Tokens of the prefix and of all branches.
fn lengths(row: &TrainingRow) -> (usize, usize) {
    let branches = row.tree.branches.iter().map(|branch| branch.ids.len()).sum();
    (row.tree.prefix.len(), branches)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::supervised_row;

    #[test]
    fn batches_hold_all_rows_within_the_bound() {
        let rows: Vec<TrainingRow> = (1..40_usize)
            .map(|length| supervised_row(&[0], &vec![1; length]))
            .collect();
        let batches = micro_batches(rows, 64);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 39);
        for batch in &batches {
            let longest = batch.iter().map(|row| row.tree.prefix.len()).max().expect("not empty");
            assert!(batch.len() == 1 || batch.len() * longest <= 64);
        }
        // One row above the bound still trains.
        assert_eq!(micro_batches(vec![supervised_row(&[0], &[1; 99])], 10).len(), 1);
    }
}
