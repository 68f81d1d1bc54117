//! Fetches models and data sets from the Hugging Face hub into the cache that Python's `huggingface_hub` uses, in that
//! cache's own layout, so that what either has fetched the other finds.
//!
//! The crate `hf-hub` has no checksums, no deadlines and no offline mode, so this speaks the hub's HTTP interface itself:
//!
//! 1. [`Hub::fetch`] asks which commit a revision is, and which files that commit has, with their sizes and checksums
//!    (`listing`). Without the network it takes what the cache has (`cache`).
//! 2. Whoever calls chooses files by name (`choice` knows those of a model).
//! 3. Each file is fetched beside its place, gone on with where an earlier try broke off, held against its checksum, and
//!    renamed (`download`). A lock that Python takes too keeps two processes from fetching one file at once.
//!
//! `web` makes the requests: every wait has an end, what may pass is tried again, and the token goes to the hub's own host
//! and to no other. `settings` reads the variables that `huggingface_hub` reads.
//!
//! Calls block their thread, which must be none of an asynchronous runtime.
#![forbid(unsafe_code)]

mod cache;
mod choice;
mod download;
mod error;
mod fetch;
mod listing;
mod progress;
mod repository;
mod settings;
mod web;

pub use choice::{model_files, pattern_files};
pub use error::HubError;
pub use fetch::{Hub, Snapshot};
pub use listing::HubFile;
pub use progress::Progress;
pub use repository::{Kind, Repository};
pub use settings::{Patience, Settings, Token};
pub use web::{bearer_of_file, http_client, is_this_machine};
