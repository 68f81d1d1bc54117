//! What the program does without serving, from the directory of jobs alone: it writes a recovery checkpoint as a model
//! ([`export()`]), trains steps again on the groups that were kept ([`replay()`]), decodes a file of groups ([`groups()`]),
//! and says which groups a job asks for, so that an actor generates them without a learner ([`leases()`]).

mod export;
mod groups;
mod leases;
mod replay;

pub use export::export;
pub use groups::groups;
pub use leases::leases;
pub use replay::replay;
