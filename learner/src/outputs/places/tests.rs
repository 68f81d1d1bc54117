//! Where a model may be written, and what is never replaced.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use anytime_proto::settings::parse_job_file;
use tempfile::TempDir;

use super::*;

/// A root with runs, models, data, and a directory outside of it.
struct World {
    root: TempDir,
    outside: TempDir,
    places: Places,
}

fn world() -> World {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for directory in [
        "runs/other/recovery",
        "runs/demo/final",
        "models/base",
        "data",
        "notes",
        "empty",
    ] {
        fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    for job in ["other", "demo"] {
        fs::write(root.path().join("runs").join(job).join("job.pb"), "").unwrap();
    }
    fs::write(root.path().join("models/base/config.json"), "{}").unwrap();
    fs::write(root.path().join("data/problems.jsonl"), "{}").unwrap();
    fs::write(root.path().join("notes/thesis.txt"), "years of work").unwrap();
    let places = Places {
        root: root.path().to_owned(),
        runs_directory: root.path().join("runs"),
        output_roots: Vec::new(),
    };
    World { root, outside, places }
}

fn owner(job: &str, created: &str) -> Owner {
    Owner {
        job: job.to_owned(),
        created: created.to_owned(),
    }
}

fn export_of(directory: &Path, owner: &Owner) {
    fs::create_dir_all(directory).unwrap();
    fs::write(directory.join("config.json"), "{}").unwrap();
    Marker::write(directory, owner, 3, None).unwrap();
}

impl World {
    fn settings(&self, output: &str) -> JobSettings {
        let text = format!(
            "name = \"demo\"\nkind = \"train\"\n[model]\npath = \"models/base\"\n[data]\npath = \"data/problems.jsonl\"\n\
             [training]\nsteps = 3\n[checkpoint]\noutput = {output:?}\n"
        );
        JobSettings::try_new(&parse_job_file(&text).unwrap()).unwrap()
    }

    fn submitted(&self, output: &str) -> Result<Option<PathBuf>, InvalidSetting> {
        self.places.check_job(&self.settings(output), None)
    }

    fn started(&self, output: &str) -> Result<Option<PathBuf>, InvalidSetting> {
        self.places
            .check_job(&self.settings(output), Some(&owner("demo", "1.0")))
    }

    #[track_caller]
    fn refused(&self, output: &str, says: &str) {
        for outcome in [self.submitted(output), self.started(output)] {
            let refusal = outcome.expect_err(output);
            assert_eq!(refusal.field, "checkpoint.output");
            assert!(refusal.to_string().contains(says), "{refusal}");
        }
    }
}

#[test]
fn what_stands_somewhere_is_never_a_place_for_a_model() {
    let world = world();
    world.refused("notes", "no export of this job");
    world.refused("notes/thesis.txt", "a file stands there");
    world.refused("notes/../notes/", "no export of this job");
    world.refused("models", "no export of this job");
    world.refused("models/base", "no export of this job");
    world.refused("models/base/new", "lie in model.path");
    world.refused("data", "no export of this job");
    world.refused(".", "directory of jobs");
    world.refused("..", "directory of jobs");
    world.refused("/", "directory of jobs");
    world.refused("runs", "directory of jobs");
    world.refused("runs/", "directory of jobs");
    world.refused("missing/../../elsewhere", "must");
    assert_eq!(
        fs::read_to_string(world.root.path().join("notes/thesis.txt")).unwrap(),
        "years of work"
    );
}

#[test]
fn a_directory_of_a_job_is_the_jobs() {
    let world = world();
    for inside in [
        "runs/other",
        "runs/other/final",
        "runs/other/new",
        "runs/demo",
        "runs/demo/recovery",
        "runs/demo/x/y",
    ] {
        world.refused(inside, "directory of a job");
    }
    world.refused("runs/.lock-of-mine", "begin with a dot");
    // Its own final directory, once it is the job; and before, where its name will be its id.
    assert!(world.started("runs/demo/final").is_ok());
    assert!(world.submitted("runs/demo/final").is_err());
    let mut fresh = world.settings("runs/fresh/final");
    fresh.name = "fresh".to_owned();
    assert!(world.places.check_job(&fresh, None).is_ok());
    // A directory that its own job, or a later one of its name, would get.
    for taken in ["runs/fresh", "runs/fresh-2", "runs/fresh/model", "runs/fresh-3/final"] {
        fresh.checkpoint.output = Some(taken.to_owned());
        assert!(world.places.check_job(&fresh, None).is_err(), "{taken}");
    }
    // Beside the jobs there is room: this is where the demo writes.
    for free in ["runs/model", "runs/sft", "runs/demonstration", "runs/seed-7/sft"] {
        assert!(world.submitted(free).is_ok(), "{free}");
        assert!(world.started(free).is_ok(), "{free}");
    }
}

#[test]
fn links_are_followed_before_anything_is_decided() {
    let world = world();
    let root = world.root.path();
    symlink(root.join("notes"), root.join("link")).unwrap();
    symlink(root.join("runs"), root.join("jobs")).unwrap();
    symlink(world.outside.path(), root.join("away")).unwrap();
    symlink(root.join("nowhere"), root.join("dangling")).unwrap();
    world.refused("link", "no export of this job");
    world.refused("jobs/other", "directory of a job");
    world.refused("jobs", "directory of jobs");
    world.refused("away/model", "--output-root");
    world.refused("dangling", "a link to nothing");
    world.refused("dangling/model", "a link to nothing");
    let place = world.submitted("jobs/model").unwrap().unwrap();
    assert_eq!(place, root.canonicalize().unwrap().join("runs/model"));
}

#[test]
fn outside_only_where_the_operator_says_so() {
    let mut world = world();
    let outside = world.outside.path().join("models/new");
    let outside = outside.to_str().unwrap().to_owned();
    world.refused(&outside, "--output-root");
    world.refused("../elsewhere", "--output-root");
    world.places.output_roots = vec![world.outside.path().to_owned()];
    assert!(world.submitted(&outside).is_ok());
    assert!(world.started(&outside).is_ok());
    world.refused("../elsewhere", "--output-root");
    // Allowed is not the same as free.
    fs::write(world.outside.path().join("a file"), "").unwrap();
    world.refused(world.outside.path().to_str().unwrap(), "no export of this job");
}

#[test]
fn only_an_export_of_the_very_job_is_replaced() {
    let world = world();
    let place = world.root.path().join("out");
    for (of, may) in [
        (owner("demo", "1.0"), true),
        // Another job of the same id, from before the directory of jobs was emptied.
        (owner("demo", "0.5"), false),
        (owner("demo-2", "1.0"), false),
    ] {
        export_of(&place, &of);
        assert!(world.submitted("out").is_err(), "a new job has no export yet");
        let outcome = world.started("out");
        assert_eq!(outcome.is_ok(), may, "{of:?}");
        if let Err(refusal) = outcome {
            assert!(
                refusal.to_string().contains(&format!("the model of job {}", of.job)),
                "{refusal}"
            );
        }
        fs::remove_dir_all(&place).unwrap();
    }
    export_of(&place, &owner("demo", "1.0"));
    fs::write(place.join("my notes"), "").unwrap();
    assert!(
        world
            .started("out")
            .unwrap_err()
            .to_string()
            .contains("my notes is not of it")
    );
    assert!(world.started("empty").is_ok());
    assert!(world.started("not/there/yet").is_ok());
    assert!(!world.root.path().join("not").exists(), "a check makes nothing");
}

#[test]
fn a_place_that_cannot_be_written_is_found_by_trying() {
    let world = world();
    let locked = world.root.path().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    // Root writes everywhere; then there is a place in /proc that not even root can write.
    let outcome = if fs::write(locked.join("probe"), "").is_ok() {
        check_writable(Path::new("/proc/self/model"))
    } else {
        world.refused("locked/model", "where the learner can write");
        check_writable(&locked.join("model"))
    };
    assert!(outcome.unwrap_err().contains("cannot be written"));
    let left: Vec<_> = fs::read_dir(world.root.path()).unwrap().flatten().collect();
    assert!(
        !left
            .iter()
            .any(|one| one.file_name().to_string_lossy().starts_with(".anytime"))
    );
}

#[test]
fn an_export_that_a_user_asks_for_follows_the_same_rules() {
    let world = world();
    let demo = owner("demo", "1.0");
    assert!(world.places.check_export("exported", &demo).is_ok());
    assert!(world.places.check_export("runs/demo/exports/mine", &demo).is_ok());
    for bad in ["notes", "runs/demo/recovery", "runs/other/exports/x", "/tmp", "runs"] {
        assert!(world.places.check_export(bad, &demo).is_err(), "{bad}");
    }
}
