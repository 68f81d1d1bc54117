//! What memory a device has, and how much of it this process may still take.
//!
//! A CUDA device is asked through libtorch's allocator. The CPU's memory is the machine's, or less where a control group
//! (a container's limit) allows less.

use std::path::{Path, PathBuf};

use tch::Device;

use crate::device;
use crate::error::PolicyError;
use crate::operators::memory::{cuda_memory, forget_cuda_peak};

/// The memory of one device, as this process sees it at one moment. All in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What the device has; on the CPU, what the machine has or the control group allows.
    pub total: u64,
    /// What nobody holds.
    pub free: u64,
    /// What this process holds: on CUDA what libtorch's allocator has from the device, whether or not tensors use it.
    pub held: u64,
    /// The part of `held` that is in use; on the CPU all of it.
    pub used: u64,
    /// The most that was in use since the process began, or since [`forget_peak`].
    pub peak: u64,
}

impl DeviceMemory {
    /// Asks the device.
    ///
    /// # Errors
    /// [`PolicyError::Device`] if a CUDA device cannot be used, or if this system does not tell what memory it has.
    pub fn ask(device: Device) -> Result<Self, PolicyError> {
        match device {
            Device::Cuda(index) => {
                let [total, free, held, used, peak] =
                    cuda_memory(index).map_err(|problem| refused(device, &problem))?;
                Ok(Self {
                    total,
                    free,
                    held,
                    used,
                    peak,
                })
            }
            _ => of_host().ok_or_else(|| refused(device, "/proc does not tell how much memory there is")),
        }
    }

    /// The figures by the names that they have as a metric.
    pub fn states(&self) -> [(&'static str, u64); 5] {
        [
            ("total", self.total),
            ("free", self.free),
            ("held", self.held),
            ("used", self.used),
            ("peak", self.peak),
        ]
    }

    /// The device as a process sees it that may take this share of it: a device of that size, with no more free than it
    /// has and than the process does not hold yet.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        let total = (self.total as f64 * share) as u64;
        Self {
            total,
            free: self.free.min(total.saturating_sub(self.held)),
            ..self
        }
    }

    /// What this process can have in all: what it holds, and what nobody holds.
    pub fn within_reach(&self) -> u64 {
        self.free + self.held
    }
}

/// Restarts the count of [`DeviceMemory::peak`].
///
/// # Errors
/// [`PolicyError::Device`] if a CUDA device cannot be used, or the system does not allow it.
pub fn forget_peak(device: Device) -> Result<(), PolicyError> {
    match device {
        Device::Cuda(index) => forget_cuda_peak(index).map_err(|problem| refused(device, &problem)),
        // proc(5): 5 resets the peak of the resident set.
        _ => std::fs::write("/proc/self/clear_refs", "5").map_err(|error| refused(device, &error.to_string())),
    }
}

/// Whether a text from libtorch, an error's or a panic's, says that memory ran out.
pub fn is_exhaustion(problem: &str) -> bool {
    // CUDA's allocator, and the CPU's.
    problem.contains("out of memory") || problem.contains("can't allocate memory")
}

fn refused(device: Device, problem: &str) -> PolicyError {
    PolicyError::Device {
        device: device::name(device),
        // libtorch adds a stack of its own from the second line on.
        problem: problem.lines().next().unwrap_or_default().to_owned(),
    }
}

fn of_host() -> Option<DeviceMemory> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let process = std::fs::read_to_string("/proc/self/status").ok()?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut total = kibibytes(&machine, "MemTotal:")?;
    let mut free = kibibytes(&machine, "MemAvailable:")?;
    for group in control_groups(Path::new("/sys/fs/cgroup"), &groups) {
        if let Some((limit, used)) = limit_of(&group) {
            total = total.min(limit);
            free = free.min(limit.saturating_sub(used));
        }
    }
    // Pages of files can be given back at any time. Older kernels have one figure for both.
    let held = kibibytes(&process, "RssAnon:").or_else(|| kibibytes(&process, "VmRSS:"))?;
    Some(DeviceMemory {
        total,
        free,
        held,
        used: held,
        peak: kibibytes(&process, "VmHWM:")?,
    })
}

