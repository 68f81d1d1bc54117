//! Who may read what, what a hub may answer, and having no network.

use std::fs;
use std::time::{Duration, Instant};

use anytime_hub::{Hub, Token};

use crate::support::{COMMIT, Fault, git_id};
use crate::{NAME, World, check_content, fetch, model, names};

#[test]
fn a_token_goes_to_the_hub_and_not_to_the_host_of_large_files() {
    let world = World::new();
    world.hub.state().token = Some("Bearer hf_secret".to_owned());
    let mut settings = world.settings();
    settings.token = Token::try_new("HF_TOKEN", "hf_secret").unwrap();
    check_content(&world.fetch_with(settings).unwrap());
    let seen = world.hub.seen();
    let of = |host| seen.iter().filter(move |request| request.host == host);
    assert!(of(world.hub.hub).all(|request| request.token.as_deref() == Some("Bearer hf_secret")));
    assert_eq!(of(world.hub.files).count(), 1);
    assert!(of(world.hub.files).all(|request| request.token.is_none()), "{seen:?}");
}

#[test]
fn a_token_is_not_shown_where_others_could_read_it() {
    // A name that is not this machine's, over plain http: asked through a proxy of nobody, the request fails, so what is
    // looked at is the decision alone.
    let world = World::new();
    let mut settings = world.settings();
    settings.token = Token::try_new("HF_TOKEN", "hf_secret").unwrap();
    settings.endpoint = "http://hub.invalid/".parse().unwrap();
    settings.patience.tries = 1;
    let error = world.fetch_with(settings).unwrap_err().to_string();
    assert!(error.starts_with("http://hub.invalid cannot be reached ("), "{error}");
    assert!(!error.contains("hf_secret"), "{error}");
}

#[test]
fn who_may_not_read_is_told_what_to_do() {
    let with_token = |world: &World| {
        let mut settings = world.settings();
        settings.token = Token::try_new("HF_TOKEN", "hf_secret").unwrap();
        settings
    };
    for (fault, has_token, says) in [
        (
            Fault::Status(401, "RepoNotFound"),
            false,
            "has not the model owner/name, or does not show it without a token",
        ),
        (
            Fault::Status(401, "RepoNotFound"),
            true,
            "has not the model owner/name, or this token may not read it",
        ),
        (
            Fault::Status(404, "RepoNotFound"),
            true,
            "has not the model owner/name, or this token may not read it",
        ),
        (
            Fault::Status(404, "RevisionNotFound"),
            true,
            "has not revision main of the model owner/name",
        ),
        (
            Fault::Status(403, "GatedRepo"),
            true,
            "to this token: it is gated; accept its terms at http://127.0.0.1:",
        ),
        (
            Fault::Status(401, "GatedRepo"),
            false,
            "to a caller without a token: it is gated",
        ),
        (Fault::Status(401, ""), true, "does not know the token"),
        (Fault::Status(401, ""), false, "set HF_TOKEN"),
        (
            Fault::Status(403, ""),
            true,
            "its account may not read http://127.0.0.1:",
        ),
        (Fault::Status(403, "DisabledRepo"), true, "the repository is disabled"),
        (Fault::Status(418, ""), false, "answers what a hub does not: 418"),
    ] {
        let world = World::new();
        world.hub.fail("/revision/main", [fault.clone()]);
        let settings = if has_token {
            with_token(&world)
        } else {
            world.settings()
        };
        let refused = world.fetch_with(settings).expect_err("refused").to_string();
        assert!(refused.contains(says), "{fault:?}: {refused}");
        assert!(!refused.contains("hf_secret") && !refused.contains('\n'), "{refused}");
        assert_eq!(world.hub.seen().len(), 1, "{fault:?} is not tried again");
    }
    // Terms may also be asked for only where the file itself is.
    let world = World::new();
    world.hub.fail("config.json", [Fault::Status(403, "GatedRepo")]);
    let refused = world.refused();
    assert!(
        refused.contains("does not give config.json of the model owner/name"),
        "{refused}"
    );
}

#[test]
fn too_many_requests_are_waited_for_as_long_as_is_asked() {
    let world = World::new();
    world.hub.fail("/revision/main", [Fault::TooMany("1")]);
    let since = Instant::now();
    check_content(&world.fetch().unwrap());
    assert!(since.elapsed() >= Duration::from_secs(1), "{:?}", since.elapsed());
    // Longer than anybody waits at a prompt is said at once.
    world.hub.fail("/revision/main", [Fault::TooMany("3600")]);
    fs::remove_dir_all(world.repository()).unwrap();
    let since = Instant::now();
    let refused = world.refused();
    assert!(
        refused.ends_with("takes no more requests for now (429); it asks to wait 3600 s"),
        "{refused}"
    );
    assert!(since.elapsed() < Duration::from_secs(1));
    let world = World::new();
    world.hub.fail("/revision/main", vec![Fault::TooMany(""); 10]);
    assert!(world.refused().ends_with("takes no more requests for now (429)"));
    assert_eq!(world.hub.seen().len(), 3);
}

