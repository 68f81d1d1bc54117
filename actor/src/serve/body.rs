//! Reads what a client sends, to a bound.

use std::time::Duration;

use axum::body::{BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::header;
use tokio_stream::StreamExt as _;

use super::error::ApiError;

/// How much of a body that is too large is read on and thrown away. A connection that is closed on unread bytes is reset,
/// and a client that is still sending then sees the reset instead of the refusal.
const PASSED_OVER: usize = 64 << 20;

/// How long that is done.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a body may take, however it trickles: whoever sends one holds a place that others wait for.
const LONGEST: Duration = Duration::from_secs(60);

/// The body of a request, which may take as long as an answer, but not longer than a minute.
///
/// # Errors
/// A body of more than `most` bytes, once the client can read the refusal; one that breaks off, or takes too long.
pub(crate) async fn whole(request: Request, most: usize, patience: Duration) -> Result<Bytes, ApiError> {
    let patience = patience.min(LONGEST);
    let read = tokio::time::timeout(patience, read_to_end(request, most)).await;
    read.unwrap_or_else(|_| Err(ApiError::too_slow(patience.as_secs())))
}

async fn read_to_end(request: Request, most: usize) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let is_too_large = announced.is_some_and(|length| length > most as u64);
    // A client that waits for leave to send has sent nothing yet.
    if is_too_large && request.headers().contains_key(header::EXPECT) {
        return Err(ApiError::too_large(most));
    }
    let mut pieces = request.into_body().into_data_stream();
    let mut read = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(ApiError::broken_off)?;
        if is_too_large || piece.len() > most - read.len() {
            // Whether the end was reached or patience: the answer is the same.
            let _ = tokio::time::timeout(PATIENCE, pass_over(pieces)).await;
            return Err(ApiError::too_large(most));
        }
        read.extend_from_slice(&piece);
    }
    Ok(read.into())
}

/// Reads a body to its end or to the bound.
async fn pass_over(mut pieces: BodyDataStream) {
    let mut passed = 0;
    while let Some(Ok(piece)) = pieces.next().await {
        passed += piece.len();
        if passed > PASSED_OVER {
            return;
        }
    }
}
