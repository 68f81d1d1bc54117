//! What the program does without serving, from the directory of jobs alone: it writes a recovery checkpoint as a model
//! ([`export()`]), adds adapters to their base ([`merge()`]), trains steps again on the groups that were kept ([`replay()`]), decodes a file of groups ([`groups()`]),
//! says which groups a job asks for, so that an actor generates them without a learner ([`leases()`]), and measures a server of
//! answers, whose address takes the place of a model ([`measure()`]).

mod export;
mod groups;
mod leases;
mod measure;
mod merge;
mod replay;

pub use export::export;
pub use groups::groups;
pub use leases::leases;
pub use measure::measure;
pub use merge::merge;
pub use replay::replay;
