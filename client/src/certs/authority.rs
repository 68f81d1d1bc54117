//! Who signs the certificates: a new CA, or one that is there already.

use std::path::Path;

use anyhow::Context as _;
use anytime_service::exit::ExitError;
use anytime_service::security::{Identity, Origin};
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use time::OffsetDateTime;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A CA with its key.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its name as it stands in its certificate.
    name: Vec<u8>,
    /// What callers and servers are to trust.
    pub(super) pem: String,
    /// The key, where it is new.
    pub(super) new_key: Option<String>,
    /// What servers and callers show behind their own certificate, where a CA that others trust has signed this one.
    pub(super) chain: String,
    /// From when and until when the certificates are good.
    pub(super) span: (OffsetDateTime, OffsetDateTime),
}

impl Authority {
    /// A new CA, which is good for the span.
    pub(super) fn generate(span: (OffsetDateTime, OffsetDateTime)) -> anyhow::Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        (params.not_before, params.not_after) = span;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.distinguished_name.push(DnType::CommonName, "anytime CA");
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let (_, read) = X509Certificate::from_der(certificate.der()).context("read the new CA")?;
        let name = read.subject().as_raw().to_vec();
        Ok(Self {
            pem: certificate.pem(),
            new_key: Some(key.serialize_pem()),
            issuer: Issuer::new(params, key),
            name,
            chain: String::new(),
            span,
        })
    }

    /// The CA in these files. It signs nothing that is good for longer than itself.
    ///
    /// # Errors
    /// [`ExitError`] with the configuration code that names the argument and the file: one that cannot be read, a CA that
    /// is not good now, a certificate that is none of a CA, a key of another one or one that cannot sign here.
    pub(super) fn read(
        certificate: &Path,
        key: &Path,
        span: (OffsetDateTime, OffsetDateTime),
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<Self> {
        let (shown, hidden) = (certificate.display().to_string(), key.display().to_string());
        let refuse = |reason: &str| ExitError::configuration(format!("--ca {shown}: {reason}"));
        let identity = Identity::read(
            Origin {
                flag: "--ca",
                path: certificate,
            },
            Origin {
                flag: "--ca-key",
                path: key,
            },
            warnings,
        )?;
        let pems = Pem::iter_from_buffer(identity.certificate_pem()).collect::<Result<Vec<_>, _>>();
        let pems = pems.map_err(|error| refuse(&error.to_string()))?;
        let mut parsed = Vec::new();
        for pem in pems.iter().filter(|pem| pem.label == "CERTIFICATE") {
            parsed.push(pem.parse_x509().map_err(|error| refuse(&error.to_string()))?);
        }
        let own = parsed.first().ok_or_else(|| refuse("it holds no certificate"))?;
        if !own.is_ca() {
            return Err(refuse(
                "it is the certificate of no CA (basicConstraints), so that nobody trusts what it signs",
            )
            .into());
        }
        let usage = own.key_usage().map_err(|error| refuse(&error.to_string()))?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(refuse("this CA may not sign certificates (keyUsage has no keyCertSign)").into());
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        // The certificates alone: a file may hold the key beside them, and what is written is for everybody to read.
        let blocks = certificate_blocks(&text(identity.certificate_pem()));
        let key = KeyPair::from_pem(&text(identity.key_pem())).map_err(|error| {
            ExitError::configuration(format!(
                "--ca-key {hidden}: it cannot sign here ({error}); `openssl pkcs8 -topk8 -nocrypt` writes a key in the form \
                 that can"
            ))
        })?;
        let validity = own.validity();
        let time =
            |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| refuse(&error.to_string()));
        let (begins, ends) = (
            time(validity.not_before.timestamp())?,
            time(validity.not_after.timestamp())?,
        );
        if ends < span.1 {
            warnings.push(format!(
                "the certificates are good until the CA ends, on {}",
                validity.not_after
            ));
        }
        let is_signed_by_another = |one: &&X509Certificate<'_>| one.subject().as_raw() != one.issuer().as_raw();
        let chain = parsed.iter().zip(&blocks).filter(|(one, _)| is_signed_by_another(one));
        let chain = chain.map(|(_, block)| block.as_str()).collect();
        let name = own.subject().as_raw().to_vec();
        let first = blocks.first().map_or("", String::as_str);
        let issuer = Issuer::from_ca_cert_pem(first, key).map_err(|error| refuse(&error.to_string()))?;
        Ok(Self {
            issuer,
            name,
            pem: blocks.concat(),
            new_key: None,
            chain,
            span: (span.0.max(begins), span.1.min(ends)),
        })
    }

    /// Signs a certificate for a key.
    pub(super) fn sign(&self, params: CertificateParams, key: &KeyPair) -> anyhow::Result<Certificate> {
        let certificate = params.signed_by(key, &self.issuer)?;
        let (_, read) = X509Certificate::from_der(certificate.der()).context("read what was signed")?;
        // Whoever checks the certificate compares the names byte by byte.
        if read.issuer().as_raw() != self.name {
            return Err(ExitError::configuration(
                "--ca: its name has parts that cannot be written again as they are, so that nobody would find it as the signer",
            )
            .into());
        }
        Ok(certificate)
    }
}

/// The certificates of a file as they are written there, each with its first and last line.
fn certificate_blocks(pem: &str) -> Vec<String> {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let blocks = pem.split(begin).skip(1);
    blocks
        .filter_map(|block| block.split_once(end))
        .map(|(body, _)| format!("{begin}{body}{end}\n"))
        .collect()
}
