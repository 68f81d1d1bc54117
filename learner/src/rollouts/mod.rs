//! Between actors and the trainer: which problems are leased, which groups came back, and which of them are trained.
//!
//! [`lease_table`] and [`evaluation_leases`] are state machines without I/O (`given_back`: what happens when something
//! fails). [`lease_token`] proves who was given a lease. [`session`] is one job's training, and [`broker`] joins all
//! jobs with the replay queue. The trainer's side of the broker is in `take` and `evaluate`. [`monitor`] watches time
//! and Redis beside all requests. [`monitor`] also shows how long groups wait in the queue (`arrivals`), and `journeys` keeps when
//! each was leased and came. `rights` keeps other learners on the same Redis out of a job, and `dead_letters`
//! keeps groups that could not be trained. [`actors`] knows which actors are connected. Groups are trained in the order
//! of their sequences ([`progress`]), and a pushed group ([`push`]) is checked first (`intake`, `inspection`). How all this
//! stands is told by `standing`, with the actors that went away (`departures`) and what became of groups ([`outcomes`]).
//!
//! What a crash of the learner costs: no group that was answered ACCEPTED (it is in Redis), no group that the trainer
//! took and did not acknowledge (it is still in Redis and is read again), but the leases in memory, whose groups are
//! leased again under the same group ids. Evaluations are held in memory only and start over.

pub mod actors;
pub mod answers;
mod arrivals;
mod awaited;
pub mod broker;
mod dead_letters;
mod departures;
mod evaluate;
pub mod evaluation_leases;
mod given_back;
pub mod group;
mod inspection;
mod intake;
pub mod inventory;
mod journeys;
mod lease_rules;
pub mod lease_table;
pub mod lease_token;
mod lengths;
pub mod monitor;
pub mod outcomes;
pub mod progress;
pub mod push;
mod renewal;
pub mod retries;
mod rights;
pub mod session;
pub(crate) mod standing;
mod take;
