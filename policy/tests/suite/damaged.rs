//! Model directories with any damage: an error or a model, and never a panic, a hang or memory beyond the file's own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use anytime_policy::{Chat, ModelConfig, TemplateArguments, Tokenizer, check_weights, read_weights};
use proptest::prelude::*;
use proptest::sample::Index;
use tch::{Device, Kind};

use crate::common::{fixture, fixture_model, single_thread};

/// How long the reading of a directory of some kilobytes may take.
const LONGEST: Duration = Duration::from_secs(10);

/// One damage of a file.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
    Repeat(Index, Index),
}

fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let digits = proptest::collection::vec(b'0'..=b'9', 1..12);
    let some = proptest::collection::vec(any::<u8>(), 1..6);
    let one = prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        2 => (any::<Index>(), digits).prop_map(|(at, text)| Damage::Insert(at, text)),
        2 => (any::<Index>(), some).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Damage::Repeat(from, to)),
    ];
    proptest::collection::vec(one, 1..5)
}

/// Applies damages to the first bytes of a file, where its structure is.
fn damaged(mut bytes: Vec<u8>, first: usize, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len().min(first).max(1);
        if bytes.is_empty() {
            break;
        }
        match damage {
            Damage::Replace(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Insert(at, inserted) => {
                let at = at.index(length);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
            Damage::Repeat(from, to) => {
                let (from, to) = (from.index(length), to.index(length));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                bytes.splice(from..from, piece);
            }
        }
    }
    bytes
}

/// Reads a directory in every way, and fails only where that panics or takes too long.
fn read_all(directory: &Path) -> Result<(), TestCaseError> {
    let began = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| {
        let config = ModelConfig::load(directory);
        if let Ok(config) = &config {
            let _ = check_weights(directory, config);
            let _ = read_weights(directory, config, Kind::Float, Device::Cpu);
        }
    }));
    prop_assert!(read.is_ok(), "it panicked");
    prop_assert!(began.elapsed() < LONGEST, "it took {:?}", began.elapsed());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_damage_of_weights_or_configuration_is_an_error(
        file in prop_oneof![Just("model.safetensors"), Just("config.json"), Just("model.safetensors.index.json")],
        damages in damages(),
    ) {
        single_thread();
        let (_, weights) = fixture_model("llama", Kind::Float);
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::copy(fixture("llama").join("config.json"), path("config.json")).unwrap();
        let entries: Vec<_> = weights.iter().collect();
        let index = file == "model.safetensors.index.json";
        let stored = if index { "model-00001-of-00001.safetensors" } else { "model.safetensors" };
        tch::Tensor::write_safetensors(&entries, path(stored)).unwrap();
        if index {
            let places: serde_json::Map<_, _> = weights.keys().map(|name| (name.clone(), stored.into())).collect();
            let text = serde_json::json!({ "metadata": {}, "weight_map": places }).to_string();
            std::fs::write(path(file), text).unwrap();
        }
        let bytes = damaged(std::fs::read(path(file)).unwrap(), 4096, &damages);
        std::fs::write(path(file), bytes).unwrap();
        read_all(directory.path())?;
    }

    #[test]
    fn any_damage_of_a_tokenizer_or_its_template_is_an_error(
        file in prop_oneof![Just("tokenizer.json"), Just("tokenizer_config.json"), Just("chat_template.jinja")],
        damages in damages(),
    ) {
        let directory = tempfile::tempdir().unwrap();
        for name in ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"] {
            std::fs::copy(fixture("tokenizer-chatml").join(name), directory.path().join(name)).unwrap();
        }
        let path = directory.path().join(file);
        let bytes = damaged(std::fs::read(&path).unwrap(), 1 << 16, &damages);
        std::fs::write(&path, bytes).unwrap();
        let began = Instant::now();
        let used = catch_unwind(AssertUnwindSafe(|| {
            let Ok(tokenizer) = Tokenizer::load(directory.path()) else {
                return;
            };
            let arguments = TemplateArguments::default();
            let chat = Chat { system: Some("be brief"), user: "what is 2 + 2?", arguments: &arguments };
            if let Ok(text) = tokenizer.render_chat(&chat) {
                let _ = tokenizer.encode(&text);
            }
            let _ = tokenizer.decode(&[0, 1, 2, u32::MAX]);
        }));
        prop_assert!(used.is_ok(), "it panicked");
        prop_assert!(began.elapsed() < LONGEST, "it took {:?}", began.elapsed());
    }
}
