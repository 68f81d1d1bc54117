//! What ranks keep and go on from: so many write it, others read it, and whether they divide the optimiser shows nowhere.

use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anytime_policy::operators::collectives::{Group, Store};
use anytime_policy::{ModelConfig, TensorShape, initialise_weights, write_tensors};
use anytime_proto::settings::{JobSettings, parse_job_file};
use anytime_proto::v1;
use tch::Device;

use super::beginning::{Place, hear_beginning, tell_beginning};
use crate::checkpoint::{self, RecoveryState};
use crate::train::{RankGroup, RunOver, StateSource, Trainer, TrainingRow, UpdatePlan, supervised_row};

const TIMEOUT: Duration = Duration::from_secs(30);
const CONFIG: &str = r#"{"model_type": "qwen2", "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 2,
    "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 29, "max_position_embeddings": 64}"#;
const PLAN: UpdatePlan = UpdatePlan {
    micro_batch_tokens: 20,
    activation_checkpointing: false,
};

/// Steps of a run between two recovery checkpoints.
const STEPS: u64 = 3;

fn spec(sharding: v1::Sharding) -> v1::JobSpec {
    let job = "name = \"job\"\nkind = \"sft\"\nmodel = { path = \"m\" }\ndata = { path = \"d.jsonl\" }\n\
               training = { steps = 9, batch = 8, learning_rate = 1e-2, gradient_clip_history = 1.05 }\n";
    let mut spec = parse_job_file(job).expect("a job file");
    spec.training.get_or_insert_default().sharding = Some(sharding.into());
    spec
}

fn rows(step: u64) -> Vec<TrainingRow> {
    (1..8)
        .map(|length| supervised_row(&[1, 2], &vec![3 + ((length + step) % 9) as u32; length as usize]))
        .collect()
}

/// Goes on from the newest recovery checkpoint as rank 0, and writes the next.
fn lead(ranks: Option<RankGroup>, spec: &v1::JobSpec, (job, target): (&Path, &Path), before_saving: fn(&Trainer)) {
    let settings = JobSettings::try_new(spec).expect("valid");
    let config = ModelConfig::from_json(CONFIG).expect("a model");
    let recovered = checkpoint::load_newest(job, Device::Cpu, &|_| true).expect("read");
    let (mut state, weights, kept) = match recovered {
        Some(recovered) => (recovered.state, recovered.weights, Some(recovered.optimiser)),
        None => (
            RecoveryState::default(),
            initialise_weights(&config, 3, Device::Cpu),
            None,
        ),
    };
    let mut trainer = Trainer::new(&settings, config, 29, weights, Device::Cpu, PLAN);
    if let Some(ranks) = ranks {
        trainer.join(ranks);
    }
    if let (Some(kept), None) = (&kept, trainer.ranks()) {
        trainer.optimiser_mut().restore(state.updates, kept).expect("complete");
    }
    if trainer.ranks().is_some() {
        let place = Place {
            spec,
            config: CONFIG,
            vocabulary: 29,
            plan: PLAN,
        };
        let kept = kept.as_ref().map(|kept| (state.updates, kept as &dyn StateSource));
        tell_beginning(&mut trainer, kept, &place).expect("all are there");
    }
    // Where it writes elsewhere it only takes over what there is.
    for _ in 0..if job == target { STEPS } else { 0 } {
        trainer.supervised_step(rows(state.step), &|| Ok(())).expect("a step");
        state.step += 1;
    }
    state.updates = trainer.optimiser().updates();
    before_saving(&trainer);
    checkpoint::save(target, &state, &trainer).expect("written");
}

fn follow(ranks: RankGroup) {
    let mut trainer = hear_beginning(ranks, Device::Cpu, &|| Ok(())).expect("a beginning");
    loop {
        if let Err(error) = trainer.follow_step(&|| Ok(())) {
            assert!(error.is::<RunOver>(), "{error:#}");
            return;
        }
    }
}

/// A run of so many ranks.
fn run(world: usize, spec: &v1::JobSpec, job: &Path) {
    run_with(world, spec, (job, job), |_| ());
}