/// The value of a line such as `MemTotal:  24684084 kB`, in bytes.
fn kibibytes(text: &str, label: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(label))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(number << 10)
}

/// The directories of the control groups that bound this process's memory, its own and those above it. `text` is
/// `/proc/self/cgroup`: lines of `number:controllers:path`, without controllers where version 2 has them all. In a
/// container the path may be the host's, and the container's group lies at `root` itself.
fn control_groups(root: &Path, text: &str) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let hierarchies = match controllers {
            "" => vec![root.to_path_buf(), root.join("unified")],
            _ if controllers.split(',').any(|controller| controller == "memory") => vec![root.join(controllers)],
            _ => continue,
        };
        for hierarchy in hierarchies {
            let own = hierarchy.join(path.trim_start_matches('/'));
            let above = own
                .ancestors()
                .take_while(|directory| directory.starts_with(&hierarchy));
            directories.extend(above.map(Path::to_path_buf));
        }
    }
    directories
}

/// Limit and use of one control group, in bytes. `None` where it has no limit. Pages of files that were not used lately
/// count as free, because the kernel gives them up first.
fn limit_of(group: &Path) -> Option<(u64, u64)> {
    let read = |name: &str| std::fs::read_to_string(group.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse::<u64>().ok();
    // Version 2, where no limit is the word `max`; then version 1, where it is a number beyond all memory.
    let (limit, used, label) = match number("memory.max") {
        Some(limit) => (limit, number("memory.current")?, "inactive_file "),
        None => (
            number("memory.limit_in_bytes")?,
            number("memory.usage_in_bytes")?,
            "total_inactive_file ",
        ),
    };
    let statistics = read("memory.stat").unwrap_or_default();
    let of_files = statistics
        .lines()
        .find_map(|line| line.strip_prefix(label))
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0);
    Some((limit, used.saturating_sub(of_files)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tch::{Kind, Tensor};

    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error_of_one_line() {
        // On a machine with CUDA this number is not there either.
        let error = DeviceMemory::ask(Device::Cuda(100)).unwrap_err().to_string();
        assert!(error.starts_with("device cuda:100: "), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(forget_peak(Device::Cuda(100)).is_err());
    }

    #[test]
    fn a_container_has_what_its_group_allows() {
        let root = tempfile::tempdir().unwrap();
        let write = |group: &str, file: &str, text: &str| {
            let directory = root.path().join(group);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(file), text).unwrap();
        };
        // Version 2: the group itself has no limit, the one above has.
        write("pod/actor", "memory.max", "max\n");
        write("pod", "memory.max", "2147483648\n");
        write("pod", "memory.current", "1073741824\n");
        write("pod", "memory.stat", "anon 1\ninactive_file 73741824\n");
        let groups = control_groups(root.path(), "0::/pod/actor\n");
        let limits: Vec<_> = groups.iter().filter_map(|group| limit_of(group)).collect();
        assert_eq!(limits, [(2_147_483_648, 1_000_000_000)]);
        // Version 1, in a container that does not see the host's path.
        write("memory", "memory.limit_in_bytes", "500\n");
        write("memory", "memory.usage_in_bytes", "200\n");
        let groups = control_groups(root.path(), "9:cpu:/x\n4:memory:/docker/abc\n");
        let limits: Vec<_> = groups.iter().filter_map(|group| limit_of(group)).collect();
        assert_eq!(limits, [(500, 200)]);
        assert!(control_groups(root.path(), "9:cpu:/x\n").is_empty());
    }

    #[test]
    fn exhaustion_is_told_from_other_errors() {
        let tensor = Tensor::f_zeros([1 << 50], (Kind::Float, Device::Cpu));
        assert!(is_exhaustion(&tensor.unwrap_err().to_string()));
        let other = Tensor::f_zeros([-1], (Kind::Float, Device::Cpu)).unwrap_err();
        assert!(!is_exhaustion(&other.to_string()), "{other}");
        // As CUDA's allocator has it.
        assert!(is_exhaustion("CUDA out of memory. Tried to allocate 24.00 GiB."));
    }
}
