//! What an evaluation generated, for reading: where it lies ([`job_directory`]), its problems ([`problem_list`]) and
//! one problem's traces ([`problem_page`]).

mod page;
mod place;
mod plain;

pub use page::{problem_list, problem_page};
pub use place::job_directory;
pub(crate) use plain::{one_line, plain, steers};
