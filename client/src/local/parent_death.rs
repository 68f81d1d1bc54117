//! Ties a child's life to ours: the one place of the client that needs `unsafe`.
#![allow(unsafe_code)]

use std::io;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{getpid, getppid};
use tokio::process::Command;

/// Has the kernel send the child SIGTERM when the thread that starts it ends, so that no child outlives a client that
/// was killed. The client has one thread, so this is the end of the client.
pub(super) fn die_with_parent(command: &mut Command) {
    let parent = getpid();
    let in_child = move || {
        prctl::set_pdeathsig(Signal::SIGTERM)?;
        // The parent may have died before the request was made; then no signal would ever come.
        if getppid() != parent {
            return Err(io::Error::from(Errno::ESRCH));
        }
        Ok(())
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed. The closure makes two system calls on plain
    // values; it neither allocates nor locks.
    unsafe { command.pre_exec(in_child) };
}
