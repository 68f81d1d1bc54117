//! What memory the processes of a job will take, computed from the sizes of its model and its settings.
//!
//! With P parameters, e bytes to a number in the forward pass:
//!
//! - learner: what an update takes (`train/memory.rs` has the arithmetic), on the CPU, and the two newest published
//!   versions 2·e·P.
//! - actor: the arithmetic of `anytime_policy::actor_memory`, by which actors size their cache, with a cache that all
//!   sequences fit.

use anyhow::Context as _;
use anytime_policy::Lora;
use anytime_policy::actor_memory::{ActorMemory, ModelSizes, Place, most_cache};
use anytime_policy::device::name;
use anytime_policy::memory::DeviceMemory;
use anytime_proto::settings::{InvalidSetting, JobSettings};
use anytime_proto::{ShortName as _, v1};
use tch::{Device, Kind};

use super::prepare::Prepared;
use crate::train::{UpdatePlan, UpdateShape, compute_kind, lora_of};

/// The default of `--slots`: the sequences that an actor generates at the same time.
const SLOTS: u64 = 64;

/// Where a job's updates are computed.
#[derive(Clone, Copy, Debug)]
pub struct UpdatePlace {
    /// The device of each rank.
    pub device: Device,
    /// The share of its memory that the learner may take, above 0, up to 1.
    pub share: f64,
    /// How many ranks there are.
    pub ranks: u16,
}

impl UpdatePlace {
    /// One process that may take all of a device.
    pub fn all_of(device: Device) -> Self {
        Self {
            device,
            share: 1.0,
            ranks: 1,
        }
    }
}

/// What the learner and one actor will take. Supervised training has no actor, an evaluation does not train.
pub(super) fn memory(settings: &JobSettings, prepared: &Prepared, parameters: u64) -> Vec<v1::MemoryCheck> {
    let mut processes = vec![process("learner", learner(settings, prepared, parameters))];
    if settings.kind != v1::JobKind::Sft {
        processes.push(process("actor", actor(settings, prepared)));
    }
    processes
}

/// What a rank of the learner takes of a GPU, by everything that the ranks may divide, and what an actor takes.
pub(super) fn on_gpus(settings: &JobSettings, prepared: &Prepared, parameters: u64) -> Vec<v1::GpuNeed> {
    let device = Device::Cuda(0);
    let element = compute_kind(settings.model.dtype, device).elt_size_in_bytes() as u64;
    let learner = |sharding: v1::Sharding, whole_bytes, divided_bytes| v1::GpuNeed {
        process: "learner".to_owned(),
        sharding: sharding.short_name().to_owned(),
        whole_bytes,
        divided_bytes,
        ..v1::GpuNeed::default()
    };
    let mut needs = Vec::new();
    if settings.kind == v1::JobKind::Evaluate {
        // It makes no updates, and has nothing but what it publishes.
        needs.push(learner(v1::Sharding::None, 4 * parameters, 0));
    } else {
        let lora = adapters(settings);
        let mut shardings = vec![v1::Sharding::None, v1::Sharding::Optimizer];
        if lora.is_none() && settings.training.activation_checkpointing != Some(false) {
            shardings.extend([v1::Sharding::Gradients, v1::Sharding::Full]);
        }
        needs.extend(shardings.into_iter().map(|sharding| {
            let need = |ranks| {
                let shape = update_shape(settings, prepared, (device, ranks), lora.as_ref());
                UpdateShape { sharding, ..shape }.least().total()
            };
            // What is divided by the number of ranks is what four take less than two, four times.
            let (of_two, of_four) = (need(2), need(4));
            let divided = 4 * (of_two - of_four);
            learner(sharding, of_two - divided / 2, divided)
        }));
    }
    if settings.kind != v1::JobKind::Sft {
        let sizes = ModelSizes::from(&prepared.config);
        let need = ActorMemory::new(&sizes, element, SLOTS, Place::Cuda);
        let of_cache = |cache: u64| need.with_cache(cache) - need.beside_cache();
        let (longest, branch) = lengths(settings, prepared);
        // One thinking, and one summary of it.
        let least = sizes.slot_bytes(longest, element) + sizes.slot_bytes(branch, element);
        needs.push(v1::GpuNeed {
            process: "actor".to_owned(),
            whole_bytes: need.beside_cache(),
            cache_bytes: of_cache(most_cache(&sizes, SLOTS, longest, branch, element)),
            least_cache_bytes: of_cache(least),
            ..v1::GpuNeed::default()
        });
    }
    needs
}

