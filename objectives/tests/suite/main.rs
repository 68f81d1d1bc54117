//! The objectives against the paper: its golden vectors, its equations written down a second time, and the gradient
//! that they are to estimate.

mod golden;
mod oracle;
mod statistics;
mod support;
mod toy;
mod unbiased;
mod variance;
