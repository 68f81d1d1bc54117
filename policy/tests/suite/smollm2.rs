//! A real model, where there is one: SmolLM2-135M-Instruct.
//!
//! `ANYTIME_SMOLLM2=DIR cargo test --release -p anytime-policy smollm2 -- --ignored --nocapture`, where DIR is the
//! model's directory with an `expected.json` beside the weights, which `fixtures/smollm2.py DIR` makes.

use std::path::PathBuf;

use anytime_policy::{
    Branch, Chat, Decoder, Extension, KvCache, ModelConfig, TemplateArguments, Tokenizer, TreeBatch, TreeRow,
};
use anytime_policy::{read_weights, write_checkpoint};
use tch::{Device, Kind, Tensor};

use crate::common::{difference, single_thread};

#[derive(serde::Deserialize)]
struct Expected {
    user: String,
    ids: Vec<u32>,
    logits: Vec<f64>,
    greedy: Vec<u32>,
}

fn greedy(decoder: &Decoder, config: &ModelConfig, prompt: &[u32], count: usize) -> (Tensor, Vec<u32>) {
    let mut cache = KvCache::new(config, 1, prompt.len() + count, decoder.kind(), Device::Cpu);
    let first = decoder.logits(&decoder.extend(
        &mut cache,
        &[Extension {
            slot: 0,
            start: 0,
            ids: prompt,
            prefix: None,
        }],
    ));
    let mut logits = first.shallow_clone();
    let mut ids: Vec<u32> = Vec::new();
    loop {
        ids.push(logits.argmax(-1, false).int64_value(&[0]) as u32);
        if ids.len() == count {
            return (first, ids);
        }
        let row = Extension {
            slot: 0,
            start: prompt.len() + ids.len() - 1,
            ids: &ids[ids.len() - 1..],
            prefix: None,
        };
        logits = decoder.logits(&decoder.extend(&mut cache, &[row]));
    }
}

#[test]
#[ignore = "needs a SmolLM2 directory in ANYTIME_SMOLLM2"]
fn smollm2_equals_transformers() {
    single_thread();
    let dir = PathBuf::from(std::env::var_os("ANYTIME_SMOLLM2").expect("ANYTIME_SMOLLM2 names the model directory"));
    let expected = std::fs::read(dir.join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    let config = ModelConfig::load(&dir).unwrap();
    let weights = read_weights(&dir, &config, Kind::Float, Device::Cpu).unwrap();
    let decoder = Decoder::new(&config, &weights).unwrap();
    let tokenizer = Tokenizer::load(&dir).unwrap();

    let chat = Chat {
        system: None,
        user: &expected.user,
        arguments: &TemplateArguments::default(),
    };
    let prompt = tokenizer.encode(&tokenizer.render_chat(&chat).unwrap()).unwrap();
    assert_eq!(prompt, expected.ids);
    let (logits, text) = greedy(&decoder, &config, &prompt, expected.greedy.len());
    let largest = difference(&logits, &Tensor::from_slice(&expected.logits).unsqueeze(0));
    println!("after the prompt: largest difference of logits {largest:.1e}");
    println!("greedy: {:?}", tokenizer.decode(&text).unwrap());
    assert!(largest <= 1e-4, "{largest}");
    assert_eq!(text, expected.greedy);
    // The same through the weights as actors arrange them.
    let arranged = Decoder::new(&config, &weights).unwrap().for_generation();
    let (logits, text) = greedy(&arranged, &config, &prompt, expected.greedy.len());
    let largest = difference(&logits, &Tensor::from_slice(&expected.logits).unsqueeze(0));
    println!("arranged for generation: largest difference of logits {largest:.1e}");
    assert!(largest <= 1e-4, "{largest}");
    assert_eq!(text, expected.greedy);

    // The greedy text as thinking, and again as a branch of it: generation and training see the same policy.
    let mut prefix = prompt.clone();
    prefix.extend(&text);
    let branch = Branch {
        cut: 10,
        inserted: 1,
        ids: text[10..].to_vec(),
    };
    let batch = TreeBatch::pack(
        &[TreeRow {
            prompt: prompt.len(),
            prefix,
            branches: vec![branch],
        }],
        Device::Cpu,
    );
    let (hidden, seconds) = timed(|| tch::no_grad(|| decoder.tree(&batch)));
    let training = decoder.log_probs(&hidden, batch.targets(), 1.0);
    println!("a tree row: {seconds:.3} s");
    let repeated = text.len() as i64 - 11;
    let thinking = training.narrow(0, 11, repeated);
    assert!(difference(&thinking, &training.narrow(0, text.len() as i64, repeated)) <= 1e-4);
    assert!(training.exp().min().double_value(&[]) > 1e-3);

    for rows in [1, 8, 32] {
        let mut cache = KvCache::new(&config, rows, 256, Kind::Float, Device::Cpu);
        let _ = decoder.extend(
            &mut cache,
            &[Extension {
                slot: 0,
                start: 0,
                ids: &prompt,
                prefix: None,
            }],
        );
        let others: Vec<usize> = (1..rows).collect();
        cache.copy_prefix(0, &others, prompt.len());
        let steps = 10;
        let (_, seconds) = timed(|| {
            for step in 0..steps {
                let one_each: Vec<Extension<'_>> = (0..rows)
                    .map(|slot| Extension {
                        slot,
                        start: prompt.len() + step,
                        ids: &text[step..=step],
                        prefix: None,
                    })
                    .collect();
                let _ = decoder.logits(&decoder.extend(&mut cache, &one_each));
            }
        });
        println!("decoding {rows} rows: {:.1} tokens/s", (rows * steps) as f64 / seconds);
    }

    if let Some(target) = std::env::var_os("ANYTIME_SMOLLM2_EXPORT") {
        write_checkpoint(&PathBuf::from(target), &config, &weights, Kind::BFloat16, &dir).unwrap();
    }
}

fn timed<Output>(work: impl FnOnce() -> Output) -> (Output, f64) {
    let start = std::time::Instant::now();
    let output = work();
    (output, start.elapsed().as_secs_f64())
}
