//! What the checker finds of jobs: nothing, and every error that is planted.

use std::time::Instant;

use crate::models::explore::explore;
use crate::models::jobs::{Faults, Jobs, Plant};

const NONE: Faults = Faults {
    kills: 0,
    drains: 0,
    own: 0,
    passing: 0,
    of_process: 0,
    for_person: 0,
    pauses_within: 0,
};

const EACH: Faults = Faults {
    kills: 1,
    drains: 1,
    own: 1,
    passing: 1,
    of_process: 1,
    for_person: 1,
    pauses_within: 1,
};

fn jobs(jobs: usize, faults: Faults) -> Jobs {
    Jobs {
        jobs,
        faults,
        plant: Plant::Nothing,
        origin: Instant::now(),
    }
}

fn assert_sound(name: &str, jobs: &Jobs) {
    let began = Instant::now();
    match explore(jobs) {
        Ok((states, depth)) => println!("{name}: {states} states, depth {depth}, {:.1?}", began.elapsed()),
        Err(counterexample) => panic!("{name}: {counterexample}"),
    }
}

/// The checker must find this one, by the name of the invariant.
fn assert_found(plant: Plant, invariant: &str, jobs: Jobs) {
    let found = explore(&Jobs { plant, ..jobs }).expect_err("it was planted");
    assert!(found.what.starts_with(invariant), "{plant:?}: {found}");
    println!("{plant:?}: {}, after {} events", found.what, found.trace.len() - 1);
}

#[test]
fn a_job_under_every_kind_of_fault() {
    assert_sound("a job", &jobs(1, EACH));
    assert_sound(
        "a job that ends its process again and again",
        &jobs(1, Faults { kills: 4, ..NONE }),
    );
    assert_sound("two jobs", &jobs(2, Faults { passing: 1, ..NONE }));
}

#[test]
fn every_planted_error_of_a_job_is_found() {
    let passing = Faults { passing: 1, ..NONE };
    let killed = Faults { kills: 1, ..NONE };
    let failed = Faults { own: 1, ..NONE };
    assert_found(Plant::FailsForPassingFaults, "its own fault", jobs(1, passing));
    assert_found(Plant::ForgetsRunningJobs, "not any more", jobs(1, killed));
    assert_found(Plant::ResumesCancelledJobs, "moves of a job", jobs(1, NONE));
    assert_found(Plant::KeepsWaiting, "one turn", jobs(1, passing));
    let killed_and_failed = Faults { own: 1, ..killed };
    let cancelled = "not any more: what was cancelled ends without a person";
    assert_found(Plant::LeavesCancelledJobs, cancelled, jobs(1, killed_and_failed));
    assert_found(Plant::FailsThoughCancelled, cancelled, jobs(1, failed));
}

#[test]
#[ignore = "takes minutes"]
fn two_jobs_under_every_kind_of_fault() {
    assert_sound("two jobs", &jobs(2, EACH));
}
