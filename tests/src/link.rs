//! A connection that a test can disturb: a process that forwards TCP, and cuts, holds up or refuses what goes through.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::ports::free_address;

/// What a link does with what goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// It forwards.
    Fair,
    /// Connections are closed, and new ones at once.
    Refused,
    /// Connections stay open, and nothing goes through.
    BlackHole,
    /// Every piece comes later.
    Slow,
}

/// How late every piece comes over a slow link.
const DELAY: Duration = Duration::from_millis(150);

/// A link to one address. Dropping it closes all connections.
#[derive(Debug)]
pub struct Link {
    /// Where it listens: `host:port`.
    pub address: String,
    weather: Arc<watch::Sender<Weather>>,
    task: JoinHandle<()>,
}

impl Link {
    /// A link to `host:port`, in fair weather.
    pub async fn to(target: &str) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(&address).await.expect("a free address");
        let weather = Arc::new(watch::Sender::new(Weather::Fair));
        let (target, seen) = (target.to_owned(), weather.clone());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client, target.clone(), seen.subscribe()));
            }
        });
        Self { address, weather, task }
    }

    /// Changes what it does, also with connections that are open.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.set(Weather::Refused);
        self.task.abort();
    }
}

async fn forward(client: TcpStream, target: String, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Refused {
        return;
    }
    let Ok(server) = TcpStream::connect(&target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (there, back) = (weather.clone(), weather.clone());
    tokio::select! {
        () = carry(&mut from_client, &mut to_server, there) => {}
        () = carry(&mut from_server, &mut to_client, back) => {}
        _ = weather.wait_for(|weather| *weather == Weather::Refused) => {}
    }
}

async fn carry(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    mut weather: watch::Receiver<Weather>,
) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(read) = from.read(&mut buffer).await else {
            return;
        };
        if read == 0 {
            return;
        }
        if weather
            .wait_for(|weather| *weather != Weather::BlackHole)
            .await
            .is_err()
        {
            return;
        }
        if *weather.borrow() == Weather::Slow {
            tokio::time::sleep(DELAY).await;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
