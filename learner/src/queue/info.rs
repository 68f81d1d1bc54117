//! What Redis says of itself: memory, and whether it keeps what it accepts.

use std::collections::HashMap;
use std::time::Duration;

use anytime_proto::v1::RedisStanding;
use redis::RedisError;

use super::redis::RedisConnection;

/// How long the answers are waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks Redis how it fares. One that is down is not asked, and one that refuses the question is up all the same.
pub async fn standing(redis: &RedisConnection) -> RedisStanding {
    let told = RedisStanding {
        address: redis.address().to_owned(),
        is_up: redis.is_up(),
        ..RedisStanding::default()
    };
    if !told.is_up {
        let problem = "it does not answer, or its queues are being read again; the learner's log has the error";
        return RedisStanding {
            problem: problem.to_owned(),
            ..told
        };
    }
    match tokio::time::timeout(PATIENCE, ask(redis)).await {
        Ok(Ok((information, syncs))) => read(&information, syncs, told),
        Ok(Err(problem)) => RedisStanding { problem, ..told },
        Err(_) => RedisStanding {
            problem: format!("no answer within {} s", PATIENCE.as_secs()),
            ..told
        },
    }
}

/// What `INFO` says, and the setting `appendfsync`, which it leaves out; empty where Redis keeps that to itself.
async fn ask(redis: &RedisConnection) -> Result<(String, String), String> {
    // A refusal is an answer: only a lost connection is a fault of the connection.
    let refusal = |error: RedisError| match error.code() {
        Some(_) => Ok(Err(error.to_string())),
        None => Err(error),
    };
    let asked = redis.run(async |mut connection| {
        let information = match redis::cmd("INFO").query_async::<String>(&mut connection).await {
            Ok(information) => information,
            Err(error) => return refusal(error),
        };
        let mut question = redis::cmd("CONFIG");
        question.arg("GET").arg("appendfsync");
        match question.query_async::<HashMap<String, String>>(&mut connection).await {
            Ok(mut settings) => Ok(Ok((information, settings.remove("appendfsync").unwrap_or_default()))),
            Err(error) if error.code().is_some() => Ok(Ok((information, String::new()))),
            Err(error) => Err(error),
        }
    });
    asked.await.map_err(|error| error.to_string())?
}

fn read(information: &str, syncs: String, told: RedisStanding) -> RedisStanding {
    let lines = information.lines().filter_map(|line| line.trim().split_once(':'));
    let fields: HashMap<&str, &str> = lines.collect();
    let text = |name: &str| fields.get(name).copied().unwrap_or_default().to_owned();
    let number = |name: &str| {
        fields
            .get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or_default()
    };
    let is_well = |name: &str| fields.get(name).is_none_or(|status| *status == "ok");
    RedisStanding {
        up_seconds: number("uptime_in_seconds"),
        version: text("redis_version"),
        used_memory: number("used_memory"),
        max_memory: number("maxmemory"),
        eviction: text("maxmemory_policy"),
        appends: fields.get("aof_enabled") == Some(&"1"),
        syncs,
        writes: is_well("aof_last_write_status") && is_well("aof_last_bgrewrite_status"),
        evicted_keys: number("evicted_keys"),
        ..told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_needs_is_read_from_the_answer() {
        let information = "# Server\r\nredis_version:8.0.1\r\nuptime_in_seconds:77\r\n# Memory\r\nused_memory:1000\r\n\
            maxmemory:4000\r\nmaxmemory_policy:noeviction\r\n# Persistence\r\naof_enabled:1\r\n\
            aof_last_bgrewrite_status:ok\r\naof_last_write_status:err\r\nevicted_keys:3\r\nodd line\r\n";
        let told = read(information, "always".to_owned(), RedisStanding::default());
        assert_eq!((told.version.as_str(), told.up_seconds), ("8.0.1", 77));
        assert_eq!((told.used_memory, told.max_memory, told.evicted_keys), (1000, 4000, 3));
        assert_eq!(
            (told.appends, told.syncs.as_str(), told.writes),
            (true, "always", false)
        );
        assert_eq!(told.eviction, "noeviction");
    }

    #[test]
    fn an_answer_that_says_nothing_is_read_as_it_is() {
        let told = read("", String::new(), RedisStanding::default());
        assert!(!told.appends && told.writes && told.version.is_empty(), "{told:?}");
    }
}
