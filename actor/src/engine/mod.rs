//! Generation: one thread that owns the model, the key-value cache and every sequence under way.
//!
//! From the top down: `runner` is the loop (commands, a decoding step for all rows, the swap of weights),
//! `admission` gives slots to waiting sequences, `prefill` feeds tokens that are known beforehand, `state` is
//! everything that the thread owns, `scheduler` knows who waits and what comes next, `cache` knows which slot holds
//! what, `cache_size` how many bytes it may have, `sequence` is what a running sequence knows, `end_text` finds an end
//! marker in its text, `served` is what requests have that are served beside training groups, `kept` knows the traces that
//! may go on, and [`sampler`] draws tokens and knows none of the others. [`watchdog`] notices, from outside of
//! the thread, a step that does not end.
//!
//! Async code meets the thread in this file and nowhere else: commands go in and events come out by channel.

mod admission;
mod cache;
mod cache_size;
mod end_text;
mod forced_start;
mod kept;
mod load;
mod messages;
mod meters;
mod prefill;
mod runner;
pub mod sampler;
mod scheduler;
mod sequence;
mod served;
mod state;
pub mod watchdog;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::warn;

pub use self::cache_size::actor_memory;
pub use self::load::Load;
pub(crate) use self::load::ShortOf;
pub use self::messages::{
    CacheLimit, Command, EngineError, EngineLimits, Event, GroupRequest, Installed, Model, ModelId, NotContinued,
    ServedEvent,
};
use self::state::EngineState;

/// How long the engine's thread may take to finish its decoding step when the process ends.
const ENGINE_DRAIN: Duration = Duration::from_secs(2);

/// The async side of the engine. It takes commands, and tells what the engine holds and how busy it is. Cheap to clone.
#[derive(Clone)]
pub struct EngineHandle {
    commands: Sender<Command>,
    load: Arc<Load>,
    installed: watch::Receiver<Option<Installed>>,
}

impl EngineHandle {
    /// Sends a command. A command that comes after the engine has ended is lost, as everything in the engine then is.
    pub fn send(&self, command: Command) {
        if let Command::AddGroup(request) = &command {
            self.load.requested.fetch_add(request.plan.traces, Ordering::AcqRel);
        }
        // Whoever waits for the engine's thread notices its end.
        let _ = self.commands.send(command);
    }

    /// How much there is to do.
    pub fn load(&self) -> &Load {
        &self.load
    }

    /// The weights that the engine generates with, `None` before the first; the receiver is told of every change.
    pub fn installed(&self) -> watch::Receiver<Option<Installed>> {
        self.installed.clone()
    }
}

/// Starts the engine's thread, which ends with [`Command::Shutdown`] or with the last handle. Its result says why it
/// ended by itself, where it did.
///
/// # Errors
/// If the operating system has no thread to give.
pub fn spawn(
    limits: EngineLimits,
    events: mpsc::UnboundedSender<Event>,
) -> std::io::Result<(EngineHandle, JoinHandle<Result<(), EngineError>>)> {
    let (handle, side) = handle(limits.slots);
    let EngineSide {
        commands,
        installed,
        load,
    } = side;
    let thread = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
        let state = EngineState::new(limits, events, installed, load);
        let outcome = catch_unwind(AssertUnwindSafe(|| runner::run(state, &commands)));
        outcome.unwrap_or_else(|panic| Err(EngineError::of_text(&panic_text(panic.as_ref()))))
    })?;
    Ok((handle, thread))
}

/// The engine's side of the channels, as opposed to the [`EngineHandle`]. The engine's thread has it, or what stands in
/// for the engine where a network is simulated.
pub struct EngineSide {
    /// The commands that come in.
    pub commands: Receiver<Command>,
    /// The weights that it generates with.
    pub installed: watch::Sender<Option<Installed>>,
    /// How much it has to do.
    pub load: Arc<Load>,
}

/// Both sides of an engine that runs `slots` sequences at the same time.
pub fn handle(slots: usize) -> (EngineHandle, EngineSide) {
    let (commands, received) = channel();
    let (installed_sender, installed) = watch::channel(None);
    let load = Arc::new(Load::default());
    load.slots.store(slots, Ordering::Release);
    let handle = EngineHandle {
        commands,
        load: Arc::clone(&load),
        installed,
    };
    let side = EngineSide {
        commands: received,
        installed: installed_sender,
        load,
    };
    (handle, side)
}

/// Waits for the engine's thread, but not for long: the process ends all the same.
///
/// # Errors
/// Why the thread ended by itself, where it did.
pub(crate) async fn join(thread: JoinHandle<Result<(), EngineError>>) -> Result<(), EngineError> {
    let deadline = Instant::now() + ENGINE_DRAIN;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            warn!("the engine is still at a step, ending without it");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The thread catches its own panics.
    thread.join().unwrap_or(Ok(()))
}

/// The message of a panic.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "a panic without a text".to_owned())
}
