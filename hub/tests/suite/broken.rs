//! Downloads that break, stop or bring the wrong bytes.

use std::cell::RefCell;
use std::fs;
use std::time::{Duration, Instant};

use anytime_hub::{Hub, HubError};

use crate::support::{Fault, sha256};
use crate::{World, check_content, choose, model, weights};

#[test]
fn a_download_that_breaks_goes_on_where_it_was() {
    let world = World::new();
    world.hub.fail(
        "model.safetensors",
        [
            Fault::CutAfter(70_000),
            Fault::Status(503, ""),
            Fault::SilentAfter(30_000),
        ],
    );
    check_content(&world.fetch().unwrap());
    let from: Vec<Option<String>> = world
        .hub
        .seen_of("model.safetensors")
        .into_iter()
        .filter(|request| request.host == world.hub.files)
        .map(|request| request.range)
        .collect();
    assert_eq!(from.len(), 4, "{from:?}");
    assert_eq!(from[0], None);
    assert_eq!(from[1], from[2]);
    let offset = |range: &Option<String>| -> u64 {
        let range = range.as_deref().unwrap();
        range
            .strip_prefix("bytes=")
            .unwrap()
            .strip_suffix('-')
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(offset(&from[2]) > 0 && offset(&from[3]) >= offset(&from[2]), "{from:?}");
}

#[test]
fn what_an_earlier_process_left_is_gone_on_with() {
    let world = World::new();
    let blobs = world.repository().join("blobs");
    fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.incomplete", sha256(&weights())));
    fs::write(&part, &weights()[..150_000]).unwrap();
    let snapshot = world.fetch().unwrap();
    check_content(&snapshot);
    assert_eq!(snapshot.fetched_bytes, weights().len() as u64 - 150_000 + 4);
    let ranges = world.hub.seen_of("model.safetensors");
    assert_eq!(ranges.last().unwrap().range.as_deref(), Some("bytes=150000-"));
    assert!(!part.exists());
}

#[test]
fn a_part_that_is_not_of_this_file_costs_one_more_try() {
    for left in [vec![7; 150_000], vec![7; 900_000], vec![7; weights().len()]] {
        let world = World::new();
        let blobs = world.repository().join("blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", sha256(&weights()))), left).unwrap();
        check_content(&world.fetch().unwrap());
    }
}

#[test]
fn a_server_without_ranges_begins_anew() {
    let world = World::new();
    world
        .hub
        .fail("model.safetensors", [Fault::CutAfter(70_000), Fault::WithoutRange]);
    check_content(&world.fetch().unwrap());
}

#[test]
fn wrong_bytes_are_refused_and_not_kept() {
    let world = World::new();
    world.hub.fail("model.safetensors", [Fault::Wrong, Fault::Wrong]);
    let refused = world.refused();
    assert!(
        refused.starts_with("model.safetensors is not what http://127.0.0.1:")
            && refused.contains(&format!("instead of {}", sha256(&weights()))),
        "{refused}"
    );
    assert!(!world.repository().join("blobs").join(sha256(&weights())).exists());
    // Once may be an accident on the way; a file of git is checked as well.
    let world = World::new();
    world.hub.fail("model.safetensors", [Fault::Wrong]);
    world.hub.fail("config.json", [Fault::Wrong]);
    check_content(&world.fetch().unwrap());
    let world = World::new();
    world.hub.fail("config.json", [Fault::TooLong, Fault::TooLong]);
    let refused = world.refused();
    assert!(
        refused.contains("config.json is not what") && refused.contains("longer than 2 bytes"),
        "{refused}"
    );
}

#[test]
fn a_file_that_never_gets_further_ends() {
    let world = World::new();
    world.hub.fail("model.safetensors", vec![Fault::CutAfter(0); 20]);
    let refused = world.refused();
    assert!(refused.contains("cannot be reached ("), "{refused}");
    let world = World::new();
    world.hub.fail("config.json", vec![Fault::Silent; 20]);
    let since = Instant::now();
    let refused = world.refused();
    assert!(refused.contains("it did not answer within 0.4 s"), "{refused}");
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[test]
fn progress_is_told_and_a_stop_is_obeyed() {
    let world = World::new();
    world
        .hub
        .fail("model.safetensors", [Fault::Slow(5_000, Duration::from_millis(40))]);
    let said = RefCell::new(Vec::new());
    let hub = Hub::new(world.settings());
    let since = Instant::now();
    // Whole it would take 3.2 s.
    let stop = || since.elapsed() > Duration::from_millis(1500);
    let outcome = hub.fetch(&model(), "main", &choose, &stop, &|progress| {
        said.borrow_mut().push(*progress)
    });
    assert!(matches!(outcome, Err(HubError::Stopped)), "{outcome:?}");
    assert!(since.elapsed() < Duration::from_secs(3));
    let said = said.into_inner();
    assert!(said.len() >= 2, "{said:?}");
    let last = said.last().unwrap();
    assert!(last.bytes > 0 && last.bytes < last.all_bytes, "{last:?}");
    assert_eq!((last.all_files, last.all_bytes), (3, weights().len() as u64 + 4));
    // What was fetched until then is gone on with.
    check_content(&world.fetch().unwrap());
    let ranges = world.hub.seen_of("model.safetensors");
    assert!(ranges.last().unwrap().range.is_some(), "{ranges:?}");
}
