//! The connections of a server, bounded: so many at a time, and each has to say something soon. One that is silent, or
//! one too many, would hold a file descriptor for nothing.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anytime_proto::limits::{FIRST_BYTE_TIMEOUT, MAX_CONNECTIONS};
use metrics::{counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::warn;

use crate::metric_names::{CONNECTIONS, CONNECTIONS_REFUSED};

/// A connection that counts until it is dropped.
pub(crate) struct Counted {
    stream: TcpStream,
    _place: Place,
}

/// One of the connections that there may be.
struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        gauge!(CONNECTIONS).increment(1.0);
        Self { _permit: permit }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(CONNECTIONS).decrement(1.0);
    }
}

/// The connections of a listener that have said something. Those of one listener end with the stream.
pub(crate) fn connections(listener: TcpListener) -> ReceiverStream<io::Result<Counted>> {
    bounded(listener, MAX_CONNECTIONS, FIRST_BYTE_TIMEOUT)
}

fn bounded(listener: TcpListener, most: usize, first_byte: std::time::Duration) -> ReceiverStream<io::Result<Counted>> {
    // The series exist from the start.
    for reason in ["full", "silent"] {
        counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(0);
    }
    // As many as may wait for the transport to take them.
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(most));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => take(stream, peer, &places, &sender, first_byte),
                Err(error) => {
                    // Of one connection, or no descriptor is free: in either case the next one may work.
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    });
    ReceiverStream::new(receiver)
}

fn take(
    stream: TcpStream,
    peer: SocketAddr,
    places: &Arc<Semaphore>,
    sender: &mpsc::Sender<io::Result<Counted>>,
    first_byte: std::time::Duration,
) {
    let Ok(permit) = places.clone().try_acquire_owned() else {
        counter!(CONNECTIONS_REFUSED, "reason" => "full").increment(1);
        return;
    };
    let (place, sender) = (Place::new(permit), sender.clone());
    tokio::spawn(async move {
        // A short answer would wait 40 ms for the acknowledgement of what was sent before it.
        let _ = stream.set_nodelay(true);
        let mut byte = [0; 1];
        match tokio::time::timeout(first_byte, stream.peek(&mut byte)).await {
            Ok(Ok(1)) => {
                // The server has ended where nobody takes it.
                let _ = sender.send(Ok(Counted { stream, _place: place })).await;
            }
            // Closed without a word, as by a probe of the port.
            Ok(_) => {}
            Err(_) => {
                counter!(CONNECTIONS_REFUSED, "reason" => "silent").increment(1);
                warn!(%peer, "a connection said nothing and was closed");
            }
        }
    });
}

impl Connected for Counted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_stream::StreamExt as _;

    use super::*;

    async fn listening(most: usize) -> (SocketAddr, ReceiverStream<io::Result<Counted>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        (address, bounded(listener, most, Duration::from_millis(100)))
    }

    /// Whether the other side has closed it.
    async fn is_closed(stream: &mut TcpStream) -> bool {
        let mut byte = [0; 1];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut byte)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }

    #[tokio::test]
    async fn a_silent_connection_is_closed_and_one_that_speaks_is_served() {
        let (address, mut connections) = listening(8).await;
        let mut silent = TcpStream::connect(address).await.expect("connected");
        let mut speaks = TcpStream::connect(address).await.expect("connected");
        speaks.write_all(b"hello").await.expect("written");
        let mut served = connections.next().await.expect("one").expect("open");
        let mut text = [0; 5];
        // What was looked at is still there to be read.
        served.read_exact(&mut text).await.expect("read");
        assert_eq!(&text, b"hello");
        assert!(is_closed(&mut silent).await);
    }

    #[tokio::test]
    async fn beyond_the_bound_connections_are_closed_until_a_place_is_free() {
        let (address, mut connections) = listening(2).await;
        let mut open = Vec::new();
        for _ in 0..2 {
            let mut stream = TcpStream::connect(address).await.expect("connected");
            stream.write_all(b"x").await.expect("written");
            open.push((connections.next().await.expect("one").expect("open"), stream));
        }
        let mut third = TcpStream::connect(address).await.expect("connected");
        assert!(is_closed(&mut third).await);
        open.pop();
        let mut fourth = TcpStream::connect(address).await.expect("connected");
        fourth.write_all(b"x").await.expect("written");
        assert!(connections.next().await.expect("one").is_ok());
    }
}
