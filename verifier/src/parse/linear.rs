//! Arithmetic of matrices whose entries are expressions. Entries that are numbers stay numbers, and what would grow too
//! large has no value.

use dashu_base::BitTest as _;
use dashu_ratio::RBig;

use super::work::Work;
use crate::expression::Expression;
use crate::steps::MAX_BITS;

/// The entries, row by row; every row has the same length.
pub(super) type Rows = Vec<Vec<Expression>>;

/// Most nodes of all entries of a result.
const MAX_NODES: usize = 8_192;

/// Largest determinant of numbers, and largest that is written out, in rows.
const MAX_NUMERIC_ROWS: usize = 12;
const MAX_ROWS: usize = 4;

/// Steps that copying a node of an entry takes.
const STEPS_PER_NODE: u64 = 4;

/// Largest exponent of a power.
pub(super) const MAX_POWER: usize = 64;

fn width(matrix: &Rows) -> usize {
    matrix.first().map_or(0, Vec::len)
}

fn nodes(matrix: &Rows) -> usize {
    matrix.iter().flatten().map(Expression::node_count).sum()
}

pub(super) fn transposed(matrix: &Rows) -> Rows {
    (0..width(matrix))
        .map(|column| matrix.iter().map(|row| row[column].clone()).collect())
        .collect()
}

pub(super) fn scaled(factor: &Expression, matrix: &Rows) -> Option<Rows> {
    let cells = matrix.iter().map(Vec::len).sum::<usize>();
    if nodes(matrix) + cells * factor.node_count() > MAX_NODES {
        return None;
    }
    let row = |row: &Vec<Expression>| row.iter().map(|entry| product(factor, entry)).collect();
    matrix.iter().map(row).collect()
}

pub(super) fn added(left: &Rows, right: &Rows) -> Option<Rows> {
    let same_shape = left.len() == right.len() && width(left) == width(right);
    if !same_shape || nodes(left) + nodes(right) > MAX_NODES {
        return None;
    }
    let pairs = left.iter().zip(right);
    pairs
        .map(|(left, right)| left.iter().zip(right).map(|(left, right)| sum(left, right)).collect())
        .collect()
}

pub(super) fn multiplied(left: &Rows, right: &Rows, work: &Work) -> Option<Rows> {
    if width(left) != right.len() || width(right) == 0 {
        return None;
    }
    if nodes(left) * width(right) + nodes(right) * left.len() > MAX_NODES {
        return None;
    }
    let entry = |row: &[Expression], column: usize| {
        let mut terms = row.iter().zip(right).map(|(left, right)| {
            spend(work, left, &right[column])?;
            product(left, &right[column])
        });
        let first = terms.next()??;
        terms.try_fold(first, |total, term| sum(&total, &term?))
    };
    let row = |row: &Vec<Expression>| (0..width(right)).map(|column| entry(row, column)).collect();
    left.iter().map(row).collect()
}

/// The steps of one product of entries.
fn spend(work: &Work, left: &Expression, right: &Expression) -> Option<()> {
    match (left, right) {
        (Expression::Number(left), Expression::Number(right)) => work.spend_on_product(left, right),
        _ => work.spend(STEPS_PER_NODE * (left.node_count() + right.node_count()) as u64),
    }
}

/// A power by squares: `M^{50}` takes seven products.
pub(super) fn power(matrix: &Rows, exponent: usize, work: &Work) -> Option<Rows> {
    if exponent == 0 || exponent > MAX_POWER || width(matrix) != matrix.len() {
        return None;
    }
    let mut result: Option<Rows> = None;
    let mut square = matrix.clone();
    let mut left = exponent;
    loop {
        if left % 2 == 1 {
            result = Some(match result {
                Some(result) => multiplied(&result, &square, work)?,
                None => square.clone(),
            });
        }
        left /= 2;
        if left == 0 {
            return result;
        }
        square = multiplied(&square, &square, work)?;
    }
}

