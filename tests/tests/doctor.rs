//! The ten questions of the night (docs/operations.md): causes are planted in a real cluster, and `anytime doctor` has the
//! answers.
#![allow(clippy::unwrap_used)]

use std::time::Instant;

use anytime_proto::v1;
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_tests::programs::binary;
use anytime_tests::stack::{Stack, channel};
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Ended;
use prost::Message as _;
use serde_json::Value;

/// Delivers the first group of the job without its traces until the job goes on without it.
async fn plant_dead_letter(stack: &Stack) {
    let mut rollouts = RolloutServiceClient::new(channel(&stack.learner.address));
    let mut chosen: Option<String> = None;
    let mut deliveries = 0;
    eventually("a dead letter", 30, async || {
        let request = v1::LeaseRequest {
            actor_id: "hostile".to_owned(),
            max_groups: 1,
            wait_ms: 200,
            ..v1::LeaseRequest::default()
        };
        let lease = rollouts.lease(request).await.unwrap().into_inner().leases.pop()?;
        if chosen.get_or_insert_with(|| lease.group_id.clone()) != &lease.group_id {
            let abandoned = v1::AbandonedGroup {
                job_id: lease.job_id,
                group_id: lease.group_id,
                actor_id: "hostile".to_owned(),
                reason: v1::AbandonReason::Shutdown.into(),
                ..v1::AbandonedGroup::default()
            };
            let given_back = v1::PushRequest {
                outcome: Some(v1::push_request::Outcome::Abandoned(abandoned)),
                lease_token: lease.token,
            };
            rollouts.push(given_back).await.unwrap();
            return None;
        }
        let plan = lease.plan.unwrap();
        let group = v1::ScoredGroup {
            job_id: lease.job_id,
            group_id: lease.group_id,
            actor_id: "hostile".to_owned(),
            problem_id: lease.problem.unwrap().id,
            budgets: plan.budgets,
            summaries_per_budget: plan.summaries,
            ..v1::ScoredGroup::default()
        };
        let push = v1::PushRequest {
            outcome: Some(v1::push_request::Outcome::Group(group.encode_to_vec().into())),
            lease_token: lease.token,
        };
        rollouts.push(push).await.unwrap_err();
        deliveries += 1;
        (deliveries == 3).then_some(())
    })
    .await;
}

async fn doctor(stack: &Stack, job: &str) -> Ended {
    stack.anytime(&["doctor", job, "--json"], 30).await
}

/// The faults by kind. Those of the disk are the machine's own.
fn faults(told: &Value) -> Vec<&str> {
    let findings = told["findings"].as_array().unwrap().iter();
    let faults = findings.filter(|finding| finding["fault"] == true && finding["kind"] != "disk_filling");
    faults.map(|finding| finding["kind"].as_str().unwrap()).collect()
}

fn finding<'a>(told: &'a Value, kind: &str) -> &'a Value {
    let mut findings = told["findings"].as_array().unwrap().iter();
    findings
        .find(|finding| finding["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind} in {told:#}"))
}

fn actor<'a>(told: &'a Value, name: &str) -> &'a Value {
    let mut actors = told["actors"].as_array().unwrap().iter();
    actors
        .find(|actor| actor["id"] == name)
        .unwrap_or_else(|| panic!("no {name} in {told:#}"))
}

/// Asks until the doctor finds a fault of this kind.
async fn until_found(stack: &Stack, job: &str, kind: &str, seconds: u64) -> Value {
    eventually(&format!("the fault {kind}"), seconds, async || {
        let ended = doctor(stack, job).await;
        let told = ended.json();
        let is_found = faults(&told).contains(&kind);
        assert!(!is_found || ended.code == 1, "{}", ended.stderr);
        is_found.then_some(told)
    })
    .await
}

