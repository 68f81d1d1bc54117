//! The model of Redis does what a real one does with the scripts of the queue.

use std::collections::BTreeSet;
use std::sync::Arc;

use anytime_learner::queue::dead_letters::DeadLetter;
use anytime_learner::queue::fence::{Fence, LearnerName};
use anytime_learner::queue::groups::{GroupQueue, Settlement};
use anytime_learner::queue::redis::RedisConnection;
use anytime_proto::JobId;
use anytime_tests::stack::start_redis;
use anytime_tests::workplace::Workplace;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::models::redis_model::RedisModel;

/// Calls that are compared.
const CALLS: usize = 600;

#[tokio::test]
async fn the_model_of_redis_does_what_redis_does() {
    let workplace = Workplace::new();
    let (_process, url) = start_redis(&workplace).await;
    let connection = Arc::new(RedisConnection::connect(&url).await.unwrap());
    let job = JobId("job".to_owned());
    let name = LearnerName {
        id: "one".to_owned(),
        address: "here".to_owned(),
    };
    let fence = Arc::new(Fence::new(connection.clone(), "anytime", &job, &name));
    let stream = GroupQueue::new(connection, "anytime", &job, "owner".to_owned(), fence);
    let mut client = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();

    let mut model = RedisModel::default();
    let mut random = ChaCha8Rng::seed_from_u64(18);
    for _ in 0..CALLS {
        match random.random_range(0..20) {
            0 => {
                redis::cmd("FLUSHALL").exec_async(&mut client).await.unwrap();
                model = RedisModel::default();
            }
            1..5 => assert_eq!(stream.open().await.unwrap(), model.open()),
            5..12 => {
                let sequence = random.random_range(0..6);
                let (bound, taken) = (random.random_range(0..5), random.random_range(0..3));
                let pushed = stream.push(sequence, b"group", bound, taken).await.unwrap();
                assert_eq!(pushed, model.push(sequence, 0, bound, taken));
            }
            12 => {
                let sequence = random.random_range(0..6);
                let letter = DeadLetter {
                    sequence,
                    ..DeadLetter::default()
                };
                assert_eq!(stream.bury(&letter).await.is_ok(), model.bury(sequence).is_ok());
            }
            13 => {
                let sequence = random.random_range(0..6);
                assert_eq!(stream.dig_up(sequence).await.is_ok(), model.dig_up(sequence).is_ok());
            }
            _ => {
                let sequences: Vec<u64> = (0..6).filter(|_| random.random_range(0..3) == 0).collect();
                let all = [
                    Settlement::Trained,
                    Settlement::Stale,
                    Settlement::Skipped,
                    Settlement::Forgotten,
                ];
                let settlement = all[random.random_range(0..all.len())];
                let settled = stream.settle(&sequences, settlement).await;
                assert_eq!(settled.is_ok(), model.settle(&sequences, settlement).is_ok());
            }
        }
        let length: u64 = redis::cmd("HLEN")
            .arg("anytime:job:groups")
            .query_async(&mut client)
            .await
            .unwrap();
        assert_eq!(length, model.length());
        let queued: BTreeSet<u64> = model.queued();
        assert_eq!(queued.len() as u64, length);
        assert_eq!(stream.dead_sequences().await.unwrap(), model.dead);
    }
}
