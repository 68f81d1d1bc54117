//! The rule of nodes (paper 1.2): at which points a thinking is summarised, and which budgets each represents.
//!
//! A thinking z of |z| tokens is looked at under ascending budgets b_1 … b_S. Every budget b_j < |z| cuts it at b_j and
//! has a node of its own. All budgets b_j ≥ |z| see the whole thinking and share one node at |z|; it represents
//! `multiplicity` budgets and is summarised multiplicity × A times. With the budgets 2, 4, 6, 8 a thinking of 3 tokens
//! has the nodes (cut 2, first budget 0, multiplicity 1) and (cut 3, first budget 1, multiplicity 3). Where no budget
//! reaches |z| the last node is cut at b_S.

/// One point at which a thinking is summarised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSpan {
    /// The summaries see this many thinking tokens.
    pub cut: usize,
    /// Index (from 0) of the first budget that the node represents.
    pub first_budget: usize,
    /// How many budgets the node represents.
    pub multiplicity: usize,
}

/// The nodes of a thinking of `length` tokens under ascending `budgets`, by ascending cut. Their multiplicities add up
/// to the number of budgets.
pub fn node_spans(budgets: &[u32], length: usize) -> Vec<NodeSpan> {
    let mut spans = Vec::with_capacity(budgets.len());
    for (index, budget) in budgets.iter().enumerate() {
        let cut = *budget as usize;
        if cut < length {
            spans.push(NodeSpan {
                cut,
                first_budget: index,
                multiplicity: 1,
            });
            continue;
        }
        spans.push(NodeSpan {
            cut: length,
            first_budget: index,
            multiplicity: budgets.len() - index,
        });
        break;
    }
    spans
}

/// The node (from 0) that each budget is a summary of.
pub fn node_of_budget(budgets: &[u32], length: usize) -> Vec<usize> {
    let last = node_spans(budgets, length).len().saturating_sub(1);
    (0..budgets.len()).map(|budget| budget.min(last)).collect()
}

/// The ids between a thinking and each of its summaries: the summary marker. Before it stand the cut and end markers,
/// unless the thinking `ended_itself` with its end marker.
pub fn inserted_ids(cut: &[u32], end: &[u32], summary: &[u32], ended_itself: bool) -> Vec<u32> {
    if ended_itself {
        summary.to_vec()
    } else {
        [cut, end, summary].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(length: usize) -> Vec<(usize, usize, usize)> {
        node_spans(&[4, 8, 12, 16], length)
            .iter()
            .map(|span| (span.cut, span.first_budget, span.multiplicity))
            .collect()
    }

    #[test]
    fn budgets_at_and_beyond_the_end_share_a_node() {
        assert_eq!(table(1), [(1, 0, 4)]);
        assert_eq!(table(4), [(4, 0, 4)]);
        assert_eq!(table(6), [(4, 0, 1), (6, 1, 3)]);
        assert_eq!(table(8), [(4, 0, 1), (8, 1, 3)]);
        assert_eq!(table(9), [(4, 0, 1), (8, 1, 1), (9, 2, 2)]);
        assert_eq!(table(16), [(4, 0, 1), (8, 1, 1), (12, 2, 1), (16, 3, 1)]);
        assert_eq!(table(20), [(4, 0, 1), (8, 1, 1), (12, 2, 1), (16, 3, 1)]);
    }

    #[test]
    fn every_budget_belongs_to_one_node() {
        assert_eq!(node_of_budget(&[2, 4, 6, 8], 3), [0, 1, 1, 1]);
        assert_eq!(node_of_budget(&[2, 4, 6, 8], 8), [0, 1, 2, 3]);
        assert_eq!(node_of_budget(&[2, 4], 0), [0, 0]);
    }
}
