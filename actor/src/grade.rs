//! The verifier's client. Summaries that wait are sent in one batch, several batches at the same time, and faults are
//! tried again.
//!
//! A fault (a verifier that is away, out of time, broken) says nothing about an answer: it is never turned into a
//! score. After enough tries the node is given up, and with it its group.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anytime_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{VerdictKind, VerifyItem, VerifyRequest};
use anytime_service::channel::Backoff;
use anytime_service::metric_names::ACTOR_VERIFY_SECONDS;
use anytime_service::peer::with_deadline;
use metrics::histogram;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::transport::Channel;
use tracing::warn;

use crate::plan::Grading;

/// The most summaries in one call, unless one node alone has more.
const BATCH_ITEMS: usize = 128;

/// How many calls run at the same time.
const CONCURRENT_BATCHES: usize = 8;

/// How often an item is sent to a verifier that answers it with a fault.
const FAULT_TRIES: usize = 5;

/// One node's summaries on their way to their verdicts.
struct Ticket {
    items: Vec<VerifyItem>,
    grading: Grading,
    reply: oneshot::Sender<Result<Vec<VerdictKind>, String>>,
}

/// Sends summaries to the verifier and returns their verdicts. Cheap to clone.
#[derive(Clone)]
pub struct Grader {
    tickets: mpsc::UnboundedSender<Ticket>,
}

impl Grader {
    /// Starts the task that makes batches; it ends with the last grader.
    pub fn start(channel: Channel, patience: Duration) -> Self {
        let client = VerifierServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        // The groups that may be in hand bound this channel.
        let (tickets, received) = mpsc::unbounded_channel();
        tokio::spawn(make_batches(client, received, patience));
        Self { tickets }
    }

    /// Has one node's summaries graded. Returns their verdicts in order, none of them a fault.
    ///
    /// # Errors
    /// The last fault, once the patience or the tries are used up.
    pub async fn grade(&self, items: Vec<VerifyItem>, grading: Grading) -> Result<Vec<VerdictKind>, String> {
        let (reply, verdicts) = oneshot::channel();
        let ended = || "the grader has ended".to_owned();
        self.tickets
            .send(Ticket { items, grading, reply })
            .map_err(|_| ended())?;
        verdicts.await.map_err(|_| ended())?
    }
}

async fn make_batches(
    client: VerifierServiceClient<Channel>,
    mut tickets: mpsc::UnboundedReceiver<Ticket>,
    patience: Duration,
) {
    let permits = Arc::new(Semaphore::new(CONCURRENT_BATCHES));
    let mut held_back: Option<Ticket> = None;
    loop {
        let first = match held_back.take() {
            Some(ticket) => ticket,
            None => match tickets.recv().await {
                Some(ticket) => ticket,
                None => return,
            },
        };
        // The permit comes first, so that the batch grows while all calls are busy.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let mut count = first.items.len();
        let grading = first.grading;
        let mut batch = vec![first];
        while count < BATCH_ITEMS
            && let Ok(next) = tickets.try_recv()
        {
            count += next.items.len();
            if next.grading != grading || count > BATCH_ITEMS {
                held_back = Some(next);
                break;
            }
            batch.push(next);
        }
        let client = client.clone();
        tokio::spawn(async move {
            Batch::new(batch, grading).run(client, patience).await;
            drop(permit);
        });
    }
}

/// Tickets that are sent together. Each is answered as soon as its own items have verdicts.
struct Batch {
    grading: Grading,
    tickets: Vec<Option<Ticket>>,
    /// By ticket and item; `None` while there is no verdict.
    verdicts: Vec<Vec<Option<VerdictKind>>>,
    last_problem: String,
}

impl Batch {
    fn new(tickets: Vec<Ticket>, grading: Grading) -> Self {
        let verdicts = tickets.iter().map(|ticket| vec![None; ticket.items.len()]).collect();
        let tickets = tickets.into_iter().map(Some).collect();
        Self {
            grading,
            tickets,
            verdicts,
            last_problem: String::new(),
        }
    }

    async fn run(mut self, mut client: VerifierServiceClient<Channel>, patience: Duration) {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        let mut fault_tries = 0;
        loop {
            let pending = self.pending();
            if pending.is_empty() {
                break;
            }
            let items = pending
                .iter()
                .filter_map(|&(ticket, item)| self.item(ticket, item))
                .collect();
            let request = VerifyRequest {
                items,
                extraction: self.grading.extraction.into(),
                conventions: Some(self.grading.conventions),
            };
            match with_deadline(CALL_TIMEOUT, client.verify(request)).await {
                Ok(response) if response.verdicts.len() == pending.len() => {
                    let kinds: Vec<VerdictKind> = response.verdicts.iter().map(|verdict| verdict.kind()).collect();
                    fault_tries += 1;
                    self.book(&pending, &kinds);
                }
                Ok(response) => {
                    let (got, asked) = (response.verdicts.len(), pending.len());
                    fault_tries += 1;
                    self.last_problem = format!("{got} verdicts for {asked} items");
                }
                Err(status) => self.last_problem = format!("{:?}: {}", status.code(), status.message()),
            }
            self.answer_decided();
            if self.tickets.iter().all(Option::is_none) {
                break;
            }
            if fault_tries >= FAULT_TRIES || started.elapsed() >= patience {
                self.give_up();
                break;
            }
            tokio::time::sleep(backoff.pause().min(patience)).await;
        }
        histogram!(ACTOR_VERIFY_SECONDS).record(started.elapsed());
    }

    fn pending(&self) -> Vec<(usize, usize)> {
        let mut pending = Vec::new();
        for (ticket, verdicts) in self.verdicts.iter().enumerate() {
            let undecided = verdicts.iter().enumerate().filter(|(_, verdict)| verdict.is_none());
            pending.extend(undecided.map(|(item, _)| (ticket, item)));
        }
        pending
    }

    fn item(&self, ticket: usize, item: usize) -> Option<VerifyItem> {
        self.tickets[ticket].as_ref().map(|ticket| ticket.items[item].clone())
    }

    fn book(&mut self, pending: &[(usize, usize)], kinds: &[VerdictKind]) {
        for (&(ticket, item), &kind) in pending.iter().zip(kinds) {
            match kind {
                VerdictKind::Unspecified | VerdictKind::OutOfTime | VerdictKind::InternalError => {
                    self.last_problem = kind.as_str_name().to_owned();
                }
                decided => self.verdicts[ticket][item] = Some(decided),
            }
        }
    }

    fn answer_decided(&mut self) {
        for (ticket, verdicts) in self.tickets.iter_mut().zip(&self.verdicts) {
            let decided: Option<Vec<VerdictKind>> = verdicts.iter().copied().collect();
            if let Some(decided) = decided
                && let Some(ticket) = ticket.take()
            {
                // Whoever asked may have given the group up meanwhile.
                let _ = ticket.reply.send(Ok(decided));
            }
        }
    }

    fn give_up(&mut self) {
        warn!(problem = self.last_problem, "verifier keeps failing");
        for ticket in self.tickets.iter_mut().filter_map(Option::take) {
            let _ = ticket.reply.send(Err(self.last_problem.clone()));
        }
    }
}
