//! A job whose model and data are on the Hugging Face hub, from its check to its export, with real processes and a hub on
//! this machine; and the card of what it exports.
#![allow(clippy::unwrap_used)]

#[path = "../../hub/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use anytime_proto::v1::{self, JobSpec};
use anytime_tests::wait::within;
use anytime_tests::workplace::{Ended, Workplace};
use serde_json::Value;
use yaml_rust2::YamlLoader;

use support::{COMMIT, FakeHub};

const STEPS: u64 = 3;

/// A workplace whose model and data are on a hub, too.
struct World {
    hub: FakeHub,
    workplace: Workplace,
}

impl World {
    fn new() -> Self {
        let (hub, workplace) = (FakeHub::start(), Workplace::new());
        hub.add_directory("owner/start", &workplace.path("model"));
        hub.add_directory("datasets/owner/chains", &workplace.path("data"));
        Self { hub, workplace }
    }

    /// A train job that is evaluated before and after.
    fn job(&self, name: &str, model: &str) -> JobSpec {
        let mut spec = self.workplace.train(name, STEPS);
        let data = |path: &Option<v1::DataSpec>| {
            let path = &path.as_ref().unwrap().path[0];
            let file = Path::new(path).file_name().unwrap().to_str().unwrap();
            format!("hf://datasets/owner/chains/{file}")
        };
        spec.model.as_mut().unwrap().path = Some(model.to_owned());
        let path = data(&spec.data);
        spec.data.as_mut().unwrap().path = vec![path];
        let mut evaluation = self.workplace.demo_train().evaluation.unwrap();
        let file = Path::new(&evaluation.path[0])
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        evaluation.path = vec![format!(
            "hf://datasets/owner/chains@main/{}*",
            file.trim_end_matches(".jsonl")
        )];
        evaluation.budgets = vec![6, 12];
        evaluation.samples = Some(2);
        spec.evaluation = Some(evaluation);
        spec.checkpoint.as_mut().unwrap().recovery_every = Some(1);
        spec
    }

    async fn run(&self, arguments: &[&str], offline: bool, home: &str) -> Ended {
        let mut command = self.workplace.command(arguments);
        command
            .env("HF_ENDPOINT", self.hub.endpoint())
            .env("HF_HOME", self.workplace.path(home))
            .env("HF_HUB_OFFLINE", if offline { "1" } else { "0" })
            .env_remove("HF_HUB_CACHE")
            .env("HF_TOKEN", "hf_of_the_test");
        self.workplace.run(command, 150).await
    }
}

/// The cells of the row of a card that begins like this.
fn row(card: &str, first: &str) -> Vec<String> {
    let mut rows = card.lines().filter(|line| line.starts_with(&format!("| {first} |")));
    let row = rows.next().unwrap_or_else(|| panic!("no row {first:?} in {card}"));
    row.trim_matches('|')
        .split('|')
        .map(|cell| cell.trim().to_owned())
        .collect()
}

/// Holds a card against the evaluations of the job's events.
fn check_card(card: &str, base: Option<&str>, evaluations: &[v1::EvaluationResult], workplace: &Workplace) {
    let (front, _) = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    let front = &YamlLoader::load_from_str(front).unwrap()[0];
    assert_eq!(front["library_name"].as_str(), Some("transformers"), "{card}");
    assert_eq!(front["base_model"].as_str(), base, "{card}");
    assert!(!card.contains(&workplace.path("").display().to_string()), "{card}");
    let after = format!("after step {STEPS}");
    assert_eq!(row(card, "budget"), ["budget", "before training", after.as_str()]);
    assert_eq!(evaluations.len(), 2);
    for (place, budget) in evaluations[0].budgets.iter().enumerate() {
        let cells = evaluations.iter().map(|result| {
            let (low, high) = (result.accuracy_low[place], result.accuracy_high[place]);
            format!("{:.3} [{low:.3}, {high:.3}]", result.accuracy[place])
        });
        let expected: Vec<String> = std::iter::once(budget.to_string()).chain(cells).collect();
        assert_eq!(row(card, &budget.to_string()), expected);
    }
}

