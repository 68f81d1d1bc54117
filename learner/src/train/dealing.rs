//! Which rank computes which rows.

use super::rows::TrainingRow;

/// A token and its place in attention cost as much where the row has this many tokens for each unit of the hidden size: a
/// layer has about 24·h² operations for a token and 2·h for each token that it attends to, half of its row.
const ATTENTION_TOKENS: f64 = 12.0;

/// Deals rows to `world` ranks: the most expensive first, each to the rank that has least. Ranks may get none.
pub(super) fn deal(rows: Vec<TrainingRow>, world: usize, hidden: i64) -> Vec<Vec<TrainingRow>> {
    let cost = |row: &TrainingRow| {
        let tokens = row.tree.tokens() as f64;
        tokens * (1.0 + row.tree.prefix.len() as f64 / (ATTENTION_TOKENS * hidden as f64))
    };
    let mut rows: Vec<(f64, TrainingRow)> = rows.into_iter().map(|row| (cost(&row), row)).collect();
    // Stable, so that equal rows stay in their order and every run deals alike.
    rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let mut dealt: Vec<(f64, Vec<TrainingRow>)> = (0..world).map(|_| (0.0, Vec::new())).collect();
    for (cost, row) in rows {
        let least = dealt.iter_mut().min_by(|(one, _), (other, _)| one.total_cmp(other));
        if let Some((sum, rows)) = least {
            *sum += cost;
            rows.push(row);
        }
    }
    dealt.into_iter().map(|(_, rows)| rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::rows::supervised_row;

    fn lengths(dealt: &[Vec<TrainingRow>]) -> Vec<Vec<usize>> {
        let of = |rows: &Vec<TrainingRow>| rows.iter().map(|row| row.tree.tokens()).collect();
        dealt.iter().map(of).collect()
    }

    #[test]
    fn the_longest_come_first_and_nobody_gets_much_more() {
        let rows = [3_usize, 9, 4, 8, 5].map(|length| supervised_row(&[0], &vec![1; length - 1]));
        let dealt = deal(rows.into(), 2, 64);
        assert_eq!(lengths(&dealt), [vec![9, 4], vec![8, 5, 3]]);
        assert_eq!(lengths(&deal(Vec::new(), 3, 64)), vec![Vec::<usize>::new(); 3]);
        let one = deal(vec![supervised_row(&[0], &[1])], 3, 64);
        assert_eq!(lengths(&one), [vec![2], vec![], vec![]]);
    }
}
