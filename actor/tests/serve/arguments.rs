//! What a server refuses before it serves, by arguments that do not go with its model.

use anytime_actor::config::{Args, Command};
use anytime_service::exit::{CONFIGURATION, exit_code};
use anytime_service::security::ServerSecurity;
use clap::Parser as _;
use tokio_util::sync::CancellationToken;

use super::server::{metrics, run, write_model_directory};

#[test]
fn arguments_that_do_not_go_with_the_model_are_refused_in_a_sentence() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let model = directory.path().join("tiny");
        write_model_directory(&model, None);
        let cases: [(&[&str], &str); 18] = [
            (
                &["--budgets", "4,4"],
                "--budgets [4, 4]: they must ascend from 1 or more",
            ),
            (&["--budgets", "0,4"], "--budgets [0, 4]: they must ascend"),
            (
                &["--budgets", "4,8", "--max-thinking", "7"],
                "--max-thinking 7: it must be at least the largest of --budgets, 8",
            ),
            (&["--budgets", "2000"], "--budgets 2000: with a summary of 118 tokens"),
            (&["--temperature", "0"], "--temperature 0: it must be above 0"),
            (&["--top-p", "1.5"], "--top-p 1.5: it must be above 0 and at most 1"),
            (&["--markers-end", ""], "--markers-end is empty"),
            (&["--markers-summary", ""], "--markers-summary is empty"),
            (
                &["--markers-cut", "%%"],
                "--markers-cut \"%%\": the model cannot spell it",
            ),
            (&["--device", "tpu"], "--device tpu"),
            (
                &["--reward", "reward:80"],
                "--reward reward:80: it must begin with http:// or https://",
            ),
            (&["--reward", "//reward"], "--reward //reward: it is no URL"),
            (
                &["--reward", "http://me:secret@reward/score"],
                "--reward: it must hold no password; --reward-key-file names a file with the key",
            ),
            (&["--reward-key-file", "key"], "--reward-key-file needs --reward"),
            (
                &["--reward", "http://reward", "--reward-key-file", "/nowhere"],
                "--reward http://reward: it shows the key to the network",
            ),
            (
                &["--reward", "https://reward", "--reward-key-file", "/nowhere"],
                "--reward-key-file /nowhere: ",
            ),
            (&["--memory-share", "2"], "--memory-share 2"),
            (
                &["--listen", "192.0.2.1:0"],
                "--listen 192.0.2.1:0 is reached from other machines",
            ),
        ];
        for (given, said) in cases {
            let mut all = vec!["anytime-actor", "serve", "--model", model.to_str().unwrap()];
            all.extend(given);
            for (name, value) in [
                ("--listen", "127.0.0.1:0"),
                ("--budgets", "4,8"),
                ("--markers-end", "##"),
                ("--markers-cut", ".."),
                ("--markers-summary", "*"),
                ("--device", "cpu"),
            ] {
                if !given.contains(&name) {
                    all.extend([name, value]);
                }
            }
            let Some(Command::Serve(args)) = Args::try_parse_from(&all).unwrap().command else {
                panic!("no serve")
            };
            let security = ServerSecurity::default();
            let served = anytime_actor::serve(&args, &security, metrics(), CancellationToken::new());
            let error = served.await.expect_err(said);
            assert_eq!(exit_code(&error), CONFIGURATION, "{given:?}: {error:#}");
            assert!(error.to_string().starts_with(said), "{given:?}: {error:#}");
        }
    });
}
