//! Valid inputs, from which the damaged ones are made.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use anytime_deltas::{DeltaEncoder, ElementWidth};
use anytime_files::record;
use anytime_proto::settings::parse_job_file;
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::job_event::Event;
use anytime_proto::{FILE_DESCRIPTORS, JOB_FORMAT, manifest_checksum, v1};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

pub(crate) const JOB_FILE: &str = include_str!("../../../deploy/jobs/smollm2.toml");

/// What a job file says, read once.
pub(crate) fn job_spec() -> v1::JobSpec {
    static SPEC: LazyLock<v1::JobSpec> = LazyLock::new(|| parse_job_file(JOB_FILE).unwrap());
    SPEC.clone()
}

pub(crate) const STUDY_FILE: &str = r#"title = "sums"
base = "smollm2-sums"
methods = ["grpo"]
seeds = [1]

[set]
training.steps = 60
"#;

/// A file of another crate's tests.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

pub(crate) fn read(path: &str) -> Vec<u8> {
    std::fs::read(fixture(path)).unwrap()
}

pub(crate) fn pool() -> DescriptorPool {
    DescriptorPool::decode(FILE_DESCRIPTORS).unwrap()
}

/// A message with something in every field, a few messages deep.
pub(crate) fn sample(of: &MessageDescriptor, depth: u32) -> DynamicMessage {
    let mut message = DynamicMessage::new(of.clone());
    for field in of.fields() {
        let is_deep = matches!(field.kind(), Kind::Message(_)) && depth == 0;
        if is_deep || field.is_map() {
            continue;
        }
        let one = value(&field, depth);
        let value = if field.is_list() {
            Value::List(vec![one.clone(), one])
        } else {
            one
        };
        message.set_field(&field, value);
    }
    message
}

fn value(field: &FieldDescriptor, depth: u32) -> Value {
    match field.kind() {
        Kind::Double => Value::F64(0.5),
        Kind::Float => Value::F32(0.5),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(1),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(1),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(2),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(3),
        Kind::Bool => Value::Bool(true),
        Kind::String => Value::String("job".to_owned()),
        Kind::Bytes => Value::Bytes(vec![7; 32].into()),
        Kind::Enum(_) => Value::EnumNumber(1),
        Kind::Message(message) => Value::Message(sample(&message, depth - 1)),
    }
}

/// Samples of a message, shallow and deep.
pub(crate) fn samples(name: &str) -> Vec<Vec<u8>> {
    let of = pool().get_message_by_name(&format!("anytime.v1.{name}")).unwrap();
    (0..5).map(|depth| sample(&of, depth).encode_to_vec()).collect()
}

/// A group that keeps every invariant.
pub(crate) fn group() -> v1::ScoredGroup {
    let generated = |length: usize| v1::Generated {
        ids: vec![3; length],
        log_probs: vec![-0.5; length],
        versions: vec![0; length],
        finish: v1::FinishReason::EndMarker.into(),
    };
    let summary = v1::Summary {
        generated: Some(generated(1)),
        verdict: v1::VerdictKind::Correct.into(),
        formatted: true,
        score: 1.0,
    };
    let node = v1::Node {
        cut: 1,
        first_budget: 0,
        multiplicity: 2,
        inserted_ids: vec![8, 7],
        summaries: vec![summary; 2],
    };
    let trace = v1::Trace {
        thinking: Some(generated(1)),
        nodes: vec![node],
    };
    v1::ScoredGroup {
        job_id: "job".to_owned(),
        group_id: "job/train/00000000".to_owned(),
        problem_id: "row-0".to_owned(),
        purpose: v1::Purpose::Train.into(),
        budgets: vec![2, 4],
        summaries_per_budget: 1,
        prompt_ids: vec![1, 2],
        traces: vec![trace; 2],
        actor_id: "a".to_owned(),
        end_marker_tokens: 1,
        ..v1::ScoredGroup::default()
    }
}

pub(crate) fn pushes() -> Vec<Vec<u8>> {
    let group = v1::PushRequest {
        outcome: Some(v1::push_request::Outcome::Group(group().encode_to_vec().into())),
        lease_token: vec![7; 32],
    };
    let mut all = samples("PushRequest");
    all.push(group.encode_to_vec());
    all
}

