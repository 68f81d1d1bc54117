//! Who may reach this process, and how it shows itself to others: TLS, tokens, roles.
//!
//! [`IdentityArgs`], [`ServingArgs`] and [`CallingArgs`] are the arguments, the same in every process. A server makes a
//! [`ServerSecurity`] of them, a caller a [`CallSecurity`]; both read and check every file before anything listens or is
//! called. [`roles`] has the one table of who may call what, which the [`gate`] asks before a request reaches its service.
//! docs/security.md says how it is used.

mod access;
mod args;
mod calling;
mod certificate;
mod connecting;
mod expiry;
mod gate;
mod pem_files;
#[cfg(test)]
mod planted;
mod refusals;
pub mod roles;
mod serving;
mod token;
mod watched;

pub use args::{CallingArgs, IdentityArgs, SECURITY_VARIABLES, ServingArgs};
pub use calling::CallSecurity;
pub(crate) use connecting::{CallFiles, TlsConnector};
pub(crate) use expiry::show_expiries;
pub(crate) use gate::Gate;
pub use gate::GateLayer;
pub use pem_files::{Authority, Identity, Origin, read_secret, secret_of};
pub(crate) use refusals::{Reason, refuse, show_refusals};
pub(crate) use serving::{Acceptor, Caller, Protocol};
pub use serving::{ServerSecurity, caller_of, connection_is_old};
pub use watched::{Watched, read_all};
