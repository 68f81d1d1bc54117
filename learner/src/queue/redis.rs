//! The connection to Redis: a multiplexed connection for all that is short, and a few over which pushed groups travel. They
//! are made again after every loss. Every wait is bounded.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anytime_service::channel::Backoff;
use anytime_service::clock;
use anytime_service::exit::ExitError;
use anytime_service::peer::show_peer;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ErrorKind, RedisError, RedisResult, ServerErrorKind};
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

use super::target::RedisTarget;

/// Deadline for establishing a connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// Deadline of one command. A group of ten megabytes takes a fraction of it.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of connections over which groups travel to Redis. Before it syncs, Redis reads from each of them all that
/// is there, so that several groups share one sync.
const GROUP_CONNECTIONS: usize = 4;

/// How long the start waits for a Redis that cannot be reached.
pub const START_PATIENCE: Duration = Duration::from_secs(20);

/// The longest pause between two tries to reach it.
const START_PAUSE: Duration = Duration::from_secs(1);

/// The name of Redis in the metric of peers.
const PEER: &str = "redis";

/// Deadline of a sign of life, so that a Redis that hangs is noticed within ten seconds.
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// Redis did not answer, or answered with an error that only an operator can mend. Nothing is lost: try again.
#[derive(Debug, thiserror::Error)]
#[error("redis is unavailable: {0}")]
pub struct RedisUnavailable(pub String);

/// Makes a connection. It bounds how long that takes and how long an answer is waited for.
pub type Connect =
    Box<dyn Fn() -> Pin<Box<dyn Future<Output = RedisResult<MultiplexedConnection>> + Send>> + Send + Sync>;
/// The place of a connection, which may not have been made yet.
type Place = Mutex<Option<MultiplexedConnection>>;

/// The connection to Redis that all jobs share. Commands go through [`run`](Self::run). A failed command marks it down;
/// the monitor marks it up again once it has read what Redis holds after the outage.
pub struct RedisConnection {
    connect: Connect,
    /// For messages: without user name and password.
    address: String,
    connection: Place,
    group_connections: [Place; GROUP_CONNECTIONS],
    /// Counts groups, which take the connections in turn.
    groups: AtomicUsize,
    is_up: watch::Sender<bool>,
}

impl RedisConnection {
    /// Connects, and fails where the address is wrong, so that the process ends before it serves.
    ///
    /// # Errors
    /// As [`connect_within`](Self::connect_within).
    pub async fn connect(target: impl Into<RedisTarget>) -> Result<Self, ExitError> {
        Self::connect_within(Duration::ZERO, target).await
    }

    /// As [`connect`](Self::connect), but retries for `patience`: Redis may be starting, or reading its data.
    ///
    /// # Errors
    /// [`ExitError`] that names `--redis`: with the configuration code for a bad URL and for credentials that Redis
    /// refuses, otherwise with the code of a peer that cannot be reached.
    pub async fn connect_within(patience: Duration, target: impl Into<RedisTarget>) -> Result<Self, ExitError> {
        let (clients, address) = target.into().clients()?;
        let clients = Arc::new(clients);
        let connect: Connect = Box::new(move || {
            let clients = clients.clone();
            Box::pin(async move {
                let client = clients.next().await;
                client.get_multiplexed_async_connection_with_config(&bounds()).await
            })
        });
        Self::over(patience, address, connect).await
    }

    /// As [`connect_within`](Self::connect_within), over connections that `connect` makes. Messages call the place
    /// `address`.
    ///
    /// # Errors
    /// As [`connect_within`](Self::connect_within).
    pub async fn over(patience: Duration, address: String, connect: Connect) -> Result<Self, ExitError> {
        let redis = Self {
            connect,
            address,
            connection: Place::default(),
            group_connections: Default::default(),
            groups: AtomicUsize::new(0),
            is_up: watch::Sender::new(false),
        };
        let deadline = clock::now() + patience;
        let mut backoff = Backoff::default();
        let mut is_reported = false;
        while let Err(error) = redis.first_ping(deadline).await {
            let message = format!("--redis {}: {error}", redis.address);
            if is_refusal(&error) {
                return Err(ExitError::configuration(message));
            }
            if clock::now() >= deadline {
                return Err(ExitError::unavailable(message));
            }
            if !is_reported {
                is_reported = true;
                warn!(redis = %redis.address, %error, "redis is unavailable, waiting for it");
            }
            tokio::time::sleep(backoff.pause().min(START_PAUSE)).await;
        }
        redis.is_up.send_replace(true);
        show_peer(PEER, true);
        Ok(redis)
    }

