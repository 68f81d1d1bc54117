//! Torn weights: whatever is missing, moved or changed is refused.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use anytime_actor::weights::{Assembly, BadDelta, Entries, Patch, TornWeights, load_assets, load_model};
use anytime_proto::v1::{WeightsChunk, WeightsDelta, WeightsManifest};
use common::fakes::Version;
use common::weights;
use tch::Device;

fn version() -> Version {
    Version::new("job", 3, &weights(3))
}

fn assemble(version: &Version, chunks: &[WeightsChunk], skip_assets: bool) -> Result<Entries, TornWeights> {
    let checksum = version.announcement().manifest_checksum;
    let mut assembly = Assembly::try_new(version.manifest.clone(), &checksum, skip_assets)?;
    for chunk in chunks {
        assembly.push(chunk)?;
    }
    assembly.finish()
}

fn refuse(change: impl FnOnce(&mut Vec<WeightsChunk>)) -> String {
    let version = version();
    let mut chunks = version.chunks(false);
    change(&mut chunks);
    assemble(&version, &chunks, false)
        .expect_err("torn weights went through")
        .to_string()
}

#[test]
fn complete_weights_become_the_model_they_were() {
    let version = version();
    let entries = assemble(&version, &version.chunks(false), false).unwrap();
    assert_eq!(entries.tensors, version.tensors);
    let assets = load_assets(&entries).unwrap();
    let id = common::model(3).id;
    load_model(id.clone(), &entries, &assets, Device::Cpu).unwrap();
    let tensors_only = assemble(&version, &version.chunks(true), true).unwrap();
    assert!(tensors_only.assets.is_empty());
    load_model(id, &tensors_only, &assets, Device::Cpu).unwrap();
}

#[test]
fn every_change_is_refused() {
    assert!(refuse(|chunks| drop(chunks.remove(5))).contains("torn weights"));
    assert!(refuse(|chunks| drop(chunks.pop())).contains("torn weights"));
    assert!(refuse(|chunks| chunks.swap(3, 4)).contains("torn weights"));
    assert!(refuse(|chunks| chunks.insert(3, chunks[3].clone())).contains("torn weights"));
    assert!(refuse(|chunks| chunks.clear()).contains("torn weights"));
    assert!(refuse(|chunks| chunks.last_mut().unwrap().entry += 1).contains("torn weights"));
    for place in [0, 1, 7] {
        let flipped = refuse(|chunks| {
            let mut data = chunks[place].data.to_vec();
            data[0] ^= 4;
            chunks[place].data = data.into();
        });
        assert!(flipped.contains("checksum"), "{flipped}");
    }
}

#[test]
fn the_manifest_has_to_be_the_announced_one() {
    let version = version();
    let other = WeightsManifest {
        version: 4,
        ..version.manifest.clone()
    };
    let announced = version.announcement().manifest_checksum;
    assert!(Assembly::try_new(other, &announced, false).is_err());
    assert!(Assembly::try_new(version.manifest, &announced, false).is_ok());
}

#[test]
fn a_size_has_to_match_its_shape() {
    let mut version = version();
    version.manifest.tensors[0].shape[0] = u64::MAX;
    let checksum = version.announcement().manifest_checksum;
    assert!(Assembly::try_new(version.manifest, &checksum, false).is_err());
}

#[test]
fn an_asset_cannot_leave_its_directory() {
    let mut version = version();
    version.manifest.assets[0].name = "../config.json".to_owned();
    let entries = assemble(&version, &version.chunks(false), false).unwrap();
    assert!(load_assets(&entries).is_err());
}

fn held(version: &Version) -> Arc<Entries> {
    Arc::new(assemble(version, &version.chunks(true), true).unwrap())
}

fn patch(base: &Version, new: &Version, deltas: &[WeightsDelta]) -> Result<Entries, BadDelta> {
    let mut patch = Patch::try_new(new.manifest.clone(), base.id(), held(base))?;
    for delta in deltas {
        patch.apply(delta)?;
    }
    patch.finish()
}