/// A run in which rank 0 does something before it writes its checkpoint.
fn run_with(world: usize, spec: &v1::JobSpec, (job, target): (&Path, &Path), before_saving: fn(&Trainer)) {
    if world == 1 {
        return lead(None, spec, (job, target), before_saving);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let served = Store::serve(listener, TIMEOUT).expect("a store");
    let ranks: Vec<_> = (0..world)
        .map(|rank| {
            let (spec, job, target) = (spec.clone(), job.to_owned(), target.to_owned());
            thread::spawn(move || {
                let store = Arc::new(Store::connect(address, TIMEOUT).expect("the store answers"));
                let local = IpAddr::from([127, 0, 0, 1]);
                let group = Group::join(&store, "run", local, (rank, world), (TIMEOUT, TIMEOUT)).expect("all come");
                let ranks = RankGroup::new(group, store, "run".to_owned());
                match rank {
                    0 => lead(Some(ranks), &spec, (&job, &target), before_saving),
                    _ => follow(ranks),
                }
            })
        })
        .collect();
    for rank in ranks {
        rank.join().expect("no panic");
    }
    drop(served);
}

/// The directories of a job's checkpoints, the newest last.
fn checkpoints(job: &Path) -> Vec<PathBuf> {
    let listing = std::fs::read_dir(job.join("recovery")).expect("listed");
    let mut all: Vec<PathBuf> = listing.map(|entry| entry.expect("listed").path()).collect();
    all.sort();
    all
}

fn newest(job: &Path, file: &str) -> (PathBuf, Vec<u8>) {
    let path = checkpoints(job).pop().expect("there is one").join(file);
    let bytes = std::fs::read(&path).expect("read");
    (path, bytes)
}

#[test]
fn any_number_of_ranks_goes_on_from_what_others_have_written() {
    let (whole, divided) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    for world in [2, 3, 1, 2] {
        run(world, &spec(v1::Sharding::None), whole.path());
        run(world, &spec(v1::Sharding::Optimizer), divided.path());
        for file in ["weights.safetensors", "optimiser.safetensors"] {
            let (path, one) = newest(whole.path(), file);
            let (_, other) = newest(divided.path(), file);
            assert!(one == other, "{world} ranks, {}", path.display());
        }
    }
    assert!(checkpoints(whole.path())[1].ends_with(format!("step-{:08}", 4 * STEPS)));
}

/// Masters and moments of ranks that divide everything are those that any other number of ranks takes over, bit by bit.
#[test]
fn what_divided_ranks_have_written_is_what_others_take_over() {
    let written = tempfile::tempdir().expect("a directory");
    for sharding in [v1::Sharding::Gradients, v1::Sharding::Full] {
        run(2, &spec(sharding), written.path());
        for (world, other) in [
            (1, v1::Sharding::None),
            (2, v1::Sharding::Gradients),
            (3, v1::Sharding::Full),
            (3, v1::Sharding::Optimizer),
        ] {
            let target = tempfile::tempdir().expect("a directory");
            run_with(world, &spec(other), (written.path(), target.path()), |_| ());
            for file in ["weights.safetensors", "optimiser.safetensors"] {
                let (_, one) = newest(written.path(), file);
                let (_, found) = newest(target.path(), file);
                assert!(one == found, "{sharding:?} by 2, {other:?} by {world}: {file}");
            }
        }
    }
    assert!(checkpoints(written.path())[1].ends_with(format!("step-{:08}", 2 * STEPS)));
}

/// Where rank 0's disk refuses in the middle of the state, the others are not left waiting: it asks for all of it once more.
#[test]
fn a_state_that_the_disk_refuses_is_asked_for_again() {
    let (refused, expected) = (
        tempfile::tempdir().expect("a directory"),
        tempfile::tempdir().expect("a directory"),
    );
    let place = (refused.path(), refused.path());
    run_with(2, &spec(v1::Sharding::Optimizer), place, |trainer| {
        let mut asked = 0;
        let give = &mut |shape: &TensorShape| {
            asked += 1;
            trainer.tensor_of_state(shape)
        };
        let layout = trainer.optimiser().layout();
        let error = write_tensors(Path::new("/dev/full"), &layout, give).expect_err("there is no room");
        assert!(format!("{error:#}").contains("No space left"), "{error:#}");
        assert!((2..layout.len()).contains(&asked), "{asked} of {}", layout.len());
    });
    run(2, &spec(v1::Sharding::None), expected.path());
    assert!(newest(refused.path(), "optimiser.safetensors").1 == newest(expected.path(), "optimiser.safetensors").1);
}
