//! `redis-benchmark` on the same Redis: XADD of an entry as long as a pushed group, from as many connections as there
//! are actors, each with one command on its way.

use std::fs::File;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use tokio::process::Command;

use super::stack::{Redis, program};

/// What one run of it gave.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Entries a second.
    pub rate: f64,
    /// Milliseconds of a command: the median.
    pub p50_ms: f64,
    /// Milliseconds that 99 of 100 commands take at most.
    pub p99_ms: f64,
    /// Redis' processor seconds for one entry.
    pub redis_cpu_seconds: f64,
}

/// Adds `entries` entries with this payload from `connections` connections, and deletes them again. None where there is
/// no redis-benchmark.
///
/// # Errors
/// If it fails.
pub async fn xadd(redis: &Redis, payload: &[u8], connections: usize, entries: u64) -> anyhow::Result<Option<Peer>> {
    let Some(program) = program(&["redis-benchmark", "valkey-benchmark"]) else {
        eprintln!("there is no redis-benchmark (deploy/setup.sh redis-benchmark): the peer is left out");
        return Ok(None);
    };
    let input = redis.directory().join("payload");
    // redis-benchmark takes its argument to end at the first zero byte.
    let payload: Vec<u8> = payload.iter().map(|byte| (*byte).max(1)).collect();
    std::fs::write(&input, &payload).context("write the payload")?;
    let before = redis.usage()?;
    let started = Instant::now();
    let output = Command::new(program)
        .args(["-h", "127.0.0.1", "-p", &redis.port().to_string()])
        .args(["-c", &connections.to_string(), "-n", &entries.to_string()])
        .args(["-P", "1", "--csv", "-x"])
        .args(["XADD", "peer", "*", "sequence", "1", "group"])
        .stdin(File::open(&input).context("open the payload")?)
        .stderr(Stdio::inherit())
        .output()
        .await
        .context("start redis-benchmark")?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(output.status.success(), "redis-benchmark failed: {}", output.status);
    let after = redis.usage()?;
    let added: u64 = redis.ask("XLEN", &["peer"])?;
    ensure!(added >= entries, "redis-benchmark added {added} of {entries} entries");
    let memory: u64 = redis.ask("MEMORY", &["USAGE", "peer", "SAMPLES", "0"])?;
    let least = added * payload.len() as u64;
    ensure!(
        memory >= least,
        "the entries of redis-benchmark take {memory} bytes and not {least}"
    );
    redis.ask::<String>("FLUSHALL", &[])?;
    let figures =
        figures(&output.stdout).with_context(|| format!("after {seconds} s redis-benchmark printed no figures"))?;
    Ok(Some(Peer {
        redis_cpu_seconds: (after.cpu_seconds - before.cpu_seconds) / added as f64,
        ..figures
    }))
}

/// The last line: the title, which is the whole command, and then, quoted, the rate and the latencies: mean, least,
/// median, 95, 99 of 100, most.
fn figures(csv: &[u8]) -> anyhow::Result<Peer> {
    let end = csv.len().saturating_sub(200);
    let text = String::from_utf8_lossy(&csv[end..]).into_owned();
    let fields: Vec<&str> = text.trim().rsplit("\",\"").take(7).collect();
    let [_most, p99, _p95, p50, _least, _mean, rate] = fields[..] else {
        bail!("it printed {text:?}");
    };
    let number = |field: &str| {
        field
            .trim_matches('"')
            .parse::<f64>()
            .with_context(|| format!("{field:?}"))
    };
    Ok(Peer {
        rate: number(rate)?,
        p50_ms: number(p50)?,
        p99_ms: number(p99)?,
        redis_cpu_seconds: 0.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_behind_any_title() {
        let csv = b"\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\
            \"p99_latency_ms\",\"max_latency_ms\"\n\"XADD peer * sequence 1 group \xff\",\"\",\"402.5\",\"2.1\",\"0.9\",\
            \"2.0\",\"3.5\",\"4.25\",\"9.0\"\n";
        let peer = figures(csv).expect("figures");
        assert_eq!((peer.rate, peer.p50_ms, peer.p99_ms), (402.5, 2.0, 4.25));
        assert!(figures(b"nothing").is_err());
    }
}
