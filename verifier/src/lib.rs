//! The answer grader.