    async fn first_ping(&self, deadline: Instant) -> RedisResult<()> {
        let ping = async {
            let mut connection = self.connection(&self.connection).await?;
            redis::cmd("PING").query_async(&mut connection).await
        };
        let limit = deadline.max(clock::now() + CONNECTION_TIMEOUT);
        let outcome = match tokio::time::timeout_at(limit.into(), ping).await {
            Ok(outcome) => outcome,
            Err(_) => Err((ErrorKind::Io, "no answer").into()),
        };
        if outcome.is_err() {
            self.connection.lock().await.take();
        }
        outcome
    }

    /// Where it is, for messages: without user name and password.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether commands are answered, and the lease tables were brought in line with Redis after the last outage.
    pub fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Waits until commands are answered again.
    pub async fn wait_until_up(&self) {
        let mut is_up = self.is_up.subscribe();
        // The sender lives as long as `self`.
        let _ = is_up.wait_for(|is_up| *is_up).await;
    }

    /// Waits until a command fails.
    pub async fn wait_until_down(&self) {
        let mut is_up = self.is_up.subscribe();
        let _ = is_up.wait_for(|is_up| !*is_up).await;
    }

    /// Notes that the contents of Redis have been read again after an outage.
    pub fn mark_up(&self) {
        show_peer(PEER, true);
        if !self.is_up.send_replace(true) {
            info!(redis = %self.address, "redis serves again");
        }
    }

    /// Notes a failure, after which the contents of Redis have to be read again.
    /// `answers` says that Redis is there, and refuses a command or has lost what it held.
    pub fn mark_down(&self, error: &dyn std::fmt::Display, answers: bool) {
        show_peer(PEER, false);
        if self.is_up.send_replace(false) {
            let redis = &self.address;
            if answers {
                warn!(%redis, %error, "redis does not hold what it should, or refuses: what it holds is read again");
            } else {
                warn!(%redis, %error, "redis is unavailable");
            }
        }
    }

    /// Asks Redis whether it is there.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn ping(&self) -> Result<(), RedisUnavailable> {
        self.run(async |mut connection| {
            let ping = redis::cmd("PING");
            match tokio::time::timeout(PING_TIMEOUT, ping.query_async(&mut connection)).await {
                Ok(outcome) => outcome,
                Err(_) => Err((ErrorKind::Io, "no answer to a ping").into()),
            }
        })
        .await
    }

    /// Runs commands over the connection. After any error the next ones get a new connection.
    ///
    /// # Errors
    /// The error of Redis or of the connection.
    pub async fn run<T, F>(&self, commands: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, RedisUnavailable>
    where
        F: Future<Output = RedisResult<T>>,
    {
        self.run_over(&self.connection, commands).await
    }

    /// As [`run`](Self::run), for a long command: it does not hold up the short ones.
    ///
    /// # Errors
    /// The error of Redis or of the connection.
    pub async fn run_long<T, F>(&self, commands: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, RedisUnavailable>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let number = self.groups.fetch_add(1, Ordering::Relaxed) % GROUP_CONNECTIONS;
        self.run_over(&self.group_connections[number], commands).await
    }

    async fn run_over<T, F>(
        &self,
        place: &Place,
        commands: impl FnOnce(MultiplexedConnection) -> F,
    ) -> Result<T, RedisUnavailable>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let outcome = match self.connection(place).await {
            Ok(connection) => commands(connection).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(value) => Ok(value),
            Err(error) => {
                // Drops all connections: what broke one has probably broken the others.
                for place in [&self.connection].into_iter().chain(&self.group_connections) {
                    place.lock().await.take();
                }
                self.mark_down(&error, error.code().is_some());
                Err(RedisUnavailable(error.to_string()))
            }
        }
    }

    async fn connection(&self, place: &Place) -> RedisResult<MultiplexedConnection> {
        let mut held = place.lock().await;
        if let Some(connection) = held.as_ref() {
            return Ok(connection.clone());
        }
        let connection = (self.connect)().await?;
        *held = Some(connection.clone());
        Ok(connection)
    }
}

/// How long anything is waited for.
pub fn bounds() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECTION_TIMEOUT))
        .set_response_timeout(Some(RESPONSE_TIMEOUT))
}

/// Whether a Redis that is there refused what the URL says: another try would not help.
fn is_refusal(error: &RedisError) -> bool {
    let is_refused_kind = matches!(
        error.kind(),
        ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig | ErrorKind::Server(ServerErrorKind::NoPerm)
    );
    is_refused_kind || matches!(error.code(), Some("NOAUTH" | "WRONGPASS"))
}
