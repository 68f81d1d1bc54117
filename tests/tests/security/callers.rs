//! Callers take renewed certificates, keys, CAs and tokens up: for their next connection and their next call, while jobs run
//! and are watched, and also where the files of before were refused.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_service::channel::{PeerChannel, lazy_channel};
use anytime_service::security::{CallSecurity, CallingArgs, IdentityArgs};
use anytime_tests::ports::free_address;
use anytime_tests::process::Process;
use anytime_tests::programs::{binary, redis_server};
use anytime_tests::secrets::{Secrets, tls_in_front_of};
use anytime_tests::stack::start_redis;
use anytime_tests::wait::{eventually, within};
use anytime_tests::workplace::Workplace;
use serde_json::Value;
use tonic::Code;

use crate::security::calls::request;
use crate::security::{Listening, learner_arguments, start};

/// The names of a certificate's two files.
fn pair(name: &str) -> [String; 2] {
    [format!("{name}.pem"), format!("{name}.key")]
}

/// Puts certificate and key of one name into the place of another's, one after the other.
fn put(from: (&Secrets, &str), to: (&Secrets, &str)) {
    for (source, target) in pair(from.1).iter().zip(pair(to.1)) {
        to.0.replace(&target, &from.0.text(source));
    }
}

/// A caller with the certificate `own` of the set, and with a token where one is named.
fn caller(server: &Listening, secrets: &Secrets, token: Option<&str>) -> PeerChannel {
    let [certificate, key] = pair("own");
    let identity = IdentityArgs {
        tls_cert: Some(secrets.path(&certificate).into()),
        tls_key: Some(secrets.path(&key).into()),
        insecure: false,
    };
    let calling = CallingArgs {
        tls_ca: Some(secrets.path("ca.pem").into()),
        token_file: token.map(|file| secrets.path(file).into()),
    };
    let security = CallSecurity::load(&identity, &calling).unwrap();
    lazy_channel("verifier", &format!("https://{}", server.address), &security).unwrap()
}

async fn call(channel: &PeerChannel) -> Code {
    let answer = VerifierServiceClient::new(channel.clone()).verify(request()).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_made_with_what_the_files_hold_then() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        let mut arguments = secrets.serving("server", true);
        arguments.extend(["--max-connection-age", "1s"].map(OsString::from));
        let server = start(&workplace, "verifier", "aging", &arguments).await;
        put((&secrets, "act"), (&secrets, "own"));
        let channel = caller(&server, &secrets, None);
        assert_eq!(call(&channel).await, Code::Ok);
        // The connection is open, so that the certificate counts from the next one on.
        put((&foreign, "act"), (&secrets, "own"));
        eventually("the next connection shows the other certificate", 20, async || {
            (call(&channel).await != Code::Ok).then_some(())
        })
        .await;
        // Files that are none leave everything as it was, and the right ones count at once, without a restart.
        secrets.replace("own.key", "no key");
        assert_ne!(call(&channel).await, Code::Ok);
        put((&secrets, "act"), (&secrets, "own"));
        assert_eq!(call(&channel).await, Code::Ok);
        // A broken file beside a certificate that is good: it is used for all connections that follow.
        secrets.replace("own.pem", "no certificate");
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(4) {
            assert_eq!(call(&channel).await, Code::Ok);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_is_refused_reads_its_files_before_it_tries_again() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        // Connections may be old here: it is the refusal that counts.
        let server = start(&workplace, "verifier", "refusing", &secrets.serving("server", true)).await;
        // A token that is not known.
        put((&secrets, "server"), (&secrets, "own"));
        secrets.replace("own.token", &foreign.text("act.token"));
        let channel = caller(&server, &secrets, Some("own.token"));
        assert_eq!(call(&channel).await, Code::Unauthenticated);
        secrets.replace("own.token", &secrets.text("act.token"));
        call(&channel).await;
        assert_eq!(
            call(&channel).await,
            Code::Ok,
            "the second call at the latest shows the new token"
        );
        // A name that is not known, over a connection that stays open.
        let channel = caller(&server, &secrets, None);
        assert_eq!(call(&channel).await, Code::Unauthenticated);
        put((&secrets, "act"), (&secrets, "own"));
        call(&channel).await;
        assert_eq!(
            call(&channel).await,
            Code::Ok,
            "the second call shows the new certificate"
        );
    })
    .await;
}

