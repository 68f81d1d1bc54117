//! Threads that are kept for the next piece of work. Not those of the runtime: it waits for its own when the process
//! ends, and one that hangs would hold that up.

use std::io;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use tokio::sync::oneshot;

/// What a thread does. It returns whether the thread may be used again.
type Work = Box<dyn FnOnce() -> bool + Send>;

/// Threads that wait for work; as many more are started as are needed.
#[derive(Default)]
pub(crate) struct Crew {
    idle: Mutex<Vec<Sender<Order>>>,
}

/// A piece of work with the way back of the thread that does it.
struct Order {
    work: Work,
    done: oneshot::Sender<()>,
    thread: Sender<Order>,
}

impl Crew {
    /// Has a thread do some work. What is returned is ready when the work has ended, and an error if it panicked.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn run(
        self: &Arc<Self>,
        work: impl FnOnce() -> bool + Send + 'static,
    ) -> io::Result<oneshot::Receiver<()>> {
        let (done, is_done) = oneshot::channel();
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let thread = match idle {
            Some(thread) => thread,
            None => self.start()?,
        };
        let order = Order {
            work: Box::new(work),
            done,
            thread: thread.clone(),
        };
        // A thread that waits for work cannot have ended; if it had, the work would be seen to have failed.
        let _ = thread.send(order);
        Ok(is_done)
    }

    fn start(self: &Arc<Self>) -> io::Result<Sender<Order>> {
        let (thread, orders) = channel::<Order>();
        let crew: Weak<Self> = Arc::downgrade(self);
        let run = move || {
            while let Ok(Order { work, done, thread }) = orders.recv() {
                if !work() {
                    return;
                }
                let Some(crew) = crew.upgrade() else {
                    return;
                };
                // Idle before it is done, so that whoever waits for it finds it.
                crew.idle.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
                let _ = done.send(());
            }
        };
        thread::Builder::new().name("grade".to_owned()).spawn(run)?;
        Ok(thread)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_is_used_again_unless_it_was_given_up() {
        let crew = Arc::new(Crew::default());
        let name_of = |goes_on: bool| {
            let (sender, receiver) = channel();
            let work = move || {
                sender.send(thread::current().id()).unwrap();
                goes_on
            };
            (crew.run(work).unwrap(), receiver)
        };
        let (done, first) = name_of(true);
        done.await.unwrap();
        let (done, second) = name_of(false);
        // A thread that ends for good says nothing more.
        assert!(done.await.is_err());
        let (done, third) = name_of(true);
        done.await.unwrap();
        let first = first.recv().unwrap();
        assert_eq!(first, second.recv().unwrap());
        assert_ne!(first, third.recv().unwrap());
    }
}
