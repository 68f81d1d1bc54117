//! How many operations and how much memory a step takes: what makes a step slow on any machine, and is the same on all.

use anytime_policy::operators::{Counted, counted};
use anytime_policy::{Decoder, Extension, KvCache, Prefix, Slots};
use tch::{Device, Kind};

use crate::common::{fixture_model, ids};

/// One decoding step of `rows` thinkings at `position` and of two summaries of each.
fn step(decoder: &Decoder, cache: &mut KvCache, rows: usize, position: usize) -> Counted {
    let token = ids(1, 1, 90);
    let thinking = (0..rows).map(|slot| Extension {
        slot,
        start: position,
        ids: &token,
        prefix: None,
    });
    let summaries = (0..2 * rows).map(|slot| Extension {
        slot,
        start: 3,
        ids: &token,
        prefix: Some(Prefix {
            slot: slot / 2,
            length: position,
        }),
    });
    let extensions: Vec<Extension<'_>> = thinking.chain(summaries).collect();
    let (hidden, counts) = counted(|| decoder.extend(cache, &extensions));
    assert_eq!(hidden.size()[0], 3 * rows as i64);
    counts
}

#[test]
fn a_decoding_step_takes_few_operations_and_none_that_grow() {
    let _guard = tch::no_grad_guard();
    let (config, weights) = fixture_model("llama", Kind::Float);
    let decoder = Decoder::new(&config, &weights).unwrap().for_generation();
    let (prefixes, branches) = (
        Slots {
            count: 32,
            capacity: 200,
        },
        Slots { count: 64, capacity: 8 },
    );
    let mut cache = KvCache::with_branches(&config, prefixes, branches, Kind::Float, Device::Cpu);
    // Lazy set-up is not counted.
    step(&decoder, &mut cache, 2, 1);
    let short = step(&decoder, &mut cache, 2, 5);
    let long = step(&decoder, &mut cache, 2, 190);
    assert_eq!(short, long, "a step does not grow with the context");
    let wide = step(&decoder, &mut cache, 32, 5);
    assert_eq!(short.operations, wide.operations, "nor its operations with the rows");
    assert_eq!(short.allocations, wide.allocations, "nor its allocations");
    // What a layer takes: seven products with their views, attention, and what lies between.
    let layers = config.num_hidden_layers as u64;
    assert!(short.operations <= 41 * layers, "{short:?} in {layers} layers");
    assert!(short.allocations <= 14 * layers, "{short:?} in {layers} layers");
}
