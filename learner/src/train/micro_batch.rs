//! Rows sorted by length and cut into micro-batches of a bounded number of tokens.

use super::rows::TrainingRow;

/// Groups rows so that each batch has at most `max_tokens` tokens; a row longer than that has a batch of its own.
/// Neighbours are of similar length, so that short ones attend together with little padding. The order of rows within a
/// batch does not matter: their losses are summed.
pub fn micro_batches(mut rows: Vec<TrainingRow>, max_tokens: usize) -> Vec<Vec<TrainingRow>> {
    rows.sort_by_cached_key(|row| std::cmp::Reverse(row.tree.tokens()));
    let mut batches: Vec<Vec<TrainingRow>> = Vec::new();
    let mut batch: Vec<TrainingRow> = Vec::new();
    let mut tokens = 0;
    for row in rows {
        let more = row.tree.tokens();
        if !batch.is_empty() && tokens + more > max_tokens {
            batches.push(std::mem::take(&mut batch));
            tokens = 0;
        }
        tokens += more;
        batch.push(row);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::rows::supervised_row;

    #[test]
    fn batches_hold_all_rows_within_the_bound() {
        let rows: Vec<TrainingRow> = (1..40_usize)
            .map(|length| supervised_row(&[0], &vec![1; length]))
            .collect();
        let batches = micro_batches(rows, 64);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 39);
        for batch in &batches {
            let tokens: usize = batch.iter().map(|row| row.tree.tokens()).sum();
            assert!(batch.len() == 1 || tokens <= 64);
        }
        // One row above the bound still trains.
        assert_eq!(micro_batches(vec![supervised_row(&[0], &[1; 99])], 10).len(), 1);
    }
}
