//! Every way in which a job can be refused for the job that it is to start from, provoked and written to docs/refusals.md.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anytime_proto::JOB_FORMAT;
use anytime_proto::settings::{JobSettings, parse_job_file};
use anytime_proto::v1::{self, JobState};
use tch::Device;

use super::fork::{take_start, validate_here};
use super::leases;
use super::memory::UpdatePlace;
use super::start::validate;
use crate::checkpoint::Assets;
use crate::data::refusals_page::{assert_section, entry};
use crate::jobs::checked::CheckedJob;
use crate::jobs::fork::{ForkError, TakeStart};
use crate::jobs::forking;
use crate::jobs::registry::JobRegistry;
use crate::jobs::store::{read_job, save_job};
use crate::outputs::Places;

const HEADING: &str = "## Jobs that start from a job";

/// What is wrong, and the model of the job file.
const CASES: &[(&str, &str)] = &[
    ("a job that the learner does not have", "from_job = \"nobody\""),
    ("a job that has written no recovery checkpoint", "from_job = \"fresh\""),
    ("a step that has none", "from_job = \"damaged\", from_step = 15"),
    ("a job all of whose are damaged", "from_job = \"damaged\""),
    ("a step whose is damaged", "from_job = \"damaged\", from_step = 10"),
    ("a job of another version of the learner", "from_job = \"older\""),
    ("a job without the files beside its weights", "from_job = \"bare\""),
    (
        "weights that are not those of the configuration",
        "from_job = \"other\"",
    ),
];

/// A learner's jobs, as they are on the disk.
struct World {
    root: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self {
            root: tempfile::tempdir().expect("a directory"),
        };
        fs::write(
            world.root.path().join("data.jsonl"),
            "{\"problem\": \"1+2=\", \"answer\": 3}\n",
        )
        .expect("written");
        let registry = world.registry();
        for name in ["fresh", "damaged", "older", "bare", "other"] {
            let spec = world.spec("path = \"model\"").expect("a job file");
            let mut settings = JobSettings::try_new(&spec).expect("valid");
            name.clone_into(&mut settings.name);
            let checked = CheckedJob::from(settings);
            let entry = registry.create(name, &spec, &checked).expect("created");
            let directory = entry.directory();
            if name != "bare" {
                let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/model");
                Assets::read(&demo)
                    .and_then(|assets| assets.keep(directory))
                    .expect("kept");
            }
            if name != "fresh" {
                checkpoint(directory, 10, name != "damaged");
            }
        }
        drop(registry);
        let directory = world.places().runs_directory.join("older");
        let mut older = read_job(&directory).expect("a job");
        older.format = JOB_FORMAT + 1;
        older.set_state(JobState::Succeeded);
        save_job(&directory, &older).expect("saved");
        world
    }

    fn places(&self) -> Places {
        Places {
            root: self.root.path().to_owned(),
            runs_directory: self.root.path().join("runs"),
            output_roots: Vec::new(),
        }
    }

    fn registry(&self) -> JobRegistry {
        JobRegistry::open(self.places()).expect("jobs")
    }

    fn spec(&self, model: &str) -> Result<v1::JobSpec, String> {
        let job = format!(
            "name = \"job\"\nkind = \"evaluate\"\nmodel = {{ {model} }}\nevaluation = {{ path = \"data.jsonl\" }}\n"
        );
        parse_job_file(&job).map_err(|error| error.to_string())
    }

    /// What a learner says to the submission.
    fn said(&self, registry: &JobRegistry, model: &str) -> Result<(), String> {
        let mut spec = self.spec(model)?;
        let take: TakeStart = Arc::new(take_start);
        let fork = forking::take(registry, &take, &mut spec, true).map_err(|error| match error {
            ForkError::Refused(setting) => setting.to_string(),
            ForkError::Failed(failure) => panic!("{model}: {failure:#}"),
        })?;
        let check = |placed: &v1::JobSpec| validate(placed, &[], self.root.path(), UpdatePlace::all_of(Device::Cpu));
        forking::check(fork, &spec, check)
            .map(drop)
            .map_err(|error| self.shown(&error.to_string()))
    }

    fn shown(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.root.path().display()), "")
    }
}

/// A checkpoint without a good tensor in it.
fn checkpoint(job_directory: &Path, step: u64, is_good: bool) {
    let directory = job_directory.join(format!("recovery/step-{step:08}"));
    fs::create_dir_all(&directory).expect("made");
    // The head of a file without tensors.
    let weights = b"\x02\0\0\0\0\0\0\0{}";
    let state = r#"{"step": 10, "updates": 10, "consumed_below": 0, "consumed": [], "has_checksums": true}"#;
    let digits = if is_good {
        blake3::hash(weights).to_hex().to_string()
    } else {
        "0".repeat(64)
    };
    let checksums = format!(
        "{{\"weights.safetensors\": {{\"bytes\": {}, \"blake3\": \"{digits}\"}}}}",
        weights.len()
    );
    for (name, content) in [
        ("weights.safetensors", &weights[..]),
        ("state.json", state.as_bytes()),
        ("checksums.json", checksums.as_bytes()),
    ] {
        fs::write(directory.join(name), content).expect("written");
    }
}

#[test]
fn the_page_of_refusals_has_those_of_jobs_that_start_from_a_job() {
    let world = World::new();
    let registry = world.registry();
    let mut text = format!(
        "{HEADING}\n\nWhat is wrong with the job that `model.from_job` names, and what is said. Written by\n\n    UPDATE=1 cargo \
         test -p anytime-learner --lib refusals\n"
    );
    for (wrong, model) in CASES {
        let said = world.said(&registry, model).expect_err(wrong);
        assert!(!said.contains('\n'), "{wrong}: a refusal is one sentence: {said}");
        text.push_str(&entry(wrong, &said));
    }
    // Nothing is left of what was refused.
    let left = fs::read_dir(world.places().runs_directory).expect("listed").flatten();
    let left: Vec<String> = left
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert!(!left.iter().any(|name| name.starts_with(".submitting-")), "{left:?}");

    let mut spec = world.spec("from_job = \"nobody\"").expect("a job file");
    let here = validate_here(&mut spec, &[], &world.places()).expect_err("nobody has it");
    text.push_str(&entry(
        "without a learner, a job that is not in its directory",
        &world.shown(&here.to_string()),
    ));
    let without = leases(&spec, world.root.path(), 0, None).expect_err("no model");
    text.push_str(&entry(
        "`anytime generate`, where no learner takes part",
        &without.to_string(),
    ));
    assert_section(HEADING, "## Files", &text);
}
