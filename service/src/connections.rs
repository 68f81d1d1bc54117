//! Bounds the connections of a server. Only so many are open at a time, and each has a short time to send its first
//! byte and to finish its TLS handshake, where there is one. A silent connection, or one too many, would hold a file
//! descriptor for nothing. A connection that has become old is closed once its calls have had time to end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anytime_proto::limits::{CONNECTION_GRACE, FIRST_BYTE_TIMEOUT, MAX_CONNECTIONS};
use metrics::{counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, Sleep};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{CertificateError, Error as TlsError};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tracing::warn;

use crate::metric_names::{CONNECTIONS, CONNECTIONS_REFUSED};
use crate::security::{Acceptor, Caller, Reason, refuse, show_refusals};

/// Most connections to the metrics at a time.
const MOST_SCRAPES: usize = 64;

/// The first byte of a TLS connection: a record of the handshake. No plain text begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A connection that has sent its first byte, and speaks TLS where the server does. It counts until it is dropped.
pub(crate) struct Connection {
    stream: Stream,
    caller: Caller,
    /// When it is closed, whatever is under way.
    end: Option<Pin<Box<Sleep>>>,
    _place: Place,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A place among the connections that may be open at a time; free again when it is dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    server: &'static str,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, server: &'static str) -> Self {
        gauge!(CONNECTIONS, "server" => server).increment(1.0);
        Self {
            _permit: permit,
            server,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        gauge!(CONNECTIONS, "server" => self.server).decrement(1.0);
    }
}

/// How a listener takes connections.
#[derive(Clone)]
struct Terms {
    /// Which server it is, for the metrics.
    server: &'static str,
    /// Connections at a time.
    most: usize,
    /// The time for the first byte and the handshake.
    limit: Duration,
    tls: Option<Acceptor>,
    /// The age at which a connection takes no new calls. The gRPC server tells the peer.
    age: Option<Duration>,
    /// How long its calls may go on then.
    grace: Duration,
}

/// The connections to a gRPC server, each once it has sent its first byte. The listener is closed when the stream is
/// dropped.
pub(crate) fn connections(
    listener: TcpListener,
    tls: Option<Acceptor>,
    age: Option<Duration>,
) -> ReceiverStream<io::Result<Connection>> {
    let terms = Terms {
        server: "grpc",
        most: MAX_CONNECTIONS,
        limit: FIRST_BYTE_TIMEOUT,
        tls,
        age,
        grace: CONNECTION_GRACE,
    };
    bounded(listener, terms)
}

/// The same for the metrics. A scrape takes no time, so that an old connection may be closed under one.
pub(crate) fn scrapes(
    listener: TcpListener,
    tls: Option<Acceptor>,
    age: Option<Duration>,
) -> ReceiverStream<io::Result<Connection>> {
    let terms = Terms {
        server: "metrics",
        most: MOST_SCRAPES,
        limit: FIRST_BYTE_TIMEOUT,
        tls,
        age,
        grace: Duration::ZERO,
    };
    bounded(listener, terms)
}

