//! Every rule finds what it is for, and nothing in a cluster where all is well.

use anytime_proto::v1::{self, Activity, ActorWait, JobState, Presence};

use super::of;

/// Two actors, a job that trains, and everything as it should be.
fn well() -> v1::Diagnosis {
    let process = v1::ProcessReport {
        version: "0.1.0".to_owned(),
        commit: "abc".to_owned(),
        up_seconds: 1000.0,
        ..v1::ProcessReport::default()
    };
    let actor = |name: &str| v1::ActorStanding {
        actor_id: name.to_owned(),
        presence: Presence::There.into(),
        heard_seconds_ago: 3.0,
        reported_seconds_ago: 3.0,
        leased_groups: 2,
        lag: Some(0),
        report: Some(v1::ActorReport {
            process: Some(process.clone()),
            weights_job_id: "a".to_owned(),
            weights_version: 7,
            waits_for: ActorWait::Nothing.into(),
            sequences: 8,
            token_seconds_ago: Some(0.1),
            verifier: Some(v1::VerifierStanding {
                address: "http://v".to_owned(),
                process: Some(process.clone()),
                ..v1::VerifierStanding::default()
            }),
            ..v1::ActorReport::default()
        }),
        ..v1::ActorStanding::default()
    };
    v1::Diagnosis {
        learner: Some(process.clone()),
        redis: Some(v1::RedisStanding {
            is_up: true,
            appends: true,
            writes: true,
            used_memory: 1,
            ..v1::RedisStanding::default()
        }),
        disks: vec![v1::DiskStanding {
            what: "runs".to_owned(),
            directory: "/runs".to_owned(),
            free: 50_000_000_000,
            total: 100_000_000_000,
            ..v1::DiskStanding::default()
        }],
        actors: vec![actor("actor-1"), actor("actor-2")],
        jobs: vec![v1::JobStanding {
            job_id: "a".to_owned(),
            state: JobState::Running.into(),
            activity: Activity::AwaitsGroups.into(),
            activity_seconds: 1.0,
            published: Some(v1::PublishedStanding {
                version: 7,
                seconds_ago: 100.0,
            }),
            queue: Some(v1::QueueStanding {
                next: 12,
                next_actor_id: "actor-2".to_owned(),
                ..v1::QueueStanding::default()
            }),
            last_step: Some(v1::StepMetrics::default()),
            dead_letters: Some(0),
            max_staleness: 1,
            ..v1::JobStanding::default()
        }],
        ..v1::Diagnosis::default()
    }
}

/// The kinds of the faults, and of the notes, once something was changed.
fn found(change: impl FnOnce(&mut v1::Diagnosis)) -> (Vec<&'static str>, Vec<&'static str>) {
    let mut diagnosis = well();
    change(&mut diagnosis);
    let findings = of(&diagnosis, "");
    let kinds = |is_fault: bool| {
        let chosen = findings.iter().filter(move |finding| finding.is_fault == is_fault);
        chosen.map(|finding| finding.kind).collect()
    };
    (kinds(true), kinds(false))
}

fn faults(change: impl FnOnce(&mut v1::Diagnosis)) -> Vec<&'static str> {
    found(change).0
}

fn report(actor: &mut v1::ActorStanding) -> &mut v1::ActorReport {
    actor.report.as_mut().expect("it reports")
}

#[test]
fn nothing_is_found_where_all_is_well_or_nothing_is_there() {
    assert_eq!(found(|_| {}), (vec![], vec![]));
    assert_eq!(found(|all| *all = v1::Diagnosis::default()), (vec![], vec![]));
    // An actor of an earlier version says nothing of itself.
    assert_eq!(found(|all| all.actors[0].report = None), (vec![], vec![]));
}

#[test]
fn stores_that_fail_are_found() {
    assert_eq!(
        faults(|all| all.redis.as_mut().expect("redis").is_up = false),
        ["redis_down"]
    );
    let redis = |change: fn(&mut v1::RedisStanding)| faults(|all| change(all.redis.as_mut().expect("redis")));
    assert_eq!(redis(|redis| redis.appends = false), ["redis_not_durable"]);
    assert_eq!(redis(|redis| redis.writes = false), ["redis_not_durable"]);
    assert_eq!(
        redis(|redis| (redis.used_memory, redis.max_memory) = (80, 100)),
        ["redis_memory"]
    );
    assert_eq!(redis(|redis| redis.evicted_keys = 1), ["redis_evicts"]);
    let silent = found(|all| all.redis.as_mut().expect("redis").problem = "NOPERM".to_owned());
    assert_eq!(silent, (vec![], vec!["redis_unknown"]));
    assert_eq!(faults(|all| all.disks[0].free = 4_000_000_000), ["disk_filling"]);
    assert_eq!(faults(|all| all.disks[0].free = 9_900_000_000), ["disk_filling"]);
    assert_eq!(faults(|all| all.disks[0].problem = "gone".to_owned()), ["disk_unknown"]);
}

