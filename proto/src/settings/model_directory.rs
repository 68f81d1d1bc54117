//! Why a path is not a model's directory, in the same words whether client or learner looks first.

use std::path::Path;

/// Why `path`, relative to `root`, is not a model's directory; none where it has a `config.json`, or adapters that name
/// the model that they are added to.
pub fn reason_that_no_model_is_there(root: &Path, path: &str) -> Option<String> {
    let directory = root.join(path);
    let has = |name: &str| directory.join(name).symlink_metadata().is_ok();
    if has("config.json") || has("adapter_config.json") {
        return None;
    }
    if directory.is_dir() {
        return Some("it has no config.json".to_owned());
    }
    if directory.exists() {
        return Some("it is a file".to_owned());
    }
    Some(match name_on_the_hub(path) {
        Some(name) => format!("there is no such directory; the model of the Hugging Face hub is named hf://{name}"),
        None => "there is no such directory".to_owned(),
    })
}

/// `Qwen/Qwen3-4B` of `Qwen/Qwen3-4B`, `hf://Qwen/Qwen3-4B` and the address of its page.
fn name_on_the_hub(path: &str) -> Option<&str> {
    let name = ["hf://", "https://huggingface.co/", "https://hf.co/"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))
        .unwrap_or(path)
        .trim_end_matches('/');
    let (organisation, model) = name.split_once('/')?;
    let is_name = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    (is_name(organisation) && is_name(model)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub() {
        for path in [
            "Qwen/Qwen2.5-1.5B-Instruct",
            "hf://Qwen/Qwen2.5-1.5B-Instruct",
            "https://huggingface.co/Qwen/Qwen2.5-1.5B-Instruct/",
        ] {
            assert_eq!(name_on_the_hub(path), Some("Qwen/Qwen2.5-1.5B-Instruct"), "{path}");
        }
        for path in ["modle", "/models/x", "../models", "a/b/c", "a/", "./x", "my models/x"] {
            assert_eq!(name_on_the_hub(path), None, "{path}");
        }
    }

    #[test]
    fn what_is_there_instead_is_named() {
        let root = tempfile::tempdir().expect("a directory");
        let reason = |path: &str| reason_that_no_model_is_there(root.path(), path).unwrap_or_default();
        assert_eq!(reason("model"), "there is no such directory");
        assert!(reason("models/x").ends_with("is named hf://models/x"));
        std::fs::write(root.path().join("file"), "").expect("written");
        assert_eq!(reason("file"), "it is a file");
        let model = root.path().join("model");
        std::fs::create_dir(&model).expect("made");
        assert_eq!(reason("model"), "it has no config.json");
        std::fs::write(model.join("adapter_config.json"), "{").expect("written");
        assert_eq!(reason("model"), "", "who opens it says what is wrong with it");
        std::fs::write(model.join("config.json"), "").expect("written");
        assert_eq!(reason("model"), "");
    }
}
