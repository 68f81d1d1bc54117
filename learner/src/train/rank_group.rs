//! Several processes that train one model: each computes the gradient of its own rows, and all of them make the same update
//! with the sum. The loss is a sum over tokens with a constant normaliser, so that the sum over the ranks is the gradient.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use anytime_policy::Weights;
use anytime_policy::operators::collectives::{Group, Store};
use anytime_policy::operators::training::set_gradient;
use tch::{Device, Kind, Tensor, no_grad};

use super::sharding::Shard;

/// Elements that are summed together, at most, unless one tensor has more: 128 MiB in f32.
const BUCKET: usize = 1 << 25;

/// The ranks cannot go on together: one is gone, stuck, or late. It is not the job's fault, which goes on from its recovery
/// checkpoint.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the learner's ranks cannot go on together: {0}")]
pub struct RanksError(pub String);

/// Rank 0 has ended the run: no fault, there is nothing more to compute.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("rank 0 has ended the run")]
pub struct RunOver;

/// How long a rank that waits for work goes without looking whether it is still wanted.
const LOOK: Duration = Duration::from_millis(500);

/// The processes of a job's updates. All of them call the same functions in the same order.
pub struct RankGroup {
    group: Group,
    store: Arc<Store>,
    name: String,
    /// How often rank 0 has told something.
    told: Cell<u64>,
}

impl RankGroup {
    /// The ranks of a group that all have joined under `name` in this store.
    pub fn new(group: Group, store: Arc<Store>, name: String) -> Self {
        Self {
            group,
            store,
            name,
            told: Cell::new(0),
        }
    }

    /// Which of them this is, from 0; 0 has the job.
    pub fn rank(&self) -> usize {
        self.group.rank()
    }

    /// How many there are.
    pub fn world(&self) -> usize {
        self.group.world()
    }

