//! `anytime certs` with a CA that is there already: whoever trusts it is served. What it refuses is in client/tests/certs.rs.

use anytime_proto::v1::verifier_service_client::VerifierServiceClient;
use anytime_tests::secrets::{Secrets, secure_channel};
use anytime_tests::wait::within;
use anytime_tests::workplace::Workplace;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::{Duration, OffsetDateTime};
use tonic::transport::{Certificate as TlsCertificate, ClientTlsConfig, Identity};

use crate::security::calls::request;
use crate::security::start;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_there_signs_the_set_and_whoever_trusts_it_is_served() {
    within(120, async {
        let workplace = Workplace::new();
        let write = |name: &str, text: &str| std::fs::write(workplace.path(name), text).unwrap();
        let root_params = params("a root", 1000);
        let (root, root_key) = signed_by_itself(root_params.clone());
        let issuer = Issuer::new(root_params, root_key);
        let key = KeyPair::generate().unwrap();
        let between = params("a CA below it", 30).signed_by(&key, &issuer).unwrap();
        // Some keep the key in the same file, which must not be handed on.
        let secret = key.serialize_pem();
        write("signer.pem", &format!("{secret}{}{}", between.pem(), root.pem()));
        write("signer.key", &key.serialize_pem());
        let ended = workplace
            .anytime(&["certs", "set", "--ca", "signer.pem", "--ca-key", "signer.key"], 30)
            .await
            .expect(0);
        assert!(!ended.stdout.contains("ca.key"), "{}", ended.stdout);
        assert!(!workplace.path("set/ca.key").exists(), "the key is not copied");
        for file in std::fs::read_dir(workplace.path("set")).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            assert!(
                !text.contains(secret.lines().nth(1).unwrap()),
                "the key is not copied: {text}"
            );
        }
        assert!(
            ended.stderr.contains("good until the CA ends") && ended.stderr.contains("may be read by other users"),
            "{}",
            ended.stderr
        );
        // The directory is there now, and is not written to again.
        workplace.anytime(&["certs", "set"], 30).await.expect(64);
        let set = Secrets::make_with(
            &workplace,
            "again",
            &["--ca", "signer.pem", "--ca-key", "signer.key", "--days", "7"],
        )
        .await;
        let server = start(&workplace, "verifier", "own", &set.serving("server", true)).await;
        // This caller knows the root alone.
        let tls = ClientTlsConfig::new()
            .ca_certificate(TlsCertificate::from_pem(root.pem()))
            .identity(Identity::from_pem(set.text("act.pem"), set.text("act.key")));
        let mut client = VerifierServiceClient::new(secure_channel(&server.address, tls));
        client.verify(request()).await.unwrap();
    })
    .await;
}
