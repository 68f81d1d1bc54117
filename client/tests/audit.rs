//! `anytime audit`: a clean history is clean, and whatever is planted in one is found.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use anytime::audit::{Evidence, Findings, check};
use anytime_files::record;
use anytime_proto::EndedGroups;
use anytime_proto::v1::job_event::Event;
use anytime_proto::v1::{self, JobKind, JobState};
use prost::Message as _;

const BATCH: u64 = 3;
const STEPS: u64 = 12;

/// Two groups were left out.
const LEFT_OUT: [u64; 2] = [4, 20];

fn step(number: u64, sequences: &[u64], left_out: &[u64]) -> v1::StepMetrics {
    let trained = sequences.iter().map(|sequence| v1::TrainedGroup {
        sequence: *sequence,
        oldest_version: (number - 1).saturating_sub(sequence % 2),
        newest_version: number - 1,
        thinking_tokens: 10 + (*sequence % 5) as u32,
    });
    let left_out = left_out.iter().map(|sequence| v1::LeftOutGroup {
        sequence: *sequence,
        reason: "the actors gave it up".to_owned(),
        thinking_tokens: 0,
    });
    v1::StepMetrics {
        step: number,
        weights_version: number,
        account: Some(v1::StepAccount {
            trained: trained.collect(),
            left_out: left_out.collect(),
            weights_checksum: format!("checksum-{number}"),
            replayed: Vec::new(),
        }),
        ..v1::StepMetrics::default()
    }
}

/// The steps of a job that trained everything but what was left out.
fn steps() -> Vec<v1::StepMetrics> {
    let mut sequences = (0..).filter(|sequence| !LEFT_OUT.contains(sequence));
    (1..=STEPS)
        .map(|number| {
            let of_step: Vec<u64> = sequences.by_ref().take(BATCH as usize).collect();
            let last = of_step[BATCH as usize - 1];
            let left_out: Vec<u64> = LEFT_OUT
                .into_iter()
                .filter(|sequence| *sequence < last && *sequence + BATCH + 1 > last)
                .collect();
            step(number, &of_step, &left_out)
        })
        .collect()
}

fn events(steps: &[v1::StepMetrics]) -> Vec<v1::JobEvent> {
    let numbered = steps.iter().zip(1..).map(|(step, number)| v1::JobEvent {
        number,
        time: None,
        event: Some(Event::Step(step.clone())),
    });
    numbered.collect()
}

fn checkpoint(at: u64) -> v1::CheckpointAccount {
    let mut ended = EndedGroups::default();
    for step in steps().iter().filter(|step| step.step <= at) {
        let account = step.account.as_ref().unwrap();
        ended.finish(
            account.trained.iter().map(|group| group.sequence),
            account.left_out.iter().map(|group| group.sequence),
        );
    }
    let account = anytime_proto::CheckpointAccount {
        step: at,
        ended,
        weights_checksum: format!("checksum-{at}"),
    };
    Ok(account).into()
}

fn spec() -> v1::JobSpec {
    v1::JobSpec {
        name: Some("demo".to_owned()),
        kind: Some(JobKind::Train.into()),
        training: Some(v1::TrainingSpec {
            steps: Some(STEPS),
            batch: Some(BATCH as u32),
            max_staleness: Some(1),
            ..v1::TrainingSpec::default()
        }),
        ..v1::JobSpec::default()
    }
}

fn clean() -> Evidence {
    Evidence {
        job_id: "demo".to_owned(),
        spec: spec(),
        state: JobState::Succeeded,
        events: events(&steps()),
        undone_steps: 0,
        damaged_bytes: 0,
        checkpoints: vec![checkpoint(8), checkpoint(12)],
        queue: None,
    }
}

/// The kinds of what is found after a change of the steps.
fn found(change: impl FnOnce(&mut Vec<v1::StepMetrics>)) -> Vec<(&'static str, String)> {
    let mut steps = steps();
    change(&mut steps);
    let evidence = Evidence {
        events: events(&steps),
        ..clean()
    };
    kinds(&check(&evidence))
}

fn kinds(findings: &Findings) -> Vec<(&'static str, String)> {
    let findings = findings.findings.iter();
    findings.map(|finding| (finding.kind, finding.text.clone())).collect()
}

