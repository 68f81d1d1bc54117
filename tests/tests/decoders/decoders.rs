//! All decoders. Each reads its input as the code would that meets it first.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anytime::audit::{Evidence, check};
use anytime::{job_file, overrides, study};
use anytime_actor::plan::Plan;
use anytime_actor::weights::{Assembly, Entries, Patch};
use anytime_files::record;
use anytime_learner::checkpoint::RecoveryState;
use anytime_learner::data::{DataFiles, Fields, read_completions, read_problems};
use anytime_learner::jobs::events::EventLog;
use anytime_learner::jobs::store::{JobStore, checked_files};
use anytime_learner::rollouts::lease_token::LeaseTokens;
use anytime_policy::{Chat, ModelConfig, TemplateArguments, Tokenizer, check_weights, read_weights};
use anytime_proto::generations::{DIRECTORY, Kept, step_file};
use anytime_proto::settings::{JobSettings, check_resumed, with_defaults};
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::{
    check_group, check_group_against_plan, checkpoint_accounts, codec::check_decoded_bytes, decode_group,
    manifest_checksum, v1,
};
use anytime_tests::small_plan::small_plan;
use bytes::Bytes;
use prost::Message as _;
use tch::{Device, Kind};

use crate::seeds;
use crate::target::Target;
use crate::texts::{GENERATIONS, JINJA, JSON, JSON_LINES, JSON_ROWS, RECOVERY, SETTINGS, TOML};

/// Bytes for each byte of a text that becomes a tree of values: JSON, TOML.
const TREE: usize = 512;

/// Bytes for each byte of a message: two bytes of an empty message become the structure of it, and a list that grows is
/// copied.
const MESSAGE: usize = 1024;

