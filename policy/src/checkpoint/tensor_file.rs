//! Tensors of any names in one file of safetensors, of which only one is in memory at a time.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use tch::{Device, Kind, Tensor};

use super::shard::Shard;
use crate::error::PolicyError;

/// Bytes that are written at once, at least.
const BUFFER: usize = 1 << 16;

/// A file whose tensors are read when they are asked for.
pub struct TensorFile(Shard);

impl TensorFile {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn open(path: &Path) -> Result<Self, PolicyError> {
        Shard::open(path).map(Self)
    }

    /// A tensor in the machine's memory; None where the file has none of this name.
    ///
    /// # Errors
    /// It cannot be read, or is neither f64, f32, bf16 nor f16.
    pub fn read(&self, name: &str) -> Result<Option<Tensor>, PolicyError> {
        let Some(info) = self.0.info(name) else {
            return Ok(None);
        };
        self.0.read_any(name, info).map(Some)
    }
}

/// A tensor that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorShape {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub size: Vec<i64>,
    /// Its element type: f64, f32, bf16 or f16.
    pub kind: Kind,
}

/// Writes a file of these tensors. `tensor` gives each when its turn comes, in their order, on any device.
///
/// # Errors
/// The file cannot be written, the error of `tensor`, or a tensor that is not the one that was announced.
pub fn write_tensors<E: From<PolicyError>>(
    path: &Path,
    shapes: &[TensorShape],
    tensor: &mut dyn FnMut(&TensorShape) -> Result<Tensor, E>,
) -> Result<(), E> {
    let header = header(path, shapes)?;
    let refused = |source| PolicyError::write(path, source);
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path).map_err(refused)?);
    file.write_all(&(header.len() as u64).to_le_bytes())
        .and_then(|()| file.write_all(&header))
        .map_err(refused)?;
    let mut bytes = Vec::new();
    for shape in shapes {
        let tensor = tensor(shape)?.detach().to_device(Device::Cpu).contiguous();
        if tensor.size() != shape.size || tensor.kind() != shape.kind {
            let problem = format!(
                "tensor {} is {:?} of {:?} instead of {:?} of {:?}",
                shape.name,
                tensor.kind(),
                tensor.size(),
                shape.kind,
                shape.size
            );
            return Err(PolicyError::checkpoint(path, problem).into());
        }
        bytes.resize(tensor.numel() * shape.kind.elt_size_in_bytes(), 0);
        tensor.copy_data_u8(&mut bytes, tensor.numel());
        file.write_all(&bytes).map_err(refused)?;
    }
    file.flush().map_err(refused)?;
    Ok(())
}

/// The header of the file, with blanks behind it up to a multiple of eight bytes.
fn header(path: &Path, shapes: &[TensorShape]) -> Result<Vec<u8>, PolicyError> {
    let mut infos = Vec::with_capacity(shapes.len());
    let mut start = 0;
    for TensorShape { name, size, kind } in shapes {
        let dtype = match kind {
            Kind::Double => Dtype::F64,
            Kind::Float => Dtype::F32,
            Kind::BFloat16 => Dtype::BF16,
            Kind::Half => Dtype::F16,
            other => {
                let problem = format!("tensor {name} is {other:?}, which is not written");
                return Err(PolicyError::checkpoint(path, problem));
            }
        };
        let shape: Vec<usize> = size.iter().map(|&length| length as usize).collect();
        let end = start + shape.iter().product::<usize>() * kind.elt_size_in_bytes();
        infos.push((
            name.clone(),
            TensorInfo {
                dtype,
                shape,
                data_offsets: (start, end),
            },
        ));
        start = end;
    }
    let metadata = Metadata::new(None, infos);
    let metadata = metadata.map_err(|error| PolicyError::checkpoint(path, error.to_string()))?;
    let mut header = serde_json::to_vec(&metadata).map_err(|source| PolicyError::json(path, source))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(name: &str, tensor: &Tensor) -> TensorShape {
        TensorShape {
            name: name.to_owned(),
            size: tensor.size(),
            kind: tensor.kind(),
        }
    }

    #[test]
    fn what_is_written_is_read_by_libtorch_and_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.safetensors");
        let tensors = [
            ("second", Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3])),
            ("first", Tensor::from_slice(&[0.1_f64, 7.0])),
            ("empty", Tensor::zeros([0, 4], (Kind::BFloat16, Device::Cpu))),
            ("last", Tensor::from_slice(&[1.5_f32]).to_kind(Kind::BFloat16)),
        ];
        let shapes: Vec<TensorShape> = tensors.iter().map(|(name, tensor)| shape(name, tensor)).collect();
        let find = |name: &str| {
            tensors
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, tensor)| tensor)
        };
        let mut give = |shape: &TensorShape| Ok::<_, PolicyError>(find(&shape.name).unwrap().shallow_clone());
        write_tensors(&path, &shapes, &mut give).unwrap();
        let theirs = Tensor::read_safetensors(&path).unwrap();
        assert_eq!(theirs.len(), tensors.len());
        for (name, tensor) in &theirs {
            assert!(tensor.equal(find(name).unwrap()), "{name}");
        }
        let file = TensorFile::open(&path).unwrap();
        for (name, tensor) in &tensors {
            let read = file.read(name).unwrap().unwrap();
            assert!(read.equal(tensor) && read.kind() == tensor.kind(), "{name}");
        }
        assert!(file.read("other").unwrap().is_none());
        let mut other = |_: &TensorShape| Ok::<_, PolicyError>(Tensor::zeros([6], (Kind::Float, Device::Cpu)));
        let error = write_tensors(&path, &shapes, &mut other).unwrap_err().to_string();
        assert!(
            error.contains("tensor second is Float of [6] instead of Float of [2, 3]"),
            "{error}"
        );
    }
}
