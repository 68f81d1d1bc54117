//! Settings that there were once. A job file that names one is refused with the reason; files that were written while it
//! still stood, such as a job's own `job.toml` and the results of studies, are read without it. And settings that came
//! later with a default that changes what is computed: what was written before did without.

use toml::{Table, Value};

use super::job::Job;
use crate::v1;

/// A section, the name of the setting that it had, and why it has it no more. The proto file reserves the name.
const REMOVED: &[(&str, &str, &str)] = &[(
    "training",
    "seed",
    "nothing in the trainer drew numbers from it; the order of the data follows `data.shuffle_seed`",
)];

/// A section, the name of a setting that came later, and the value that stands for all that was computed before it.
const CAME_LATER: &[(&str, &str, f64)] = &[("training", "gradient_clip_history", 0.0)];

/// Why there is no setting of this name any more, in the section that has the settings `known`; None where there never
/// was one.
pub(super) fn why_removed(name: &str, known: &[&str]) -> Option<&'static str> {
    let is_section = |section: &str| {
        let field = Job::field(section)?;
        let prost_reflect::Kind::Message(message) = field.kind() else {
            return None;
        };
        let has = |known: &&str| message.get_field_by_name(known).is_some();
        Some(message.fields().len() == known.len() && known.iter().all(has))
    };
    let mut removed = REMOVED.iter();
    let found = removed.find(|(section, removed, _)| *removed == name && is_section(section) == Some(true));
    found.map(|(_, _, reason)| *reason)
}

/// Takes the settings that are gone out of a job file. Returns whether there were any.
pub(super) fn take_out(job: &mut Table) -> bool {
    let mut has_removed = false;
    for (section, name, _) in REMOVED {
        if let Some(Value::Table(section)) = job.get_mut(*section) {
            has_removed |= section.remove(*name).is_some();
        }
    }
    has_removed
}

/// Reads a specification that this project wrote as JSON with all defaults, perhaps an earlier version of it. Its values are
/// not checked.
///
/// # Errors
/// If it is no specification.
pub fn kept_spec_from_json(mut json: serde_json::Value) -> serde_json::Result<v1::JobSpec> {
    for (section, name, _) in REMOVED {
        if let Some(section) = json.get_mut(*section).and_then(serde_json::Value::as_object_mut) {
            section.remove(*name);
        }
    }
    for (section, name, earlier) in CAME_LATER {
        if let Some(section) = json.get_mut(*section).and_then(serde_json::Value::as_object_mut) {
            let value = section.entry(*name).or_insert(serde_json::Value::Null);
            if value.is_null() {
                *value = (*earlier).into();
            }
        }
    }
    serde_json::from_value(json)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{parse_job_file, parse_kept_job_file};

    const JOB: &str = "name = \"job\"\nkind = \"train\"\n[model]\npath = \"model\"\n[data]\npath = \"problems.jsonl\"\n\
                       [training]\nsteps = 3\n";

    #[test]
    fn a_removed_setting_is_refused_with_the_reason_and_its_name_stays_reserved() {
        for (section, name, reason) in REMOVED {
            let field = Job::field(section).expect("a section");
            let prost_reflect::Kind::Message(message) = field.kind() else {
                panic!("a section is a message");
            };
            assert!(message.reserved_names().any(|reserved| reserved == *name), "{name}");
            let error = parse_job_file(&format!("{JOB}{name} = 7\n"))
                .expect_err("refused")
                .to_string();
            let says = format!("there is no setting `{name}` here any more: {reason}");
            assert!(error.contains(&says), "{error}");
        }
        // The same name elsewhere is another setting, or none that there ever was.
        assert!(parse_job_file(&format!("{JOB}[rollout]\nseed = 7\n")).is_ok());
        let error = parse_job_file(&format!("{JOB}[checkpoint]\nseed = 7\n"))
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("there is no setting `seed` here; the settings are"),
            "{error}"
        );
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let wanted = parse_job_file(JOB).expect("a job file");
        let old = format!("{JOB}seed = 7\n");
        assert_eq!(parse_kept_job_file(&old).expect("read"), wanted);
        assert_eq!(parse_kept_job_file(JOB).expect("read"), wanted);
        assert!(parse_kept_job_file(&format!("{old}stepss = 3\n")).is_err());
        let mut json = serde_json::to_value(&wanted).expect("JSON");
        json["training"]["seed"] = 7.into();
        assert!(serde_json::from_value::<v1::JobSpec>(json.clone()).is_err());
        let mut then = wanted;
        then.training.as_mut().expect("a section").gradient_clip_history = Some(0.0);
        assert_eq!(kept_spec_from_json(json.clone()).expect("read"), then);
        json["training"]["gradient_clip_history"] = 2.0.into();
        then.training.as_mut().expect("a section").gradient_clip_history = Some(2.0);
        assert_eq!(kept_spec_from_json(json).expect("read"), then);
    }
}
