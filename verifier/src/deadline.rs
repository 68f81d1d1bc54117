//! How long a batch may take: the bound of the server, or less where the client sets a tighter deadline.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The header in which a gRPC client says how long it will wait.
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// Most of the client's time that is kept back, so that the verdicts which were reached still arrive.
const LONGEST_MARGIN: Duration = Duration::from_millis(500);
/// The share of a short deadline that is kept back.
const MARGIN_DIVISOR: u32 = 10;

/// Time for the work on one request.
pub(crate) fn work_time(metadata: &MetadataMap, server_bound: Duration) -> Duration {
    call_time(metadata).map_or(server_bound, |call_time| server_bound.min(call_time))
}

/// The time that the client's deadline leaves for the work of the whole call; none if it sets no deadline.
pub(crate) fn call_time(metadata: &MetadataMap) -> Option<Duration> {
    let header = metadata.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok());
    let client_bound = header.and_then(parse_timeout)?;
    let margin = (client_bound / MARGIN_DIVISOR).min(LONGEST_MARGIN);
    Some(client_bound - margin)
}

/// Reads at most eight digits and a unit, as the gRPC specification writes a timeout.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (unit_start, unit) = text.char_indices().next_back()?;
    let digits = &text[..unit_start];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        'H' => Some(Duration::from_secs(amount * 3600)),
        'M' => Some(Duration::from_secs(amount * 60)),
        'S' => Some(Duration::from_secs(amount)),
        'm' => Some(Duration::from_millis(amount)),
        'u' => Some(Duration::from_micros(amount)),
        'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work_time_of(header: &'static str) -> Duration {
        let mut metadata = MetadataMap::new();
        metadata.insert(TIMEOUT_HEADER, header.parse().unwrap());
        work_time(&metadata, Duration::from_secs(5))
    }

    #[test]
    fn the_tighter_bound_holds() {
        assert_eq!(
            work_time(&MetadataMap::new(), Duration::from_secs(5)),
            Duration::from_secs(5)
        );
        assert_eq!(work_time_of("20S"), Duration::from_secs(5));
        assert_eq!(work_time_of("2000m"), Duration::from_millis(1800));
        assert_eq!(work_time_of("5500000u"), Duration::from_secs(5));
        assert_eq!(work_time_of("1000n"), Duration::from_nanos(900));
    }

    #[test]
    fn a_header_that_is_no_timeout_is_no_bound() {
        for header in ["", "S", "5", "-1S", "123456789S", "5s", "1.5S"] {
            assert_eq!(work_time_of(header), Duration::from_secs(5), "{header:?}");
        }
    }
}
