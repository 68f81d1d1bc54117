//! What the checker finds of the queue: nothing, and every error that is planted.

use std::time::{Duration, Instant};

use anytime_learner::rollouts::lease_table::LeaseRules;

use crate::models::explore::explore;
use crate::models::queue::{Faults, Plant, Queue};

/// Three steps of one group, so that a checkpoint after the second undoes one step and leaves one to do.
fn queue(actors: usize, faults: Faults) -> Queue {
    Queue {
        rules: LeaseRules {
            batch: 1,
            max_staleness: 1,
            queue_groups: 1,
            lease: Duration::from_secs(30),
            total_groups: 3,
        },
        checkpoint_every: 2,
        actors,
        room: 2,
        faults,
        plant: Plant::Nothing,
        origin: Instant::now(),
    }
}

fn assert_sound(name: &str, queue: &Queue) {
    let began = Instant::now();
    match explore(queue) {
        Ok((states, depth)) => println!("{name}: {states} states, depth {depth}, {:.1?}", began.elapsed()),
        Err(counterexample) => panic!("{name}: {counterexample}"),
    }
}

/// The checker must find this one, by the name of the invariant.
fn assert_found(plant: Plant, invariant: &str, queue: Queue) {
    let found = explore(&Queue { plant, ..queue }).expect_err("it was planted");
    assert!(found.what.starts_with(invariant), "{plant:?}: {found}");
    println!("{plant:?}: {}, after {} events", found.what, found.trace.len() - 1);
}

const NONE: Faults = Faults {
    learner_kills: 0,
    damaged_checkpoints: 0,
    actor_deaths: 0,
    redis_forgets: 0,
    redis_goes_back: 0,
    lost_answers: 0,
    late_requests: 0,
    doubled_pushes: 0,
    given_up: 0,
    refused: 0,
    replays: 0,
    slow_actors: 0,
};

/// One fault of a kind, or two of them together, and who acts.
fn few() -> Vec<(&'static str, Queue)> {
    let one = |faults| queue(1, faults);
    // Where messages are on their way for long, there are many more states.
    let small = |faults| Queue {
        rules: LeaseRules {
            total_groups: 2,
            ..one(faults).rules
        },
        room: 1,
        ..one(faults)
    };
    vec![
        (
            "killed",
            one(Faults {
                learner_kills: 1,
                ..NONE
            }),
        ),
        (
            "forgotten",
            one(Faults {
                redis_forgets: 1,
                ..NONE
            }),
        ),
        (
            "gone back",
            one(Faults {
                redis_goes_back: 1,
                ..NONE
            }),
        ),
        (
            "lost answer",
            one(Faults {
                lost_answers: 1,
                ..NONE
            }),
        ),
        (
            "late request",
            small(Faults {
                late_requests: 1,
                ..NONE
            }),
        ),
        ("given up", one(Faults { given_up: 1, ..NONE })),
        (
            "refused and replayed",
            small(Faults {
                refused: 1,
                replays: 1,
                ..NONE
            }),
        ),
        ("slow actor", one(Faults { slow_actors: 1, ..NONE })),
        (
            "doubled push",
            small(Faults {
                doubled_pushes: 1,
                ..NONE
            }),
        ),
        (
            "actor dies",
            small(Faults {
                actor_deaths: 1,
                ..NONE
            }),
        ),
    ]
}

#[test]
fn every_single_fault_is_survived() {
    for (name, queue) in few() {
        assert_sound(name, &queue);
    }
}

#[test]
fn every_planted_error_is_found() {
    let killed = || {
        queue(
            1,
            Faults {
                learner_kills: 1,
                ..NONE
            },
        )
    };
    let quiet = || queue(1, NONE);
    assert_found(Plant::AcknowledgesFirst, "acknowledged", quiet());
    assert_found(Plant::ForgetsWhatEnded, "once", killed());
    let forgets = queue(
        1,
        Faults {
            redis_forgets: 1,
            ..NONE
        },
    );
    assert_found(Plant::MissesLostGroups, "not any more: the job can finish", forgets);
    assert_found(Plant::WatermarkTooHigh, "accounted", quiet());
    assert_found(Plant::WatermarkBack, "accounted", quiet());
    assert_found(Plant::TakesAnyGroup, "in order", quiet());
    assert_found(Plant::TrainsOldTokens, "fresh", Queue { room: 3, ..quiet() });
    assert_found(Plant::AdmitsTooMany, "admission", quiet());
    let went_back = queue(
        1,
        Faults {
            learner_kills: 1,
            redis_forgets: 1,
            ..NONE
        },
    );
    assert_found(Plant::BlamesActors, "honest", went_back);
    let replayed = || {
        queue(
            1,
            Faults {
                refused: 1,
                replays: 1,
                ..NONE
            },
        )
    };
    assert_found(Plant::BlamesTheOutrun, "honest", replayed());
    assert_found(Plant::ForgetsTheReplay, "once", replayed());
}

