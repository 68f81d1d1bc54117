//! What a job takes from the Hugging Face hub. Its names (`hf://…`) are fetched once, when the job is checked or submitted,
//! at the commits that are current then. The specification is kept with these commits, and the job with the list of the
//! files, so that a start weeks later reads the same bytes: from the cache, or fetched again.

use anytime_hub::{Hub, HubError, HubFile, Kind, Progress, Repository, Settings, Snapshot, model_files, pattern_files};
use anytime_proto::settings::{HubReference, InvalidSetting, JobSettings};
use anytime_proto::v1;

/// The topic of notices about it.
const TOPIC: &str = "hub";

/// The file that says under which licence a model is. An export quotes it.
const README: &str = "README.md";

/// Which hub, with which token and cache.
#[derive(Clone, Debug, Default)]
pub enum HubSource {
    /// What the environment says whenever something is fetched, so that a token may be renewed in its file.
    #[default]
    Environment,
    /// These.
    Fixed(Box<Settings>),
}

impl HubSource {
    fn hub(&self) -> Result<Hub, HubError> {
        Ok(Hub::new(match self {
            Self::Environment => Settings::from_environment()?,
            Self::Fixed(settings) => settings.as_ref().clone(),
        }))
    }
}

/// How a call that may take an hour is stopped, and what it tells meanwhile.
pub struct Ears<'a> {
    /// Asked several times a second.
    pub stop: &'a dyn Fn() -> bool,
    /// Told every few seconds how far it is, in a sentence.
    pub say: &'a dyn Fn(&str),
}

/// Fetches everything of the hub that a job of these settings reads. What `known` has under the same name is fetched as it
/// is listed there, and the hub is not asked what else there is.
///
/// # Errors
/// The setting, with why it cannot be fetched. [`HubError::Stopped`] is among the reasons.
pub fn fetch(
    source: &HubSource,
    settings: &JobSettings,
    known: &[v1::HubInput],
    ears: &Ears<'_>,
) -> Result<Vec<v1::HubInput>, InvalidSetting> {
    let mut inputs: Vec<v1::HubInput> = Vec::new();
    for (setting, name) in names(settings) {
        let Some(reference) = HubReference::read(name) else {
            continue;
        };
        let refuse = |reason: String| InvalidSetting::new(setting, name, reason);
        let reference = reference.map_err(refuse)?;
        let known = known
            .iter()
            .find(|input| input.setting == setting && input.pinned == name);
        let request = Request {
            setting,
            name,
            reference: &reference,
            draws_weights: settings.model.initialise,
        };
        let hub = source.hub().map_err(|error| refuse(error.to_string()))?;
        inputs.push(
            request
                .fetch(&hub, known, ears)
                .map_err(|error| refuse(error.to_string()))?,
        );
    }
    Ok(inputs)
}

/// Whether a job of these settings takes anything from the hub.
pub fn is_needed(settings: &JobSettings) -> bool {
    names(settings).into_iter().any(|(_, name)| HubReference::is_one(name))
}

/// The names that a job of these settings reads.
fn names(settings: &JobSettings) -> Vec<(&'static str, &str)> {
    let mut names = vec![("model.path", settings.model.path.as_str())];
    if settings.kind != v1::JobKind::Evaluate {
        names.extend(settings.data.path.iter().map(|name| ("data.path", name.as_str())));
    }
    if settings.kind != v1::JobKind::Sft {
        names.extend(
            settings
                .evaluation
                .path
                .iter()
                .map(|name| ("evaluation.path", name.as_str())),
        );
    }
    names
}

/// One name of a setting.
struct Request<'a> {
    setting: &'static str,
    name: &'a str,
    reference: &'a HubReference,
    draws_weights: bool,
}

