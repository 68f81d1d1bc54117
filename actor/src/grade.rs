//! The verifier's client. Summaries that wait are sent in one batch, several batches at the same time, and faults are
//! tried again.
//!
//! A fault says nothing about an answer: it is never turned into a score. Whose fault it is decides what follows:
//!
//! - The verifier is away, gives no usable answer, or fails at every item: this costs only waiting, however long. The
//!   summaries that wait keep their place, and meanwhile the actor asks for no work ([`VerifierHealth`]).
//! - The verifier fails at one item although it judges others. After [`FAULT_TRIES`] tries the node of that item is
//!   given up, and with it its group. Where there are no other items, a probe that any verifier can judge is sent
//!   along.

use std::sync::Arc;
use std::time::Instant;

use anytime_proto::limits::{CALL_TIMEOUT, MAX_MESSAGE_BYTES};
use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_proto::v1::{VerdictKind, VerifyItem, VerifyRequest};
use anytime_service::channel::{Backoff, PeerChannel};
use anytime_service::metric_names::ACTOR_VERIFY_SECONDS;
use anytime_service::peer::with_deadline;
use anytime_service::traces::{Span, SpanRef};
use metrics::histogram;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tonic::{Code, Request, Status};
use tracing::warn;

use crate::health::VerifierHealth;
use crate::plan::Grading;

/// The most summaries in one call, unless one node alone has more.
const BATCH_ITEMS: usize = 128;

/// How many calls run at the same time.
const CONCURRENT_BATCHES: usize = 8;

/// How often an item is sent to a verifier that answers it with a fault although it judges others.
pub const FAULT_TRIES: u32 = 5;

/// One node's summaries on their way to their verdicts.
struct Ticket {
    items: Vec<VerifyItem>,
    grading: Grading,
    /// The span in which the summaries are graded.
    span: SpanRef,
    reply: oneshot::Sender<Result<Vec<VerdictKind>, String>>,
}

/// Sends summaries to the verifier and returns their verdicts. Cheap to clone.
#[derive(Clone)]
pub struct Grader {
    tickets: mpsc::UnboundedSender<Ticket>,
    health: VerifierHealth,
}

impl Grader {
    /// Starts the task that makes batches; it ends with the last grader.
    pub fn start(channel: PeerChannel) -> Self {
        let client = VerifierServiceClient::new(channel)
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES);
        // The channel needs no bound of its own: the number of groups in hand bounds it.
        let (tickets, received) = mpsc::unbounded_channel();
        let health = VerifierHealth::default();
        tokio::spawn(make_batches(client, received, health.clone()));
        Self { tickets, health }
    }

    /// Whether the verifier judges.
    pub fn health(&self) -> VerifierHealth {
        self.health.clone()
    }

    /// Has one node's summaries graded. Returns their verdicts in order, none of them a fault. Waits for a verifier that
    /// is away. Where this future is dropped, the summaries are not sent any more. Calls are traced below `span`.
    ///
    /// # Errors
    /// The last fault of an item at which the verifier keeps failing.
    pub async fn grade(
        &self,
        items: Vec<VerifyItem>,
        grading: Grading,
        span: SpanRef,
    ) -> Result<Vec<VerdictKind>, String> {
        let (reply, verdicts) = oneshot::channel();
        let ended = || "the grader has ended".to_owned();
        self.tickets
            .send(Ticket {
                items,
                grading,
                span,
                reply,
            })
            .map_err(|_| ended())?;
        verdicts.await.map_err(|_| ended())?
    }
}

async fn make_batches(
    client: VerifierServiceClient<PeerChannel>,
    mut tickets: mpsc::UnboundedReceiver<Ticket>,
    health: VerifierHealth,
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
            if next.reply.is_closed() {
                continue;
            }
            count += next.items.len();
            if next.grading != grading || count > BATCH_ITEMS {
                held_back = Some(next);
                break;
            }
            batch.push(next);
        }
        let call = VerifierCall {
            client: client.clone(),
            health: health.clone(),
            grading,
        };
        tokio::spawn(async move {
            let started = Instant::now();
            if let Some(refused) = Batch::new(batch).run(call.clone()).await {
                // One of the tickets makes the verifier refuse all. Sending each alone shows which.
                for ticket in refused {
                    Batch::new(vec![ticket]).run(call.clone()).await;
                }
            }
            histogram!(ACTOR_VERIFY_SECONDS).record(started.elapsed());
            drop(permit);
        });
    }
}

/// What every call of a batch needs.
#[derive(Clone)]
struct VerifierCall {
    client: VerifierServiceClient<PeerChannel>,
    health: VerifierHealth,
    grading: Grading,
}

/// One item under way.
#[derive(Clone, Default)]
struct Verdict {
    decided: Option<VerdictKind>,
    /// How often the verifier failed at it although it judged others.
    faults: u32,
}

/// Tickets that are sent together. Each is answered as soon as its own items have verdicts.
struct Batch {
    tickets: Vec<Option<Ticket>>,
    /// By ticket and item.
    verdicts: Vec<Vec<Verdict>>,
}

impl Batch {
    fn new(tickets: Vec<Ticket>) -> Self {
        let verdicts = tickets
            .iter()
            .map(|ticket| vec![Verdict::default(); ticket.items.len()])
            .collect();
        let tickets = tickets.into_iter().map(Some).collect();
        Self { tickets, verdicts }
    }

