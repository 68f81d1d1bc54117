//! Questions to a server of answers ([docs/serving.md](../../../docs/serving.md)): `request` writes one, `answerer` sends it,
//! `stream` reads what comes back, `refusal` says why nothing does, and `view` shows it.

mod answerer;
mod refusal;
mod request;
mod stream;
mod view;

pub(crate) use answerer::Answerer;
pub(crate) use request::{Conversation, check};
pub(crate) use view::View;