/// Every decoder.
pub(crate) fn all() -> Vec<Target> {
    let messages = vec![
        target("push", push, MESSAGE, seeds::pushes, &[]),
        target("job_spec", job_spec, MESSAGE, || seeds::samples("JobSpec"), &[]),
        target(
            "plan",
            plan,
            MESSAGE,
            || [seeds::samples("RolloutPlan"), vec![small_plan().encode_to_vec()]].concat(),
            &[],
        ),
        target("weights", weights, MESSAGE, seeds::fetched, &[]),
    ];
    let texts = vec![
        target(
            "job_file",
            job_text,
            TREE,
            || {
                vec![
                    seeds::JOB_FILE.into(),
                    b"name = \"a\"\n[training]\nsteps = 3\n".to_vec(),
                ]
            },
            TOML,
        ),
        target(
            "set",
            set,
            TREE,
            || SETTINGS.iter().map(|text| text.as_bytes().to_vec()).collect(),
            TOML,
        ),
        target(
            "study_file",
            study_text,
            TREE,
            || vec![seeds::STUDY_FILE.as_bytes().to_vec()],
            TOML,
        ),
    ];
    let data = vec![
        target(
            "data_json",
            |input, at| data("a.json", input, at),
            TREE,
            || vec![JSON_ROWS.to_vec()],
            JSON,
        ),
        target(
            "data_jsonl",
            |input, at| data("a.jsonl", input, at),
            TREE,
            || vec![JSON_LINES.to_vec()],
            JSON,
        ),
        target(
            "data_gzip",
            |input, at| data("a.jsonl.gz", input, at),
            TREE,
            || vec![gzip(JSON_LINES), zstd()],
            &[],
        ),
        target(
            "data_parquet",
            |input, at| data("a.parquet", input, at),
            TREE,
            || vec![seeds::read("learner/tests/fixtures/verl.parquet")],
            &[],
        ),
    ];
    let model = vec![
        target(
            "safetensors",
            safetensors,
            TREE,
            || vec![seeds::read("policy/tests/fixtures/llama/model.safetensors")],
            JSON,
        ),
        target(
            "model_config",
            model_config,
            TREE,
            || {
                ["llama", "qwen3", "llama-yarn"]
                    .map(|name| seeds::read(&format!("policy/tests/fixtures/{name}/config.json")))
                    .to_vec()
            },
            JSON,
        ),
        target(
            "tokenizer",
            |input, at| chat("tokenizer.json", input, at),
            TREE,
            || vec![seeds::read(&format!("{CHATML}/tokenizer.json"))],
            JSON,
        ),
        target(
            "tokenizer_config",
            |input, at| chat("tokenizer_config.json", input, at),
            TREE,
            || vec![seeds::read(&format!("{CHATML}/tokenizer_config.json"))],
            JSON,
        ),
        target(
            "chat_template",
            |input, at| chat("chat_template.jinja", input, at),
            TEMPLATE,
            || vec![seeds::read(&format!("{CHATML}/chat_template.jinja"))],
            JINJA,
        ),
    ];
    let files = vec![
        target(
            "event_log",
            event_log,
            MESSAGE,
            || vec![seeds::event_log()],
            &[b"\xFERE\xFD"],
        ),
        target("events", events, MESSAGE, || vec![seeds::old_event_log()], &[]),
        target(
            "old_event_log",
            old_event_log,
            MESSAGE,
            || vec![seeds::old_event_log()],
            &[],
        ),
        target(
            "job_record",
            job_record,
            MESSAGE,
            || [vec![seeds::job().encode_to_vec()], seeds::samples("Job")].concat(),
            &[],
        ),
        target("recovery_state", recovery_state, TREE, || vec![RECOVERY.to_vec()], JSON),
        target("generations", generations, TREE, || vec![GENERATIONS.to_vec()], JSON),
        target(
            "checked_files",
            stamps,
            TREE,
            || vec![br#"[{"path": "a", "bytes": 3, "modified": 7}]"#.to_vec()],
            JSON,
        ),
    ];
    [messages, texts, data, model, files].into_iter().flatten().collect()
}

fn target(
    name: &'static str,
    decode: fn(&[u8], &Path),
    bytes_per_byte: usize,
    seeds: fn() -> Vec<Vec<u8>>,
    words: &'static [&'static [u8]],
) -> Target {
    Target {
        name,
        decode,
        bytes_per_byte,
        seeds,
        words,
    }
}

const CHATML: &str = "policy/tests/fixtures/tokenizer-chatml";

/// A template may write 64 MiB, whatever its length (`policy/src/chat/`).
const TEMPLATE: usize = 1 << 20;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// A zstd frame. Content tells it from gzip, whatever the file's name says.
fn zstd() -> Vec<u8> {
    b"\x28\xB5\x2F\xFD\x24\x05\x29\x00\x00\x68\x65\x6c\x6c\x6f".to_vec()
}

fn push(input: &[u8], at: &Path) {
    let Ok(request) = v1::PushRequest::decode(input) else {
        return;
    };
    if let Some(v1::push_request::Outcome::Group(wire)) = &request.outcome {
        // As the handler does.
        let Ok(names) = v1::GroupNames::decode(wire.clone()) else {
            return;
        };
        let tokens = LeaseTokens::of_directory(at).unwrap();
        let shown = tokens.is_of(&request.lease_token, &names.job_id, &names.group_id, &names.actor_id);
        assert!(!shown, "nobody can make a token");
        if check_decoded_bytes::<v1::ScoredGroup>(wire).is_err() {
            return;
        }
        let Ok(group) = decode_group(wire) else {
            return;
        };
        let is_of_form = check_group(&group);
        let is_of_plan = check_group_against_plan(&group, &small_plan());
        if is_of_form.is_ok() && is_of_plan.is_ok() {
            assert_eq!(group.traces.len(), 2, "the plan has two");
        }
    }
}

