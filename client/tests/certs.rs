//! `anytime certs` with a CA that is there already, and what it refuses to sign with.
#![allow(clippy::unwrap_used)]

mod support;

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use support::{Ended, command, output_of};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};
use x509_parser::pem::Pem;

/// Runs `anytime certs` in a directory.
async fn certs(directory: &TempDir, arguments: &[&str], code: i32) -> Ended {
    let mut command = command(&[&["certs"], arguments].concat());
    command.current_dir(directory.path());
    let ended = output_of(command).await;
    assert_eq!(ended.code, code, "{arguments:?}: {}", ended.stderr);
    ended
}

/// What is signed, for a new key.
fn params(name: &str, days: i64) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Müller & Söhne");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = OffsetDateTime::now_utc() - Duration::days(100);
    params.not_after = OffsetDateTime::now_utc() + Duration::days(days);
    params
}

fn signed_by_itself(params: CertificateParams) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap(), key)
}

#[tokio::test]
async fn a_ca_that_is_there_signs_the_set_and_its_key_is_not_copied() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let root_params = params("a root", 1000);
    let (root, root_key) = signed_by_itself(root_params.clone());
    let key = KeyPair::generate().unwrap();
    let between = params("a CA below it", 30)
        .signed_by(&key, &Issuer::new(root_params, root_key))
        .unwrap();
    // Some keep the key in the same file, which must not be handed on.
    let secret = key.serialize_pem();
    write("signer.pem", &format!("{secret}{}{}", between.pem(), root.pem()));
    write("signer.key", &secret);
    let ended = certs(&directory, &["set", "--ca", "signer.pem", "--ca-key", "signer.key"], 0).await;
    assert!(ended.stderr.contains("good until the CA ends"), "{}", ended.stderr);
    let set = directory.path().join("set");
    for file in std::fs::read_dir(&set).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(secret.lines().nth(1).unwrap()), "{}", path.display());
    }
    assert!(!set.join("ca.key").exists());
    let certificates = |name: &str| -> Vec<Pem> {
        let bytes = std::fs::read(set.join(name)).unwrap();
        Pem::iter_from_buffer(&bytes).map(Result::unwrap).collect()
    };
    let der = |certificates: &[Pem]| -> Vec<Vec<u8>> { certificates.iter().map(|one| one.contents.clone()).collect() };
    assert_eq!(
        der(&certificates("ca.pem")),
        [between.der().to_vec(), root.der().to_vec()]
    );
    for name in ["server.pem", "act.pem", "submit.pem", "read.pem"] {
        let chain = certificates(name);
        // Its own, and the CA that those who trust the root alone do not have.
        assert_eq!(der(&chain[1..]), [between.der().to_vec()], "{name}");
        let (own, signer) = (chain[0].parse_x509().unwrap(), chain[1].parse_x509().unwrap());
        assert_eq!(own.issuer().as_raw(), signer.subject().as_raw(), "{name}");
        assert_eq!(own.validity().not_after, signer.validity().not_after, "{name}");
    }
    certs(&directory, &["set"], 64).await;
}

#[tokio::test]
async fn a_ca_that_cannot_sign_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    let put = |name: &str, (certificate, key): &(Certificate, KeyPair)| {
        write(&format!("{name}.pem"), &certificate.pem());
        write(&format!("{name}.key"), &key.serialize_pem());
    };
    put("good", &signed_by_itself(params("good", 10)));
    put("other", &signed_by_itself(params("other", 10)));
    put("expired", &signed_by_itself(params("expired", -1)));
    let mut later = params("later", 10);
    later.not_before = OffsetDateTime::now_utc() + Duration::days(2);
    put("later", &signed_by_itself(later));
    let mut none = params("none", 10);
    none.is_ca = IsCa::NoCa;
    put("none", &signed_by_itself(none));
    let mut bound = params("bound", 10);
    bound.key_usages = vec![KeyUsagePurpose::CrlSign];
    put("bound", &signed_by_itself(bound));
    write("empty", "");
    write("words", "no certificate\n");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted", encrypted);
    for (ca, key, said) in [
        (
            "expired.pem",
            "expired.key",
            "--ca expired.pem: the certificate expired on",
        ),
        ("later.pem", "later.key", "--ca later.pem: the certificate is good from"),
        ("none.pem", "none.key", "--ca none.pem: it is the certificate of no CA"),
        (
            "bound.pem",
            "bound.key",
            "--ca bound.pem: this CA may not sign certificates",
        ),
        (
            "good.pem",
            "other.key",
            "--ca-key other.key: it is not the key of the certificate good.pem",
        ),
        ("good.pem", "good.pem", "--ca-key good.pem: it holds no private key"),
        ("good.pem", "encrypted", "--ca-key encrypted: it holds no private key"),
        ("good.key", "good.key", "--ca good.key: it holds no certificate"),
        ("empty", "good.key", "--ca empty: it is empty"),
        ("words", "good.key", "--ca words: it holds no certificate"),
        ("missing", "good.key", "--ca missing: No such file"),
        ("good.pem", "missing", "--ca-key missing: No such file"),
        (".", "good.key", "--ca .: it is no regular file"),
    ] {
        let ended = certs(&directory, &["new", "--ca", ca, "--ca-key", key], 64).await;
        assert!(
            ended.stderr.contains(&format!("error: {said}")),
            "{said}: {}",
            ended.stderr
        );
        assert!(!directory.path().join("new").exists(), "nothing is written: {ca} {key}");
    }
    // One without the other is no CA.
    for half in [["--ca", "good.pem"], ["--ca-key", "good.key"]] {
        certs(&directory, &[&["new"][..], &half].concat(), 64).await;
    }
    certs(&directory, &["new", "--ca", "good.pem", "--ca-key", "good.key"], 0).await;
}
