//! What an operator is told at night: [`Examination`] is what the learner said with what follows from it. [`findings`] has the
//! rules of what is wrong, over `reports` and `verifiers`, which put together what the actors said. `pace` names the
//! bottleneck where nothing is wrong, `going_on` the commands that help. [`to_json`] and [`in_words`] tell all of it, and
//! [`look`] what can be said without a learner.

mod examination;
pub mod findings;
mod going_on;
mod pace;
mod reports;
mod text;
mod unreachable;
mod verifiers;
mod view;
mod words;

pub use examination::Examination;
pub use text::in_words;
pub use unreachable::{Unreachable, look};
pub use view::to_json;