    /// Makes each number the sum of those of all ranks.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn sum(&self, numbers: &mut [f64]) -> Result<(), RanksError> {
        self.combine(numbers, Group::sum)
    }

    /// Whether it is so on any rank.
    ///
    /// # Errors
    /// [`RanksError`].
    pub(super) fn any(&self, is_so: bool) -> Result<bool, RanksError> {
        let mut number = [f64::from(u8::from(is_so))];
        self.largest(&mut number)?;
        Ok(number != [0.0])
    }

    /// Makes each number the largest of those of all ranks.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn largest(&self, numbers: &mut [f64]) -> Result<(), RanksError> {
        self.combine(numbers, Group::largest)
    }

    fn combine(
        &self,
        numbers: &mut [f64],
        how: impl Fn(&Group, &Tensor) -> Result<(), String>,
    ) -> Result<(), RanksError> {
        let tensor = Tensor::from_slice(numbers);
        how(&self.group, &tensor).map_err(RanksError)?;
        tensor.copy_data(numbers, numbers.len());
        Ok(())
    }

    /// Makes the gradient of every parameter the sum of those of all ranks, with the same bits on each. A parameter without a
    /// gradient counts as one whose gradient is zero.
    ///
    /// # Errors
    /// [`RanksError`]; the gradients have no meaning then.
    pub fn sum_gradients(&self, parameters: &Weights) -> Result<(), RanksError> {
        let all: Vec<&Tensor> = parameters.values().collect();
        no_grad(|| {
            for bucket in buckets(&all) {
                self.sum_bucket(bucket)?;
            }
            Ok(())
        })
    }

    fn sum_bucket(&self, parameters: &[&Tensor]) -> Result<(), RanksError> {
        let flat: Vec<Tensor> = (parameters.iter())
            .map(|parameter| {
                let gradient = parameter.grad();
                if gradient.defined() {
                    gradient.reshape([-1])
                } else {
                    parameter.zeros_like().reshape([-1])
                }
            })
            .collect();
        let device = parameters.first().map_or(Device::Cpu, |parameter| parameter.device());
        let sums = Tensor::cat(&flat, 0).to_device(Device::Cpu);
        self.group.sum(&sums).map_err(RanksError)?;
        let sums = sums.to_device(device);
        let mut start = 0;
        for parameter in parameters {
            let length = parameter.numel() as i64;
            let sum = sums.narrow(0, start, length).view(parameter.size().as_slice());
            start += length;
            let mut gradient = parameter.grad();
            if gradient.defined() {
                gradient.copy_(&sum);
            } else {
                set_gradient(parameter, &sum.copy());
            }
        }
        Ok(())
    }

    /// The part of this rank of what the ranks divide among them.
    pub fn shard(&self) -> Shard {
        Shard::of(self.rank(), self.world())
    }

    /// Makes every parameter what its parts are on the ranks that have them. They are contiguous.
    ///
    /// # Errors
    /// [`RanksError`]; the parameters have no meaning then.
    pub fn exchange_parts(&self, parameters: &Weights) -> Result<(), RanksError> {
        let all: Vec<&Tensor> = parameters.values().collect();
        no_grad(|| self.exchange(&all))
    }

    /// Makes tensors what their parts are on the ranks that have them. They are contiguous, and have no graph.
    ///
    /// # Errors
    /// [`RanksError`]; the tensors have no meaning then.
    pub(super) fn exchange(&self, tensors: &[&Tensor]) -> Result<(), RanksError> {
        for bucket in buckets(tensors) {
            for from in 0..self.world() {
                self.copy_parts(bucket, from)?;
            }
        }
        Ok(())
    }

    fn copy_parts(&self, parameters: &[&Tensor], from: usize) -> Result<(), RanksError> {
        let shard = Shard::of(from, self.world());
        let parts: Vec<Tensor> = parameters
            .iter()
            .map(|parameter| shard.part(parameter).view(-1))
            .collect();
        let flat = Tensor::cat(&parts, 0).to_device(Device::Cpu);
        if flat.numel() == 0 {
            return Ok(());
        }
        self.group.copy(&as_bytes(&flat), from).map_err(RanksError)?;
        if from == self.rank() {
            return Ok(());
        }
        let mut start = 0;
        for mut part in parts {
            let length = part.numel() as i64;
            part.copy_(&flat.narrow(0, start, length));
            start += length;
        }
        Ok(())
    }

    /// This rank's part of the sum of each parameter's gradient over all ranks, `[length]` in `kind` on the parameter's device.
    /// A parameter without a gradient counts as one whose gradient is zero.
    ///
    /// # Errors
    /// [`RanksError`].
    pub(super) fn sum_parts(&self, parameters: &[&Tensor], kind: Kind) -> Result<Vec<Tensor>, RanksError> {
        let mut sums = Vec::with_capacity(parameters.len());
        for bucket in buckets(parameters) {
            for to in 0..self.world() {
                let shard = Shard::of(to, self.world());
                let part_of = |parameter: &&Tensor| {
                    let gradient = parameter.grad();
                    if gradient.defined() {
                        shard.part(&gradient.contiguous()).view(-1).to_kind(kind)
                    } else {
                        let length = shard.range(parameter.numel() as i64).1;
                        Tensor::zeros([length], (kind, parameter.device()))
                    }
                };
                let parts: Vec<Tensor> = bucket.iter().map(part_of).collect();
                let flat = Tensor::cat(&parts, 0).to_device(Device::Cpu);
                if flat.numel() > 0 {
                    self.group.sum_at(&flat, to).map_err(RanksError)?;
                }
                if to != self.rank() {
                    continue;
                }
                let mut start = 0;
                for part in &parts {
                    let length = part.numel() as i64;
                    sums.push(flat.narrow(0, start, length).to_device(part.device()).copy());
                    start += length;
                }
            }
        }
        Ok(sums)
    }

    /// A whole tensor of this shape, in the machine's memory, of which each rank has its part and [`give`](Self::give)s it; called by
    /// rank 0 alone.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn whole(&self, part: &Tensor, size: &[i64]) -> Result<Tensor, RanksError> {
        no_grad(|| {
            let whole = Tensor::zeros(size, (part.kind(), Device::Cpu));
            let part_of = |rank| Shard::of(rank, self.world()).part(&whole).view(-1);
            part_of(0).copy_(&part.detach().view(-1));
            for from in 1..self.world() {
                let part = part_of(from);
                if part.numel() > 0 {
                    self.group.receive(&as_bytes(&part), from).map_err(RanksError)?;
                }
            }
            Ok(whole)
        })
    }

    /// Gives rank 0 this rank's part of a tensor; called by the others.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn give(&self, part: &Tensor) -> Result<(), RanksError> {
        if part.numel() == 0 {
            return Ok(());
        }
        let part = part.detach().to_device(Device::Cpu).contiguous();
        self.group.send(&as_bytes(&part), 0).map_err(RanksError)
    }

    /// Copies rank 0's tensor over those of the others.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn copy(&self, tensor: &mut Tensor) -> Result<(), RanksError> {
        let host = tensor.detach().to_device(Device::Cpu).contiguous();
        self.group.copy(&host, 0).map_err(RanksError)?;
        if self.rank() > 0 {
            no_grad(|| tensor.copy_(&host));
        }
        Ok(())
    }

    /// Tells the others something; called by rank 0 alone.
    ///
    /// # Errors
    /// [`RanksError`].
    pub fn tell(&self, bytes: &[u8]) -> Result<(), RanksError> {
        // The others may have waited for hours, which no collective does: this calls them to it.
        self.store.set(&self.call(), b"").map_err(RanksError)?;
        let length = Tensor::from_slice(&[bytes.len() as i64]);
        self.group.copy(&length, 0).map_err(RanksError)?;
        self.group.copy(&Tensor::from_slice(bytes), 0).map_err(RanksError)?;
        let told = self.told.get();
        self.told.set(told + 1);
        if told > 0 {
            // Everybody has come to this call, and so has heard of the one before.
            self.store.delete(&self.call_of(told - 1)).map_err(RanksError)?;
        }
        Ok(())
    }

    /// What rank 0 tells next, however long that takes; `check` is asked meanwhile, and an error of it ends the wait.
    ///
    /// # Errors
    /// [`RanksError`], or the error of `check`.
    pub fn hear(&self, check: &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<Vec<u8>> {
        while !self.store.wait(&self.call(), LOOK).map_err(RanksError)? {
            check()?;
            if self.store.get(&self.over()).map_err(RanksError)?.is_some() {
                return Err(RunOver.into());
            }
        }
        let length = Tensor::from_slice(&[0_i64]);
        self.group.copy(&length, 0).map_err(RanksError)?;
        let length = usize::try_from(length.int64_value(&[0]))?;
        let mut bytes = vec![0; length];
        let tensor = Tensor::from_slice(&bytes);
        self.group.copy(&tensor, 0).map_err(RanksError)?;
        tensor.copy_data(&mut bytes, length);
        self.told.set(self.told.get() + 1);
        Ok(bytes)
    }

    /// The key that says that there is nothing more to compute.
    fn over(&self) -> String {
        format!("{}/over", self.name)
    }

    /// The key that calls the ranks to what is told next.
    fn call(&self) -> String {
        self.call_of(self.told.get())
    }

    fn call_of(&self, number: u64) -> String {
        format!("{}/told/{number}", self.name)
    }
}

impl Drop for RankGroup {
    fn drop(&mut self) {
        if self.rank() == 0 {
            // Those who do not hear of it find out by the next run, or by the end of this process.
            let _ = self.store.set(&self.over(), b"");
        }
    }
}

/// The same memory as Gloo copies it, which knows no bf16 and does not ask what bytes mean.
pub(crate) fn as_bytes(tensor: &Tensor) -> Tensor {
    match tensor.kind() {
        Kind::BFloat16 => tensor.view_dtype(Kind::Uint8),
        _ => tensor.shallow_clone(),
    }
}

/// Runs of tensors of at most [`BUCKET`] elements together, in their order.
fn buckets<'a, 'b>(tensors: &'a [&'b Tensor]) -> Vec<&'a [&'b Tensor]> {
    let mut all = Vec::new();
    let (mut start, mut elements) = (0, 0);
    for (index, tensor) in tensors.iter().enumerate() {
        if index > start && elements + tensor.numel() > BUCKET {
            all.push(&tensors[start..index]);
            (start, elements) = (index, 0);
        }
        elements += tensor.numel();
    }
    if start < tensors.len() {
        all.push(&tensors[start..]);
    }
    all
}
