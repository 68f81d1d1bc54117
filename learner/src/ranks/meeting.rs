//! Where the ranks meet: a store that rank 0 serves. Each run of a job has a group of its own, which the ranks join once all
//! are there; where one is lost the group is over, and the next run gathers again whoever comes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anytime_policy::operators::collectives::{Group, Store};
use anytime_service::exit::ExitError;
use anytime_service::metric_names::LEARNER_RANKS;
use anytime_service::program;
use metrics::gauge;
use serde::{Deserialize, Serialize};
use tch::Device;
use tracing::{info, warn};

use crate::train::{RankGroup, RanksError};

/// How long rank 0 waits for the others before the job pauses, at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How long is looked for something before something else is looked after.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How long the store may take to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

/// The key that names the newest run.
pub(super) const CURRENT: &str = "current";

/// Which of several processes this is, and where they meet.
#[derive(Clone, Debug, clap::Args)]
pub struct MeetingArgs {
    /// How many processes compute the updates together
    #[arg(long, env = "ANYTIME_WORLD", value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub world: u16,
    /// Which of them this is: 0 has the jobs, the others follow it and have no arguments but these, --device, --threads and
    /// those of logs and metrics
    #[arg(long, env = "ANYTIME_RANK", value_name = "R", default_value_t = 0)]
    pub rank: u16,
    /// Where they meet: rank 0 listens there
    #[arg(long, env = "ANYTIME_STORE", value_name = "HOST:PORT")]
    pub store: Option<String>,
    /// The address at which the other ranks reach this one [default: the one by which this machine reaches --store]
    #[arg(long, env = "ANYTIME_RANK_ADDRESS", value_name = "IP")]
    pub rank_address: Option<IpAddr>,
    /// Seconds that a rank waits for another in the middle of an update
    #[arg(long, env = "ANYTIME_RANK_TIMEOUT", value_name = "SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub rank_timeout: u64,
    /// Lets ranks meet beyond this machine: they speak without TLS and without tokens, so that whoever reaches their ports can
    /// read and change the weights
    #[arg(long, env = "ANYTIME_TRUST_RANK_NETWORK")]
    pub trust_rank_network: bool,
}

impl MeetingArgs {
    /// The address of the store, and the one at which this process is reached.
    ///
    /// # Errors
    /// Why there are none.
    pub(super) fn addresses(&self) -> Result<(SocketAddr, IpAddr), Address> {
        let refuse = |reason: String| Address::Refused(ExitError::configuration(reason));
        if self.rank >= self.world {
            let (rank, world) = (self.rank, self.world);
            return Err(refuse(format!(
                "--rank {rank}: it must be below --world, which is {world}"
            )));
        }
        let Some(text) = &self.store else {
            let world = self.world;
            return Err(refuse(format!("--world {world} needs --store, where the ranks meet")));
        };
        let mut found = text.to_socket_addrs().map_err(|error| {
            let reason = format!("--store {text}: {error}");
            match error.kind() {
                std::io::ErrorKind::InvalidInput => refuse(reason),
                _ => Address::Unknown(reason),
            }
        })?;
        let store = found
            .next()
            .ok_or_else(|| refuse(format!("--store {text}: it has no address")))?;
        if store.ip().is_unspecified() && self.rank_address.is_none() {
            return Err(refuse(format!(
                "--store {text} needs --rank-address, at which the other ranks reach this one"
            )));
        }
        let own = match self.rank_address {
            Some(own) => own,
            None => address_towards(store).map_err(|error| refuse(format!("--store {text}: {error}")))?,
        };
        if !(store.ip().is_loopback() && own.is_loopback()) {
            if !self.trust_rank_network {
                return Err(refuse(format!(
                    "--store {text} is reached from other machines, and ranks speak without TLS and without tokens; \
                     --trust-rank-network allows it in a network of their own"
                )));
            }
            warn!(%store, "ranks speak without TLS and without tokens: whoever reaches them can read and change the weights");
        }
        Ok((store, own))
    }
}

/// The address by which this machine reaches another; nothing is sent.
fn address_towards(other: SocketAddr) -> std::io::Result<IpAddr> {
    let any = if other.is_ipv4() {
        IpAddr::from(Ipv4Addr::UNSPECIFIED)
    } else {
        IpAddr::from([0_u16; 8])
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(other)?;
    Ok(socket.local_addr()?.ip())
}

/// Why a rank has no addresses.
pub(super) enum Address {
    /// By its arguments, for good.
    Refused(ExitError),
    /// The name is not known now.
    Unknown(String),
}

impl From<Address> for ExitError {
    fn from(address: Address) -> Self {
        match address {
            Address::Refused(error) => error,
            Address::Unknown(reason) => Self::configuration(reason),
        }
    }
}

/// Which program a rank is, and on what it computes: sums in other kinds of numbers would not be those of one process.
pub(super) fn program_on(device: Device) -> String {
    let kind = if device.is_cuda() { "CUDA" } else { "the CPU" };
    format!("{} on {kind}", program::version())
}

/// A run as it is announced.
#[derive(Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) world: u16,
}