#[test]
#[ignore = "takes minutes and some gigabytes"]
fn faults_together_are_survived() {
    let every = [
        (
            "killed twice",
            Faults {
                learner_kills: 2,
                ..NONE
            },
        ),
        (
            "late request",
            Faults {
                late_requests: 1,
                ..NONE
            },
        ),
        (
            "doubled push",
            Faults {
                doubled_pushes: 1,
                ..NONE
            },
        ),
        (
            "killed, and Redis forgets",
            Faults {
                learner_kills: 1,
                redis_forgets: 1,
                ..NONE
            },
        ),
        (
            "killed, the newest checkpoint damaged",
            Faults {
                learner_kills: 1,
                damaged_checkpoints: 1,
                ..NONE
            },
        ),
        (
            "killed, and Redis goes back",
            Faults {
                learner_kills: 1,
                redis_goes_back: 1,
                ..NONE
            },
        ),
        (
            "given up, killed, and Redis forgets",
            Faults {
                given_up: 1,
                learner_kills: 1,
                redis_forgets: 1,
                ..NONE
            },
        ),
        (
            "refused, and replayed behind three groups",
            Faults {
                refused: 1,
                replays: 1,
                ..NONE
            },
        ),
        (
            "refused, killed, and replayed",
            Faults {
                refused: 1,
                replays: 1,
                learner_kills: 1,
                ..NONE
            },
        ),
        (
            "an answer lost, and a push doubled",
            Faults {
                lost_answers: 1,
                doubled_pushes: 1,
                ..NONE
            },
        ),
    ];
    for (name, faults) in every {
        assert_sound(name, &queue(1, faults));
    }
    let over_two_groups = |faults: Faults| {
        let queue = queue(1, faults);
        Queue {
            rules: LeaseRules {
                total_groups: 2,
                ..queue.rules.clone()
            },
            ..queue
        }
    };
    // Over three groups it did not end within twelve minutes of a release build, and took 17 GB.
    let gone_back = over_two_groups(Faults {
        refused: 1,
        replays: 1,
        redis_goes_back: 1,
        ..NONE
    });
    assert_sound("refused, replayed, and Redis goes back", &gone_back);
    let two_groups = over_two_groups(Faults {
        refused: 1,
        replays: 1,
        ..NONE
    });
    assert_sound("refused and replayed beside another group", &two_groups);
    // Replayed while queue and table are brought in line, which the code prevents, and which does no harm.
    let at_any_time = Queue {
        plant: Plant::ReplaysAtAnyTime,
        ..two_groups
    };
    assert_sound("refused and replayed at any time", &at_any_time);
}

/// The largest ones: each may take the better part of an hour in a debug build.
#[test]
#[ignore = "takes an hour or longer, and gigabytes"]
fn actors_that_die_and_larger_steps_are_survived() {
    let dying = queue(
        1,
        Faults {
            actor_deaths: 1,
            ..NONE
        },
    );
    assert_sound("actor dies", &dying);
    let pairs = Queue {
        rules: LeaseRules {
            batch: 2,
            total_groups: 4,
            ..queue(1, NONE).rules
        },
        checkpoint_every: 1,
        ..queue(
            1,
            Faults {
                learner_kills: 1,
                ..NONE
            },
        )
    };
    assert_sound("two groups a step, killed", &pairs);
    // Over three groups it did not end within twenty minutes of a release build, and took all memory of 24 GB.
    let two_actors = queue(
        2,
        Faults {
            actor_deaths: 1,
            ..NONE
        },
    );
    let two_actors = Queue {
        rules: LeaseRules {
            total_groups: 2,
            ..two_actors.rules.clone()
        },
        ..two_actors
    };
    assert_sound("two actors, one dies, over two groups", &two_actors);
}
