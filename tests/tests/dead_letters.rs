//! Groups that nobody can train: an actor delivers them again and again, the job goes on without them, and they are kept
//! to be read and replayed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use anytime_proto::v1;
use anytime_proto::v1::rollout_service_client::RolloutServiceClient;
use anytime_tests::metrics::sum;
use anytime_tests::stack::{Stack, channel};
use anytime_tests::wait::{eventually, within};
use prost::Message as _;
use tonic::Code;

const ACTOR: &str = "hostile";

/// Leases groups and delivers each without its traces until this many were delivered three times. Returns how often it
/// delivered which.
async fn deliver_without_traces(stack: &Stack, groups: usize) -> BTreeMap<String, u32> {
    let mut rollouts = RolloutServiceClient::new(channel(&stack.learner.address));
    let mut delivered: BTreeMap<String, u32> = BTreeMap::new();
    eventually("dead letters", 60, async || {
        let request = v1::LeaseRequest {
            actor_id: ACTOR.to_owned(),
            max_groups: groups as u32,
            wait_ms: 200,
            ..v1::LeaseRequest::default()
        };
        for lease in rollouts.lease(request).await.unwrap().into_inner().leases {
            let is_chosen = delivered.len() < groups || delivered.contains_key(&lease.group_id);
            if !is_chosen {
                rollouts.push(given_back(lease)).await.unwrap();
                continue;
            }
            let plan = lease.plan.unwrap();
            let group = v1::ScoredGroup {
                job_id: lease.job_id,
                group_id: lease.group_id.clone(),
                actor_id: ACTOR.to_owned(),
                problem_id: lease.problem.unwrap().id,
                budgets: plan.budgets,
                summaries_per_budget: plan.summaries,
                ..v1::ScoredGroup::default()
            };
            let push = v1::PushRequest {
                outcome: Some(v1::push_request::Outcome::Group(group.encode_to_vec().into())),
                lease_token: lease.token,
            };
            let refused = rollouts.push(push).await.unwrap_err();
            assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
            *delivered.entry(lease.group_id).or_insert(0) += 1;
        }
        let dead = delivered.values().filter(|times| **times == 3).count();
        (dead == groups).then_some(())
    })
    .await;
    delivered
}

fn given_back(lease: v1::Lease) -> v1::PushRequest {
    let abandoned = v1::AbandonedGroup {
        job_id: lease.job_id,
        group_id: lease.group_id,
        actor_id: ACTOR.to_owned(),
        reason: v1::AbandonReason::Shutdown.into(),
        ..v1::AbandonedGroup::default()
    };
    v1::PushRequest {
        outcome: Some(v1::push_request::Outcome::Abandoned(abandoned)),
        lease_token: lease.token,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_trained_is_kept_with_its_reason_and_can_be_trained_after_all() {
    within(150, async {
        let mut stack = Stack::start(0).await;
        let mut spec = stack.workplace.train("letters", 40);
        spec.checkpoint.as_mut().unwrap().recovery_every = Some(3);
        let job = stack.submit("letters", spec).await;
        let delivered = deliver_without_traces(&stack, 2).await;
        assert_eq!(delivered.values().copied().collect::<Vec<_>>(), [3, 3], "{delivered:?}");
        let metrics = stack.learner_metrics().await;
        assert_eq!(sum(&metrics, "anytime_learner_dead_letters_total", "") as u64, 2);

        // The job goes on without them, also after a restart.
        stack.add_actor();
        stack.wait_for_step(&job.id, 7, 60).await;
        stack.learner.process.kill();
        stack.restart_learner().await;
        let stood = stack.job(&job.id).await.expect("the job is known").step;
        stack.wait_for_step(&job.id, stood + 1, 60).await;

        let listed = stack.anytime(&["dead-letters", &job.id, "--json"], 30).await.expect(0);
        let listed = listed.json();
        assert_eq!(listed.as_array().unwrap().len(), 2, "{listed}");
        for (sequence, letter) in listed.as_array().unwrap().iter().enumerate() {
            assert_eq!(letter["sequence"], sequence as u64);
            assert_eq!((&letter["deliveries"], &letter["actor_id"]), (&3.into(), &ACTOR.into()));
            assert!(letter["reason"].as_str().unwrap().contains("traces"), "{letter}");
        }
        let folder = stack.workplace.path("letters");
        let arguments = ["dead-letters", &job.id, "--save", folder.to_str().unwrap()];
        let people = stack.anytime(&arguments, 30).await.expect(0);
        assert!(people.stdout.contains("group 1, problem "), "{}", people.stdout);
        assert!(folder.join("0.pb").is_file() && folder.join("1.pb").is_file());

        // One is trained after all, once.
        let replayed = stack
            .anytime(&["dead-letters", &job.id, "--replay", "0"], 30)
            .await
            .expect(0);
        assert!(replayed.stdout.contains("group 0"), "{}", replayed.stdout);
        for unknown in ["0", "5"] {
            let again = stack
                .anytime(&["dead-letters", &job.id, "--replay", unknown], 30)
                .await
                .expect(64);
            assert!(again.stderr.contains("no dead letter"), "{}", again.stderr);
        }
        stack.wait_for_success(&job.id, 90).await;
        stack.assert_audit_is_clean(&job.id).await;
        let steps = stack.history(&job.id).await.steps();
        let accounts: Vec<v1::StepAccount> = steps.into_iter().filter_map(|step| step.account).collect();
        let trained = |sequence: u64| {
            let groups = accounts.iter().flat_map(|account| &account.trained);
            groups.filter(|group| group.sequence == sequence).count()
        };
        assert_eq!((trained(0), trained(1), trained(2)), (1, 0, 1));
        let replayed: Vec<u64> = accounts.iter().flat_map(|account| account.replayed.clone()).collect();
        assert_eq!(replayed, [0]);

        // The one that is left can still be read, and no more be replayed.
        let listed = stack.anytime(&["dead-letters", &job.id, "--json"], 30).await.expect(0);
        assert_eq!(listed.json().as_array().unwrap().len(), 1);
        let late = stack
            .anytime(&["dead-letters", &job.id, "--replay-all"], 30)
            .await
            .expect(64);
        assert!(late.stderr.contains("does not train now"), "{}", late.stderr);
    })
    .await;
}
