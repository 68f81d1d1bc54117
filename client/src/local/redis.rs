//! Whether a Redis answers. One inline command over TCP needs no client library.

use std::time::Duration;

use anyhow::{Context as _, bail};
use anytime_service::exit::ExitError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Deadline of one probe, connection included.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

const DEFAULT_PORT: u16 = 6379;

/// Asks an existing server whether it is there.
///
/// # Errors
/// [`ExitError`]: bad configuration for a URL of another form, unavailable where the server does not answer. Nothing
/// has been started then.
pub(super) async fn check_existing(url: &str) -> Result<(), ExitError> {
    let (address, is_tls) = address_of(url)?;
    let probed = if is_tls {
        connect(&address).await.map(|_| ())
    } else {
        probe(&address).await
    };
    probed.map_err(|error| ExitError::unavailable(format!("Redis at {address} (--redis) cannot be reached: {error:#}")))
}

/// Asks for a PONG. A server that wants a password first is there too; the learner has it in its URL.
pub(super) async fn probe(address: &str) -> anyhow::Result<()> {
    let exchange = async {
        let mut stream = connect(address).await?;
        stream.write_all(b"PING\r\n").await?;
        let mut answer = [0_u8; 128];
        let length = stream.read(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer[..length]).trim().to_owned();
        if !answer.starts_with("+PONG") && !answer.starts_with("-NOAUTH") {
            bail!("answers {answer:?}");
        }
        Ok(())
    };
    tokio::time::timeout(PROBE_TIMEOUT, exchange)
        .await
        .context("no answer in time")?
}

async fn connect(address: &str) -> anyhow::Result<TcpStream> {
    let stream = tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address))
        .await
        .context("no answer in time")?;
    Ok(stream?)
}

/// `host:port` of a URL, and whether it asks for TLS.
fn address_of(url: &str) -> Result<(String, bool), ExitError> {
    let bad = || {
        let form = "redis://[user:password@]host[:port][/database], or rediss:// for TLS";
        ExitError::configuration(format!("--redis {url} is no address of a Redis: write {form}"))
    };
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let is_tls = match scheme {
        "redis" => false,
        "rediss" => true,
        _ => return Err(bad()),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host_and_port.is_empty() {
        return Err(bad());
    }
    let has_port = host_and_port
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port {
        host_and_port.to_owned()
    } else {
        format!("{host_and_port}:{DEFAULT_PORT}")
    };
    Ok((address, is_tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_give_addresses() {
        let address = |url: &str| address_of(url).unwrap();
        assert_eq!(address("redis://127.0.0.1:7000"), ("127.0.0.1:7000".to_owned(), false));
        assert_eq!(address("redis://host"), ("host:6379".to_owned(), false));
        assert_eq!(address("rediss://user:p@ss@host:1/2?x=y"), ("host:1".to_owned(), true));
        assert_eq!(address("redis://[::1]:7000/0"), ("[::1]:7000".to_owned(), false));
        for bad in ["127.0.0.1:7000", "http://host", "redis://", "redis:///1"] {
            assert_eq!(address_of(bad).unwrap_err().code, 64, "{bad}");
        }
    }

    #[tokio::test]
    async fn a_silent_port_is_unavailable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        drop(listener);
        assert_eq!(check_existing(&url).await.unwrap_err().code, 69);
    }
}
