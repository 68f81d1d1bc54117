//! Connections of the simulated network, as gRPC wants them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::task::{Context, Poll};

use anytime_service::channel::{PeerChannel, with_settings};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;
use tonic::transport::{Endpoint, Uri};
use turmoil::net::{TcpListener, TcpStream};

/// A connection that a server has taken.
pub(crate) struct Taken(TcpStream);

impl Connected for Taken {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Taken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Taken {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

pub(crate) async fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((IpAddr::from(Ipv4Addr::UNSPECIFIED), port)).await
}

/// The connections to a port of this host.
pub(crate) async fn connections(port: u16) -> io::Result<ReceiverStream<io::Result<Taken>>> {
    let listener = listen(port).await?;
    let (sender, receiver) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if sender.send(Ok(Taken(stream))).await.is_err() {
                return;
            }
        }
    });
    Ok(ReceiverStream::new(receiver))
}

/// A channel to a host, with the same settings as on a real network.
pub(crate) fn channel(host: &'static str, port: u16) -> PeerChannel {
    let endpoint = with_settings(Endpoint::from_shared(format!("http://{host}:{port}")).unwrap());
    let connector = tower::service_fn(move |_: Uri| async move {
        let stream = TcpStream::connect((host, port)).await?;
        Ok::<_, io::Error>(TokioIo::new(stream))
    });
    PeerChannel::over(endpoint.connect_with_connector_lazy(connector))
}
