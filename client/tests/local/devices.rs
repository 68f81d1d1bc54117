//! Which device each process of `anytime local` gets.

use super::stage::Stage;
use super::support::Script;

#[tokio::test(flavor = "multi_thread")]
async fn every_process_gets_the_device_that_is_named_for_it() {
    let stage = Stage::new(Script::default()).await;
    let ended = stage.run(&["--devices", "0,2,cpu"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let learner = &stage.started("anytime-learner")[0];
    assert!(learner.contains("--device cuda:0 "), "{learner}");
    assert!(!learner.contains("--memory-share"), "{learner}");
    let actors = stage.started("anytime-actor");
    assert_eq!(actors.len(), 2, "as many as there are devices: {actors:?}");
    for (id, device) in [("actor-1", "cuda:2"), ("actor-2", "cpu")] {
        let expected = format!("--actor-id {id} --device {device} --threads 1");
        let line = actors.iter().find(|line| line.contains(&expected));
        // An actor that is alone on its device gets no share and takes its default.
        assert!(line.is_some_and(|line| !line.contains("--memory-share")), "{actors:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_on_one_device_share_its_memory() {
    let stage = Stage::new(Script::default()).await;
    let ended = stage.run(&["--devices", "1,1,1,0"]).await;
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let shares: Vec<bool> = ["actor-1", "actor-2", "actor-3"]
        .map(|id| {
            let actors = stage.started("anytime-actor");
            let line = actors.iter().find(|line| line.contains(&format!("--actor-id {id} ")));
            line.unwrap().contains("--memory-share 0.225")
        })
        .into();
    assert_eq!(shares, [true, true, false]);
    // The learner plans its updates with what two actors leave it, not with all that is free before they start.
    let learner = &stage.started("anytime-learner")[0];
    assert!(learner.contains("--memory-share 0.450"), "{learner}");
    let all_on_one = stage.run(&["--out", "other", "--device", "cpu"]).await;
    assert_eq!(all_on_one.code, 0, "{}", all_on_one.stderr);
    let actors = stage.started("anytime-actor");
    assert!(
        actors[3..]
            .iter()
            .all(|line| line.contains("--device cpu") && line.contains("--memory-share 0.225"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_that_do_not_suffice_are_refused_before_anything_starts() {
    for (arguments, problem) in [
        (vec!["--devices", "0"], "--devices 0: 1 device is named"),
        (
            vec!["--devices", "0,1", "--actors", "2"],
            "--devices 0,1: 2 devices are named; the learner and 2 actors (--actors) need 3",
        ),
        (vec!["--devices", "0,gpu1"], "\"gpu1\" is no device"),
        (vec!["--devices", "0,1", "--device", "cpu"], "cannot be used with"),
    ] {
        let stage = Stage::new(Script::default()).await;
        let ended = stage.run(&arguments).await;
        assert_eq!(ended.code, 64, "{}", ended.stderr);
        assert!(ended.stderr.contains(problem), "{}", ended.stderr);
        assert!(stage.pids().is_empty());
        assert!(!stage.path("runs/sums").exists());
    }
}