/// The determinant, by elimination for numbers and else by its definition.
pub(super) fn determinant(matrix: &Rows) -> Option<Expression> {
    if width(matrix) != matrix.len() {
        return None;
    }
    if let Some(numbers) = numeric(matrix) {
        return eliminated(numbers, &mut [], &Work::default()).map(Expression::Number);
    }
    if matrix.len() > MAX_ROWS || nodes(matrix) * 6 > MAX_NODES {
        return None;
    }
    minor_sum(matrix)
}

/// The expansion by the first row.
fn minor_sum(matrix: &Rows) -> Option<Expression> {
    if let [row] = matrix.as_slice() {
        return row.first().cloned();
    }
    let mut total = Expression::integer(0);
    for (column, entry) in matrix.first()?.iter().enumerate() {
        if *entry == Expression::integer(0) {
            continue;
        }
        let term = product(entry, &minor_sum(&without(matrix, 0, column))?)?;
        let signed = if column % 2 == 0 { term } else { term.negated() };
        total = sum(&total, &signed)?;
    }
    Some(total)
}

/// The matrix without a row and a column.
fn without(matrix: &Rows, row: usize, column: usize) -> Rows {
    let others = |length: usize, left_out: usize| (0..length).filter(move |index| *index != left_out);
    others(matrix.len(), row)
        .map(|row| {
            others(matrix[row].len(), column)
                .map(|column| matrix[row][column].clone())
                .collect()
        })
        .collect()
}

/// The inverse, if there is one.
pub(super) fn inverse(matrix: &Rows, work: &Work) -> Option<Rows> {
    let size = matrix.len();
    if width(matrix) != size {
        return None;
    }
    if let Some(numbers) = numeric(matrix) {
        let mut beside: Vec<Vec<RBig>> = (0..size)
            .map(|row| (0..size).map(|column| RBig::from(u8::from(row == column))).collect())
            .collect();
        let determinant = eliminated(numbers, &mut beside, work)?;
        let of_numbers = |row: Vec<RBig>| row.into_iter().map(Expression::Number).collect();
        return (!determinant.is_zero()).then(|| beside.into_iter().map(of_numbers).collect());
    }
    if !(2..MAX_ROWS).contains(&size) || nodes(matrix) * 8 > MAX_NODES {
        return None;
    }
    let below = determinant(matrix)?.inverse();
    let mut rows = Vec::with_capacity(size);
    for column in 0..size {
        let mut entries = Vec::with_capacity(size);
        for row in 0..size {
            let cofactor = minor_sum(&without(matrix, row, column))?;
            let signed = if (row + column) % 2 == 0 {
                cofactor
            } else {
                cofactor.negated()
            };
            entries.push(Expression::Product(vec![signed, below.clone()]));
        }
        rows.push(entries);
    }
    (nodes(&rows) <= MAX_NODES).then_some(rows)
}

fn numeric(matrix: &Rows) -> Option<Vec<Vec<RBig>>> {
    let number = |entry: &Expression| match entry {
        Expression::Number(value) => Some(value.clone()),
        _ => None,
    };
    if matrix.len() > MAX_NUMERIC_ROWS {
        return None;
    }
    matrix.iter().map(|row| row.iter().map(number).collect()).collect()
}

/// Brings a matrix of numbers to the identity, with the same steps on the one beside it if there is one; without one only to
/// a triangle. Returns its determinant.
fn eliminated(mut rows: Vec<Vec<RBig>>, beside: &mut [Vec<RBig>], work: &Work) -> Option<RBig> {
    let size = rows.len();
    let mut determinant = RBig::ONE;
    for step in 0..size {
        let Some(pivot) = (step..size).find(|row| !rows[*row][step].is_zero()) else {
            return Some(RBig::ZERO);
        };
        if pivot != step {
            rows.swap(pivot, step);
            if !beside.is_empty() {
                beside.swap(pivot, step);
            }
            determinant = -determinant;
        }
        let value = rows[step][step].clone();
        determinant = bounded(determinant * &value)?;
        divide(&mut rows[step][step..], &value, work)?;
        if let Some(row) = beside.get_mut(step) {
            divide(row, &value, work)?;
        }
        let first = if beside.is_empty() { step + 1 } else { 0 };
        for row in (first..size).filter(|row| *row != step) {
            let factor = rows[row][step].clone();
            if factor.is_zero() {
                continue;
            }
            subtract(&mut rows, row, step, (&factor, step), work)?;
            if !beside.is_empty() {
                subtract(beside, row, step, (&factor, 0), work)?;
            }
        }
    }
    Some(determinant)
}