impl Run {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        postcard::from_bytes(bytes).ok()
    }

    /// Numbers those who come as a rank.
    pub(super) fn place(&self, rank: u16) -> String {
        format!("{}/place/{rank}", self.name)
    }

    /// The program of a rank that has come.
    pub(super) fn program(&self, rank: u16) -> String {
        format!("{}/program/{rank}", self.name)
    }

    /// There once all may join.
    pub(super) fn complete(&self) -> String {
        format!("{}/complete", self.name)
    }
}

/// Rank 0's side.
pub struct Meeting {
    store: Arc<Store>,
    address: IpAddr,
    world: u16,
    timeout: Duration,
}

impl Meeting {
    /// Serves the store; None where one process computes the updates alone.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument.
    pub fn open(args: &MeetingArgs) -> Result<Option<Self>, ExitError> {
        if args.world == 1 && args.rank == 0 {
            return Ok(None);
        }
        let (address, own) = args.addresses()?;
        let refuse = |reason: String| ExitError::configuration(format!("--store {address}: {reason}"));
        let listener = TcpListener::bind(address).map_err(|error| refuse(error.to_string()))?;
        let address = listener.local_addr().map_err(|error| refuse(error.to_string()))?;
        let store = Store::serve(listener, STORE_TIMEOUT).map_err(refuse)?;
        info!(%address, world = args.world, "ranks meet");
        Ok(Some(Self {
            store: Arc::new(store),
            address: own,
            world: args.world,
            timeout: Duration::from_secs(args.rank_timeout),
        }))
    }

    /// How many ranks meet.
    pub fn world(&self) -> u16 {
        self.world
    }

    /// Forgets what was said of a run in which nobody can be any more.
    fn forget(&self, name: &str) {
        let run = Run {
            name: name.to_owned(),
            world: self.world,
        };
        let of_ranks = (0..self.world).flat_map(|rank| [run.place(rank), run.program(rank)]);
        for key in of_ranks.chain([run.complete(), format!("{name}/over")]) {
            // What is not forgotten takes a few bytes.
            let _ = self.store.delete(&key);
        }
    }

    /// Waits until all ranks are there. `check` is asked meanwhile.
    ///
    /// # Errors
    /// [`RanksError`] where one does not come, or is another program; or the error of `check`.
    pub fn gather(&self, device: Device, check: &dyn Fn() -> anyhow::Result<()>) -> anyhow::Result<RankGroup> {
        let number = self.store.add("runs", 1).map_err(RanksError)?;
        let run = Run {
            name: format!("run-{number}"),
            world: self.world,
        };
        if number > 2 {
            self.forget(&format!("run-{}", number - 2));
        }
        let announced = postcard::to_stdvec(&run)?;
        self.store.set(CURRENT, &announced).map_err(RanksError)?;
        let patience = self.timeout.min(PATIENCE);
        let deadline = Instant::now() + patience;
        for rank in 1..self.world {
            gauge!(LEARNER_RANKS).set(f64::from(rank));
            let mut is_said = false;
            while !self.store.wait(&run.program(rank), LOOK).map_err(RanksError)? {
                check()?;
                if !is_said {
                    is_said = true;
                    info!(rank, world = self.world, "waits for a rank");
                }
                if Instant::now() > deadline {
                    let (world, seconds) = (self.world, patience.as_secs());
                    let reason = format!("rank {rank} of {world} has not come within {seconds} s");
                    return Err(RanksError(reason).into());
                }
            }
            let program = self
                .store
                .get(&run.program(rank))
                .map_err(RanksError)?
                .unwrap_or_default();
            let program = String::from_utf8_lossy(&program).into_owned();
            let own = program_on(device);
            if program != own {
                return Err(RanksError(format!("rank {rank} is {program}, and rank 0 is {own}")).into());
            }
        }
        self.store.set(&run.complete(), b"").map_err(RanksError)?;
        let (own, world) = (self.address, usize::from(self.world));
        let timeouts = (self.timeout.min(PATIENCE), self.timeout);
        let group = Group::join(&self.store, &run.name, own, (0, world), timeouts);
        let group = group.map_err(RanksError)?;
        gauge!(LEARNER_RANKS).set(f64::from(self.world));
        info!(world = self.world, run = run.name, "all ranks are there");
        Ok(RankGroup::new(group, Arc::clone(&self.store), run.name))
    }
}
