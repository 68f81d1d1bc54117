//! A learner of two ranks in containers, as `anytime compose --learner-gpus 2` makes them, but on the processor: they train
//! together, nobody else reaches where they meet, and one that is killed is waited for.

use std::collections::BTreeSet;

use anytime_tests::wait::eventually;
use serde_json::Value;

use crate::compose::RECOVERY_SECONDS;
use crate::compose::containers::Containers;

/// What is started: rank 0 comes with the actor.
const STARTED: [&str; 3] = ["actor-gpu2", "learner-gpu1", "prometheus"];

/// Takes a stack with one learner over, in which `job` trains.
pub(crate) async fn two_ranks_train_together(containers: &mut Containers, job: &str) {
    let generated = containers
        .workplace
        .anytime(&["compose", "--gpus", "3", "--learner-gpus", "2"], 30)
        .await
        .expect(0)
        .stdout;
    containers.lay_over(&on_the_processor(&generated));
    containers.up_with(&STARTED).await;
    containers.wait_for_steps(job, 5, RECOVERY_SECONDS).await;
    assert_eq!(ranks_that_have_come(containers).await, Some(2));
    let learner = containers.one("learner").await;
    let rank = containers.one("learner-gpu1").await;
    who_reaches_rank_0(containers, &rank).await;
    eventually("the targets", RECOVERY_SECONDS, async || {
        let answer = containers.prometheus("targets?state=active").await?;
        let targets = answer["activeTargets"].as_array()?;
        let jobs: BTreeSet<&str> = targets
            .iter()
            .filter(|target| target["health"] == "up")
            .filter_map(|target| target["labels"]["job"].as_str())
            .collect();
        ["actor", "learner", "rank", "verifier"]
            .iter()
            .all(|job| jobs.contains(job))
            .then_some(())
    })
    .await;
    for killed in [&rank, &learner] {
        containers.kill_and_start(killed).await;
        containers.wait_for_steps_of_paused(job, 5, 2 * RECOVERY_SECONDS).await;
    }
}

/// The same without GPUs.
fn on_the_processor(overlay: &str) -> String {
    let kept = overlay.lines().filter(|line| !line.contains("driver: nvidia"));
    let text: Vec<String> = kept
        .map(|line| {
            line.replace("anytime:cuda", "anytime:cpu")
                .replace("DEVICE: cuda", "DEVICE: cpu")
        })
        .collect();
    text.join("\n")
}

async fn ranks_that_have_come(containers: &Containers) -> Option<u64> {
    let query = "query?query=anytime_learner_ranks";
    eventually("the number of ranks", RECOVERY_SECONDS, async || {
        let answer = containers.prometheus(query).await?;
        let number: &Value = &answer["result"][0]["value"][1];
        let number: u64 = number.as_str()?.parse().ok()?;
        (number == 2).then_some(Some(number))
    })
    .await
}

/// A rank opens a connection to where they meet; an actor and the verifier do not even know the name, and reach the address
/// as little.
async fn who_reaches_rank_0(containers: &Containers, rank: &str) {
    let connect = |host: &str| format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{host}/7110'");
    let by_name = connect("rank-0");
    containers.exec(rank, &["bash", "-c", &by_name]).await.expect(0);
    let found = containers
        .exec(rank, &["getent", "hosts", "rank-0"])
        .await
        .expect(0)
        .stdout;
    let address = found.split_whitespace().next().unwrap().to_owned();
    for other in ["actor-gpu2", "verifier"] {
        let id = containers.one(other).await;
        for host in ["rank-0", &address] {
            let ended = containers.exec(&id, &["bash", "-c", &connect(host)]).await;
            assert_ne!(ended.code, 0, "{other} reaches {host}");
        }
        // The address of the learner in their own network has nothing at that port.
        let ended = containers.exec(&id, &["bash", "-c", &connect("learner")]).await;
        assert_ne!(ended.code, 0, "{other} reaches the store of ranks");
        containers
            .exec(&id, &["bash", "-c", "exec 3<>/dev/tcp/learner/7100"])
            .await
            .expect(0);
    }
}
