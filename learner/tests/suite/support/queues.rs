//! The queue of one job on a Redis of its own.

use std::sync::Arc;

use anytime_learner::queue::fence::{Fence, LearnerName};
use anytime_learner::queue::groups::GroupQueue;
use anytime_learner::queue::reader::GroupReader;
use anytime_learner::queue::redis::RedisConnection;
use anytime_proto::JobId;

use super::redis_server::RedisServer;

pub(crate) async fn queue_of(server: &RedisServer, owner: &str) -> GroupQueue {
    queue_with(server, owner, fence_of(server, "learner").await).await
}

pub(crate) async fn queue_with(server: &RedisServer, owner: &str, fence: Arc<Fence>) -> GroupQueue {
    let redis = Arc::new(RedisConnection::connect(&server.url()).await.unwrap());
    GroupQueue::new(redis, "anytime", &JobId("job".to_owned()), owner.to_owned(), fence)
}

pub(crate) async fn fence_of(server: &RedisServer, learner: &str) -> Arc<Fence> {
    let redis = Arc::new(RedisConnection::connect(&server.url()).await.unwrap());
    let name = LearnerName {
        id: learner.to_owned(),
        address: format!("127.0.0.1:7100 on {learner}"),
    };
    Arc::new(Fence::new(redis, "anytime", &JobId("job".to_owned()), &name))
}

/// Which of the first sequences a reader can read.
pub(crate) async fn readable(reader: &mut GroupReader) -> Vec<u64> {
    let mut sequences = Vec::new();
    for sequence in 0..40 {
        if reader.read(sequence).await.unwrap().is_some() {
            sequences.push(sequence);
        }
    }
    sequences
}
