//! Recovery checkpoints that are damaged, unfinished, superfluous.

use super::*;

#[test]
fn what_an_objective_remembers_is_kept_and_may_be_missing() {
    let without = r#"{"step": 2, "updates": 4, "consumed_below": 8, "consumed": []}"#;
    let mut state: RecoveryState = serde_json::from_str(without).expect("a checkpoint of an earlier version");
    assert_eq!((state.step, &state.objective), (2, &None));
    state.objective = Some(serde_json::json!({ "best_accuracy": 0.5 }));
    let text = serde_json::to_string(&state).expect("serialisable");
    assert_eq!(serde_json::from_str::<RecoveryState>(&text).expect("valid"), state);
}

/// The files that are a checkpoint of one tensor.
fn write_checkpoint(directory: &Path, step: u64) {
    fs::create_dir_all(directory).expect("made");
    let tensor = Tensor::from_slice(&[step as f32; 64]);
    for name in [WEIGHTS_FILE, OPTIMISER_FILE] {
        Tensor::write_safetensors(&[("tensor", &tensor)], directory.join(name)).expect("written");
    }
    let state = RecoveryState {
        step,
        ..RecoveryState::default()
    };
    write_state(directory, &state).expect("written");
    checksums::write(directory, &FILES).expect("written");
}

/// Flips a bit in the middle of a file.
fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).expect("written");
}

fn cut(path: &Path) {
    let length = fs::metadata(path).expect("there").len();
    let file = fs::OpenOptions::new().write(true).open(path).expect("opened");
    file.set_len(length - 7).expect("cut");
}

fn loaded(job: &Path) -> anyhow::Result<Option<(u64, usize)>> {
    let recovered = load_newest(job, Device::Cpu, &|_| true)?;
    Ok(recovered.map(|one| (one.state.step, one.damaged.len())))
}

#[test]
fn where_the_newest_is_damaged_the_one_before_is_taken() {
    for file in [STATE_FILE, WEIGHTS_FILE, OPTIMISER_FILE] {
        let job = tempfile::tempdir().expect("a directory");
        let recovery = job.path().join(DIRECTORY);
        write_checkpoint(&step_directory(&recovery, 10), 10);
        write_checkpoint(&step_directory(&recovery, 20), 20);
        assert_eq!(loaded(job.path()).expect("read"), Some((20, 0)));
        cut(&step_directory(&recovery, 20).join(file));
        assert_eq!(loaded(job.path()).expect("read"), Some((10, 1)), "{file}");
        // It was put aside: the next start does not stumble over it again, and nothing is deleted.
        assert_eq!(loaded(job.path()).expect("read"), Some((10, 0)), "{file}");
        assert!(recovery.join(".step-00000020.damaged").is_dir());
        fs::remove_file(step_directory(&recovery, 10).join(file)).expect("removed");
        let error = loaded(job.path()).expect_err("nothing is left").to_string();
        assert!(error.contains("no recovery checkpoint can be read"), "{error}");
        assert!(error.contains(file), "{error}");
    }
}

#[test]
fn one_flipped_bit_is_found() {
    for file in [STATE_FILE, WEIGHTS_FILE, OPTIMISER_FILE, checksums::FILE] {
        let job = tempfile::tempdir().expect("a directory");
        let recovery = job.path().join(DIRECTORY);
        write_checkpoint(&step_directory(&recovery, 10), 10);
        write_checkpoint(&step_directory(&recovery, 20), 20);
        flip(&step_directory(&recovery, 20).join(file));
        let recovered = load_newest(job.path(), Device::Cpu, &|_| true).expect("the one before");
        let recovered = recovered.expect("there is one");
        assert_eq!(recovered.state.step, 10);
        assert!(recovered.damaged[0].contains("is damaged"), "{:?}", recovered.damaged);
        assert_eq!(recovered.weights["tensor"], Tensor::from_slice(&[10_f32; 64]));
    }
}

#[test]
fn a_step_that_somebody_changed_is_found() {
    let job = tempfile::tempdir().expect("a directory");
    let directory = step_directory(&job.path().join(DIRECTORY), 10);
    write_checkpoint(&directory, 10);
    let path = directory.join(STATE_FILE);
    let text = fs::read_to_string(&path).expect("there");
    fs::write(&path, text.replace("\"step\": 10", "\"step\": 13")).expect("written");
    let error = loaded(job.path()).expect_err("refused").to_string();
    assert!(
        error.contains("state.json is damaged: it is not what was written"),
        "{error}"
    );
}

