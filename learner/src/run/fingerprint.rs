//! What the numbers in a recovery checkpoint refer to, so that a job does not go on with other problems or another
//! tokenizer than it began with.

use anytime_proto::settings::{InvalidSetting, JobSettings};
use prost::Message as _;

use super::prepare::Prepared;
use crate::checkpoint::{Assets, Fingerprint};

/// The fingerprint of what the job reads now.
pub(super) fn fingerprint(prepared: &Prepared, assets: &Assets) -> Fingerprint {
    let mut hasher = blake3::Hasher::new();
    for problem in &prepared.problems {
        hasher.update(blake3::hash(&problem.encode_to_vec()).as_bytes());
    }
    for (prompt, completion) in &prepared.completions {
        for ids in [prompt, completion] {
            let bytes: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
            hasher.update(blake3::hash(&bytes).as_bytes());
        }
    }
    Fingerprint {
        rows: (prepared.problems.len() + prepared.completions.len()) as u64,
        data: hasher.finalize().to_hex().to_string(),
        model: assets.fingerprint(),
    }
}

/// Compares what the job began with to what it reads now. Rows that were only appended are refused too: the order of all
/// problems is drawn from their number. A checkpoint of an earlier version does not say what it refers to.
///
/// # Errors
/// `data.path` or `model.path`, whichever has changed.
pub(super) fn check_fingerprint(
    began: Option<&Fingerprint>,
    now: &Fingerprint,
    settings: &JobSettings,
) -> Result<(), InvalidSetting> {
    let Some(began) = began else {
        return Ok(());
    };
    if began.model != now.model {
        let (setting, value) = settings.model.start();
        return Err(InvalidSetting::new(
            setting,
            value,
            "its configuration or tokenizer is not the one that the job began with; put it back, or cancel the job and \
             submit it anew",
        ));
    }
    if began.data != now.data || began.rows != now.rows {
        let how = if began.rows == now.rows {
            format!("{} rows, and not the same", now.rows)
        } else {
            format!("{} rows then, {} now", began.rows, now.rows)
        };
        let reason = format!(
            "its rows are not those that the job began with ({how}), and their order is drawn from all of them; put it \
             back, or cancel the job and submit it anew"
        );
        return Err(InvalidSetting::new("data.path", &settings.data.path, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anytime_proto::settings::parse_job_file;

    use super::super::prepare::prepare;
    use super::*;

    const JOB: &str = "name = \"job\"\nkind = \"train\"\n[model]\npath = \"model\"\ninitialise = true\n[data]\npath = \
                       \"data.jsonl\"\ninstruction = \"\"\n[markers]\ncut = \"...\"\nsummary = \"=\"\n[rollout]\nbudgets = \
                       [6, 12]\nmax_summary_tokens = 4\n[training]\nsteps = 3\n";

    #[test]
    fn other_rows_and_another_tokenizer_are_refused_by_name() {
        let root = tempfile::tempdir().expect("a directory");
        let demo = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/demo/model");
        let model = root.path().join("model");
        std::fs::create_dir(&model).expect("made");
        for entry in std::fs::read_dir(demo).expect("the demo's model").flatten() {
            std::fs::copy(entry.path(), model.join(entry.file_name())).expect("copied");
        }
        let settings = JobSettings::try_new(&parse_job_file(JOB).expect("a job file")).expect("valid");
        let row = |sum: u32| format!("{{\"problem\": \"1+{sum}=\", \"answer\": {}}}\n", 1 + sum);
        let now = |rows: &[u32]| {
            let text: String = rows.iter().map(|sum| row(*sum)).collect();
            std::fs::write(root.path().join("data.jsonl"), text).expect("written");
            let prepared = prepare(&settings, root.path(), None).expect("a job that works");
            fingerprint(&prepared, &Assets::read(&model).expect("read"))
        };
        let began = now(&[1, 2, 3]);
        assert_eq!(check_fingerprint(Some(&began), &now(&[1, 2, 3]), &settings), Ok(()));
        assert_eq!(check_fingerprint(None, &now(&[4]), &settings), Ok(()));
        for (rows, says) in [
            (&[1, 2, 3, 4][..], "3 rows then, 4 now"),
            (&[1, 2][..], "3 rows then, 2 now"),
            (&[2, 1, 3][..], "3 rows, and not the same"),
            (&[1, 2, 4][..], "3 rows, and not the same"),
        ] {
            let refused = check_fingerprint(Some(&began), &now(rows), &settings).expect_err(says);
            assert_eq!(refused.field, "data.path");
            assert!(refused.to_string().contains(says), "{refused}");
        }
        let config = model.join("config.json");
        let text = std::fs::read_to_string(&config).expect("read");
        std::fs::write(&config, text.replacen('{', "{ ", 1)).expect("written");
        let refused = check_fingerprint(Some(&began), &now(&[1, 2, 3]), &settings).expect_err("another model");
        assert_eq!(refused.field, "model.path");
    }
}