fn holds_groups(told: &Value, actor_number: usize) -> bool {
    number(&actor(told, &format!("actor-{actor_number}"))["leased_groups"]) >= 1.0
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_answers_the_ten_questions_of_the_night() {
    within(180, async {
        let began = Instant::now();
        let mut stack = Stack::start(0).await;
        let mut spec = stack.workplace.train("night", 100_000);
        spec.checkpoint.as_mut().unwrap().recovery_every = Some(2);
        // A report every two seconds.
        spec.rollout.as_mut().unwrap().lease_seconds = Some(6);
        let id = stack.submit("night", spec).await.id;
        plant_dead_letter(&stack).await;
        stack.add_actor();
        stack.add_actor();
        stack.wait_for_step(&id, 4, 60).await;
        stack.actors[0].process.assert_runs();

        // Nothing is wrong but what was planted.
        let well = eventually("both actors have told how they fare", 20, async || {
            let told = doctor(&stack, &id).await.json();
            let is_complete = |name: &str| {
                let mut actors = told["actors"].as_array().unwrap().iter();
                actors.any(|actor| actor["id"] == name && actor["tokens_per_second"].as_f64() > Some(0.0))
            };
            (is_complete("actor-1")
                && is_complete("actor-2")
                && told["verifiers"][0]["process"].is_object()
                && told["jobs"][0]["dead_letters"] == 1)
                .then_some(told)
        })
        .await;
        assert_eq!(faults(&well), ["dead_letters"], "{well:#}");
        let job = &well["jobs"][0];
        assert_eq!((&job["id"], &job["state"]), (&id.as_str().into(), &"running".into()));

        // Are weights late?
        let first = actor(&well, "actor-1");
        assert_eq!(
            (&first["presence"], &first["weights_job"]),
            (&"there".into(), &id.as_str().into())
        );
        assert!(
            number(&first["lag"]) <= 5.0 && job["published"]["version"].is_u64(),
            "{first:#}"
        );
        // Is the loss real?
        assert!(number(&job["last_step"]["fresh_log_prob_gap"]) < 1e-3, "{job:#}");
        assert!(job["last_step"]["loss"].is_f64() && number(&job["stepped_seconds_ago"]) < 60.0);
        // What was the last good checkpoint?
        let checkpoint = &job["checkpoints"][0];
        assert!(
            number(&checkpoint["step"]) >= 2.0 && number(&checkpoint["seconds_ago"]) < 60.0,
            "{checkpoint}"
        );
        assert!(std::path::Path::new(checkpoint["directory"].as_str().unwrap()).is_dir());
        // Is the disk filling, and does Redis keep what it accepts?
        assert!(number(&well["disks"][0]["free_bytes"]) > 0.0, "{}", well["disks"]);
        assert_eq!(
            (&well["redis"]["up"], &well["redis"]["syncs"]),
            (&true.into(), &"always".into())
        );
        // What did we lose?
        assert_eq!((&job["dead_letters"], &job["queue"]["skipped"]), (&1.into(), &1.into()));
        assert!(number(&well["outcomes"]["accepted"]) >= 16.0, "{}", well["outcomes"]);
        let letters = finding(&well, "dead_letters");
        assert!(
            letters["do"]
                .as_str()
                .unwrap()
                .contains(&format!("anytime dead-letters {id}")),
            "{letters}"
        );
        programs_say_which_they_are(&stack, &well);
        people_and_scripts_can_follow(&stack, &id).await;

        // Is the grader sick?
        stack.verifier.process.kill();
        let away = until_found(&stack, &id, "verifier_away", 20).await;
        assert_eq!(away["verifiers"][0]["away"], true, "{away:#}");
        assert!(away["verifiers"][0]["last_error"]["text"].is_string(), "{away:#}");
        assert!(
            away["verdict"].as_str().unwrap().starts_with("the verifier at http://"),
            "{away:#}"
        );

        // Which actor is dead, and since when? Until it is sure, its connection is lost.
        // One that has groups in hand: which of the two that is, the verifier's absence decides.
        let victim = eventually("an actor with groups in hand", 20, async || {
            let told = doctor(&stack, &id).await.json();
            (1..=stack.actors.len()).find(|number| holds_groups(&told, *number))
        })
        .await;
        let name = format!("actor-{victim}");
        stack.actors[victim - 1].process.kill();
        until_found(&stack, &id, "actor_lost", 8).await;
        stack.restart_verifier().await;
        let dead = until_found(&stack, &id, "actor_gone", 20).await;
        let gone = actor(&dead, &name);
        assert_eq!(gone["presence"], "gone", "{gone:#}");
        assert!(
            number(&gone["lost_groups"]) >= 1.0 && number(&gone["left_seconds_ago"]) < 40.0,
            "{gone:#}"
        );
        assert_eq!(finding(&dead, "actor_gone")["about"], name);
        assert!(!faults(&dead).contains(&"verifier_away"), "it is back: {dead:#}");

        // Without its learner the doctor says how far the way leads.
        let learner = stack.learner.address.clone();
        stack.learner.process.kill();
        let unreachable = doctor(&stack, &id).await.expect(69).json();
        assert_eq!(finding(&unreachable, "learner_unreachable")["fault"], true);
        let verdict = unreachable["verdict"].as_str().unwrap();
        assert!(
            verdict.starts_with(&format!("nobody listens at {learner}")),
            "{unreachable:#}"
        );

        // Why does it stand, and how do I go on? Somebody has removed its checkpoints.
        std::fs::remove_dir_all(stack.job_directory(&id).join("recovery")).unwrap();
        stack.restart_learner().await;
        let paused = until_found(&stack, &id, "job_paused", 20).await;
        let job = &paused["jobs"][0];
        assert!(job["error"].as_str().unwrap().contains("checkpoint"), "{job:#}");
        let resume = format!("anytime resume {id} --learner http://{learner}");
        assert_eq!(job["go_on"][0], resume, "{job:#}");
        assert!(
            paused["verdict"]
                .as_str()
                .unwrap()
                .contains(&format!("job {id} is paused at step")),
            "{paused:#}"
        );

        // Nothing is wrong any more.
        stack.anytime(&["cancel", &id], 30).await.expect(0);
        let over = stack.anytime(&["doctor", "--json"], 30).await;
        let told = over.json();
        assert_eq!(
            (faults(&told).len(), told["healthy"] == true),
            (0, over.code == 0),
            "{told:#}"
        );
        let says_so = told["verdict"].as_str().unwrap().contains("nothing runs");
        assert!(says_so || told["healthy"] == false, "{told:#}");
        stack.anytime(&["doctor", "nobody"], 30).await.expect(64);
        println!("{:.1} s", began.elapsed().as_secs_f64());
    })
    .await;
}

/// `--version`, the first line of every log and what the processes report agree.
fn programs_say_which_they_are(stack: &Stack, told: &Value) {
    let version = env!("CARGO_PKG_VERSION");
    let reported = [
        &told["learner"],
        &actor(told, "actor-1")["process"],
        &told["verifiers"][0]["process"],
    ];
    for process in reported {
        assert_eq!(process["version"], version, "{process}");
        assert!(
            process["commit"].is_string() && number(&process["up_seconds"]) > 0.0,
            "{process}"
        );
    }
    let libtorch = told["learner"]["libtorch"].as_str().unwrap();
    assert!(libtorch.starts_with("2."), "{libtorch}");
    assert_eq!(told["verifiers"][0]["process"]["libtorch"], Value::Null);
    let commit = told["learner"]["commit"].as_str().unwrap();
    for (program, links) in [
        ("anytime", false),
        ("anytime-verifier", false),
        ("anytime-actor", true),
        ("anytime-learner", true),
    ] {
        let output = std::process::Command::new(binary(program))
            .arg("--version")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let of_libtorch = if links {
            format!(", libtorch {libtorch}")
        } else {
            String::new()
        };
        assert_eq!(said, format!("{program} {version} (commit {commit}{of_libtorch})\n"));
    }
    for (process, name) in [
        (&stack.learner.process, "learner"),
        (&stack.verifier.process, "verifier"),
        (&stack.actors[0].process, "actor"),
    ] {
        let log = process.log();
        let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["message"], &first["process"]),
            (&"starts".into(), &name.into()),
            "{first}"
        );
        assert_eq!(
            (&first["release"], &first["commit"]),
            (&version.into(), &commit.into()),
            "{first}"
        );
    }
}

/// What people read ends with the verdict; `top` tells the same again and again.
async fn people_and_scripts_can_follow(stack: &Stack, id: &str) {
    let people = stack.anytime(&["doctor", id], 30).await.expect(1);
    let last = people.stdout.trim_end().lines().last().unwrap();
    assert!(
        last.starts_with("verdict ") && people.stdout.contains("1 group that could not be trained"),
        "{}",
        people.stdout
    );
    assert!(
        people.stdout.contains("ACTOR") && people.stdout.contains("actor-2"),
        "{}",
        people.stdout
    );
    let top = stack
        .anytime(&["top", id, "--interval", "1", "--times", "2"], 30)
        .await
        .expect(0);
    assert_eq!(top.stdout.matches("\nverdict ").count(), 2, "{}", top.stdout);
    assert!(!top.stdout.contains('\u{1b}'), "there is no terminal");
    let lines = stack.anytime(&["top", "--times", "1", "--json"], 30).await.expect(0);
    assert_eq!(lines.json()["jobs"][0]["id"], id);
}