#[test]
fn a_group_that_was_replayed_is_trained_once_and_out_of_turn() {
    // Group 4 was left out at step 2, is replayed at step 6 and trained there, in the place of the last one.
    let replay = |steps: &mut Vec<v1::StepMetrics>| {
        account(steps, 6).replayed.push(LEFT_OUT[0]);
        let displaced = {
            let trained = &mut account(steps, 6).trained;
            std::mem::replace(&mut trained[0].sequence, LEFT_OUT[0])
        };
        // Those behind it move back by a place.
        let mut next = displaced;
        for number in 6..=STEPS {
            let first = usize::from(number == 6);
            for group in &mut account(steps, number).trained[first..] {
                next = std::mem::replace(&mut group.sequence, next);
            }
        }
    };
    let mut history = steps();
    replay(&mut history);
    let checkpoint_of = |at: u64| {
        let mut ended = EndedGroups::default();
        for step in history.iter().filter(|step| step.step <= at) {
            let account = step.account.as_ref().unwrap();
            ended.replay(account.replayed.iter().copied());
            ended.finish(
                account.trained.iter().map(|group| group.sequence),
                account.left_out.iter().map(|group| group.sequence),
            );
        }
        let account = anytime_proto::CheckpointAccount {
            step: at,
            ended,
            weights_checksum: format!("checksum-{at}"),
        };
        v1::CheckpointAccount::from(Ok(account))
    };
    let evidence = |steps: &[v1::StepMetrics]| Evidence {
        events: events(steps),
        checkpoints: vec![checkpoint_of(5), checkpoint_of(6), checkpoint_of(12)],
        ..clean()
    };
    assert_eq!(kinds(&check(&evidence(&history))), []);
    // Trained without having been replayed, it is out of order; replayed and trained twice, it is a double.
    let mut unsaid = history.clone();
    account(&mut unsaid, 6).replayed.clear();
    assert!(
        kinds(&check(&evidence(&unsaid)))
            .iter()
            .any(|(kind, _)| *kind == "order")
    );
    let mut twice = history.clone();
    account(&mut twice, 9).trained[0].sequence = LEFT_OUT[0];
    assert!(
        kinds(&check(&evidence(&twice)))
            .iter()
            .any(|(kind, _)| *kind == "double")
    );
    // Replayed and not trained, it is lost where the learner does not know of it.
    let mut lost = steps();
    account(&mut lost, 11).replayed.push(LEFT_OUT[0]);
    let of_learner = |queue: v1::QueueAccount| Evidence {
        events: events(&lost),
        queue: Some(queue),
        ..clean()
    };
    assert!(
        kinds(&check(&of_learner(v1::QueueAccount::default())))
            .iter()
            .any(|(kind, _)| *kind == "loss")
    );
    let waiting = v1::QueueAccount {
        waiting: vec![LEFT_OUT[0]],
        ..v1::QueueAccount::default()
    };
    assert_eq!(kinds(&check(&of_learner(waiting))), []);
}

fn account(steps: &mut [v1::StepMetrics], number: u64) -> &mut v1::StepAccount {
    steps[number as usize - 1].account.as_mut().unwrap()
}

