//! Who gets in, with real servers over loopback: what is right passes, and everything else is refused with its status,
//! counted, and reaches no handler. That a handler is not reached is read off what it would have counted.
#![allow(clippy::unwrap_used)]

mod callers;
mod calls;
mod cluster;
mod health;
mod methods;
mod own_ca;
mod refused;

use std::ffi::OsString;
use std::process::Command;

use anytime_tests::ports::free_address;
use anytime_tests::process::Process;
use anytime_tests::programs::binary;
use anytime_tests::wait::eventually;
use anytime_tests::workplace::Workplace;

/// A process and where it listens.
pub(crate) struct Listening {
    pub(crate) process: Process,
    pub(crate) address: String,
    pub(crate) metrics: String,
}

/// A server of answers, which the actor's program is too.
pub(crate) const ANSWERS: &str = "answers";

/// Starts `anytime-NAME`, or a server of answers, and waits until it listens.
pub(crate) async fn start(workplace: &Workplace, name: &str, log: &str, arguments: &[OsString]) -> Listening {
    let port_file = workplace.path(&format!("{log}.port"));
    let metrics = free_address();
    let program = if name == ANSWERS { "actor" } else { name };
    let mut command = Command::new(binary(&format!("anytime-{program}")));
    if matches!(name, "verifier" | ANSWERS) {
        command.arg("serve");
    }
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--threads",
        "1",
        "--metrics-address",
        &metrics,
    ]);
    command.arg("--port-file").arg(&port_file).args(arguments);
    let mut process = Process::start(log, command, workplace.mark(), &workplace.path("logs"));
    let address = eventually(&format!("{log} listens"), 60, async || {
        process.assert_runs();
        std::fs::read_to_string(&port_file).ok()
    })
    .await;
    Listening {
        process,
        address: address.trim().to_owned(),
        metrics,
    }
}

/// Further arguments that a learner needs.
pub(crate) fn learner_arguments(workplace: &Workplace, redis: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["--device", "cpu", "--redis", redis, "--root"]
        .map(OsString::from)
        .to_vec();
    arguments.push(workplace.path("").into_os_string());
    arguments.push("--runs-dir".into());
    arguments.push(workplace.path("runs").into_os_string());
    arguments
}
