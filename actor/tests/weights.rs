//! Torn weights: whatever is missing, moved or changed is refused.
// Helpers are tests too: a panic is how they fail.
#![allow(clippy::unwrap_used)]

mod common;

use anytime_actor::weights::{Assembly, Entries, TornWeights, load_assets, load_model};
use anytime_proto::v1::{WeightsChunk, WeightsManifest};
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
    load_model(id.clone(), entries, &assets, Device::Cpu).unwrap();
    let tensors_only = assemble(&version, &version.chunks(true), true).unwrap();
    assert!(tensors_only.assets.is_empty());
    load_model(id, tensors_only, &assets, Device::Cpu).unwrap();
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
fn an_asset_cannot_leave_its_folder() {
    let mut version = version();
    version.manifest.assets[0].name = "../config.json".to_owned();
    let entries = assemble(&version, &version.chunks(false), false).unwrap();
    assert!(load_assets(&entries).is_err());
}