fn job_spec(input: &[u8], _: &Path) {
    let Ok(spec) = v1::JobSpec::decode(input) else {
        return;
    };
    let whole = with_defaults(&spec);
    let _ = JobSettings::try_new(&spec);
    let _ = JobSettings::try_new(&whole);
    let _ = check_resumed(&spec, &whole);
    let _ = check_resumed(&seeds::job_spec(), &spec);
}

fn plan(input: &[u8], _: &Path) {
    if let Ok(plan) = v1::RolloutPlan::decode(input) {
        let _ = Plan::try_new(&plan);
    }
}

/// The answers of a learner to a fetch, to an actor that holds version 0 or nothing.
fn weights(input: &[u8], _: &Path) {
    let mut left = input;
    let mut parts = Vec::new();
    while !left.is_empty()
        && let Ok(response) = v1::FetchWeightsResponse::decode_length_delimited(&mut left)
    {
        parts.extend(response.part);
    }
    let Some(Part::Manifest(manifest)) = parts.first().cloned() else {
        return;
    };
    let Ok(mut assembly) = Assembly::try_new(manifest.clone(), &manifest_checksum(&manifest), false) else {
        return;
    };
    let (held, data) = seeds::manifest(0);
    let base_id = v1::WeightsId {
        version: 0,
        manifest_checksum: manifest_checksum(&held),
    };
    let base = Entries {
        manifest: held,
        assets: Vec::new(),
        tensors: vec![Bytes::from(data)],
    };
    let mut patch = Patch::try_new(manifest, base_id, Arc::new(base)).ok();
    let mut is_whole = true;
    for part in &parts[1..] {
        match part {
            Part::Chunk(chunk) => is_whole &= assembly.push(chunk).is_ok(),
            Part::Delta(delta) => {
                if patch.as_mut().is_some_and(|patch| patch.apply(delta).is_err()) {
                    patch = None;
                }
            }
            Part::Manifest(_) => {}
        }
        if !is_whole {
            break;
        }
    }
    let _ = assembly.finish();
    let _ = patch.map(Patch::finish);
}

fn job_text(input: &[u8], _: &Path) {
    let text = String::from_utf8_lossy(input);
    if let Ok(spec) = job_file::parse("a", &text) {
        let _ = JobSettings::try_new(&spec);
    }
}

fn set(input: &[u8], _: &Path) {
    let text = String::from_utf8_lossy(input).into_owned();
    let _ = overrides::parse_loose(&text);
    let _ = overrides::parse(&text);
    let _ = overrides::apply_to_spec(&v1::JobSpec::default(), &[text]);
}

fn study_text(input: &[u8], _: &Path) {
    let _ = study::grid::Study::parse("a", &String::from_utf8_lossy(input));
}

fn data(name: &str, input: &[u8], at: &Path) {
    fs::write(at.join(name), input).unwrap();
    let names = [name.to_owned()];
    let source = DataFiles {
        setting: "data.path",
        names: &names,
        root: at,
        fields: Fields::default(),
        until: None,
    };
    for said in [
        read_problems(&source).map(|_| ()),
        read_completions(&source).map(|_| ()),
    ] {
        if let Err(error) = said {
            assert!(error.to_string().contains(name), "the file is named: {error}");
        }
    }
}

fn safetensors(input: &[u8], at: &Path) {
    fs::copy(
        seeds::fixture("policy/tests/fixtures/llama/config.json"),
        at.join("config.json"),
    )
    .unwrap();
    fs::write(at.join("model.safetensors"), input).unwrap();
    read_model(at);
}

fn model_config(input: &[u8], at: &Path) {
    fs::write(at.join("config.json"), input).unwrap();
    fs::copy(
        seeds::fixture("policy/tests/fixtures/llama/model.safetensors"),
        at.join("model.safetensors"),
    )
    .unwrap();
    read_model(at);
}

fn read_model(at: &Path) {
    if let Ok(config) = ModelConfig::load(at) {
        let _ = check_weights(at, &config);
        let _ = read_weights(at, &config, Kind::Float, Device::Cpu);
    }
}