/// The arguments of a server with the files of this set, whose connections become old quickly.
fn serving(live: &Secrets) -> Vec<OsString> {
    let mut arguments = live.serving("server", true);
    arguments.extend(["--max-connection-age", "2s"].map(OsString::from));
    arguments
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_renewed_while_a_job_runs_and_is_watched() {
    within(400, async {
        let workplace = Workplace::new();
        let (old, new) = (
            Secrets::make(&workplace, "old").await,
            Secrets::make(&workplace, "new").await,
        );
        let live = Secrets::make(&workplace, "live").await;
        let names = ["server", "act", "submit"];
        let tokens = ["act.token", "submit.token"];
        let install = |set: &Secrets| {
            for name in names {
                put((set, name), (&live, name));
            }
            for token in tokens {
                live.replace(token, &set.text(token));
            }
        };
        install(&old);
        live.replace("ca.pem", &old.text("ca.pem"));
        live.replace("access", &format!("{}{}", old.text("access"), new.text("access")));

        let (_redis, redis_url) = start_redis(&workplace).await;
        let mut arguments = learner_arguments(&workplace, &redis_url);
        arguments.extend(serving(&live));
        let mut learner = start(&workplace, "learner", "learner", &arguments).await;
        let mut verifier = start(&workplace, "verifier", "verifier", &serving(&live)).await;
        let address = format!("https://{}", learner.address);
        let calling = |set: &Secrets, role: &str| {
            let [certificate, key] = pair(role);
            [
                ("--tls-ca", "ca.pem".to_owned()),
                ("--tls-cert", certificate),
                ("--tls-key", key),
                ("--token-file", format!("{role}.token")),
            ]
            .map(|(flag, file)| [flag.to_owned(), set.path(&file)])
            .concat()
        };
        let mut command = Command::new(binary("anytime-actor"));
        command.args([
            "--threads",
            "1",
            "--device",
            "cpu",
            "--actor-id",
            "actor-1",
            "--learner",
            &address,
        ]);
        command.args(["--verifier", &format!("https://{}", verifier.address)]);
        command.args(calling(&live, "act"));
        let mut actor = Process::start("actor-1", command, workplace.mark(), &workplace.path("logs"));

        let anytime = async |command: &[&str], set: &Secrets| {
            let calling = calling(set, "submit");
            let calling: Vec<&str> = calling.iter().map(String::as_str).collect();
            let arguments = [command, &["--learner", &address], &calling].concat();
            workplace.anytime(&arguments, 60).await
        };
        // More steps than can be done in the time: it is cancelled in the end.
        let mut job = workplace.train("renewed", 5_000);
        job.training.get_or_insert_default().warmup_updates = Some(1);
        let job = workplace.write_job(&job).display().to_string();
        let submitted = anytime(&["submit", &job], &live).await.expect(0);
        let id = submitted.stdout.trim().to_owned();
        let mut command = Command::new(binary("anytime"));
        let seen = std::fs::File::create(workplace.path("seen")).unwrap();
        command
            .args(["watch", &id, "--json", "--learner", &address])
            .args(calling(&live, "submit"));
        workplace.mark().put_on(&mut command);
        let mut watching = command.stdout(seen).stderr(Stdio::inherit()).spawn().unwrap();
        let last_step = || -> u64 {
            let seen = std::fs::read_to_string(workplace.path("seen")).unwrap();
            let whole = seen.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            whole
                .filter_map(|event| event["step"].as_u64())
                .next_back()
                .unwrap_or(0)
        };
        // Each phase is over when the job has gone on for longer than connections live, with everybody's new ones.
        let goes_on = async |what: &str| {
            tokio::time::sleep(Duration::from_secs(5)).await;
            let before = last_step();
            eventually(what, 60, async || (last_step() > before + 2).then_some(())).await;
        };
        goes_on("the job is seen to run").await;
        // First both CAs are trusted everywhere, then everybody shows the new certificates, then the old CA goes.
        live.replace("ca.pem", &format!("{}{}", old.text("ca.pem"), new.text("ca.pem")));
        goes_on("with both CAs").await;
        install(&new);
        goes_on("with new certificates, keys and tokens").await;
        live.replace("ca.pem", &new.text("ca.pem"));
        live.replace("access", &new.text("access"));
        goes_on("with the new CA and the new tokens alone").await;

        // The old set is worth nothing any more.
        assert_ne!(anytime(&["list"], &old).await.code, 0);
        anytime(&["cancel", &id], &new).await.expect(0);
        let code = tokio::task::spawn_blocking(move || watching.wait().unwrap().code())
            .await
            .unwrap();
        assert_eq!(code, Some(130), "the watcher saw the end");
        let seen = std::fs::read_to_string(workplace.path("seen")).unwrap();
        let numbers: Vec<u64> = seen
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["number"].as_u64().unwrap())
            .collect();
        assert_eq!(
            numbers,
            (1..=numbers.len() as u64).collect::<Vec<_>>(),
            "each event once"
        );
        anytime(&["audit", &id], &new).await.expect(0);
        actor.assert_runs();
        learner.process.assert_runs();
        verifier.process.assert_runs();
        for log in [actor.log(), learner.process.log(), verifier.process.log()] {
            assert!(!log.contains("cannot be used"), "a renewal is no error: {log}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_shows_redis_its_renewed_certificate() {
    within(120, async {
        let workplace = Workplace::new();
        let secrets = Secrets::make(&workplace, "secrets").await;
        let foreign = Secrets::make(&workplace, "foreign").await;
        let address = free_address();
        let (_, port) = address.rsplit_once(':').unwrap();
        let mut command = Command::new(redis_server());
        command.args(["--bind", "127.0.0.1", "--port", port, "--save", "", "--dir"]);
        command.arg(workplace.path(""));
        let _redis = Process::start("redis", command, workplace.mark(), &workplace.path("logs"));
        eventually("redis", 30, async || std::net::TcpStream::connect(&address).ok()).await;
        let secured = tls_in_front_of(&address, secrets.server_config()).await;
        put((&foreign, "server"), (&secrets, "own"));
        let mut arguments = learner_arguments(&workplace, &format!("rediss://{secured}"));
        arguments.extend(["--redis-ca".into(), secrets.path("ca.pem").into()]);
        arguments.extend(["--redis-cert".into(), secrets.path("own.pem").into()]);
        arguments.extend(["--redis-key".into(), secrets.path("own.key").into()]);
        let renew = async {
            // It is refused, and waits for a Redis that takes it.
            tokio::time::sleep(Duration::from_secs(4)).await;
            let is_up = workplace.path("learner.port").exists();
            put((&secrets, "server"), (&secrets, "own"));
            is_up
        };
        let (_learner, was_up) = tokio::join!(start(&workplace, "learner", "learner", &arguments), renew);
        assert!(!was_up, "it was taken with a certificate of another CA");
    })
    .await;
}