fn process(name: &str, parts: Vec<(&str, u64)>) -> v1::MemoryCheck {
    v1::MemoryCheck {
        process: name.to_owned(),
        bytes: parts.iter().map(|(_, bytes)| bytes).sum(),
        parts: parts
            .into_iter()
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(what, bytes)| v1::MemoryPart {
                what: what.to_owned(),
                bytes,
            })
            .collect(),
    }
}

/// Bytes to a number in the forward pass: 4 unless the job asks for bf16, because `auto` means f32 on the CPU.
fn element_bytes(settings: &JobSettings) -> u64 {
    if settings.model.dtype == v1::Dtype::Bf16 { 2 } else { 4 }
}

fn learner(settings: &JobSettings, prepared: &Prepared, parameters: u64) -> Vec<(&'static str, u64)> {
    let element = element_bytes(settings);
    if settings.kind == v1::JobKind::Evaluate {
        return vec![
            ("weights", 4 * parameters),
            ("published versions", element * parameters),
        ];
    }
    let lora = adapters(settings);
    let published = if settings.kind == v1::JobKind::Train {
        // Versions of adapters share their base.
        let versions = if lora.is_some() { 1 } else { 2 };
        versions * element * parameters
    } else {
        0
    };
    let shape = update_shape(settings, prepared, (Device::Cpu, 1), lora.as_ref());
    let need = match shape.plan(DeviceMemory::ask(Device::Cpu).ok()) {
        Ok(plan) => shape.memory(plan),
        // A check shows what the job needs; the job is refused only on the machine where it is to run.
        Err(too_large) => too_large.need,
    };
    vec![
        ("weights", need.parameters / 2 + need.copy),
        ("gradients", need.parameters / 2),
        ("moments of AdamW", need.moments),
        ("published versions", published),
        ("head and logits", need.head + need.logits),
        ("activations of a micro-batch", need.activations),
    ]
}

/// How the job's updates fit the share of the device that the learner may take.
pub(super) fn update_plan(
    settings: &JobSettings,
    prepared: &Prepared,
    place: UpdatePlace,
) -> anyhow::Result<UpdatePlan> {
    let UpdatePlace { device, share, ranks } = place;
    let lora = adapters(settings);
    let shape = update_shape(settings, prepared, (device, ranks), lora.as_ref());
    if settings.kind == v1::JobKind::Evaluate {
        return Ok(shape.unused_plan());
    }
    let memory = DeviceMemory::ask(device).ok().map(|memory| memory.share(share));
    shape.plan(memory).with_context(|| {
        format!(
            "model {} cannot be trained on {device:?}",
            prepared.model_directory.display()
        )
    })
}

/// Refuses a job none of whose updates could fit the device even if nobody else used it. Memory that others hold now
/// does not count, because a job may wait for its turn behind the one that holds it.
///
/// # Errors
/// `model.path`, with what an update needs.
pub(super) fn refuse_too_large(
    settings: &JobSettings,
    prepared: &Prepared,
    (device, ranks): (Device, u16),
    memory: Option<DeviceMemory>,
) -> Result<(), InvalidSetting> {
    if settings.kind == v1::JobKind::Evaluate {
        return Ok(());
    }
    let all = memory.map(|memory| DeviceMemory {
        free: memory.total,
        held: 0,
        ..memory
    });
    let lora = adapters(settings);
    match update_shape(settings, prepared, (device, ranks), lora.as_ref()).plan(all) {
        Ok(_) => Ok(()),
        Err(too_large) => {
            let (setting, value) = settings.model.start();
            let reason = format!(
                "it must be a model that can be trained on {}: {too_large}",
                name(device)
            );
            Err(InvalidSetting::new(setting, value, reason))
        }
    }
}

fn adapters(settings: &JobSettings) -> Option<Lora> {
    settings.training.lora.as_ref().map(lora_of)
}

fn update_shape<'a>(
    settings: &JobSettings,
    prepared: &'a Prepared,
    (device, ranks): (Device, u16),
    lora: Option<&'a Lora>,
) -> UpdateShape<'a> {
    UpdateShape {
        config: &prepared.config,
        compute_kind: compute_kind(settings.model.dtype, device),
        is_cuda: device.is_cuda(),
        longest_row: longest_row(settings, prepared),
        micro_batch_tokens: settings.training.micro_batch_tokens.map(|tokens| tokens as usize),
        activation_checkpointing: settings.training.activation_checkpointing,
        lora,
        has_dropout: settings.training.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0),
        sharding: settings.training.sharding,
        ranks: u64::from(ranks),
    }
}