fn divide(row: &mut [RBig], divisor: &RBig, work: &Work) -> Option<()> {
    for entry in row {
        work.spend_on_product(entry, divisor)?;
        *entry = bounded(&*entry / divisor)?;
    }
    Some(())
}

/// Subtracts a multiple of the row `pivot` from another, from a column on.
fn subtract(
    rows: &mut [Vec<RBig>],
    row: usize,
    pivot: usize,
    (factor, first): (&RBig, usize),
    work: &Work,
) -> Option<()> {
    for column in first..rows[row].len() {
        work.spend_on_product(factor, &rows[pivot][column])?;
        let taken = factor * &rows[pivot][column];
        rows[row][column] = bounded(&rows[row][column] - taken)?;
    }
    Some(())
}

fn bounded(value: RBig) -> Option<RBig> {
    let bits = value.numerator().bit_len().max(value.denominator().bit_len());
    (bits <= MAX_BITS).then_some(value)
}

fn product(left: &Expression, right: &Expression) -> Option<Expression> {
    Some(match (left, right) {
        (Expression::Number(left), Expression::Number(right)) => Expression::Number(bounded(left * right)?),
        (Expression::Number(one), other) | (other, Expression::Number(one)) if one.is_one() => other.clone(),
        (Expression::Number(zero), _) | (_, Expression::Number(zero)) if zero.is_zero() => Expression::integer(0),
        _ => Expression::Product(vec![left.clone(), right.clone()]),
    })
}

fn sum(left: &Expression, right: &Expression) -> Option<Expression> {
    Some(match (left, right) {
        (Expression::Number(left), Expression::Number(right)) => Expression::Number(bounded(left + right)?),
        (Expression::Number(zero), other) | (other, Expression::Number(zero)) if zero.is_zero() => other.clone(),
        _ => Expression::Sum(vec![left.clone(), right.clone()]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::n;

    fn matrix(rows: &[&[i64]]) -> Rows {
        rows.iter()
            .map(|row| row.iter().map(|value| n(*value)).collect())
            .collect()
    }

    #[test]
    fn calculates_with_matrices() {
        let (left, right) = (matrix(&[&[1, 2], &[3, 4]]), matrix(&[&[0, 1], &[1, 0]]));
        assert_eq!(
            multiplied(&left, &right, &Work::default()),
            Some(matrix(&[&[2, 1], &[4, 3]]))
        );
        assert_eq!(
            multiplied(&right, &left, &Work::default()),
            Some(matrix(&[&[3, 4], &[1, 2]]))
        );
        assert_eq!(added(&left, &right), Some(matrix(&[&[1, 3], &[4, 4]])));
        assert_eq!(power(&left, 2, &Work::default()), Some(matrix(&[&[7, 10], &[15, 22]])));
        assert_eq!(
            power(&matrix(&[&[1, 1], &[1, 0]]), 13, &Work::default()),
            Some(matrix(&[&[377, 233], &[233, 144]]))
        );
        assert_eq!(determinant(&left), Some(n(-2)));
        let back = inverse(&left, &Work::default()).and_then(|inverse| multiplied(&inverse, &left, &Work::default()));
        assert_eq!(back, Some(matrix(&[&[1, 0], &[0, 1]])));
        assert_eq!(inverse(&matrix(&[&[1, 2], &[2, 4]]), &Work::default()), None);
        assert_eq!(multiplied(&left, &matrix(&[&[1, 2, 3]]), &Work::default()), None);
        let larger = matrix(&[&[0, 2, 1], &[1, 1, 0], &[3, 0, 2]]);
        assert_eq!(determinant(&larger), Some(n(-7)));
    }
}
