//! Logits equal those of transformers, along every path through the decoder.

use crate::common::{difference, fixture, fixture_model, token_by_token};
use anytime_policy::{Branch, Decoder, Extension, KvCache, ModelConfig, TreeBatch, TreeRow};
use tch::{Device, Kind, Tensor};

const MODELS: [&str; 9] = [
    "qwen2",
    "qwen2-tied",
    "llama",
    "llama-scaled",
    "llama-linear",
    "qwen3",
    "qwen2-yarn",
    "qwen3-yarn",
    "llama-yarn",
];
const TOLERANCE: f64 = 1e-4;

/// The prompt and the logits of each of its positions, [tokens, vocab].
pub(crate) fn expected(name: &str) -> (Vec<u32>, Tensor) {
    #[derive(serde::Deserialize)]
    struct Expected {
        ids: Vec<u32>,
        logits: Vec<Vec<f64>>,
    }
    let text = std::fs::read(fixture(name).join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&text).unwrap();
    (expected.ids, Tensor::from_slice2(&expected.logits))
}

pub(crate) fn report(name: &str, path: &str, found: &Tensor, expected: &Tensor) {
    let difference = difference(found, expected);
    println!("{name}, {path}: largest difference {difference:.1e}");
    assert!(difference <= TOLERANCE, "{name}, {path}: {difference}");
}

#[test]
fn token_by_token_equals_transformers() {
    for name in MODELS {
        let (config, weights) = fixture_model(name, Kind::Float);
        let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
        let (ids, expected) = expected(name);
        let logits = decoder.logits(&token_by_token(&decoder, &config, &ids));
        report(name, "token by token", &logits, &expected);
    }
}

/// Last logits after the prompt came in pieces of these sizes.
fn in_chunks(decoder: &Decoder, config: &ModelConfig, ids: &[u32], sizes: &[usize]) -> Tensor {
    let mut cache = KvCache::new(config, 3, ids.len(), decoder.kind(), Device::Cpu);
    let mut start = 0;
    let mut hidden = Tensor::new();
    for size in sizes {
        let row = Extension {
            slot: 1,
            start,
            ids: &ids[start..start + size],
            prefix: None,
        };
        hidden = decoder.extend(&mut cache, &[row]);
        start += size;
    }
    assert_eq!(start, ids.len());
    decoder.logits(&hidden)
}

#[test]
fn chunks_equal_transformers() {
    for name in MODELS {
        let (config, weights) = fixture_model(name, Kind::Float);
        let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
        let (ids, expected) = expected(name);
        for sizes in [vec![40], vec![17, 23], vec![1, 38, 1], vec![3, 34, 3], vec![39, 1]] {
            let logits = in_chunks(&decoder, &config, &ids, &sizes);
            report(name, &format!("chunks {sizes:?}"), &logits, &expected.narrow(0, 39, 1));
        }
    }
}

#[test]
fn tree_equals_transformers() {
    for name in MODELS {
        let (config, weights) = fixture_model(name, Kind::Float);
        let decoder = Decoder::new(&config, &weights).unwrap();
        let (ids, expected) = expected(name);
        // A tree whose branches are all the continuation that the prompt has anyway, so that each position's logits
        // are known: thinking from position 5 to 30, one branch at the end of it and one in its middle.
        let branches = vec![
            Branch {
                cut: 25,
                inserted: 1,
                ids: ids[30..].to_vec(),
            },
            Branch {
                cut: 10,
                inserted: 3,
                ids: ids[15..].to_vec(),
            },
        ];
        let row = TreeRow {
            prompt: 5,
            prefix: ids[..30].to_vec(),
            branches,
        };
        let batch = TreeBatch::pack(&[row], Device::Cpu);
        let logits = decoder.logits(&decoder.tree(&batch));
        let predictors: Vec<i64> = (4..29).chain(30..39).chain(17..39).collect();
        let expected = expected.index_select(0, &Tensor::from_slice(&predictors));
        report(name, "tree", &logits, &expected);
    }
}