fn assert_found(found: &[(&'static str, String)], kind: &str, says: &str) {
    assert!(
        found.iter().any(|(of, text)| *of == kind && text.contains(says)),
        "{kind} `{says}` is not among {found:#?}"
    );
}

#[test]
fn a_clean_history_is_clean() {
    let findings = check(&clean());
    assert_eq!(kinds(&findings), []);
    assert_eq!((findings.steps, findings.trained_groups), (STEPS, 36));
    assert_eq!(findings.left_out_groups["the actors gave it up"], 2);
    assert_eq!((findings.largest_staleness, findings.lengths_p), (1, 1.0));
}

#[test]
fn steps_that_were_undone_do_not_count() {
    let all = steps();
    let mut history: Vec<Event> = all[..9].iter().cloned().map(Event::Step).collect();
    history.push(Event::WentOn(v1::WentOn { step: 6 }));
    history.extend(all[6..].iter().cloned().map(Event::Step));
    let events = history.into_iter().zip(1..).map(|(event, number)| v1::JobEvent {
        number,
        time: None,
        event: Some(event),
    });
    let evidence = Evidence {
        events: events.collect(),
        ..clean()
    };
    let findings = check(&evidence);
    assert_eq!(kinds(&findings), []);
    assert_eq!(findings.undone_steps, 3);
}

#[test]
fn a_planted_double_is_found() {
    let found = found(|steps| {
        let twice = account(steps, 3).trained[1];
        account(steps, 7).trained[2] = twice;
    });
    assert_found(&found, "double", "was trained by step 3 and again by step 7");
    assert_found(&found, "loss", "was neither trained nor left out");
    let repeated = self::found(|steps| steps.insert(5, steps[4].clone()));
    assert_found(&repeated, "double", "step 5 stands behind step 5");
}

#[test]
fn a_planted_loss_is_found() {
    let found = found(|steps| account(steps, 2).left_out.clear());
    assert_found(
        &found,
        "loss",
        "group 4 was neither trained nor left out, though group 37 was trained",
    );
    let with_queue = |queue: v1::QueueAccount| {
        let mut steps = steps();
        account(&mut steps, 2).left_out.clear();
        let evidence = Evidence {
            events: events(&steps),
            queue: Some(queue),
            ..clean()
        };
        kinds(&check(&evidence))
    };
    let leased = v1::QueueAccount {
        leased: vec![4],
        ..v1::QueueAccount::default()
    };
    assert_found(&with_queue(leased), "loss", "; an actor has it");
    assert_found(&with_queue(v1::QueueAccount::default()), "loss", "; it is nowhere");
}

#[test]
fn a_planted_gap_is_found() {
    assert_found(&found(|steps| drop(steps.remove(4))), "gap", "step 6 follows step 4");
    assert_found(&found(|steps| drop(steps.remove(0))), "gap", "step 2 follows step 0");
    assert_found(&found(|steps| drop(steps.pop())), "gap", "its last step is 11 of 12");
    let short = found(|steps| account(steps, 5).trained.truncate(2));
    assert_found(&short, "gap", "step 5 trained 2 groups and not 3");
    assert_found(
        &found(|steps| steps[4].account = None),
        "gap",
        "step 5 does not say which groups",
    );
    let anonymous = found(|steps| account(steps, 5).weights_checksum.clear());
    assert_found(&anonymous, "gap", "step 5 names no checksum");
}

#[test]
fn a_planted_step_back_of_versions_is_found() {
    let back = found(|steps| steps[6].weights_version = 5);
    assert_found(&back, "versions", "the weights after step 7 have the version 5");
    let future = found(|steps| account(steps, 4).trained[0].newest_version = 9);
    assert_found(&future, "versions", "step 4 starts from version 3 and trained group");
    let old = found(|steps| account(steps, 9).trained[0].oldest_version = 6);
    assert_found(&old, "versions", "more than training.max_staleness = 1 behind");
}

#[test]
fn another_order_is_found() {
    let found = found(|steps| account(steps, 9).trained.reverse());
    assert_found(&found, "order", "step 9 trained group");
    assert_eq!(found.len(), 2);
}

#[test]
fn checkpoints_that_hold_something_else_are_found() {
    let with = |change: &dyn Fn(&mut v1::CheckpointAccount)| {
        let mut evidence = clean();
        change(&mut evidence.checkpoints[0]);
        kinds(&check(&evidence))
    };
    let later = with(&|it| it.ended_below += 1);
    assert_found(
        &later,
        "checkpoint",
        "of step 8 holds group 26, which step 9 trained later",
    );
    let lacking = with(&|it| it.ended_below -= 1);
    assert_found(&lacking, "checkpoint", "of step 8 lacks group 25, which step 8 trained");
    let uncounted = with(&|it| it.left_out_below = 0);
    assert_found(&uncounted, "checkpoint", "counts 26 trained groups and not 24");
    let other = with(&|it| it.weights_checksum = "other".to_owned());
    assert_found(&other, "checkpoint", "has weights with the checksum other");
    let beyond = with(&|it| it.step = 40);
    assert_found(&beyond, "checkpoint", "is beyond the last step of the events, 12");
    let unknown = with(&|it| it.trained.push(99));
    assert_found(
        &unknown,
        "checkpoint",
        "counts group 99 as ended, of which no step says so",
    );
    let unreadable = with(&|it| it.problem = "state.json is damaged".to_owned());
    assert_found(&unreadable, "checkpoint", "cannot be read: state.json is damaged");
}

#[test]
fn a_trained_group_in_the_queue_is_found_unless_it_was_trained_since() {
    let with = |version, sequence| {
        let queue = v1::QueueAccount {
            version,
            queued: vec![sequence],
            ..v1::QueueAccount::default()
        };
        let evidence = Evidence {
            queue: Some(queue),
            ..clean()
        };
        kinds(&check(&evidence))
    };
    assert_found(
        &with(8, 25),
        "queue",
        "group 25 was trained by step 8 and is to be trained again",
    );
    assert_eq!(with(8, 26), []);
}

#[test]
fn a_bias_of_lengths_is_found() {
    let found = found(|steps| {
        // All long ones were left out.
        let next = 38;
        let long = (0..40).map(|index| v1::LeftOutGroup {
            sequence: next + index,
            reason: "too old".to_owned(),
            thinking_tokens: 500,
        });
        account(steps, 12).left_out.extend(long);
    });
    assert_found(&found, "lengths", "are not those of all groups");
}

/// A job's directory as the learner writes it.
fn write_directory(directory: &Path, events: &[v1::JobEvent]) {
    let mut job = v1::Job {
        id: "demo".to_owned(),
        spec: Some(spec()),
        ..v1::Job::default()
    };
    job.set_state(JobState::Succeeded);
    std::fs::write(directory.join("job.pb"), record(&job.encode_to_vec()).unwrap()).unwrap();
    let log: Vec<u8> = events
        .iter()
        .flat_map(|event| record(&event.encode_to_vec()).unwrap())
        .collect();
    std::fs::write(directory.join("events.log"), log).unwrap();
    let recovery = directory.join("recovery/step-00000012");
    std::fs::create_dir_all(&recovery).unwrap();
    let state = r#"{"step": 12, "updates": 12, "consumed_below": 38, "consumed": [], "left_out_below": 2,
        "weights_checksum": "checksum-12", "compute": "f32"}"#;
    std::fs::write(recovery.join("state.json"), state).unwrap();
}

#[test]
fn a_directory_is_read_without_a_learner() {
    let directory = tempfile::tempdir().unwrap();
    write_directory(directory.path(), &events(&steps()));
    let evidence = Evidence::of_directory(directory.path()).unwrap();
    assert_eq!(
        (evidence.job_id.as_str(), evidence.state),
        ("demo", JobState::Succeeded)
    );
    assert_eq!(kinds(&check(&evidence)), []);

    // What a crash left at the end costs nothing that can be proven.
    let path = directory.path().join("events.log");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[..20]].concat()).unwrap();
    let evidence = Evidence::of_directory(directory.path()).unwrap();
    assert_eq!((kinds(&check(&evidence)), evidence.damaged_bytes), (Vec::new(), 20));
    std::fs::write(&path, whole).unwrap();

    // One damaged byte in the middle of the events: the step that was there is missing.
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let evidence = Evidence::of_directory(directory.path()).unwrap();
    let found = kinds(&check(&evidence));
    assert!(evidence.damaged_bytes > 0);
    assert_found(&found, "gap", "the events of the steps between are missing");
}

