//! Where files land in the cache, and who else uses it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anytime_hub::{Hub, HubError, HubFile, Kind, Repository, pattern_files};

use crate::support::{COMMIT, Fault, LARGE, git_id, sha256};
use crate::{NAME, World, check_content, fetch, model, names, weights};

#[test]
fn a_model_lands_in_the_layout_of_python_and_is_not_fetched_twice() {
    let world = World::new();
    let snapshot = world.fetch().unwrap();
    check_content(&snapshot);
    let root = world.repository();
    assert_eq!(snapshot.commit, COMMIT);
    assert_eq!(snapshot.directory, root.join("snapshots").join(COMMIT));
    assert_eq!(
        names(&snapshot.directory),
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
    let link = fs::read_link(snapshot.directory.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    let link = fs::read_link(snapshot.directory.join("config.json")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(git_id(b"{}")));
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(names(&root.join("blobs")).len(), 3, "nothing unfinished is left");
    assert_eq!(snapshot.fetched_bytes, weights().len() as u64 + 4);
    assert!(world.hub.seen_of("pytorch_model.bin").is_empty());
    // A second time it is only asked which commit the branch is.
    let before = world.hub.seen().len();
    let again = world.fetch().unwrap();
    assert_eq!((again.fetched_bytes, again.files), (0, snapshot.files.clone()));
    assert_eq!(world.hub.seen().len(), before + 2);
    // And what a record names needs no question at all.
    let restored = Hub::new(world.settings()).restore(&model(), COMMIT, &snapshot.files, &|| false, &|_| {});
    assert_eq!(restored.unwrap().directory, snapshot.directory);
    assert_eq!(world.hub.seen().len(), before + 2);
}

#[test]
fn what_is_gone_from_the_cache_is_fetched_again_at_the_same_commit() {
    let world = World::new();
    let snapshot = world.fetch().unwrap();
    fs::remove_dir_all(world.repository()).unwrap();
    // The branch has moved on; the record has not.
    world.hub.state().revisions.insert("main".to_owned(), "f".repeat(40));
    let restore = || Hub::new(world.settings()).restore(&model(), COMMIT, &snapshot.files, &|| false, &|_| {});
    check_content(&restore().unwrap());
    // One whose content was cut short is noticed by its size.
    let blob = world.repository().join("blobs").join(sha256(&weights()));
    fs::write(&blob, "short").unwrap();
    check_content(&restore().unwrap());
}

#[test]
fn what_python_has_fetched_serves() {
    // As `huggingface_hub` leaves it, and as a copy without links does.
    for has_links in [true, false] {
        let world = World::new();
        let snapshot = world.repository().join("snapshots").join(COMMIT);
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(world.repository().join("blobs")).unwrap();
        fs::create_dir_all(world.repository().join("refs")).unwrap();
        fs::write(world.repository().join("refs/main"), COMMIT).unwrap();
        for (name, content) in [
            ("config.json", b"{}".to_vec()),
            ("tokenizer.json", b"[]".to_vec()),
            ("model.safetensors", weights()),
        ] {
            if !has_links {
                fs::write(snapshot.join(name), content).unwrap();
                continue;
            }
            let checksum = if content.len() >= LARGE {
                sha256(&content)
            } else {
                git_id(&content)
            };
            fs::write(world.repository().join("blobs").join(&checksum), content).unwrap();
            std::os::unix::fs::symlink(Path::new("../../blobs").join(checksum), snapshot.join(name)).unwrap();
        }
        let fetched = world.fetch().unwrap();
        check_content(&fetched);
        assert_eq!(fetched.fetched_bytes, 0, "links: {has_links}");
        let mut settings = world.settings();
        settings.offline = true;
        check_content(&world.fetch_with(settings).unwrap());
    }
}

#[test]
fn a_listing_comes_in_pages() {
    let world = World::new();
    world.hub.state().page = 2;
    check_content(&world.fetch().unwrap());
    assert_eq!(world.hub.seen_of(&format!("/tree/{COMMIT}")).len(), 3);
}

#[test]
fn a_data_set_is_fetched_by_a_pattern_of_any_revision() {
    let world = World::new();
    let name = "datasets/owner/rows";
    for path in [
        "main/train-1.parquet",
        "main/train-2.parquet",
        "main/test-1.parquet",
        "README.md",
    ] {
        world.hub.add(name, path, path);
    }
    let revision = "refs/convert/parquet";
    world
        .hub
        .state()
        .revisions
        .insert(revision.to_owned(), COMMIT.to_owned());
    let rows = Repository {
        kind: Kind::DataSet,
        owner: "owner".to_owned(),
        name: "rows".to_owned(),
    };
    let hub = Hub::new(world.settings());
    let choose = |files: &[HubFile]| pattern_files(files, "main/train-*");
    let snapshot = hub.fetch(&rows, revision, &choose, &|| false, &|_| {}).unwrap();
    assert_eq!(snapshot.files.len(), 2);
    let root = world.cache.path().join("datasets--owner--rows");
    let file = snapshot.directory.join("main/train-1.parquet");
    assert_eq!(fs::read_to_string(&file).unwrap(), "main/train-1.parquet");
    assert_eq!(
        fs::read_link(&file).unwrap(),
        Path::new("../../../blobs").join(git_id(b"main/train-1.parquet"))
    );
    assert_eq!(fs::read_to_string(root.join("refs").join(revision)).unwrap(), COMMIT);
    let refused = hub.fetch(
        &rows,
        revision,
        &|files| pattern_files(files, "x.json"),
        &|| false,
        &|_| {},
    );
    let refused = refused.expect_err("refused").to_string();
    assert!(
        refused.starts_with("the data set owner/rows has no file x.json; it has README.md"),
        "{refused}"
    );
}

#[test]
fn two_at_once_fetch_a_file_once() {
    let world = World::new();
    world
        .hub
        .fail("model.safetensors", [Fault::Slow(40_000, Duration::from_millis(30))]);
    std::thread::scope(|scope| {
        let two = [0, 1].map(|_| scope.spawn(|| world.fetch().unwrap()));
        let [one, other] = two.map(|thread| thread.join().unwrap());
        check_content(&one);
        assert_eq!(one.fetched_bytes + other.fetched_bytes, weights().len() as u64 + 4);
    });
    let given = world.hub.seen_of("model.safetensors");
    assert_eq!(
        given.iter().filter(|request| request.host == world.hub.files).count(),
        1
    );
}

#[test]
fn a_lock_that_is_held_for_too_long_is_named() {
    let world = World::new();
    let locks = world.cache.path().join(".locks/models--owner--name");
    fs::create_dir_all(&locks).unwrap();
    let path = locks.join(format!("{}.lock", sha256(&weights())));
    let lock = fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    let mut settings = world.settings();
    settings.patience.lock = Duration::from_millis(200);
    let error = world.fetch_with(settings).unwrap_err();
    assert!(matches!(error, HubError::Locked { .. }) && error.may_pass(), "{error}");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    // Who held it is gone.
    drop(lock);
    check_content(&world.fetch().unwrap());
}

#[test]
fn a_full_disk_is_named_and_what_cannot_fit_is_not_begun() {
    let world = World::new();
    let blobs = world.repository().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.incomplete", sha256(&weights())));
    std::os::unix::fs::symlink("/dev/full", &part).unwrap();
    let refused = world.refused();
    assert!(
        refused.contains("No space left on device") && refused.contains(".incomplete"),
        "{refused}"
    );
    // Two exbibytes are listed.
    let world = World::new();
    let sha = sha256(b"huge");
    world.hub.state().listed.push(format!(
        "{{\"type\":\"file\",\"oid\":\"{}\",\"size\":2305843009213693952,\"path\":\"model-00001-of-00001.safetensors\",\
         \"lfs\":{{\"oid\":\"{sha}\",\"size\":2305843009213693952}}}}",
        git_id(b"")
    ));
    world.hub.add(NAME, "model.safetensors.index.json", "{}");
    world
        .hub
        .state()
        .repositories
        .get_mut(NAME)
        .unwrap()
        .remove("model.safetensors");
    let refused = world.refused();
    assert!(
        refused.contains("are to be fetched: No space left on device"),
        "{refused}"
    );
    assert!(world.hub.seen().iter().all(|request| request.path.starts_with("/api/")));
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let world = World::new();
    fs::write(world.repository(), "a file").unwrap();
    let error = world.fetch().unwrap_err();
    assert!(matches!(error, HubError::Disk { .. }), "{error}");
    assert!(error.to_string().contains("models--owner--name"), "{error}");
}

#[test]
fn it_may_be_called_from_a_thread_of_a_runtime_that_may_block() {
    let world = World::new();
    let settings = world.settings();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let fetched = runtime.block_on(async { tokio::task::spawn_blocking(|| fetch(settings, &model(), "main")).await });
    check_content(&fetched.unwrap().unwrap());
}

/// Needs python3 with the package `huggingface_hub`; `PYTHON` may name another interpreter.
#[test]
#[ignore = "needs the Python package huggingface_hub"]
fn python_finds_what_was_fetched_and_the_other_way_round() {
    let fetch_with_python = |world: &World, more: &str| {
        let script = format!(
            "from huggingface_hub import snapshot_download, scan_cache_dir\n\
             path = snapshot_download('owner/name', allow_patterns=['*.json', '*.safetensors']{more})\n\
             found = scan_cache_dir()\n\
             assert not found.warnings, found.warnings\n\
             assert [repo.repo_id for repo in found.repos] == ['owner/name'], found\n\
             print(path, end='')"
        );
        let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let mut command = std::process::Command::new(python);
        command
            .args(["-c", &script])
            .env("HF_ENDPOINT", world.hub.endpoint())
            .env("HF_HUB_CACHE", world.cache.path())
            .env("HF_HUB_DISABLE_PROGRESS_BARS", "1");
        let ended = command.output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    let world = World::new();
    let ours = world.fetch().unwrap();
    let before = world.hub.seen_of("model.safetensors").len();
    let theirs = fetch_with_python(&world, ", local_files_only=True");
    assert_eq!(Path::new(&theirs), ours.directory);
    fetch_with_python(&world, "");
    let given = world.hub.seen_of("model.safetensors");
    assert!(
        given[before..].iter().all(|request| request.host == world.hub.hub),
        "not fetched again: {given:?}"
    );
    let world = World::new();
    fetch_with_python(&world, "");
    let ours = world.fetch().unwrap();
    check_content(&ours);
    assert_eq!(ours.fetched_bytes, 0);
}
