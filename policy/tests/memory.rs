//! What this process takes, measured alone: a neighbour that frees memory meanwhile would change the figure, so this test
//! has a process of its own.

#![allow(clippy::unwrap_used)]

use anytime_policy::memory::DeviceMemory;
use tch::{Device, Kind, Tensor};

#[test]
fn the_cpu_tells_what_it_has_and_what_this_process_takes() {
    // The first tensor brings libtorch's own buffers.
    drop(Tensor::ones([1], (Kind::Float, Device::Cpu)));
    let before = DeviceMemory::ask(Device::Cpu).unwrap();
    assert!(before.free <= before.total && before.used <= before.total, "{before:?}");
    let bytes = 64_u64 << 20;
    let tensor = Tensor::ones([bytes as i64 / 4], (Kind::Float, Device::Cpu));
    let after = DeviceMemory::ask(Device::Cpu).unwrap();
    let taken = after.used - before.used;
    // The kernel counts what a thread touched in batches of up to 64 pages.
    assert!(
        taken + (1 << 20) > bytes && taken < bytes + (8 << 20),
        "{before:?} {after:?}"
    );
    assert!(after.peak + (1 << 20) >= after.used, "{after:?}");
    drop(tensor);
    let freed = DeviceMemory::ask(Device::Cpu).unwrap();
    assert!(freed.used + (bytes / 2) < after.used, "{after:?} {freed:?}");
    // A peak stays when the memory is given back.
    assert!(freed.peak + (1 << 20) >= after.peak, "{after:?} {freed:?}");
}
