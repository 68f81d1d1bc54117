//! Rows of a call of [`crate::Decoder::extend`] by their lengths, and the shapes of calls that recur.

/// A row in the packed order: rows without a branch and with one new token, branches with one, branches with more, other
/// rows with more. Branches of one cut are next to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SequenceRow {
    /// The row's slot: a branch slot where there is a prefix.
    pub(crate) slot: usize,
    /// New tokens.
    pub(crate) tokens: usize,
    /// Tokens of the slot, the new ones included.
    pub(crate) own: usize,
    /// Slot and length of the prefix that a branch continues.
    pub(crate) prefix: Option<(usize, usize)>,
}

impl SequenceRow {
    /// Its part of a step: 0 for rows with one token, 1 for branches with one, 2 for branches with several.
    pub(crate) fn part(&self) -> usize {
        match (self.tokens, self.prefix) {
            (1, None) => 0,
            (1, Some(_)) => 1,
            _ => 2,
        }
    }
}

/// The shape of a step: how many rows and tokens of each part it has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StepShape {
    /// Rows with one token that are no branches.
    pub(crate) thinkings: usize,
    /// Branches with one token.
    pub(crate) branches: usize,
    /// Branches with several tokens.
    pub(crate) longer: usize,
    /// Tokens of those.
    pub(crate) of_longer: usize,
    /// Keys of the longest sequence.
    pub(crate) most_keys: usize,
}

impl StepShape {
    /// The most tokens of all branches with several.
    pub(crate) const MOST_OF_LONGER: usize = 256;

    /// The smallest shape with room for these rows.
    pub(crate) fn of(rows: &[SequenceRow]) -> Self {
        let of_part = |part: usize| rows.iter().filter(move |row| row.part() == part);
        let longest = |row: &SequenceRow| row.own.max(row.prefix.map_or(0, |(_, length)| length));
        let most_keys = rows.iter().map(longest).max().unwrap_or(1);
        Self {
            thinkings: room_for(of_part(0).count()),
            branches: room_for(of_part(1).count()),
            longer: room_for(of_part(2).count()),
            of_longer: room_for(of_part(2).map(|row| row.tokens).sum()),
            // It says into how many parts the keys of a row may be split.
            most_keys: most_keys.next_power_of_two().max(512),
        }
    }

    /// Its numbers.
    pub(crate) fn key(self) -> [usize; 5] {
        [
            self.thinkings,
            self.branches,
            self.longer,
            self.of_longer,
            self.most_keys,
        ]
    }

    /// All rows.
    pub(crate) fn rows(self) -> usize {
        self.thinkings + self.branches + self.longer
    }

    /// All tokens.
    pub(crate) fn tokens(self) -> usize {
        self.thinkings + self.branches + self.of_longer
    }

    /// Where the tokens of each part begin.
    pub(crate) fn starts(self) -> [usize; 3] {
        [0, self.thinkings, self.thinkings + self.branches]
    }
}

/// Few numbers of rows, none of them much above what is needed.
fn room_for(rows: usize) -> usize {
    match rows {
        0..=2 => rows,
        3..=32 => rows.next_power_of_two(),
        33..=256 => rows.next_multiple_of(32),
        _ => rows.next_multiple_of(64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_few_and_little_above_what_is_needed() {
        let rooms: std::collections::BTreeSet<usize> = (0..=512).map(room_for).collect();
        assert!(rooms.len() < 24, "{rooms:?}");
        for rows in 0..=2000 {
            let room = room_for(rows);
            assert!(rows <= room && room <= (2 * rows).max(rows + 64), "{rows}: {room}");
            assert_eq!(room_for(room), room);
        }
    }

    #[test]
    fn the_longest_sequence_is_part_of_the_shape() {
        let row = |own, prefix| SequenceRow {
            slot: 0,
            tokens: 1,
            own,
            prefix,
        };
        let short = StepShape::of(&[row(500, None)]);
        assert_eq!(short, StepShape::of(&[row(7, None)]));
        assert_ne!(short, StepShape::of(&[row(513, None)]));
        assert_ne!(
            StepShape::of(&[row(1, Some((0, 2000)))]),
            StepShape::of(&[row(1, Some((0, 9)))])
        );
    }
}