#[test]
fn checksums_that_are_gone_are_missed_and_earlier_versions_had_none() {
    let job = tempfile::tempdir().expect("a directory");
    let directory = step_directory(&job.path().join(DIRECTORY), 10);
    write_checkpoint(&directory, 10);
    fs::remove_file(directory.join(checksums::FILE)).expect("removed");
    let error = loaded(job.path()).expect_err("refused").to_string();
    assert!(error.contains("it lacks checksums.json"), "{error}");
    let earlier = RecoveryState {
        step: 10,
        ..RecoveryState::default()
    };
    let path = directory.join(STATE_FILE);
    fs::write(path, serde_json::to_vec(&earlier).expect("serialisable")).expect("written");
    assert_eq!(loaded(job.path()).expect("read"), Some((10, 0)));
}

#[test]
fn a_complete_part_is_taken_where_nothing_else_can_be_read() {
    for part in [
        ".step-00000024.part",
        "step-00000024.part",
        ".step-00000024.part-replaced",
    ] {
        let job = tempfile::tempdir().expect("a directory");
        let recovery = job.path().join(DIRECTORY);
        write_checkpoint(&recovery.join(part), 24);
        // Half written: of no use.
        fs::create_dir_all(recovery.join(".step-00000025.part")).expect("made");
        assert_eq!(loaded(job.path()).expect("read"), Some((24, 0)), "{part}");
        assert!(step_directory(&recovery, 24).is_dir());
        assert!(!recovery.join(".step-00000025.part").exists());
        // With a good one, parts are of no use.
        write_checkpoint(&recovery.join(part), 23);
        assert_eq!(loaded(job.path()).expect("read"), Some((24, 0)));
        assert!(!recovery.join(part).exists());
    }
}

#[test]
fn an_error_that_is_no_damage_changes_nothing() {
    let job = tempfile::tempdir().expect("a directory");
    let recovery = job.path().join(DIRECTORY);
    write_checkpoint(&step_directory(&recovery, 10), 10);
    write_checkpoint(&step_directory(&recovery, 20), 20);
    cut(&step_directory(&recovery, 20).join(WEIGHTS_FILE));
    let refused = load_newest(job.path(), Device::Cpu, &|_| false);
    assert!(refused.is_err());
    assert!(step_directory(&recovery, 20).is_dir());
}

#[test]
fn two_are_kept_and_the_damaged_go_once_there_are_two() {
    let job = tempfile::tempdir().expect("a directory");
    let recovery = job.path().join(DIRECTORY);
    for step in [10, 20, 30] {
        write_checkpoint(&step_directory(&recovery, step), step);
    }
    write_checkpoint(&recovery.join(".step-00000040.damaged"), 40);
    remove_older(&recovery, 30);
    assert_eq!(steps(job.path()).expect("listed"), [20, 30]);
    assert!(!recovery.join(".step-00000040.damaged").exists());
    // After going back to step 20, the job has left step 30 behind; its checkpoint must not push out that of step 20.
    write_checkpoint(&step_directory(&recovery, 25), 25);
    remove_older(&recovery, 25);
    assert_eq!(steps(job.path()).expect("listed"), [20, 25]);
}

#[test]
fn a_step_is_found_for_an_export() {
    let job = tempfile::tempdir().expect("a directory");
    let of = |step: Option<u64>| load_step(job.path(), step, Device::Cpu).map(|one| one.state.step);
    assert!(
        of(None)
            .expect_err("none")
            .to_string()
            .contains("no recovery checkpoint")
    );
    for step in [10, 20] {
        write_checkpoint(&step_directory(&job.path().join(DIRECTORY), step), step);
    }
    assert_eq!((of(None).expect("read"), of(Some(10)).expect("read")), (20, 10));
    let refused = of(Some(15)).expect_err("none").to_string();
    assert!(refused.contains("there are those of 10, 20"), "{refused}");
    cut(&step_directory(&job.path().join(DIRECTORY), 20).join(WEIGHTS_FILE));
    assert_eq!(of(None).expect("the one before"), 10);
    assert!(of(Some(20)).is_err());
}

#[test]
fn whoever_reads_while_checkpoints_come_and_go_finds_whole_ones() {
    let job = tempfile::tempdir().expect("made");
    let parent = job.path().join(DIRECTORY);
    write_checkpoint(&step_directory(&parent, 1), 1);
    let is_done = std::sync::atomic::AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while reads == 0 || !is_done.load(std::sync::atomic::Ordering::Relaxed) {
                for account in anytime_proto::checkpoint_accounts(job.path()).expect("listed") {
                    account.expect("a whole checkpoint");
                }
                reads += 1;
            }
            reads
        });
        for step in 2..=100 {
            let write = |part: &Path| -> anyhow::Result<()> {
                write_checkpoint(part, step);
                Ok(())
            };
            replace_directory(&step_directory(&parent, step), write).expect("written");
            remove_older(&parent, step);
        }
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        reader.join().expect("what the reader found is said above")
    });
    assert!(reads > 10, "only {reads} reads beside the writes");
    assert_eq!(steps(job.path()).expect("listed"), [99, 100]);
}
