//! Groups of a deterministic plan have the same numbers, bit by bit, whatever is generated beside them.

use std::sync::Arc;
use std::time::Duration;

use anytime_actor::engine::{CacheLimit, Command, EngineLimits, Event, GroupRequest, Model};
use anytime_actor::plan::Plan;
use anytime_policy::{Decoder, ModelConfig, initialise_weights};
use anytime_proto::v1::{self, AbandonReason};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind};

use super::common::{self, VOCABULARY, config_json, model, plan_message};
use super::{Outcomes, PLENTY, collect, next, start};

/// As the loader makes it: packed for generation.
fn packed(kind: Kind) -> Model {
    // Wide enough that the order of sums matters.
    let config = ModelConfig::from_json(&config_json(96, 2, VOCABULARY)).unwrap();
    let weights = initialise_weights(&config, 5, Device::Cpu);
    let weights = weights
        .into_iter()
        .map(|(name, tensor)| (name, tensor.to_kind(kind)))
        .collect();
    Model {
        decoder: Decoder::new(&config, &weights).unwrap().for_generation(),
        ..common::model_of(config, 0)
    }
}

fn sampling(top_p: f32, top_k: u32) -> Option<v1::Sampling> {
    Some(v1::Sampling {
        temperature: 0.9,
        top_p,
        top_k,
    })
}

/// Groups whose prompts are on both sides of the length up to which rows attend together. Some cut distributions off.
fn requests(random: &mut ChaCha8Rng, groups: u64, is_deterministic: bool) -> Vec<GroupRequest> {
    let mut requests = Vec::new();
    for number in 1..=groups {
        let plan = v1::RolloutPlan {
            deterministic: is_deterministic,
            traces: random.random_range(1..=6),
            summaries: random.random_range(1..=3),
            max_prompt_tokens: 80,
            sampling: match number % 4 {
                0 => sampling(0.8, 0),
                1 => sampling(1.0, 5),
                _ => sampling(1.0, 0),
            },
            ..plan_message()
        };
        let length = [3, 9, 20, 33, 40, 77][random.random_range(0..6)];
        requests.push(GroupRequest {
            prompt_ids: (0..length).map(|_| random.random_range(6..VOCABULARY - 2)).collect(),
            plan: Arc::new(Plan::try_new(&plan).unwrap()),
            ..common::request(number, &plan)
        });
    }
    requests
}

fn generate(slots: usize, kind: Kind, requests: Vec<GroupRequest>, random: &mut ChaCha8Rng) -> Outcomes {
    let (engine, mut events) = start(EngineLimits {
        slots,
        cache: CacheLimit::Bytes(PLENTY),
    });
    engine.send(Command::SwapWeights(Box::new(packed(kind))));
    let groups = requests.len();
    for request in requests {
        engine.send(Command::AddGroup(request));
        // Some come while others are under way.
        if random.random_bool(0.3) {
            std::thread::sleep(Duration::from_millis(random.random_range(0..20)));
        }
    }
    collect(&mut events, groups)
}

fn differing(one: &Outcomes, other: &Outcomes) -> usize {
    assert_eq!(one.len(), other.len());
    one.iter()
        .filter(|(key, outcome)| other.get(*key) != Some(*outcome))
        .count()
}

#[test]
fn a_deterministic_group_has_the_same_numbers_in_any_company() {
    for (kind, seed) in [(Kind::Float, 1), (Kind::BFloat16, 2)] {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let groups = requests(&mut random, 8, true);
        let alone = generate(1, kind, groups.clone(), &mut random);
        for slots in [2, 5, 16, 64] {
            let mut shuffled = groups.clone();
            shuffled.shuffle(&mut random);
            let together = generate(slots, kind, shuffled, &mut random);
            assert_eq!(
                differing(&alone, &together),
                0,
                "{kind:?}, {slots} slots, of {} traces",
                alone.len()
            );
        }
        // Beside groups that do not ask for it.
        let mut mixed = requests(&mut random, 6, false);
        for request in &mut mixed {
            request.number += 100;
        }
        mixed.extend(groups);
        mixed.shuffle(&mut random);
        let mut together = generate(32, kind, mixed, &mut random);
        together.retain(|(number, _), _| *number < 100);
        assert_eq!(differing(&alone, &together), 0, "{kind:?}, in mixed company");
    }
}

/// The test above can fail: without the setting, numbers depend on the company.
#[test]
fn a_group_without_the_setting_depends_on_its_company() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let groups = requests(&mut random, 8, false);
    let alone = generate(1, Kind::Float, groups.clone(), &mut random);
    let together = generate(64, Kind::Float, groups, &mut random);
    assert!(
        differing(&alone, &together) > 0,
        "rows are independent by themselves here"
    );
}

#[test]
fn an_engine_that_cannot_keep_it_says_so() {
    let (engine, mut events) = start(EngineLimits {
        slots: 4,
        cache: CacheLimit::Bytes(PLENTY),
    });
    // Its weights are not packed, as on a GPU.
    engine.send(Command::SwapWeights(Box::new(model(0))));
    let mut random = ChaCha8Rng::seed_from_u64(1);
    engine.send(Command::AddGroup(requests(&mut random, 1, true).remove(0)));
    let Event::GroupFailed { reason, detail, .. } = next(&mut events) else {
        panic!("it is generated");
    };
    assert_eq!(reason, AbandonReason::Engine);
    assert!(detail.contains("rollout.deterministic cannot be kept here"), "{detail}");
}
