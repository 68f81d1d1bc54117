//! `anytime dead-letters`: the groups of a job that could not be trained, and why.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use anytime_files::write_durably;
use anytime_proto::v1;
use anytime_service::exit::{CONFIGURATION, ExitError};
use serde_json::json;

use crate::arguments::DeadLettersArgs;
use crate::learner::Learner;
use crate::output::{print_json, print_line};
use crate::show::one_line;

/// Characters of a reason that are shown in a line.
const REASON_WIDTH: usize = 160;

pub(super) async fn run(arguments: &DeadLettersArgs, json: bool) -> anyhow::Result<()> {
    let job_id = &arguments.job.job;
    let mut learner = Learner::try_new(&arguments.job.learner)?;
    let letters = learner.dead_letters(job_id).await?;
    if let Some(directory) = &arguments.save {
        save(&mut learner, job_id, &letters, directory).await?;
    }
    let chosen = if arguments.replay_all {
        letters.iter().map(|letter| letter.sequence).collect()
    } else {
        arguments.replay.clone()
    };
    if chosen.is_empty() {
        return print(&letters, json);
    }
    let answer = learner.replay(job_id, chosen).await?;
    if json {
        let not_replayed = answer.not_replayed.iter();
        print_json(&json!({
            "replayed": answer.replayed,
            "not_replayed": not_replayed
                .map(|group| json!({ "sequence": group.sequence, "reason": group.reason }))
                .collect::<Vec<_>>(),
        }))?;
    } else {
        for sequence in &answer.replayed {
            print_line(&format!("group {sequence}: its problem is leased again"))?;
        }
    }
    match answer.not_replayed.first() {
        None => Ok(()),
        Some(first) => Err(ExitError {
            code: CONFIGURATION,
            message: format!("group {} is not replayed: {}", first.sequence, first.reason),
        }
        .into()),
    }
}

async fn save(learner: &mut Learner, job_id: &str, letters: &[v1::DeadLetter], directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
    for letter in letters.iter().filter(|letter| letter.group_bytes > 0) {
        let group = learner.dead_group(job_id, letter.sequence).await?;
        write_durably(&directory.join(format!("{}.pb", letter.sequence)), group)?;
    }
    Ok(())
}

fn print(letters: &[v1::DeadLetter], json: bool) -> anyhow::Result<()> {
    if json {
        let letters: Vec<_> = letters.iter().map(as_json).collect();
        return print_json(&json!(letters));
    }
    if letters.is_empty() {
        return print_line("no dead letters: every group that was delivered could be trained");
    }
    for letter in letters {
        let problem = match letter.problem_id.as_str() {
            "" => String::new(),
            problem => format!(", problem {}", one_line(problem, 40)),
        };
        print_line(&format!(
            "group {}{problem}: {} deliveries, the last by {}: {}",
            letter.sequence,
            letter.deliveries,
            if letter.actor_id.is_empty() {
                "the queue".to_owned()
            } else {
                one_line(&letter.actor_id, 40)
            },
            one_line(&letter.reason, REASON_WIDTH),
        ))?;
    }
    Ok(())
}

fn as_json(letter: &v1::DeadLetter) -> serde_json::Value {
    json!({
        "sequence": letter.sequence,
        "problem_id": letter.problem_id,
        "actor_id": letter.actor_id,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "left_out_at": letter.left_out_at.as_ref().map(ToString::to_string),
        "group_bytes": letter.group_bytes,
    })
}