fn steps() -> [Version; 3] {
    let mut tensors = weights(3);
    [3, 4, 5].map(|number| {
        let name = tensors.keys().nth(number as usize).unwrap().clone();
        let changed = &tensors[&name] * 1.001;
        tensors.insert(name, changed);
        Version::new("job", number, &tensors)
    })
}

#[test]
fn deltas_lead_to_the_very_bytes() {
    let [first, second, third] = steps();
    let one_step = patch(&first, &second, &first.deltas_to(&second)).unwrap();
    assert_eq!(one_step.tensors, second.tensors);
    assert!(one_step.assets.is_empty());
    // Two steps, whichever comes first.
    let mut both = [first.deltas_to(&second), second.deltas_to(&third)].concat();
    for delta in &mut both {
        delta.base = Some(first.id());
    }
    assert_eq!(patch(&first, &third, &both).unwrap().tensors, third.tensors);
    both.reverse();
    assert_eq!(patch(&first, &third, &both).unwrap().tensors, third.tensors);
    // Nothing changed but the number.
    let again = Version::new("job", 6, &weights(3));
    let base = Version::new("job", 5, &weights(3));
    let nothing = WeightsDelta {
        base: Some(base.id()),
        blocks: Vec::new(),
    };
    assert_eq!(patch(&base, &again, &[nothing]).unwrap().tensors, base.tensors);
}

#[test]
fn deltas_that_lead_elsewhere_are_refused() {
    let [first, second, third] = steps();
    let deltas = first.deltas_to(&second);
    let is_checksum = |outcome: Result<Entries, BadDelta>| matches!(outcome, Err(BadDelta::Checksum { .. }));
    assert!(matches!(patch(&first, &second, &[]), Err(BadDelta::Nothing)));
    assert!(is_checksum(patch(&first, &third, &deltas)), "a step is missing");
    assert!(is_checksum(patch(
        &first,
        &second,
        &[deltas.clone(), deltas.clone()].concat()
    )));
    assert!(matches!(patch(&second, &third, &deltas), Err(BadDelta::OtherBase(4))));
    // The learner says that it is for this base, but it is not.
    let mut mistaken = deltas.clone();
    mistaken[0].base = Some(third.id());
    assert!(is_checksum(patch(&third, &second, &mistaken)));

    let block = |change: fn(&mut anytime_proto::v1::weights_delta::Block)| {
        let mut deltas = deltas.clone();
        change(&mut deltas[0].blocks[0]);
        patch(&first, &second, &deltas)
    };
    assert!(matches!(
        block(|block| block.tensor = 9999),
        Err(BadDelta::NoSuchBlock { .. })
    ));
    assert!(matches!(
        block(|block| block.number = u32::MAX),
        Err(BadDelta::NoSuchBlock { .. })
    ));
    assert!(matches!(
        block(|block| block.data = vec![1, 2, 3].into()),
        Err(BadDelta::Block { .. })
    ));
    let bytes: usize = first.tensors.iter().map(Vec::len).sum();
    let endless = vec![deltas[0].clone(); bytes];
    assert!(matches!(
        patch(&first, &second, &endless),
        Err(BadDelta::TooLong { .. })
    ));

    let mut renamed = second.clone();
    renamed.manifest.tensors[0].name = "other".to_owned();
    assert!(matches!(patch(&first, &renamed, &deltas), Err(BadDelta::OtherTensors)));
}

#[test]
fn a_flipped_bit_of_a_delta_never_becomes_weights() {
    let [first, second, _] = steps();
    let deltas = first.deltas_to(&second);
    let length = deltas[0].blocks[0].data.len();
    for place in (0..length).step_by(length / 50 + 1) {
        let mut torn = deltas.clone();
        let mut data = torn[0].blocks[0].data.to_vec();
        data[place] ^= 1 << (place % 8);
        torn[0].blocks[0].data = data.into();
        // Some bits of a frame mean nothing; then the bytes are the right ones.
        if let Ok(entries) = patch(&first, &second, &torn) {
            assert_eq!(entries.tensors, second.tensors);
        }
    }
}