impl Request<'_> {
    fn fetch(&self, hub: &Hub, known: Option<&v1::HubInput>, ears: &Ears<'_>) -> Result<v1::HubInput, HubError> {
        let repository = Repository {
            kind: if self.reference.is_data_set {
                Kind::DataSet
            } else {
                Kind::Model
            },
            owner: self.reference.owner.clone(),
            name: self.reference.name.clone(),
        };
        let tell = |progress: &Progress| (ears.say)(&format!("{}: fetching {}: {progress}", self.setting, self.name));
        let snapshot = match known {
            Some(known) => {
                let files: Vec<HubFile> = known.files.iter().map(file_of_record).collect::<Result<_, _>>()?;
                hub.restore(&repository, &known.commit, &files, ears.stop, &tell)?
            }
            None => {
                let choose = |files: &[HubFile]| self.choose(files);
                hub.fetch(&repository, self.reference.revision(), &choose, ears.stop, &tell)?
            }
        };
        Ok(self.input(snapshot, known))
    }

    fn choose(&self, files: &[HubFile]) -> Result<Vec<HubFile>, String> {
        if self.reference.is_data_set {
            return pattern_files(files, &self.reference.path);
        }
        let beside: Vec<&str> = anytime_policy::asset_names().iter().copied().chain([README]).collect();
        model_files(files, &beside, !self.draws_weights)
    }

    fn input(&self, snapshot: Snapshot, known: Option<&v1::HubInput>) -> v1::HubInput {
        let files = snapshot.files.into_iter().map(|file| v1::HubFile {
            path: file.path,
            bytes: file.bytes,
            checksum: file.checksum,
        });
        v1::HubInput {
            setting: self.setting.to_owned(),
            asked: known.map_or_else(|| self.name.to_owned(), |known| known.asked.clone()),
            pinned: self.reference.at(&snapshot.commit).to_string(),
            commit: snapshot.commit,
            directory: snapshot.directory.display().to_string(),
            files: files.collect(),
            fetched_bytes: snapshot.fetched_bytes,
            from_cache: snapshot.from_cache.unwrap_or_default(),
        }
    }
}

/// A record may have been damaged: its paths are looked at as a listing's are.
fn file_of_record(file: &v1::HubFile) -> Result<HubFile, HubError> {
    let without_checksum = file.checksum.is_empty();
    let checksum = if without_checksum {
        "0".repeat(40)
    } else {
        file.checksum.clone()
    };
    let file = HubFile::try_new(&file.path, file.bytes, &checksum).map_err(HubError::Unfit)?;
    Ok(HubFile {
        checksum: if without_checksum { String::new() } else { file.checksum },
        ..file
    })
}

/// Writes the commits into a specification that has the names as they were asked for.
pub fn pin(spec: &mut v1::JobSpec, inputs: &[v1::HubInput]) {
    let pinned = |setting: &str, name: &mut String| {
        let mut found = inputs.iter().filter(|input| input.setting == setting);
        if let Some(input) = found.find(|input| input.asked == *name) {
            name.clone_from(&input.pinned);
        }
    };
    if let Some(path) = spec.model.as_mut().and_then(|model| model.path.as_mut()) {
        pinned("model.path", path);
    }
    for name in spec.data.iter_mut().flat_map(|data| &mut data.path) {
        pinned("data.path", name);
    }
    for name in spec.evaluation.iter_mut().flat_map(|evaluation| &mut evaluation.path) {
        pinned("evaluation.path", name);
    }
}

/// The settings with the places on this machine instead of the names.
pub fn in_place(settings: &JobSettings, inputs: &[v1::HubInput]) -> JobSettings {
    let mut here = settings.clone();
    let of = |setting: &str, name: &str| -> Option<&v1::HubInput> {
        let mut found = inputs.iter().filter(|input| input.setting == setting);
        found.find(|input| input.pinned == name)
    };
    let files = |setting: &str, names: &[String]| -> Vec<String> {
        let files_of = |name: &String| match of(setting, name) {
            Some(input) => input
                .files
                .iter()
                .map(|file| format!("{}/{}", input.directory, file.path))
                .collect(),
            None => vec![name.clone()],
        };
        names.iter().flat_map(files_of).collect()
    };
    if let Some(input) = of("model.path", &settings.model.path) {
        here.model.path.clone_from(&input.directory);
    }
    here.data.path = files("data.path", &settings.data.path);
    here.evaluation.path = files("evaluation.path", &settings.evaluation.path);
    here
}

/// A sentence for each name: which commit it is, how much was fetched, and where it lies.
pub fn notices(inputs: &[v1::HubInput]) -> Vec<v1::Notice> {
    inputs
        .iter()
        .map(|input| v1::Notice {
            topic: TOPIC.to_owned(),
            text: sentence(input),
            step: 0,
        })
        .collect()
}

