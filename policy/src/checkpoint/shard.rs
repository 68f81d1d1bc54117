//! One file of safetensors.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tch::{Kind, Tensor};

use crate::error::PolicyError;
use crate::model_files;

/// A longer header means a damaged file: 100 MB, the limit of safetensors itself.
const LONGEST_HEADER: u64 = 100_000_000;

/// How much of two tensors is compared at a time.
const COMPARED_AT_A_TIME: usize = 1 << 20;

/// One weight that is not finite makes every logit NaN, which would show only when the first tokens are drawn.
pub(super) fn refuse_what_is_not_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<(), PolicyError> {
    if tensor.numel() == 0 {
        return Ok(());
    }
    // The minimum and the maximum of a tensor that holds NaN are both NaN.
    let (least, largest) = tensor.f_aminmax(None, false)?;
    if f64::try_from(&least)?.is_finite() && f64::try_from(&largest)?.is_finite() {
        return Ok(());
    }
    let not_finite = tensor.f_isfinite()?.f_logical_not()?.f_sum(Kind::Int64)?;
    let problem = format!(
        "{} of the {} values of tensor {name} are NaN or infinite as {:?}; the model cannot be used, so take another \
         checkpoint of it",
        i64::try_from(&not_finite)?,
        tensor.numel(),
        tensor.kind(),
    );
    Err(PolicyError::checkpoint(path, problem))
}

/// A file whose header has been read.
pub(super) struct Shard {
    pub(super) path: PathBuf,
    file: File,
    metadata: Metadata,
    data_start: u64,
}

impl Shard {
    pub(super) fn open(path: &Path) -> Result<Self, PolicyError> {
        let read_error = |source| PolicyError::read(path, source);
        model_files::refuse_irregular(path)?;
        let mut file = File::open(path).map_err(read_error)?;
        let file_length = file.metadata().map_err(read_error)?.len();
        let mut length = [0; 8];
        if file_length < 8 {
            return Err(PolicyError::checkpoint(
                path,
                "the file is too short for a safetensors header",
            ));
        }
        file.read_exact(&mut length).map_err(read_error)?;
        if model_files::POINTER.starts_with(&length) {
            return Err(model_files::is_pointer(path));
        }
        let header_length = u64::from_le_bytes(length);
        if header_length > LONGEST_HEADER.min(file_length - 8) {
            let problem = format!("the header claims {header_length} bytes, the file has {file_length}");
            return Err(PolicyError::checkpoint(path, problem));
        }
        let mut header = vec![0; header_length as usize];
        file.read_exact(&mut header).map_err(read_error)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|source| PolicyError::json(path, source))?;
        let data_start = 8 + header_length;
        let needed = data_start + metadata.data_len() as u64;
        if needed != file_length {
            let problem = format!("the header describes {needed} bytes, the file has {file_length}");
            return Err(PolicyError::checkpoint(path, problem));
        }
        Ok(Shard {
            path: path.to_path_buf(),
            file,
            metadata,
            data_start,
        })
    }

    /// Names and descriptions in the order of their data, which is the order to read them in.
    pub(super) fn tensors(&self) -> Vec<(String, TensorInfo)> {
        let tensors = self
            .metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.clone()));
        let mut tensors: Vec<(String, TensorInfo)> = tensors.collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        tensors
    }

    /// Checks shape and element type of one tensor.
    pub(super) fn check(&self, name: &str, info: &TensorInfo, expected: &[i64]) -> Result<(), PolicyError> {
        let found: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        if found != expected {
            return Err(PolicyError::TensorShape {
                origin: self.path.display().to_string(),
                name: name.to_owned(),
                found,
                expected: expected.to_vec(),
            });
        }
        self.kind(name, info).map(|_| ())
    }

    fn kind(&self, name: &str, info: &TensorInfo) -> Result<Kind, PolicyError> {
        match info.dtype {
            Dtype::F32 => Ok(Kind::Float),
            Dtype::BF16 => Ok(Kind::BFloat16),
            Dtype::F16 => Ok(Kind::Half),
            other => Err(PolicyError::TensorKind {
                origin: self.path.display().to_string(),
                name: name.to_owned(),
                found: format!("{other:?}"),
                allowed: "F32, BF16 or F16".to_owned(),
            }),
        }
    }

    /// Whether a tensor holds the same numbers as one of another file, or of this one.
    pub(super) fn holds_the_same(&self, name: &str, other: &Shard, other_name: &str) -> Result<bool, PolicyError> {
        let (Some(one), Some(two)) = (self.metadata.info(name), other.metadata.info(other_name)) else {
            return Ok(false);
        };
        if one.shape != two.shape {
            return Ok(false);
        }
        if one.dtype != two.dtype {
            let (one, two) = (self.read(name, one)?, other.read(other_name, two)?);
            return Ok(one.f_to_kind(Kind::Float)?.f_equal(&two.f_to_kind(Kind::Float)?)?);
        }
        let length = one.data_offsets.1 - one.data_offsets.0;
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for start in (0..length).step_by(COMPARED_AT_A_TIME) {
            let size = COMPARED_AT_A_TIME.min(length - start);
            left.resize(size, 0);
            right.resize(size, 0);
            self.read_bytes(one.data_offsets.0 + start, &mut left)?;
            other.read_bytes(two.data_offsets.0 + start, &mut right)?;
            if left != right {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Bytes of the data from `start` on.
    fn read_bytes(&self, start: usize, bytes: &mut [u8]) -> Result<(), PolicyError> {
        self.file
            .read_exact_at(bytes, self.data_start + start as u64)
            .map_err(|source| PolicyError::read(&self.path, source))
    }

    /// The description of a tensor; None where there is none of this name.
    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.metadata.info(name)
    }

    pub(super) fn read(&self, name: &str, info: &TensorInfo) -> Result<Tensor, PolicyError> {
        self.read_as(self.kind(name, info)?, info)
    }

    /// As [`Shard::read`], and f64 as well, which no model has.
    pub(super) fn read_any(&self, name: &str, info: &TensorInfo) -> Result<Tensor, PolicyError> {
        match info.dtype {
            Dtype::F64 => self.read_as(Kind::Double, info),
            _ => self.read(name, info),
        }
    }

    fn read_as(&self, kind: Kind, info: &TensorInfo) -> Result<Tensor, PolicyError> {
        let (start, end) = info.data_offsets;
        let mut bytes = vec![0; end - start];
        self.read_bytes(start, &mut bytes)?;
        let shape: Vec<i64> = info.shape.iter().map(|&size| size as i64).collect();
        Ok(Tensor::f_from_data_size(&bytes, &shape, kind)?)
    }
}
