//! What learner and actors must agree on about a manifest of weights.

use prost::Message as _;

use crate::v1;

/// The checksum that names a manifest in announcements, requests and leases: BLAKE3 of the encoded manifest, assets
/// included, in lower-case hexadecimal.
pub fn manifest_checksum(manifest: &v1::WeightsManifest) -> String {
    blake3::hash(&manifest.encode_to_vec()).to_hex().to_string()
}

/// Whether two versions have tensors of the same names, kinds and shapes in the same order. Only between such versions
/// is there a delta.
pub fn have_same_tensors(one: &v1::WeightsManifest, other: &v1::WeightsManifest) -> bool {
    let is_same = |(one, other): (&v1::WeightsEntry, &v1::WeightsEntry)| {
        (&one.name, &one.dtype, &one.shape, one.bytes) == (&other.name, &other.dtype, &other.shape, other.bytes)
    };
    one.tensors.len() == other.tensors.len() && one.tensors.iter().zip(&other.tensors).all(is_same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> v1::WeightsManifest {
        let tensor = |name: &str, checksum: &str| v1::WeightsEntry {
            name: name.to_owned(),
            bytes: 8,
            checksum: checksum.to_owned(),
            dtype: "F32".to_owned(),
            shape: vec![2],
        };
        v1::WeightsManifest {
            job_id: "job".to_owned(),
            version: 1,
            assets: Vec::new(),
            tensors: vec![tensor("one", "aa"), tensor("two", "bb")],
        }
    }

    #[test]
    fn a_delta_needs_the_same_tensors_with_any_values() {
        let base = manifest();
        let mut new = manifest();
        new.version = 2;
        new.tensors[1].checksum = "cc".to_owned();
        assert!(have_same_tensors(&base, &new));
        assert_ne!(manifest_checksum(&base), manifest_checksum(&new));
        new.tensors[1].dtype = "BF16".to_owned();
        assert!(!have_same_tensors(&base, &new));
        new.tensors.pop();
        assert!(!have_same_tensors(&base, &new));
    }
}
