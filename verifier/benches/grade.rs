//! The speed of the grader.

fn main() {}
