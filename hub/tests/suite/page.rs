//! The hub's section of docs/refusals.md: each refusal is provoked here, and the section is written with
//! `UPDATE=1 cargo test -p anytime-hub`.

use std::path::Path;

use anytime_hub::{HubError, Settings, Token};

use crate::support::{Fault, git_id, sha256};
use crate::{NAME, World, fetch, model, weights};

const HEADING: &str = "## Hugging Face hub";

/// The heading behind it.
const NEXT: &str = "## Servers";

const HEAD: &str = "\
## Hugging Face hub

What cannot be fetched for a job with `hf://` in its paths, and what is said behind the setting and its value. Written by

    UPDATE=1 cargo test -p anytime-hub
";

/// A refusal with what differs from run to run in the form that a user sees it.
fn said(world: &World, error: &HubError) -> String {
    let files = format!("http://{}", world.hub.files);
    error
        .to_string()
        .replace(&world.hub.endpoint(), "https://huggingface.co")
        .replace(&files, "https://cdn.example")
        .replace(
            &world.cache.path().display().to_string(),
            "/home/me/.cache/huggingface/hub",
        )
}

fn refusals() -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let mut add = |wrong: &'static str, prepare: &dyn Fn(&World, &mut Settings)| {
        let world = World::new();
        let mut settings = world.settings();
        settings.patience.tries = 1;
        prepare(&world, &mut settings);
        let error = fetch(settings, &model(), "main").expect_err(wrong);
        all.push((wrong, said(&world, &error)));
    };
    let with_token =
        |settings: &mut Settings| settings.token = Token::try_new("HF_TOKEN", "hf_secret").expect("one line");
    let answer =
        |status, code| move |world: &World, _: &mut Settings| world.hub.fail("/main", [Fault::Status(status, code)]);
    add(
        "a repository that is not there, or private",
        &answer(401, "RepoNotFound"),
    );
    add("the same with a token", &|world, settings| {
        with_token(settings);
        world.hub.fail("/main", [Fault::Status(404, "RepoNotFound")]);
    });
    add("a revision that is not there", &answer(404, "RevisionNotFound"));
    add("a gated repository", &answer(403, "GatedRepo"));
    add("a token that was revoked", &|world, settings| {
        with_token(settings);
        world.hub.fail("/main", [Fault::Status(401, "")]);
    });
    add("a token without the right", &|world, settings| {
        with_token(settings);
        world.hub.fail("/main", [Fault::Status(403, "")]);
    });
    add("nothing that may be read without a token", &answer(401, ""));
    add("a repository that the hub has disabled", &answer(403, "DisabledRepo"));
    add("too many requests", &|world, _| {
        world.hub.fail("/main", [Fault::TooMany("3600")])
    });
    add("a hub that is down", &answer(503, ""));
    add("a hub that does not answer", &|world, _| {
        world.hub.fail("/main", [Fault::Silent])
    });
    add("no network, with `HF_HUB_OFFLINE` set", &|_, settings| {
        settings.offline = true
    });
    add("a repository without safetensors", &|world, _| {
        let mut state = world.hub.state();
        state
            .repositories
            .get_mut(NAME)
            .expect("a model")
            .remove("model.safetensors");
    });
    add("a repository without a model", &|world, _| {
        world
            .hub
            .state()
            .repositories
            .get_mut(NAME)
            .expect("a model")
            .remove("config.json");
    });
    add("bytes that are not those of the listing", &|world, _| {
        world.hub.fail("model.safetensors", [Fault::Wrong, Fault::Wrong]);
    });
    add("a path that leads out of the cache", &|world, _| {
        let entry = format!(
            "{{\"type\":\"file\",\"oid\":\"{}\",\"size\":0,\"path\":\"../x\"}}",
            git_id(b"")
        );
        world.hub.state().listed.push(entry);
    });
    add("a login page instead of a hub", &|world, _| {
        world.hub.fail("/main", [Fault::Says("<html>log in</html>".to_owned())]);
    });
    add("a redirect to something else than https", &|world, _| {
        world.hub.fail("/main", [Fault::Redirect("ftp://host/x".to_owned())]);
    });
    add("a full disk", &|world, _| {
        let blobs = world.repository().join("blobs");
        std::fs::create_dir_all(&blobs).expect("made");
        let part = blobs.join(format!("{}.incomplete", sha256(&weights())));
        std::os::unix::fs::symlink("/dev/full", part).expect("a link");
    });
    all
}

fn variables() -> Vec<(&'static str, String)> {
    let of = |name: &'static str, value: &'static str| {
        let get = move |asked: &str| match asked {
            "HOME" => Some("/home/me".to_owned()),
            _ => (asked == name).then(|| value.to_owned()),
        };
        Settings::from_variables(&get).expect_err(value).to_string()
    };
    vec![
        ("`HF_ENDPOINT=huggingface.co`", of("HF_ENDPOINT", "huggingface.co")),
        (
            "`HF_ENDPOINT` with a password",
            of("HF_ENDPOINT", "https://me:secret@huggingface.co"),
        ),
        ("`HF_TOKEN` of two lines", of("HF_TOKEN", "hf_one\nhf_two")),
        ("`HF_HOME=cache`", of("HF_HOME", "cache")),
    ]
}

#[test]
fn every_refusal_stands_on_its_page() {
    let mut text = HEAD.to_owned();
    for (wrong, said) in refusals().into_iter().chain(variables()) {
        assert!(!said.contains('\n') && !said.contains("secret"), "{said}");
        text.push_str(&format!("\n- {wrong}\n\n      {said}\n"));
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/refusals.md");
    let current = std::fs::read_to_string(&page).unwrap();
    let place = |heading: &str| current.find(&format!("\n{heading}\n"));
    let end = place(NEXT).unwrap_or(current.len());
    let start = place(HEADING).unwrap_or(end);
    let expected = format!("{}\n{text}{}", &current[..start], &current[end..]);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&page, expected).unwrap();
        return;
    }
    assert!(
        current == expected,
        "docs/refusals.md lags behind: UPDATE=1 cargo test -p anytime-hub"
    );
}
