//! How fast one learner sends its weights, whole and as deltas, by the number of actors that fetch them at the same
//! time.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use anytime_proto::limits::MAX_MESSAGE_BYTES;
use anytime_proto::v1;
use anytime_proto::v1::fetch_weights_response::Part;
use anytime_proto::v1::weights_service_client::WeightsServiceClient;
use anytime_service::channel::PeerChannel;
use clap::Args;
use serde_json::json;
use tokio::task::JoinSet;

use super::groups::Shape;
use super::stack::{Job, Place, Redis, Stack, Usage};
use super::table::{print, rounded};

/// How the fetches are measured.
#[derive(Clone, Debug, Args)]
pub struct WeightsCase {
    /// Numbers of actors that fetch at the same time
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    pub actors: Vec<usize>,
    /// MiB of a version
    #[arg(long, default_value_t = 248)]
    pub mib: usize,
    /// Where processes keep their files.
    #[command(flatten)]
    pub place: Place,
}

/// Measures whole fetches and deltas for every number of actors, and prints a line for each.
///
/// # Errors
/// If a process fails, or a version does not come whole.
pub async fn measure(case: &WeightsCase) -> anyhow::Result<()> {
    let job = Job {
        batch: 1,
        max_staleness: 0,
        queue_groups: 1,
        recovery_every: 1,
        is_held: true,
        weights_mib: case.mib,
    };
    let stack = Stack::start(Redis::start(&case.place).await?, &Shape::small(), &job).await?;
    let first = announced(&stack, 0).await?;
    for actors in &case.actors {
        fetch_all(&stack, *actors, &first, None).await?;
    }
    stack.hold(false)?;
    let second = announced(&stack, 1).await?;
    // The first fetch waits for the encoding.
    fetch(stack.channel()?, &second, Some(&first)).await?;
    for actors in &case.actors {
        fetch_all(&stack, *actors, &second, Some(&first)).await?;
    }
    Ok(())
}

/// The announcement of this version, as soon as it comes.
async fn announced(stack: &Stack, version: u64) -> anyhow::Result<v1::WeightsAnnouncement> {
    let request = v1::WatchWeightsRequest {
        actor_id: "fleet".to_owned(),
        ..v1::WatchWeightsRequest::default()
    };
    let mut stream = WeightsServiceClient::new(stack.channel()?)
        .watch(request)
        .await?
        .into_inner();
    let wanted = async {
        while let Some(announcement) = stream.message().await? {
            if announcement.version == version {
                return Ok(announcement);
            }
        }
        anyhow::bail!("the announcements ended")
    };
    tokio::time::timeout(Duration::from_secs(120), wanted)
        .await
        .context("the weights were not published in time")?
}

async fn fetch_all(
    stack: &Stack,
    actors: usize,
    wanted: &v1::WeightsAnnouncement,
    base: Option<&v1::WeightsAnnouncement>,
) -> anyhow::Result<()> {
    let own = std::process::id();
    let before = (stack.learner()?, Usage::of(own)?);
    let started = Instant::now();
    let mut fetches = JoinSet::new();
    for _ in 0..actors {
        let (channel, wanted, base) = (stack.channel()?, wanted.clone(), base.cloned());
        fetches.spawn(async move { fetch(channel, &wanted, base.as_ref()).await });
    }
    let mut bytes = 0;
    while let Some(fetched) = fetches.join_next().await {
        bytes += fetched.context("a fetch")??;
    }
    let seconds = started.elapsed().as_secs_f64();
    let after = (stack.learner()?, Usage::of(own)?);
    let gigabytes = bytes as f64 / 1e9;
    let line = json!({
        "actors": actors,
        "seconds": rounded(seconds),
        "bytes_each": bytes / actors as u64,
        "gigabytes_per_second": rounded(gigabytes / seconds),
        "learner_cpu_seconds_per_gigabyte": rounded((after.0.cpu_seconds - before.0.cpu_seconds) / gigabytes),
        "fleet_cpu_seconds_per_gigabyte": rounded((after.1.cpu_seconds - before.1.cpu_seconds) / gigabytes),
        "learner_mib": rounded(after.0.resident as f64 / 1_048_576.0),
    });
    print(
        if base.is_some() {
            "weights_delta"
        } else {
            "weights_whole"
        },
        line,
    );
    Ok(())
}

/// Fetches a version, whole or onto a base, and returns how many bytes of weights came.
async fn fetch(
    channel: PeerChannel,
    wanted: &v1::WeightsAnnouncement,
    base: Option<&v1::WeightsAnnouncement>,
) -> anyhow::Result<u64> {
    let mut client = WeightsServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let request = v1::FetchWeightsRequest {
        job_id: wanted.job_id.clone(),
        version: wanted.version,
        skip_assets: base.is_some(),
        base: base.map(|base| v1::WeightsId {
            version: base.version,
            manifest_checksum: base.manifest_checksum.clone(),
        }),
    };
    let mut stream = client.fetch(request).await?.into_inner();
    let (mut bytes, mut expected, mut is_delta) = (0, 0, false);
    while let Some(response) = stream.message().await? {
        match response.part {
            Some(Part::Manifest(manifest)) => {
                let entries = manifest
                    .tensors
                    .iter()
                    .chain(manifest.assets.iter().take_while(|_| base.is_none()));
                expected = entries.map(|entry| entry.bytes).sum();
            }
            Some(Part::Chunk(chunk)) => bytes += chunk.data.len() as u64,
            Some(Part::Delta(delta)) => {
                is_delta = true;
                bytes += delta.blocks.iter().map(|block| block.data.len() as u64).sum::<u64>();
            }
            None => {}
        }
    }
    ensure!(
        is_delta == base.is_some(),
        "a delta was asked for and the whole weights came, or the other way round"
    );
    ensure!(is_delta || bytes == expected, "{bytes} of {expected} bytes came");
    Ok(bytes)
}