fn chat(name: &str, input: &[u8], at: &Path) {
    for file in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
        fs::copy(seeds::fixture(CHATML).join(file), at.join(file)).unwrap();
    }
    fs::write(at.join(name), input).unwrap();
    let Ok(tokenizer) = Tokenizer::load(at) else {
        return;
    };
    let arguments = TemplateArguments::default();
    let chat = Chat {
        system: Some("be brief"),
        user: "what is 2 + 2?",
        arguments: &arguments,
    };
    if let Ok(text) = tokenizer.render_chat(&chat) {
        // A template that writes without an end is refused by the length of its text.
        let _ = tokenizer.encode(&text.chars().take(10_000).collect::<String>());
    }
    let _ = tokenizer.decode(&[0, 1, 2, u32::MAX]);
}

fn event_log(input: &[u8], at: &Path) {
    let path = at.join("events.log");
    fs::write(&path, input).unwrap();
    let log = EventLog::open(&path).unwrap();
    let events = log.on_disk_after(0).read(usize::MAX).unwrap();
    assert!(events.len() <= input.len(), "no more events than bytes");
    fs::write(at.join("job.pb"), seeds::job().encode_to_vec()).unwrap();
    audit(at);
}

/// Whole records with any content.
fn events(input: &[u8], at: &Path) {
    let mut left = input;
    let mut log = Vec::new();
    while !left.is_empty()
        && let Ok(event) = v1::JobEvent::decode_length_delimited(&mut left)
    {
        log.extend(record(&event.encode_to_vec()).unwrap());
    }
    fs::write(at.join("events.log"), &log).unwrap();
    let opened = EventLog::open(&at.join("events.log")).unwrap();
    let _ = opened.on_disk_after(0).read(usize::MAX).unwrap();
    fs::write(at.join("job.pb"), seeds::job().encode_to_vec()).unwrap();
    audit(at);
}

fn audit(at: &Path) {
    if let Ok(evidence) = Evidence::of_directory(at) {
        let _ = check(&evidence);
    }
}

fn old_event_log(input: &[u8], at: &Path) {
    let directory = at.join("job");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("events.pb"), input).unwrap();
    fs::write(directory.join("job.pb"), seeds::job().encode_to_vec()).unwrap();
    let _ = JobStore::open(at).unwrap().load();
}

/// The record of a job, whole and with its checksum, and as earlier versions wrote it.
fn job_record(input: &[u8], at: &Path) {
    for content in [record(input).unwrap(), input.to_vec()] {
        let directory = at.join("job");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("job.pb"), &content).unwrap();
        fs::write(directory.join("job.toml"), seeds::JOB_FILE).unwrap();
        fs::write(directory.join("events.log"), seeds::event_log()).unwrap();
        let jobs = JobStore::open(at).unwrap().load().unwrap();
        for stored in jobs {
            let spec = stored.job.spec.unwrap_or_default();
            let _ = JobSettings::try_new(&spec);
        }
        audit(&directory);
    }
}

fn recovery_state(input: &[u8], at: &Path) {
    let _ = serde_json::from_slice::<RecoveryState>(input);
    let directory = at.join("recovery/step-00000003");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("state.json"), input).unwrap();
    let _ = checkpoint_accounts(at).unwrap();
    fs::write(at.join("job.pb"), seeds::job().encode_to_vec()).unwrap();
    fs::write(at.join("events.log"), seeds::event_log()).unwrap();
    audit(at);
}

fn generations(input: &[u8], at: &Path) {
    fs::create_dir(at.join(DIRECTORY)).unwrap();
    fs::write(at.join(DIRECTORY).join(step_file(3)), input).unwrap();
    if let Ok(kept) = Kept::find(at, None) {
        let _ = kept.problems();
        let _ = kept.line("a");
    }
}

fn stamps(input: &[u8], at: &Path) {
    fs::write(at.join("checked_files.json"), input).unwrap();
    let _ = checked_files(at);
}