#[test]
fn without_a_network_it_is_said_at_once() {
    let world = World::new();
    let mut settings = world.settings();
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    settings.endpoint = format!("http://{free}").parse().unwrap();
    let refused = world.fetch_with(settings.clone()).expect_err("refused");
    assert!(refused.may_pass());
    let refused = refused.to_string();
    assert!(
        refused.starts_with(&format!("http://{free} cannot be reached (")),
        "{refused}"
    );
    assert!(
        refused.contains("refused") && refused.ends_with("set HF_HUB_OFFLINE=1"),
        "{refused}"
    );
    // What was fetched before serves then, and it is said.
    world.fetch().unwrap();
    let cached = world.fetch_with(settings.clone()).unwrap();
    check_content(&cached);
    assert!(cached.from_cache.unwrap().contains("cannot be reached"));
    let by_commit = fetch(settings.clone(), &model(), COMMIT).unwrap();
    check_content(&by_commit);
    // What the cache has only in part does not.
    fs::remove_file(by_commit.directory.join("model.safetensors")).unwrap();
    let refused = world.fetch_with(settings).expect_err("refused").to_string();
    assert!(refused.contains("cannot be reached"), "{refused}");
}

#[test]
fn offline_asks_nobody() {
    let world = World::new();
    let mut settings = world.settings();
    settings.offline = true;
    let refused = world.fetch_with(settings.clone()).expect_err("refused").to_string();
    assert_eq!(
        refused,
        format!(
            "HF_HUB_OFFLINE is set, and the cache {} has not revision main of the model owner/name",
            world.cache.path().display()
        )
    );
    let fetched = world.fetch().unwrap();
    let before = world.hub.seen().len();
    check_content(&world.fetch_with(settings.clone()).unwrap());
    check_content(&fetch(settings.clone(), &model(), COMMIT).unwrap());
    let other = fetch(settings.clone(), &model(), "v2")
        .expect_err("refused")
        .to_string();
    assert!(other.contains("has not revision v2"), "{other}");
    let restore = || Hub::new(settings.clone()).restore(&model(), COMMIT, &fetched.files, &|| false, &|_| {});
    check_content(&restore().unwrap());
    fs::remove_file(fs::canonicalize(fetched.directory.join("model.safetensors")).unwrap()).unwrap();
    let partly = world.fetch_with(settings.clone()).expect_err("refused").to_string();
    assert!(partly.contains("what it has has neither model.safetensors"), "{partly}");
    let refused = restore().expect_err("refused").to_string();
    assert!(
        refused.contains(&format!(
            "has not model.safetensors of the model owner/name at {COMMIT}"
        )),
        "{refused}"
    );
    assert_eq!(world.hub.seen().len(), before);
}

#[test]
fn a_listing_that_leads_out_of_the_cache_is_refused() {
    let git = git_id(b"");
    for path in [
        "../../escape.json",
        "/etc/escape.json",
        "a/../../escape.json",
        "a\\\\..\\\\b",
    ] {
        let world = World::new();
        let entry = format!("{{\"type\":\"file\",\"oid\":\"{git}\",\"size\":0,\"path\":\"{path}\"}}");
        world.hub.state().listed.push(entry);
        let refused = world.refused();
        assert!(refused.contains("is no path within a repository"), "{refused}");
        assert_eq!(names(world.cache.path()), Vec::<String>::new(), "nothing was written");
    }
    let world = World::new();
    let entry = "{\"type\":\"file\",\"oid\":\"../../../x\",\"size\":0,\"path\":\"config.json\"}".to_owned();
    world.hub.state().listed.push(entry);
    assert!(world.refused().contains("is no id of git"));
    for (end, says, what) in [
        ("/revision/main", "{\"sha\":\"../../x\"}", "is no commit"),
        ("/revision/main", "{\"sha\":", "as JSON"),
        ("/revision/main", "<html>log in</html>", "as JSON"),
        (&format!("/tree/{COMMIT}"), "{}", "as JSON"),
    ] {
        let world = World::new();
        world.hub.fail(end, [Fault::Says(says.to_owned())]);
        let refused = world.refused();
        assert!(refused.contains(what), "{refused}");
    }
}

#[test]
fn a_hub_that_gives_another_commit_than_asked_for_is_refused() {
    let world = World::new();
    let other = "f".repeat(40);
    world.hub.fail(
        &format!("/revision/{other}"),
        [Fault::Says(format!("{{\"sha\":\"{COMMIT}\"}}"))],
    );
    let refused = fetch(world.settings(), &model(), &other)
        .expect_err("refused")
        .to_string();
    assert!(
        refused.contains(&format!("asked for commit {other}, it gives {COMMIT}")),
        "{refused}"
    );
}

#[test]
fn redirects_are_followed_only_where_that_is_safe() {
    let world = World::new();
    let circle = world.hub.endpoint() + "/api/models/owner/name/revision/main";
    world.hub.fail("/revision/main", vec![Fault::Redirect(circle); 20]);
    assert!(world.refused().contains("more than 10 redirects"));
    for target in ["file:///etc/passwd", "ftp://host/x", "gopher://host"] {
        let world = World::new();
        world.hub.fail("/revision/main", [Fault::Redirect(target.to_owned())]);
        let refused = world.refused();
        assert!(
            refused.contains("a redirect from http to") && refused.contains("not followed"),
            "{refused}"
        );
    }
    // A repository that was renamed is found behind a relative redirect.
    let world = World::new();
    world.hub.fail(
        "/revision/main",
        [Fault::Redirect("/api/models/owner/name/revision/main".to_owned())],
    );
    check_content(&world.fetch().unwrap());
}

#[test]
fn a_model_without_safetensors_is_refused_before_anything_is_fetched() {
    let world = World::new();
    world
        .hub
        .state()
        .repositories
        .get_mut(NAME)
        .unwrap()
        .remove("model.safetensors");
    assert_eq!(
        world.refused(),
        "the model owner/name has neither model.safetensors nor model.safetensors.index.json; it has pytorch_model.bin, \
         which is not fetched"
    );
    assert!(world.hub.seen().iter().all(|request| request.path.starts_with("/api/")));
}