/// Packed tokens of the longest row that a job can train on.
fn longest_row(settings: &JobSettings, prepared: &Prepared) -> usize {
    let completions = prepared.completions.iter();
    let supervised = completions.map(|(prompt, completion)| prompt.len() + completion.len());
    let prompt = prepared.problems.iter().map(|problem| problem.prompt_ids.len()).max();
    let rollout = &settings.rollout;
    let thinking = rollout.budgets.last().copied().unwrap_or(0) as usize;
    let inserted = prepared.inserted_tokens();
    let summaries = rollout.budgets.len() * rollout.summaries as usize;
    let trace = prompt.map(|prompt| prompt + thinking + summaries * (inserted + rollout.max_summary_tokens as usize));
    supervised.chain(trace).max().unwrap_or(0)
}

fn actor(settings: &JobSettings, prepared: &Prepared) -> Vec<(&'static str, u64)> {
    let element = element_bytes(settings);
    let sizes = ModelSizes::from(&prepared.config);
    let kind = if element == 2 { Kind::BFloat16 } else { Kind::Float };
    let needs = ActorMemory::new(&sizes, element, SLOTS, Place::on(Device::Cpu, kind));
    let (longest, branch) = lengths(settings, prepared);
    vec![
        ("weights", needs.running),
        ("next weights, while they are loaded", needs.next),
        ("published versions", needs.published),
        ("a step", needs.step),
        (
            "cache of keys and values",
            most_cache(&sizes, SLOTS, longest, branch, element),
        ),
    ]
}

/// Tokens of the longest thinking with its prompt, and of the longest summary with what is inserted before it.
fn lengths(settings: &JobSettings, prepared: &Prepared) -> (u64, u64) {
    let largest = |budgets: &[u32]| budgets.last().copied().unwrap_or(0);
    let budget = largest(&settings.rollout.budgets).max(largest(&settings.evaluation.budgets));
    let prompts = prepared.checks.iter().map(|check| check.longest_prompt);
    let branch = prepared.inserted_tokens() as u64 + u64::from(settings.rollout.max_summary_tokens);
    (prompts.max().unwrap_or(0) + u64::from(budget), branch)
}

#[cfg(test)]
mod tests {
    use anytime_proto::settings::parse_job_file;

    use super::super::prepare::prepare;
    use super::*;

    /// The demo's model, on a GPU with this much, of which another job holds all but `free`.
    fn refused(total: u64, free: u64) -> Result<(), InvalidSetting> {
        let root = tempfile::tempdir().expect("a directory");
        let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/model");
        std::fs::write(
            root.path().join("data.jsonl"),
            "{\"problem\": \"1+1=\", \"answer\": 2}\n",
        )
        .expect("written");
        let job = format!(
            "name = \"job\"\nkind = \"train\"\nmodel = {{ path = {model:?}, initialise = true }}\ndata = {{ path = \
             \"data.jsonl\", instruction = \"\" }}\nmarkers = {{ cut = \"...\", summary = \"=\" }}\nrollout = {{ budgets = \
             [6], max_summary_tokens = 4 }}\ntraining = {{ steps = 1 }}\n"
        );
        let settings = JobSettings::try_new(&parse_job_file(&job).expect("a job file")).expect("valid");
        let prepared = prepare(&settings, root.path(), None).expect("a job that works");
        let memory = DeviceMemory {
            total,
            free,
            held: 0,
            used: 0,
            peak: 0,
        };
        refuse_too_large(&settings, &prepared, (Device::Cuda(0), 1), Some(memory))
    }

    #[test]
    fn only_what_could_never_fit_the_device_is_refused_before_the_job_exists() {
        const GIB: u64 = 1 << 30;
        assert_eq!(
            refused(80 * GIB, 0),
            Ok(()),
            "the job that runs now ends before this one starts"
        );
        let too_large = refused(GIB, GIB).expect_err("less than CUDA itself takes");
        assert_eq!(too_large.field, "model.path");
        assert!(
            too_large
                .to_string()
                .contains("can be trained on cuda:0: one update needs"),
            "{too_large}"
        );
    }
}