fn sentence(input: &v1::HubInput) -> String {
    let all: u64 = input.files.iter().map(|file| file.bytes).sum();
    let mut text = format!(
        "{}: {} is commit {}: {} files of {all} bytes in {}, of which {} bytes were fetched now",
        input.setting,
        input.asked,
        input.commit,
        input.files.len(),
        input.directory,
        input.fetched_bytes
    );
    if !input.from_cache.is_empty() {
        text.push_str(&format!(
            "; the cache says which commit it is, because {}",
            input.from_cache
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use anytime_proto::settings::{parse_job_file, with_defaults};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn input(setting: &str, asked: &str, pinned: &str, files: &[&str]) -> v1::HubInput {
        let file = |path: &&str| v1::HubFile {
            path: (*path).to_owned(),
            bytes: 3,
            checksum: "0".repeat(40),
        };
        v1::HubInput {
            setting: setting.to_owned(),
            asked: asked.to_owned(),
            pinned: pinned.to_owned(),
            commit: COMMIT.to_owned(),
            directory: "/cache/snapshot".to_owned(),
            files: files.iter().map(file).collect(),
            fetched_bytes: 6,
            from_cache: String::new(),
        }
    }

    fn spec(kind: &str) -> v1::JobSpec {
        let job = format!(
            "name = \"job\"\nkind = {kind:?}\nmodel = {{ path = \"hf://a/b\" }}\n\
             data = {{ path = [\"own.jsonl\", \"hf://datasets/a/d/*.json\"] }}\n\
             evaluation = {{ path = \"hf://datasets/a/d@main/x.json\" }}\n{}",
            if kind == "evaluate" {
                ""
            } else {
                "training = { steps = 1 }\n"
            }
        );
        with_defaults(&parse_job_file(&job).expect("a job file"))
    }

    #[test]
    fn names_are_pinned_and_then_stand_for_files() {
        let (data, evaluation) = (
            format!("hf://datasets/a/d@{COMMIT}/*.json"),
            format!("hf://datasets/a/d@{COMMIT}/x.json"),
        );
        let model = format!("hf://a/b@{COMMIT}");
        let inputs = [
            input("model.path", "hf://a/b", &model, &["config.json"]),
            input("data.path", "hf://datasets/a/d/*.json", &data, &["1.json", "2.json"]),
            input(
                "evaluation.path",
                "hf://datasets/a/d@main/x.json",
                &evaluation,
                &["x.json"],
            ),
        ];
        let mut pinned = spec("train");
        pin(&mut pinned, &inputs);
        let settings = JobSettings::try_new(&pinned).expect("valid");
        assert_eq!(settings.model.path, model);
        assert_eq!(settings.data.path, ["own.jsonl".to_owned(), data]);
        assert_eq!(settings.evaluation.path, [evaluation]);
        let again = pinned.clone();
        pin(&mut pinned, &inputs);
        assert_eq!(pinned, again);
        let here = in_place(&settings, &inputs);
        assert_eq!(here.model.path, "/cache/snapshot");
        let files = ["own.jsonl", "/cache/snapshot/1.json", "/cache/snapshot/2.json"];
        assert_eq!(here.data.path, files);
        assert_eq!(here.evaluation.path, ["/cache/snapshot/x.json"]);
        let said: Vec<String> = notices(&inputs).into_iter().map(|notice| notice.text).collect();
        assert_eq!(
            said[1],
            format!(
                "data.path: hf://datasets/a/d/*.json is commit {COMMIT}: 2 files of 6 bytes in /cache/snapshot, of which 6 \
                 bytes were fetched now"
            )
        );
    }

    #[test]
    fn only_what_a_kind_of_job_reads_is_fetched() {
        let settings = |kind| JobSettings::try_new(&spec(kind)).expect("valid");
        let of = |kind| -> Vec<&str> { names(&settings(kind)).into_iter().map(|(setting, _)| setting).collect() };
        assert_eq!(of("train"), ["model.path", "data.path", "data.path", "evaluation.path"]);
        assert_eq!(of("sft"), ["model.path", "data.path", "data.path"]);
        assert_eq!(of("evaluate"), ["model.path", "evaluation.path"]);
        assert!(is_needed(&settings("sft")));
    }

    #[test]
    fn a_record_that_leads_elsewhere_is_refused() {
        let file = |path: &str, checksum: &str| v1::HubFile {
            path: path.to_owned(),
            bytes: 1,
            checksum: checksum.to_owned(),
        };
        assert!(file_of_record(&file("../x", &"0".repeat(40))).is_err());
        assert!(file_of_record(&file("x", "../x")).is_err());
        assert_eq!(file_of_record(&file("x", "")).expect("a copy").checksum, "");
    }
}