#[test]
fn the_command_ends_with_1_and_the_first_finding() {
    let directory = tempfile::tempdir().unwrap();
    let job = directory.path().join("demo");
    std::fs::create_dir(&job).unwrap();
    let audit = |arguments: &[&str]| {
        let program = env!("CARGO_BIN_EXE_anytime");
        std::process::Command::new(program).args(arguments).output().unwrap()
    };
    write_directory(&job, &events(&steps()));
    let named = job.to_str().unwrap();
    let clean = audit(&["audit", named]);
    assert_eq!(clean.status.code(), Some(0), "{clean:?}");
    assert!(String::from_utf8_lossy(&clean.stdout).contains("clean"), "{clean:?}");

    let mut steps = steps();
    steps.remove(4);
    write_directory(&job, &events(&steps));
    let runs = directory.path().to_str().unwrap();
    let found = audit(&["audit", "demo", "--runs-dir", runs]);
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let said = String::from_utf8_lossy(&found.stderr);
    assert!(said.contains("gap: step 6 follows step 4"), "{said}");
    let json = audit(&["--json", "audit", named]);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (json.status.code(), document["clean"].as_bool()),
        (Some(1), Some(false))
    );

    let nothing = audit(&["audit", runs]);
    assert_ne!(nothing.status.code(), Some(0));
}
