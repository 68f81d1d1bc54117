//! Numeric decisions by ball arithmetic: a number is known as a midpoint with a rigorous error bound, at rising
//! precision, so that two numbers are only told apart by proof. Equality is proven for algebraic constants (root
//! separation bounds) and otherwise follows the rules of [`decide()`].

pub mod complex;
mod constant;
pub mod context;
mod decide;
pub mod elementary;
pub mod evaluate;
mod function;
mod place;
pub mod point;
mod power;
mod proportion;
pub mod radius;
mod random;
pub mod real;
mod series;
mod signs;
pub mod value;

pub use constant::compare;
pub use decide::{decide, decide_far, decide_far_and_real, decide_near};
pub use place::differ_where_real;
pub use proportion::{Proportion, proportional};

pub use series::pi;
