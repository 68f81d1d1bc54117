//! A specification with its defaults filled in.

use prost_reflect::{DynamicMessage, Kind, Value};

use super::job::Job;
use super::rules::{objective_name, written_table};
use super::table::TABLE;
use crate::v1;
use crate::v1::objective_spec::Settings;

/// The job with the default of every row of the table, in their order.
pub(super) fn filled(spec: &v1::JobSpec) -> Job {
    let mut job = Job::new(spec);
    choose_table(&mut job);
    for row in TABLE {
        row.fill(&mut job);
    }
    job
}

/// Opens the table of the objective that the job names, so that its defaults can be filled in.
pub(super) fn choose_table(job: &mut Job) {
    let named = job.get("objective.name").or_else(|| objective_name(job));
    let Some(Value::String(name)) = named else {
        return;
    };
    let path = format!("objective.{name}");
    if written_table(job).is_some() || Settings::of_name(&name).is_none() {
        return;
    }
    if let Some(Kind::Message(table)) = Job::field(&path).map(|field| field.kind()) {
        job.set(&path, Value::Message(DynamicMessage::new(table)));
    }
}