    /// Sends the items until every ticket is answered. Returns the tickets where the verifier refuses the request as a
    /// whole and there is more than one.
    async fn run(mut self, mut call: VerifierCall) -> Option<Vec<Ticket>> {
        let mut backoff = Backoff::default();
        let mut probes_sent = 0;
        let mut wants_probe = false;
        loop {
            self.drop_dead();
            let pending = self.pending();
            if pending.is_empty() {
                return None;
            }
            let mut items: Vec<VerifyItem> = pending
                .iter()
                .filter_map(|&(ticket, item)| self.item(ticket, item))
                .collect();
            if wants_probe {
                probes_sent += 1;
                items.push(probe(probes_sent));
            }
            let asked = items.len();
            let mut request = Request::new(VerifyRequest {
                items,
                extraction: call.grading.extraction.into(),
                conventions: Some(call.grading.conventions),
            });
            let mut span = self.call_span();
            span.number("items", asked as u64).tell(&mut request);
            let mut answer = with_deadline(CALL_TIMEOUT, call.client.verify(request)).await;
            if let Err(status) = &answer {
                span.fail(status.message());
            }
            drop(span);
            if let Ok(response) = &mut answer {
                call.health.heard(response.process.take());
            }
            match answer {
                Ok(response) if response.verdicts.len() == asked => {
                    let kinds: Vec<VerdictKind> = response.verdicts.iter().map(|verdict| verdict.kind()).collect();
                    if kinds.iter().any(|kind| is_decided(*kind)) {
                        call.health.judges();
                        self.book(&pending, &kinds);
                    } else if wants_probe {
                        call.health.fails(kinds[0].as_str_name());
                    }
                    // Nothing was decided. With a probe the next answer tells whether the verifier or the items are at
                    // fault.
                    wants_probe = true;
                }
                Ok(response) => {
                    let got = response.verdicts.len();
                    call.health.fails(&format!("{got} verdicts for {asked} items"));
                }
                Err(status) if is_refusal(&status) => {
                    if self.tickets.iter().flatten().count() > 1 {
                        return Some(self.tickets.into_iter().flatten().collect());
                    }
                    call.health.judges();
                    self.count_refusal(&pending, &status);
                }
                Err(status) => call.health.fails(&format!("{:?}: {}", status.code(), status.message())),
            }
            self.answer_decided();
            if self.tickets.iter().any(Option::is_some) {
                tokio::time::sleep(backoff.pause()).await;
            }
        }
    }

    /// Forgets the tickets whose groups were given up.
    fn drop_dead(&mut self) {
        for ticket in &mut self.tickets {
            if ticket.as_ref().is_some_and(|ticket| ticket.reply.is_closed()) {
                *ticket = None;
            }
        }
    }

    /// The span of a call. It is in the trace of the first group that it is made for, and points to those of the others.
    fn call_span(&self) -> Span {
        let mut groups = self.tickets.iter().flatten().map(|ticket| &ticket.span);
        let mut span = Span::call("verify", groups.next().unwrap_or(&SpanRef::default()));
        for other in groups {
            span.link(other);
        }
        span
    }

    fn pending(&self) -> Vec<(usize, usize)> {
        let mut pending = Vec::new();
        for (number, (ticket, verdicts)) in self.tickets.iter().zip(&self.verdicts).enumerate() {
            if ticket.is_some() {
                let undecided = verdicts
                    .iter()
                    .enumerate()
                    .filter(|(_, verdict)| verdict.decided.is_none());
                pending.extend(undecided.map(|(item, _)| (number, item)));
            }
        }
        pending
    }

    fn item(&self, ticket: usize, item: usize) -> Option<VerifyItem> {
        self.tickets[ticket].as_ref().map(|ticket| ticket.items[item].clone())
    }

    /// Enters verdicts of a verifier that judged something: what it did not judge is the fault of the item.
    fn book(&mut self, pending: &[(usize, usize)], kinds: &[VerdictKind]) {
        for (&(ticket, item), &kind) in pending.iter().zip(kinds) {
            let verdict = &mut self.verdicts[ticket][item];
            if is_decided(kind) {
                verdict.decided = Some(kind);
            } else {
                verdict.faults += 1;
                self.give_up_after_tries(ticket, item, kind.as_str_name());
            }
        }
    }

    fn count_refusal(&mut self, pending: &[(usize, usize)], status: &Status) {
        for &(ticket, item) in pending {
            self.verdicts[ticket][item].faults += 1;
            self.give_up_after_tries(ticket, item, status.message());
        }
    }

    fn give_up_after_tries(&mut self, ticket: usize, item: usize, problem: &str) {
        if self.verdicts[ticket][item].faults < FAULT_TRIES {
            return;
        }
        if let Some(ticket) = self.tickets[ticket].take() {
            warn!(
                problem,
                "the verifier keeps failing at an answer, its group is given up"
            );
            // Whoever asked may have given the group up meanwhile.
            let _ = ticket.reply.send(Err(problem.to_owned()));
        }
    }

    fn answer_decided(&mut self) {
        for (ticket, verdicts) in self.tickets.iter_mut().zip(&self.verdicts) {
            let decided: Option<Vec<VerdictKind>> = verdicts.iter().map(|verdict| verdict.decided).collect();
            if let Some(decided) = decided
                && let Some(ticket) = ticket.take()
            {
                let _ = ticket.reply.send(Ok(decided));
            }
        }
    }
}

fn is_decided(kind: VerdictKind) -> bool {
    !matches!(
        kind,
        VerdictKind::Unspecified | VerdictKind::OutOfTime | VerdictKind::InternalError
    )
}

/// Whether the verifier refuses what was asked, and would again.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange)
}

/// An item that any verifier can judge. Its text is new each time, so that no cache can answer in the grader's place.
fn probe(number: u32) -> VerifyItem {
    let value = (u64::from(rand::random::<u32>()) << 16) + u64::from(number);
    VerifyItem {
        response: format!("\\boxed{{{value}}}"),
        ground_truths: vec![value.to_string()],
    }
}