fn bounded(listener: TcpListener, terms: Terms) -> ReceiverStream<io::Result<Connection>> {
    // The series exist from the start.
    for reason in ["full", "silent"] {
        counter!(CONNECTIONS_REFUSED, "reason" => reason).increment(0);
    }
    show_refusals();
    // Accepted connections that may wait for the transport.
    let (sender, receiver) = mpsc::channel(64);
    tokio::spawn(async move {
        let places = Arc::new(Semaphore::new(terms.most));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = sender.closed() => return,
            };
            match accepted {
                Ok((stream, peer)) => take(stream, peer, &places, &sender, &terms),
                Err(error) => {
                    // The error is of this one connection, or no file descriptor is free: in either case the next one
                    // may work.
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
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
    sender: &mpsc::Sender<io::Result<Connection>>,
    terms: &Terms,
) {
    let Ok(permit) = places.clone().try_acquire_owned() else {
        counter!(CONNECTIONS_REFUSED, "reason" => "full").increment(1);
        return;
    };
    let (place, sender, terms) = (Place::new(permit, terms.server), sender.clone(), terms.clone());
    tokio::spawn(async move {
        // A short answer would wait 40 ms for the acknowledgement of what was sent before it.
        let _ = stream.set_nodelay(true);
        let began = Instant::now();
        let (deadline, old_at) = (began + terms.limit, terms.age.map(|age| began + age));
        let mut byte = [0; 1];
        match tokio::time::timeout_at(deadline, stream.peek(&mut byte)).await {
            Ok(Ok(1)) => {}
            // Closed without a word, as by a probe of the port.
            Ok(_) => return,
            Err(_) => {
                counter!(CONNECTIONS_REFUSED, "reason" => "silent").increment(1);
                warn!(%peer, "a connection said nothing and was closed");
                return;
            }
        }
        let secured = match (terms.tls, byte[0] == TLS_HANDSHAKE) {
            (None, false) => Ok((Stream::Plain(stream), Caller::new(Some(peer), None))),
            (None, true) => Err((Reason::UnexpectedTls, Reason::UnexpectedTls.text().to_owned())),
            (Some(_), false) => Err((Reason::PlainText, Reason::PlainText.text().to_owned())),
            (Some(tls), true) => handshake(tls.now(), stream, peer, deadline).await,
        };
        match secured {
            Ok((stream, caller)) => {
                let end = old_at.map(|old_at| Box::pin(tokio::time::sleep_until(old_at + terms.grace)));
                let connection = Connection {
                    stream,
                    caller: caller.old_at(old_at),
                    end,
                    _place: place,
                };
                // Where nobody takes it, the server has ended.
                let _ = sender.send(Ok(connection)).await;
            }
            Err((reason, what)) => refuse(reason, Some(peer), &what),
        }
    });
}

async fn handshake(
    tls: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    deadline: Instant,
) -> Result<(Stream, Caller), (Reason, String)> {
    match tokio::time::timeout_at(deadline, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let caller = Caller::new(Some(peer), stream.get_ref().1.peer_certificates());
            Ok((Stream::Tls(Box::new(stream)), caller))
        }
        Ok(Err(error)) => Err((reason_of(&error), error.to_string())),
        Err(_) => Err((Reason::Handshake, "the TLS handshake took too long".to_owned())),
    }
}

fn reason_of(error: &io::Error) -> Reason {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<TlsError>());
    match cause {
        Some(TlsError::NoCertificatesPresented) => Reason::NoCertificate,
        Some(TlsError::InvalidCertificate(problem)) => match problem {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Reason::ExpiredCertificate,
            _ => Reason::ForeignCertificate,
        },
        _ => Reason::Handshake,
    }
}

impl Connection {
    /// Who is at the other end.
    pub(crate) fn caller(&self) -> Caller {
        self.caller.clone()
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // A connection is always read from, so that this wakes it.
        if self
            .end
            .as_mut()
            .is_some_and(|end| end.as_mut().poll(context).is_ready())
        {
            self.end = None;
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the connection is too old",
            )));
        }
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_stream::StreamExt as _;

    use super::*;

    async fn listening(most: usize) -> (SocketAddr, ReceiverStream<io::Result<Connection>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let terms = Terms {
            server: "grpc",
            most,
            limit: Duration::from_millis(100),
            tls: None,
            age: None,
            grace: Duration::ZERO,
        };
        (address, bounded(listener, terms))
    }

    #[tokio::test]
    async fn an_old_connection_is_closed_behind_the_grace_and_not_before() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let terms = Terms {
            server: "grpc",
            most: 8,
            limit: Duration::from_secs(5),
            tls: None,
            age: Some(Duration::from_millis(100)),
            grace: Duration::from_millis(300),
        };
        let mut connections = bounded(listener, terms);
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(b"x").await.expect("written");
        let mut served = connections.next().await.expect("one").expect("open");
        let mut byte = [0; 1];
        served.read_exact(&mut byte).await.expect("read");
        // A read that waits for the peer is told of the end.
        let ended = tokio::time::timeout(Duration::from_secs(5), served.read(&mut byte)).await;
        let error = ended.expect("in time").expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
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
        // The byte that was peeked at is still there to be read.
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
