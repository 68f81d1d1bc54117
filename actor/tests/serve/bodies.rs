//! Bodies that are too large or never end, from clients that send before they read.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{Server, run};

const MEBIBYTE: usize = 1 << 20;

/// Sends this head and so many bytes, then reads the answer to its end.
async fn exchange(server: &Server, further: &str, announced: usize, sent: usize) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(server.address()).await?;
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {announced}\r\n{further}\r\n"
    );
    connection.write_all(head.as_bytes()).await?;
    let piece = vec![b' '; MEBIBYTE];
    for _ in 0..sent / MEBIBYTE {
        connection.write_all(&piece).await?;
        // Time for a server that does not read to close.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    if sent < announced {
        connection.shutdown().await?;
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[test]
fn a_client_that_sends_too_much_can_read_that_it_did() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for mebibytes in [5, 12, 40] {
            let bytes = mebibytes * MEBIBYTE;
            let answer = exchange(&server, "", bytes, bytes).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 413 "), "{mebibytes}: {answer}");
            assert!(answer.contains("body_too_large"), "{mebibytes}: {answer}");
        }
        server.idle().await;
    });
}

#[test]
fn a_client_that_waits_for_leave_to_send_is_refused_before_it_sends() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        let expects = "expect: 100-continue\r\n";
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let head =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 999999999999\r\n{expects}\r\n");
        connection.write_all(head.as_bytes()).await.unwrap();
        let began = Instant::now();
        let mut answer = [0; 12];
        connection.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413");
        assert!(began.elapsed() < Duration::from_secs(5));
        server.idle().await;
    });
}

#[test]
fn a_body_that_trickles_holds_its_place_for_a_while_only() {
    run(async {
        let server = Server::start("##", false, &["--request-timeout", "2", "--max-requests", "1"]).await;
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n";
        connection.write_all(head.as_bytes()).await.unwrap();
        let began = Instant::now();
        let (mut reading, mut writing) = connection.split();
        let trickles = async {
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            std::future::pending::<()>().await;
        };
        let mut answer = [0; 12];
        tokio::select! {
            read = reading.read_exact(&mut answer) => { read.unwrap(); }
            () = trickles => {}
        }
        assert_eq!(&answer, b"HTTP/1.1 408");
        assert!(began.elapsed() < Duration::from_secs(8));
        server.idle().await;
    });
}

#[test]
fn a_body_that_breaks_off_holds_nothing() {
    run(async {
        let server = Server::start("##", false, &[]).await;
        for (announced, sent) in [(3 * MEBIBYTE, MEBIBYTE), (9 * MEBIBYTE, MEBIBYTE), (MEBIBYTE / 2, 0)] {
            // Whether the answer still reaches the client is not the server's to say.
            let answer = exchange(&server, "", announced, sent).await.unwrap_or_default();
            assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
            server.idle().await;
        }
    });
}