#[test]
fn jobs_that_stand_still_are_found_with_the_command_that_helps() {
    let mut diagnosis = well();
    diagnosis.jobs[0].set_state(JobState::Paused);
    diagnosis.jobs[0].error = "the disk is full\nmore".to_owned();
    diagnosis.jobs[0].checkpoints = vec![v1::CheckpointStanding {
        step: 5,
        ..v1::CheckpointStanding::default()
    }];
    let found = of(&diagnosis, " --learner http://l");
    assert_eq!((found.len(), found[0].kind), (1, "job_paused"));
    assert!(found[0].text.ends_with(": the disk is full"), "{found:?}");
    assert!(
        found[0].advice.contains("`anytime resume a --learner http://l`"),
        "{found:?}"
    );
    assert!(found[0].advice.contains("the checkpoint of step 5"), "{found:?}");
    diagnosis.jobs[0].retry_at = Some(prost_types::Timestamp::default());
    assert!(
        of(&diagnosis, "")[0]
            .advice
            .starts_with("it is tried again by itself at 1970-")
    );
    assert_eq!(faults(|all| all.jobs[0].set_state(JobState::Failed)), ["job_failed"]);
    assert_eq!(faults(|all| all.jobs[0].activity_seconds = 1000.0), ["held_up"]);
    let (kinds, _) = found_held_up(Activity::AwaitsRedis);
    assert_eq!(kinds, ["held_up"]);
    let (kinds, _) = found_held_up(Activity::Computes);
    assert_eq!(kinds, Vec::<&str>::new(), "a step may take long");
}

fn found_held_up(activity: Activity) -> (Vec<&'static str>, Vec<&'static str>) {
    found(|all| {
        all.jobs[0].set_activity(activity);
        all.jobs[0].activity_seconds = 1000.0;
    })
}

#[test]
fn a_loss_that_cannot_be_trusted_and_lost_groups_are_found() {
    let step = |change: fn(&mut v1::StepMetrics)| faults(|all| change(all.jobs[0].last_step.as_mut().expect("a step")));
    assert_eq!(step(|step| step.loss = f64::NAN), ["loss_doubtful"]);
    assert_eq!(step(|step| step.fresh_log_prob_gap = 0.02), ["loss_doubtful"]);
    assert_eq!(step(|step| step.skipped_updates = 1), ["loss_doubtful"]);
    assert_eq!(faults(|all| all.jobs[0].dead_letters = Some(2)), ["dead_letters"]);
    let over = found(|all| {
        all.jobs[0].dead_letters = Some(2);
        all.jobs[0].set_state(JobState::Succeeded);
    });
    assert_eq!(over, (vec![], vec!["dead_letters"]));
    assert_eq!(found(|all| all.jobs[0].undone_steps = 3).1, ["undone_steps"]);
}

#[test]
fn actors_that_are_missing_are_found() {
    let leaves = |presence: Presence, lost: u64, seconds: f64| {
        found(move |all| {
            let actor = &mut all.actors[0];
            actor.set_presence(presence);
            actor.lost_groups = lost;
            actor.left_seconds_ago = Some(seconds);
        })
    };
    assert_eq!(leaves(Presence::Gone, 3, 60.0), (vec!["actor_gone"], vec![]));
    assert_eq!(leaves(Presence::Gone, 0, 60.0), (vec![], vec!["actor_left"]));
    assert_eq!(leaves(Presence::Lost, 0, 4.0), (vec!["actor_lost"], vec![]));
    assert_eq!(
        leaves(Presence::Lost, 0, 0.5),
        (vec![], vec![]),
        "it may be back at once"
    );
    assert_eq!(faults(|all| all.actors[0].heard_seconds_ago = 31.0), ["actor_silent"]);
    assert_eq!(faults(|all| all.actors.clear()), ["no_actors"]);
}

#[test]
fn actors_that_do_not_work_are_found() {
    assert_eq!(faults(|all| all.actors[0].refused_in_a_row = 5), ["actor_refused"]);
    assert_eq!(
        faults(|all| report(&mut all.actors[0]).token_seconds_ago = Some(130.0)),
        ["actor_stuck"]
    );
    assert_eq!(faults(|all| all.actors[0].lag = Some(1)), ["weights_late"]);
    let just_published = faults(|all| {
        all.actors[0].lag = Some(1);
        all.jobs[0].published.as_mut().expect("published").seconds_ago = 5.0;
    });
    assert_eq!(just_published, Vec::<&str>::new());
    let of_another_job = faults(|all| report(&mut all.actors[0]).weights_job_id = "b".to_owned());
    assert_eq!(of_another_job, ["weights_late"]);
    assert_eq!(found(|all| all.actors[0].earlier_processes = 3).1, ["actor_restarts"]);
    let other = |all: &mut v1::Diagnosis| {
        report(&mut all.actors[0]).process.as_mut().expect("it says so").version = "0.2.0".to_owned();
    };
    assert_eq!(found(other), (vec![], vec!["versions_differ"]));
}

#[test]
fn a_verifier_that_is_away_comes_before_what_follows_from_it() {
    let away = |all: &mut v1::Diagnosis| {
        for actor in &mut all.actors {
            report(actor).verifier.as_mut().expect("a verifier").is_away = true;
        }
        all.jobs[0].activity_seconds = 1000.0;
    };
    assert_eq!(faults(away), ["verifier_away", "held_up"]);
    let mut diagnosis = well();
    report(&mut diagnosis.actors[1])
        .verifier
        .as_mut()
        .expect("a verifier")
        .is_away = true;
    let found = of(&diagnosis, "");
    assert!(found[0].text.contains("judges nothing for actor-2"), "{found:?}");
    assert!(found[0].advice.starts_with("it judges for others"), "{found:?}");
}