/// Three steps, an evaluation and a notice.
pub(crate) fn events() -> Vec<v1::JobEvent> {
    let step = |number: u64| {
        Event::Step(v1::StepMetrics {
            step: number,
            weights_version: number,
            account: Some(v1::StepAccount {
                trained: vec![v1::TrainedGroup {
                    sequence: number - 1,
                    oldest_version: number - 1,
                    newest_version: number - 1,
                    thinking_tokens: 3,
                }],
                left_out: Vec::new(),
                replayed: vec![2],
                weights_checksum: "c".to_owned(),
            }),
            ..v1::StepMetrics::default()
        })
    };
    let state = |state: v1::JobState| {
        Event::State(v1::StateChanged {
            state: state.into(),
            ..v1::StateChanged::default()
        })
    };
    let all = [
        state(v1::JobState::Queued),
        state(v1::JobState::Running),
        step(1),
        step(2),
        Event::WentOn(v1::WentOn { step: 1 }),
        step(2),
        step(3),
        state(v1::JobState::Succeeded),
    ];
    let numbered = (1..).zip(all).map(|(number, event)| v1::JobEvent {
        number,
        event: Some(event),
        ..v1::JobEvent::default()
    });
    numbered.collect()
}

pub(crate) fn event_log() -> Vec<u8> {
    let records = events()
        .into_iter()
        .map(|event| record(&event.encode_to_vec()).unwrap());
    records.collect::<Vec<_>>().concat()
}

/// A log of an earlier version.
pub(crate) fn old_event_log() -> Vec<u8> {
    let messages = events().into_iter().map(|event| event.encode_length_delimited_to_vec());
    messages.collect::<Vec<_>>().concat()
}

pub(crate) fn job() -> v1::Job {
    v1::Job {
        id: "job".to_owned(),
        state: v1::JobState::Running.into(),
        spec: Some(job_spec()),
        format: JOB_FORMAT,
        ..v1::Job::default()
    }
}

/// A tensor and an asset, and the tensors of the version after it.
pub(crate) fn manifest(fill: u8) -> (v1::WeightsManifest, Vec<u8>) {
    let data = vec![fill; 64];
    let checksum = blake3::hash(&data).to_hex().to_string();
    let manifest = v1::WeightsManifest {
        job_id: "job".to_owned(),
        version: u64::from(fill),
        assets: vec![v1::WeightsEntry {
            name: "config.json".to_owned(),
            bytes: 2,
            checksum: blake3::hash(b"{}").to_hex().to_string(),
            ..v1::WeightsEntry::default()
        }],
        tensors: vec![v1::WeightsEntry {
            name: "a".to_owned(),
            dtype: "F32".to_owned(),
            shape: vec![16],
            bytes: 64,
            checksum,
        }],
    };
    (manifest, data)
}

fn answers(parts: Vec<Part>) -> Vec<u8> {
    let responses = parts
        .into_iter()
        .map(|part| v1::FetchWeightsResponse { part: Some(part) });
    responses
        .map(|response| response.encode_length_delimited_to_vec())
        .collect::<Vec<_>>()
        .concat()
}

/// The answers to a fetch, as whole weights and as a delta to version 1.
pub(crate) fn fetched() -> Vec<Vec<u8>> {
    let (first, base) = manifest(0);
    let (second, new) = manifest(1);
    let asset = Part::Chunk(v1::WeightsChunk {
        entry: 0,
        offset: 0,
        data: b"{}".to_vec().into(),
    });
    let chunk = |offset: usize, length: usize| {
        Part::Chunk(v1::WeightsChunk {
            entry: 1,
            offset: offset as u64,
            data: base[offset..offset + length].to_vec().into(),
        })
    };
    let block = DeltaEncoder::try_new().unwrap().encode(ElementWidth::Four, &base, &new);
    let delta = v1::WeightsDelta {
        base: Some(v1::WeightsId {
            version: 0,
            manifest_checksum: manifest_checksum(&first),
        }),
        blocks: vec![v1::weights_delta::Block {
            tensor: 0,
            number: 0,
            data: block.unwrap().unwrap().into(),
        }],
    };
    vec![
        answers(vec![Part::Manifest(first), asset, chunk(0, 40), chunk(40, 24)]),
        answers(vec![Part::Manifest(second), Part::Delta(delta)]),
    ]
}
