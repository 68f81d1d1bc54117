//! A process that computes updates with rank 0: it waits for a run, computes its part of every step, and waits for the next.
//! It keeps nothing: whatever goes wrong, the next run tells it everything again.

use std::cell::Cell;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::bail;
use anytime_policy::operators::collectives::{Group, Store};
use anytime_service::exit::ExitError;
use tch::Device;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::beginning::hear_beginning;
use super::meeting::{Address, CURRENT, LOOK, MeetingArgs, PATIENCE, Run, program_on};
use crate::train::RankGroup;

/// How long rank 0 may take to answer a rank that looks for it.
const CONNECT: Duration = Duration::from_secs(2);

/// How long a rank that is told to end still does what rank 0 tells it: as long as rank 0 may take to end.
const LINGER: Duration = Duration::from_secs(8);

/// The process is to end.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the process is to end")]
struct Ended;

/// Follows rank 0 until the token is cancelled.
///
/// # Errors
/// [`ExitError`] with the configuration code where an argument is wrong, or does not go with rank 0's.
pub fn follow(args: &MeetingArgs, device: Device, shutdown: &CancellationToken) -> anyhow::Result<()> {
    let rank = args.rank;
    let mut is_said = false;
    while !shutdown.is_cancelled() {
        // Looked up each time: rank 0 may come back at another address, or not be known yet.
        let found = match args.addresses() {
            Ok((address, own)) => Store::connect(address, CONNECT).map(|store| (store, address, own)),
            Err(Address::Unknown(reason)) => Err(reason),
            Err(Address::Refused(error)) => return Err(error.into()),
        };
        let (store, address, own) = match found {
            Ok((store, address, own)) => (Arc::new(store), address, own),
            Err(reason) => {
                if !is_said {
                    is_said = true;
                    warn!(
                        rank,
                        reason = first_line(&reason),
                        "rank 0 is not there, waiting for it"
                    );
                }
                sleep(LOOK);
                continue;
            }
        };
        is_said = false;
        info!(rank, world = args.world, %address, "a rank waits for work");
        let follower = Follower {
            args,
            store,
            own,
            device,
            shutdown,
        };
        match follower.until_rank_0_goes() {
            Ok(()) => break,
            Err(error) if error.is::<ExitError>() => return Err(error),
            Err(error) => warn!(
                rank,
                error = first_line(&format!("{error:#}")),
                "rank 0 is gone, waiting for it"
            ),
        }
        sleep(LOOK);
    }
    Ok(())
}

struct Follower<'a> {
    args: &'a MeetingArgs,
    store: Arc<Store>,
    own: std::net::IpAddr,
    device: Device,
    shutdown: &'a CancellationToken,
}

impl Follower<'_> {
    /// Joins one run after the other. Returns when the process is to end.
    fn until_rank_0_goes(&self) -> anyhow::Result<()> {
        let mut last = String::new();
        while !self.shutdown.is_cancelled() {
            let Some(run) = self.newest()?.filter(|run| run.name != last) else {
                sleep(LOOK / 5);
                continue;
            };
            if run.world != self.args.world {
                let (world, own) = (run.world, self.args.world);
                let message = format!("--world {own}: rank 0 has --world {world}");
                return Err(ExitError::configuration(message).into());
            }
            last.clone_from(&run.name);
            if let Err(error) = self.take_part(&run) {
                if error.is::<Ended>() {
                    return Ok(());
                }
                let (rank, name) = (self.args.rank, &run.name);
                info!(
                    rank,
                    run = name,
                    reason = first_line(&format!("{error:#}")),
                    "a run is over"
                );
            }
        }
        Ok(())
    }

    fn newest(&self) -> anyhow::Result<Option<Run>> {
        match self.store.get(CURRENT) {
            Ok(announced) => Ok(announced.and_then(|announced| Run::read(&announced))),
            Err(reason) => bail!(reason),
        }
    }

    /// Takes part in a run until it is over, which is an error.
    fn take_part(&self, run: &Run) -> anyhow::Result<()> {
        let rank = self.args.rank;
        let failed = |reason: String| anyhow::anyhow!(reason);
        if self.store.add(&run.place(rank), 1).map_err(failed)? > 1 {
            warn!(
                rank,
                run = run.name,
                "another process has been this rank in this run; this one waits for the next"
            );
            return Ok(());
        }
        self.store
            .set(&run.program(rank), program_on(self.device).as_bytes())
            .map_err(failed)?;
        let check = || {
            if self.shutdown.is_cancelled() {
                bail!(Ended);
            }
            // A newer run means that rank 0 has given this one up.
            match self.newest()? {
                Some(newest) if newest.name != run.name => bail!("rank 0 has begun {}", newest.name),
                _ => Ok(()),
            }
        };
        while !self.store.wait(&run.complete(), LOOK).map_err(failed)? {
            check()?;
        }
        let world = usize::from(run.world);
        let timeout = Duration::from_secs(self.args.rank_timeout);
        let timeouts = (timeout.min(PATIENCE), timeout);
        let place = (usize::from(rank), world);
        let group = Group::join(&self.store, &run.name, self.own, place, timeouts).map_err(failed)?;
        let ranks = RankGroup::new(group, Arc::clone(&self.store), run.name.clone());
        let mut trainer = hear_beginning(ranks, self.device, &check)?;
        info!(rank, world, run = run.name, "a run begins");
        // Where all are told to end at once, rank 0 still writes its checkpoint, of which this rank has a part.
        let told_to_end = Cell::new(None);
        let check = || match check() {
            Err(error) if error.is::<Ended>() => {
                let since = told_to_end.get().unwrap_or_else(Instant::now);
                told_to_end.set(Some(since));
                if since.elapsed() < LINGER { Ok(()) } else { Err(error) }
            }
            other => other,
        };
        loop {
            trainer.follow_step(&check)?;
        }
    }
}

/// libtorch appends its own call stack to every message.
fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}
