//! Further ranks of a stack's learner.

use std::ffi::OsString;
use std::process::Command;

use crate::process::Process;
use crate::programs;
use crate::stack::{Stack, logs, texts};

impl Stack {
    /// Starts so many further ranks of the learner, and the learner again with them.
    pub async fn add_ranks(&mut self, count: usize) {
        self.learner.process.terminate().await;
        for rank in 1..=count {
            self.ranks.push(self.new_rank(rank, count + 1));
        }
        self.restart_learner().await;
    }

    /// Starts a rank again; the old one must have ended.
    pub fn spawn_rank(&mut self, rank: usize) {
        self.ranks[rank - 1] = self.new_rank(rank, self.ranks.len() + 1);
    }

    fn new_rank(&self, rank: usize, world: usize) -> Process {
        let mut command = Command::new(programs::binary("anytime-learner"));
        command.args(self.meeting(world)).args(["--rank", &rank.to_string()]);
        command
            .args(["--threads", &self.threads.to_string(), "--device", "cpu"])
            .env("RUST_LOG", "info");
        let name = format!("rank-{rank}");
        Process::start(&name, command, self.workplace.mark(), &logs(&self.workplace))
    }

    /// Where the ranks meet.
    pub fn meeting_place(&self) -> String {
        self.store.clone()
    }

    /// The ranks are as patient as a test.
    pub(crate) fn meeting(&self, world: usize) -> Vec<OsString> {
        texts(&[
            "--world",
            &world.to_string(),
            "--store",
            &self.store,
            "--rank-timeout",
            "5",
        ])
    }
}