/// The job as its directory has it.
fn recorded(runs: &Path, job_id: &str) -> v1::Job {
    anytime_learner::jobs::store::read_job(&runs.join(job_id)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_the_hub_is_checked_trained_and_exported_with_its_card() {
    within(280, async {
        let world = World::new();
        world.hub.state().token = Some("Bearer hf_of_the_test".to_owned());
        let workplace = &world.workplace;
        let file = workplace.write_job(&world.job("first", "hf://owner/start"));
        let file = file.to_str().unwrap();

        // Without a network nothing is begun.
        let refused = world.run(&["check", file], true, "nothing").await.expect(64);
        assert!(
            refused
                .stderr
                .contains("model.path is \"hf://owner/start\"; HF_HUB_OFFLINE is set, and the cache"),
            "{}",
            refused.stderr
        );
        let checked = world
            .run(&["check", file, "--json"], false, "hf")
            .await
            .expect(0)
            .json();
        let hub = checked[0]["found"]["hub"].as_array().unwrap().clone();
        assert_eq!(hub.len(), 3, "{checked}");
        assert!(hub.iter().all(|input| input["commit"] == COMMIT), "{hub:?}");
        assert!(hub[0]["fetched_bytes"].as_u64().unwrap() > 0, "{hub:?}");
        let directory = PathBuf::from(hub[0]["directory"].as_str().unwrap());
        assert!(directory.starts_with(workplace.path("hf/hub")), "{directory:?}");
        let said = world.run(&["check", file], true, "hf").await.expect(0);
        assert!(
            said.stdout.contains("note: model.path: hf://owner/start is commit"),
            "{}",
            said.stdout
        );
        assert!(said.stdout.contains("HF_HUB_OFFLINE is set"), "{}", said.stdout);

        let options = ["--out", "out", "--actors", "1", "--device", "cpu", "--json"];
        world
            .run(&[&["local", file], &options[..]].concat(), false, "hf")
            .await
            .expect(0);
        let runs = workplace.path("out");
        let job = recorded(&runs, "first");
        assert_eq!(
            job.spec.as_ref().unwrap().model.as_ref().unwrap().path(),
            format!("hf://owner/start@{COMMIT}")
        );
        assert!(
            job.notices.iter().any(|notice| notice.topic == "hub"),
            "{:?}",
            job.notices
        );
        let model = PathBuf::from(&job.checkpoint);
        let card = std::fs::read_to_string(model.join("README.md")).unwrap();
        // These weights were drawn anew and are based on nothing.
        check_card(&card, None, &job.evaluations, workplace);

        // What it exported goes to the hub, and is a model like any other.
        world.hub.add_directory("owner/trained", &model);
        let licensed = card.replacen("---\n", "---\nlicense: apache-2.0\n", 1);
        world.hub.add("owner/trained", "README.md", licensed.clone());
        let mut second = world.job("second", "hf://owner/trained@main");
        second.model.as_mut().unwrap().initialise = None;
        let file = workplace.write_job(&second);
        let options = ["--out", "out2", "--actors", "1", "--device", "cpu", "--json"];
        let file = file.to_str().unwrap();
        world
            .run(&[&["local", file], &options[..]].concat(), false, "hf")
            .await
            .expect(0);
        let runs = workplace.path("out2");
        let job = recorded(&runs, "second");
        let model = PathBuf::from(&job.checkpoint);
        let card = std::fs::read_to_string(model.join("README.md")).unwrap();
        check_card(&card, Some("owner/trained"), &job.evaluations, workplace);
        assert!(card.contains("\nlicense: \"apache-2.0\"\n"), "{card}");
        assert_eq!(
            std::fs::read_to_string(model.join("BASE_MODEL_README.md")).unwrap(),
            licensed
        );
        assert!(model.join("model.safetensors").is_file());

        // An export of the recovery checkpoint has the same card, without the hub and its cache.
        std::fs::remove_dir_all(workplace.path("hf")).unwrap();
        let arguments = ["export", "second", "--runs-dir", runs.to_str().unwrap(), "--json"];
        let exported: Value = world.run(&arguments, true, "nothing").await.expect(0).json();
        let exported = PathBuf::from(exported["directory"].as_str().unwrap());
        assert_eq!(std::fs::read_to_string(exported.join("README.md")).unwrap(), card);
        assert_eq!(
            std::fs::read_to_string(exported.join("BASE_MODEL_README.md")).unwrap(),
            licensed
        );

        // The token went to the hub alone.
        let seen = world.hub.seen();
        assert!(
            seen.iter().any(|request| request.host == world.hub.files),
            "a large file was fetched"
        );
        for request in seen {
            assert_eq!(request.token.is_some(), request.host == world.hub.hub, "{request:?}");
        }
        workplace.assert_nothing_runs();
        for log in ["out/logs/learner.log", "out2/logs/learner.log"] {
            assert!(
                !std::fs::read_to_string(workplace.path(log))
                    .unwrap()
                    .contains("hf_of_the_test")
            );
        }
    })
    .await;
}
