//! One version of the weights: as the trainer publishes it, and as actors fetch it.

use anytime_proto::{JobId, WeightsVersion, v1};
use bytes::Bytes;

/// Below this size threads cost more than they bring, as blake3's documentation says.
const HASHED_BY_ONE_THREAD: usize = 128 * 1024;

/// One version of the weights, as the trainer publishes it.
pub struct PublishedWeights {
    /// How many steps have been trained.
    pub version: WeightsVersion,
    /// Files of the model directory that are not weights, by name.
    pub assets: Vec<(String, Bytes)>,
    /// Named as in the checkpoint.
    pub tensors: Vec<PublishedTensor>,
    /// The span that publishes them, for actors; empty where nothing is traced.
    pub traceparent: String,
    /// How the model is asked, as JSON, for processes that answer with it.
    pub asking: String,
}

/// One tensor, little-endian and contiguous.
#[derive(Clone)]
pub struct PublishedTensor {
    /// Its key in the checkpoint.
    pub name: String,
    /// The safetensors name of the element type: `F32` or `BF16`.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<u64>,
    /// Its elements.
    pub data: Bytes,
    /// BLAKE3 of them in lower-case hexadecimal, where it is known already.
    pub checksum: Option<String>,
}

impl PublishedTensor {
    /// Computes the checksum, unless it is known.
    pub fn checksum(&self) -> String {
        self.checksum.clone().unwrap_or_else(|| checksum(&self.data))
    }
}

/// One version with its manifest, ready to be fetched. The bytes are shared with whoever sends them.
pub struct HeldVersion {
    /// The job that published it.
    pub job_id: JobId,
    /// How many steps have been trained.
    pub version: WeightsVersion,
    /// Names, shapes and checksums.
    pub manifest: v1::WeightsManifest,
    /// BLAKE3 of the encoded manifest, assets included, in lower-case hexadecimal.
    pub manifest_checksum: String,
    traceparent: String,
    asking: String,
    assets: Vec<Bytes>,
    tensors: Vec<Bytes>,
}

impl HeldVersion {
    /// Computes the checksums and the manifest, which takes as long as reading all bytes.
    pub fn new(job_id: JobId, weights: PublishedWeights) -> Self {
        let mut assets = Vec::with_capacity(weights.assets.len());
        let mut asset_bytes = Vec::with_capacity(weights.assets.len());
        for (name, data) in weights.assets {
            assets.push(v1::WeightsEntry {
                name,
                bytes: data.len() as u64,
                checksum: checksum(&data),
                ..v1::WeightsEntry::default()
            });
            asset_bytes.push(data);
        }
        let mut tensors = Vec::with_capacity(weights.tensors.len());
        let mut tensor_bytes = Vec::with_capacity(weights.tensors.len());
        for tensor in weights.tensors {
            tensors.push(v1::WeightsEntry {
                bytes: tensor.data.len() as u64,
                checksum: tensor.checksum(),
                name: tensor.name,
                dtype: tensor.dtype,
                shape: tensor.shape,
            });
            tensor_bytes.push(tensor.data);
        }
        let version = weights.version;
        let manifest = v1::WeightsManifest {
            job_id: job_id.to_string(),
            version: version.0,
            assets,
            tensors,
        };
        let manifest_checksum = anytime_proto::manifest_checksum(&manifest);
        Self {
            job_id,
            version,
            manifest,
            manifest_checksum,
            traceparent: weights.traceparent,
            asking: weights.asking,
            assets: asset_bytes,
            tensors: tensor_bytes,
        }
    }

    /// Names this version within its job, and differs from a version that had the same number with other weights.
    pub fn id(&self) -> v1::WeightsId {
        v1::WeightsId {
            version: self.version.0,
            manifest_checksum: self.manifest_checksum.clone(),
        }
    }

    /// The bytes of every tensor, in the manifest's order.
    pub fn tensors(&self) -> &[Bytes] {
        &self.tensors
    }

    /// Bytes of all tensors.
    pub fn tensor_bytes(&self) -> u64 {
        self.tensors.iter().map(|data| data.len() as u64).sum()
    }

    /// The bytes of every entry that is sent, in the order in which chunks number them.
    pub fn entries(&self, skip_assets: bool) -> impl Iterator<Item = &Bytes> {
        let assets: &[Bytes] = if skip_assets { &[] } else { &self.assets };
        assets.iter().chain(&self.tensors)
    }

    /// What actors are told of it, and processes that serve.
    pub fn announcement(&self, serves: bool) -> v1::WeightsAnnouncement {
        v1::WeightsAnnouncement {
            job_id: self.job_id.to_string(),
            version: self.version.0,
            manifest_checksum: self.manifest_checksum.clone(),
            traceparent: self.traceparent.clone(),
            asking: if serves { self.asking.clone() } else { String::new() },
        }
    }
}

/// BLAKE3 of some bytes in lower-case hexadecimal. The trainer waits for it, so that large ones are hashed by all
/// threads of rayon's pool: one for each core, unless RAYON_NUM_THREADS says otherwise.
fn checksum(data: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    if data.len() < HASHED_BY_ONE_THREAD {
        hasher.update(data);
    } else {
        hasher.update_rayon(data);
    }
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_does_not_depend_on_who_hashes() {
        for length in [0, 1, HASHED_BY_ONE_THREAD - 1, HASHED_BY_ONE_THREAD, 1_000_003] {
            let data: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            assert_eq!(checksum(&data), blake3::hash(&data).to_hex().to_string(), "{length}");
        }
    }
}
